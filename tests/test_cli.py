"""The command line as a user meets it: exit codes, one line on stderr, nothing half-written."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.cli import COMMANDS, main
from backend.mesh import charts

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        return code, *capsys.readouterr()

    return call


def generate_badly(run: Run, out: Path, *arguments: str) -> str:
    """The one line on stderr of a generate command that cannot be carried out."""
    code, printed, complaint = run("generate", *arguments, "--out", str(out))
    assert code == 2
    assert printed == ""
    assert complaint.count("\n") == 1
    assert complaint.startswith("error: ")
    assert not out.exists()
    return complaint


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ([""], 'try "a red mug"'),
        (["a dragon"], "try one of"),
        (["mug " * 100], "shorten it to 300"),
        (["a mug\x07"], "the prompt holds the control character U+0007 (BELL); type it anew"),
        (["a mug", "--negative", "\x1b[0m"], "the negative prompt holds the control character U+001B (ESCAPE)"),
        (["\udce6\udc97\udca5"], "type it anew under one of UTF-8"),
        (["\u200b\ufeff"], 'try "a red mug"'),
        (["a red mug", "--preset", "best"], "draft, standard, high"),
        (["a red mug", "--schedule", "warp"], "time_prior"),
        (["a red mug", "--guidance", "stable-difusion"], "models add"),
        (["a red mug", "--steps", "-3"], "from 1 to"),
        (["a red mug", "--steps", "many"], "not a valid integer"),
        (["a red mug", "--device", "quantum"], "auto, cpu"),
        (["a red mug", "--fases", "3"], "--faces"),
    ],
)
def test_bad_requests_end_with_one_line_and_code_2(run: Run, tmp_path: Path, arguments: list[str], remedy: str) -> None:
    assert remedy in generate_badly(run, tmp_path / "out", *arguments)


def test_a_model_folder_with_a_pickle_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "weights.ckpt").write_bytes(b"")
    complaint = generate_badly(run, tmp_path / "out", "a red mug", "--guidance", str(folder))
    assert "weights.ckpt is a pickle" in complaint
    assert "safetensors" in complaint


def test_an_output_folder_that_is_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    code, _, complaint = run("generate", "a red mug", "--out", str(taken))
    assert code == 2
    assert "name another folder with --out" in complaint
    assert taken.read_text() == "mine"


def test_a_mistyped_command_names_the_real_ones(run: Run) -> None:
    code, _, complaint = run("generat", "a red mug")
    assert code == 2
    assert "generate" in complaint
    assert complaint.count("\n") == 1


def test_models_without_a_command_shows_help(run: Run) -> None:
    code, printed, complaint = run("models")
    assert code == 0
    assert complaint == ""
    assert "add" in printed


def test_doctor_names_missing_packages_and_the_fix(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, printed, _ = run("doctor")
    assert code == 1
    assert "MISSING packages" in printed
    assert "-> python -m pip install" in printed
    assert "mend first: packages" in printed


def test_a_missing_package_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backend.commands.bench", None)
    code, _, complaint = run("bench")
    assert code == 2
    assert "dreamtime doctor" in complaint


def test_no_command_shows_help(run: Run) -> None:
    code, printed, _ = run()
    assert code == 0
    assert all(name in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    code, printed, _ = run(name, "--help")
    assert code == 0
    assert "Usage" in printed


def test_schedule_prints_a_row_each_and_draws_them(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("schedule", "--plot", str(tmp_path / "t.png"))
    assert code == 0
    assert "time_prior          974    914    822    673    524    429    302" in printed
    assert "window            any of a window that falls to 20 to 500" in printed
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, complaint = run("schedule", "--plot", str(tmp_path / "nowhere" / "t.png"))
    assert code == 2
    assert "in a folder that exists" in complaint


def test_doctor_finds_this_machine_able(run: Run) -> None:
    code, printed, _ = run("doctor")
    assert code == 0
    assert "ready to make objects" in printed
    assert "builtin" in printed
    assert re.search("^ok +unwrapping +works$", printed, re.MULTILINE)


def test_doctor_says_what_to_do_where_unwrapping_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import sys\nsys.exit('no module named xatlas')\n")
    monkeypatch.setattr(charts, "__file__", str(broken))
    code, printed, _ = run("doctor")
    assert code == 1
    assert re.search("^MISSING +unwrapping +unwrapping failed .*no module named xatlas", printed, re.MULTILINE)
    assert "-> python -m pip install --force-reinstall xatlas" in printed
    assert "mend first: unwrapping" in printed


def test_doctor_says_what_a_cluster_lacks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "backend.service.cluster.guard.lack", lambda address: f"no cluster answers at {address}; start it"
    )
    code, printed, _ = run("doctor", "--ray", "ws1:6379")
    assert code == 1
    assert re.search("^MISSING +cluster +no cluster answers at ws1:6379$", printed, re.MULTILINE)
    assert "-> start it\n" in printed
    assert "mend first: cluster" in printed


def test_python_m_backend_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend", "generate", ""], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == 'error: the prompt is empty; try "a red mug"\n'
