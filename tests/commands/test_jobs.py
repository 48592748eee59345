"""submit, jobs, follow, fetch, cancel, delete against a backend with fake workers."""

import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend import cli
from backend.home import VARIABLE
from backend.mesh.glb import read_glb
from backend.pipeline.given import read
from shared import limits, meshes
from shared.pairing import Pairing
from tests.pipeline import things

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(host: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv(VARIABLE, str(host.folder))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main([*arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def submitted(run: Run, *arguments: str) -> str:
    code, printed, _ = run("submit", *arguments)
    assert code == 0
    return printed.strip()


def test_from_a_prompt_to_files(run: Run, tmp_path: Path) -> None:
    code, printed, complaint = run("submit", "a glittering red mug steps=3 note=slowly", "--follow")
    assert code == 0
    assert complaint.count("warning: the model does not know 'glittering'") == 1
    assert complaint.count("warning: slowly") == 1
    job = printed.split()[0]
    assert f"job {job[:8]} is done; dreamtime fetch {job[:8]} brings it here" in printed
    code, printed, _ = run("jobs")
    assert code == 0
    assert re.match(rf"{job[:8]}  \d+-\d+-\d+ \d+:\d+  done  +standard  a glittering red mug", printed)
    code, printed, _ = run("fetch", job[:5], "--out", str(tmp_path / "out"))
    assert code == 0
    assert str(tmp_path / "out" / "mesh.glb") in printed
    assert (tmp_path / "out" / "report.json").is_file()
    assert run("delete", job)[0] == 0
    assert "no jobs yet" in run("jobs")[1]


def test_variations_print_an_id_each(run: Run) -> None:
    assert len(submitted(run, "a red mug steps=1", "--variations", "3").split()) == 3


def test_a_submission_says_how_long_it_will_take_as_far_as_that_is_known(run: Run) -> None:
    assert run("submit", "a red mug steps=1", "--follow")[0] == 0
    assert "about 1 s, once it runs\n" in run("submit", "a red mug steps=1")[2]  # as the first one took
    assert "about" not in run("submit", "a red mug steps=1", "--field", "sdf")[2]


def test_asking_again_with_the_ids_asks_once(run: Run) -> None:
    job = submitted(run, "a red mug steps=1")
    assert submitted(run, "a red mug steps=1", "--id", job) == job
    assert len(run("jobs")[1].splitlines()) == 1


def test_jobs_say_where_they_run(run: Run) -> None:
    job = submitted(run, "a red mug steps=100000 pace=0.02")
    deadline = time.monotonic() + 120.0
    while "running on cpu" not in (listed := run("jobs")[1]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "running on cpu" in listed
    run("cancel", job)
    assert " on " not in run("jobs")[1]


def test_cancel_waits_until_it_is_cancelled(run: Run) -> None:
    job = submitted(run, "a red mug steps=100000 pace=0.02")
    assert run("cancel", job)[1] == f"job {job[:8]} is cancelled\n"


def test_progress_of_whoever_closed_the_streams_is_shown_nowhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted(run, "a red mug steps=5")
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdout", None)
    assert cli.main(["follow", job]) == 0
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_a_failed_job_says_why(run: Run) -> None:
    job = submitted(run, "a red mug steps=1 fail=out_of_memory")
    code, _, complaint = run("follow", job)
    assert code == 2
    assert f"error: job {job[:8]} failed: it failed with out_of_memory; take a smaller preset" in complaint
    assert "take a smaller preset" in run("jobs")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("submit", "a unicorn"), "knows no object"),
        (("submit", "a mug", "--preset", "best"), 'there is no preset "best"'),
        (("submit", "a mug", "--seed", "-1"), "seed is -1"),
        (("submit", "a mug", "--model", "/etc"), 'no model "/etc"'),
        (("submit", "a mug", "--variations", "99"), "variations"),
        (("submit", "x" * 301), "prompt is"),
        (("follow", "abc"), 'you have no job "abc"'),
        (("fetch", "abc"), "dreamtime jobs lists them"),
        (("cancel", "abc"), 'you have no job "abc"'),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], told: str) -> None:
    code, printed, complaint = run(*arguments)
    assert (code, printed) == (2, "")
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    assert told in complaint


def test_what_is_not_done_is_not_fetched(run: Run, tmp_path: Path) -> None:
    job = submitted(run, "a red mug steps=100000 pace=0.02")
    code, _, complaint = run("fetch", job, "--out", str(tmp_path / "out"))
    assert code == 2
    assert "follow" in complaint
    assert not (tmp_path / "out").exists()


def test_an_ambiguous_beginning_is_refused(run: Run) -> None:
    submitted(run, "a red mug steps=1", "--variations", "2")
    code, _, complaint = run("follow", "")
    assert code == 2
    assert "2 jobs begin with" in complaint


def test_an_unwritable_folder_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    job = submitted(run, "a red mug steps=1", "--follow").split()[0]
    code, _, complaint = run("fetch", job, "--out", str(tmp_path / "taken"))
    assert code == 2
    assert "name another folder with --out" in complaint


# --- trouble with the backend ---


def test_a_backend_that_is_not_there_is_named(run: Run, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPLY_SECONDS", 0.3)
    host.end(signal.SIGTERM)
    code, _, complaint = run("jobs")
    assert code == 2
    assert f"no backend answers at 127.0.0.1:{host.port}; start it with dreamtime serve" in complaint


def test_a_submission_without_an_answer_can_be_repeated(run: Run, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.end(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "REPLY_SECONDS", 0.3)
        patch.setattr("backend.commands.jobs._SUBMIT_PATIENCE", 0.1)
        code, _, complaint = run("submit", "a red mug steps=1")
    assert code == 2
    ids = re.findall(r"--id (\S+)", complaint)
    host.start()
    assert submitted(run, "a red mug steps=1", "--id", *ids) == ids[0]


def test_without_any_backend_the_first_step_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    code, _, complaint = run("jobs")
    assert code == 2
    assert "run dreamtime serve" in complaint


def test_another_machines_backend_is_named_by_a_file(run: Run, host: Any, tmp_path: Path) -> None:
    pairing = Pairing("127.0.0.1", host.port, host.pairing.server_key, host.keys.pair("ana"))
    (tmp_path / "line").write_text(f"{pairing}\n")
    submitted(run, "a red mug steps=1", "--pairing", str(tmp_path / "line"))
    assert "no jobs yet" in run("jobs")[1]
    (tmp_path / "line").write_text(f"{pairing}\n", "utf-16")  # as PowerShell's > does
    assert "no jobs yet" not in run("jobs", "--pairing", str(tmp_path / "line"))[1]
    (tmp_path / "line").write_bytes(str(pairing)[:-3].encode() + b"\xe9")
    code, _, complaint = run("jobs", "--pairing", str(tmp_path / "line"))
    assert code == 2
    assert "cannot use" in complaint


def test_a_revoked_key_is_told_what_to_do(run: Run, host: Any, tmp_path: Path) -> None:
    pairing = Pairing("127.0.0.1", host.port, host.pairing.server_key, host.keys.pair("ana"))
    (tmp_path / "line").write_text(str(pairing))
    assert run("revoke", "ana")[0] == 0
    code, _, complaint = run("jobs", "--pairing", str(tmp_path / "line"))
    assert code == 2
    assert "does not know this computer; run dreamtime pair NAME" in complaint


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return things.save(tmp_path / "box.glb")


def test_a_mesh_is_sent_and_comes_back_with_colours(run: Run, box: Path, tmp_path: Path) -> None:
    job = submitted(run, "a red mug steps=1 glb=own", "--start", str(box), "--paint-only", "--follow").split()[0]
    assert run("fetch", job, "--out", str(tmp_path / "out"))[0] == 0
    sent, (painted, _) = read(box), read_glb(tmp_path / "out" / "mesh.glb")
    corners = painted.mesh.vertices[painted.mesh.triangles]
    assert np.array_equal(corners, sent.mesh.vertices[sent.mesh.triangles])
    assert np.array_equal(painted.uvs, sent.uvs)


def test_what_is_begun_from_is_sent_whole_and_once(run: Run, host: Any, box: Path, tmp_path: Path) -> None:
    mask, picture = tmp_path / "mask.txt", tmp_path / "front.jpg"
    mask.write_text("0 3")
    drawn = Image.new("RGB", (2000, 1000), (240, 240, 240))
    drawn.paste((200, 30, 30), (500, 250, 1500, 750))
    drawn.save(picture)
    white = Image.new("L", (2000, 1000))
    white.paste(255, (500, 250, 1500, 750))
    white.save(tmp_path / "white.png")
    submitted(run, "a red mug steps=1", "--start", str(box), "--paint-only", "--mask", str(mask))
    (sent,) = (host.folder / "service" / "inputs").iterdir()
    assert np.flatnonzero(meshes.unpack(sent.read_bytes()).mask).tolist() == [0, 3]
    with_mask = ("a red mug steps=1", "--start", str(picture), "--sketch", "--mask", str(tmp_path / "white.png"))
    job = submitted(run, *with_mask)
    assert submitted(run, *with_mask, "--id", job) == job
    (png,) = [path for path in (host.folder / "service" / "inputs").iterdir() if path != sent]
    with Image.open(png) as arrived:
        assert (arrived.format, arrived.size) == ("PNG", (1024, 512))
        alpha = np.asarray(arrived)[..., 3]
    assert (alpha[0, 0], alpha[256, 512], round(float((alpha > 0).mean()), 2)) == (0, 255, 0.25)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--strength", "0.5"), "--strength needs something to begin from"),
        (("--paint-only",), "--paint-only needs something to begin from"),
        (("--mask", "mask.txt"), "--mask needs something to begin from"),
        (("--start", "box.glb", "--strength", "5"), "strength is 5"),
        (("--start", "box.glb", "--sketch"), "is no picture that can be read"),
        (("--start", "box.glb", "--paint-only", "--mask", "box.glb"), "is no list of triangles"),
        (("--start", "nowhere.glb"), "nowhere.glb cannot be read"),
        (("--start", "text.txt"), "text.txt"),
        (("--start", "noise.png"), "no alpha and no plain background"),
        (("--start", "noise.png", "--paint-only"), "is a picture; to paint, name a mesh"),
    ],
)
def test_what_cannot_be_begun_from_is_refused_in_one_line_before_anything_is_sent(
    run: Run, host: Any, box: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(box.parent)
    Path("text.txt").write_text("hello")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    code, printed, complaint = run("submit", "a red mug", *options)
    assert (code, printed) == (2, "")
    assert sentence in complaint
    assert len(complaint.splitlines()) == 1
    assert not list((host.folder / "service" / "inputs").glob("*"))
    assert "no jobs yet" in run("jobs")[1]
