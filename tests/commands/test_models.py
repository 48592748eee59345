import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import HfApi, ModelInfo

from backend.commands.models import models
from backend.errors import UserError
from backend.prior import model
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class FakeApi(HfApi):
    """A hub that has the built-in model's files under every id."""

    downloads = 0

    def model_info(self, repo_id: str, **settings: Any) -> ModelInfo:
        files = [path for path in model.BUILTIN.rglob("*") if path.is_file()]
        siblings = [{"rfilename": path.relative_to(model.BUILTIN).as_posix(), "size": 400_000_000} for path in files]
        return ModelInfo(id=repo_id, sha=COMMIT, siblings=siblings, cardData={"license": "mit"})

    def snapshot_download(self, repo_id: str, **settings: Any) -> str:
        self.downloads += 1
        shutil.copytree(model.BUILTIN, settings["local_dir"], dirs_exist_ok=True)
        return str(settings["local_dir"])


class UnaskedApi(HfApi):
    def model_info(self, repo_id: str, **settings: Any) -> ModelInfo:
        raise AssertionError(f"asked about {repo_id}")


def run(*arguments: str, answer: str = "", api: HfApi | None = None) -> Result:
    return CliRunner().invoke(models, arguments, input=answer, obj=api)


def test_list_shows_the_built_in_model() -> None:
    found = run("list")
    assert found.exit_code == 0
    (line,) = found.output.splitlines()
    assert line.startswith("builtin")
    assert "GPL-3.0-or-later" in line
    assert "sha256:" in line


def test_a_folder_is_added_listed_and_removed(tmp_path: Path) -> None:
    folder = shutil.copytree(model.BUILTIN, tmp_path / "mine")
    added = run("add", str(folder))
    assert added.exit_code == 0
    assert "--guidance mine" in added.output
    lines = run("list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["builtin", "mine"]
    assert lines[1].endswith(str(folder))
    assert run("remove", "mine").output == "removed mine\n"
    assert folder.is_dir()
    assert len(run("list").output.splitlines()) == 1


def test_pickles_beside_safetensors_are_one_note(tmp_path: Path) -> None:
    folder = shutil.copytree(model.BUILTIN, tmp_path / "mine")
    for name in ("unet/diffusion_pytorch_model.bin", "old.ckpt", "older.ckpt"):
        (folder / name).touch()
    added = run("add", str(folder))
    assert added.exit_code == 0
    assert added.stderr == "note: only safetensors are read, pickles (3, such as old.ckpt) are not\n"


def test_a_folder_gets_the_name_that_it_is_given(tmp_path: Path) -> None:
    folder = shutil.copytree(model.BUILTIN, tmp_path / "mine")
    assert "use it with --guidance big one" in run("add", str(folder), "--name", "big one").stdout
    assert run("list").stdout.splitlines()[1].startswith("big one")


@pytest.mark.parametrize("verb", ["add", "look"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v1-5.safetensors", "cannot read"),
        ("checkpoints/v1-5.safetensors", "cannot read"),
        ("v1-5.ckpt", "is a pickle, which can run code"),
    ],
)
def test_the_hub_is_not_asked_about_a_file_that_is_here(
    verb: str, name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    found = run(verb, name, api=UnaskedApi())
    assert isinstance(found.exception, UserError)
    assert says in str(found.exception)
    assert str(tmp_path / name) in str(found.exception)


def test_size_licence_and_commit_are_shown_before_anything_is_fetched(home: Path) -> None:
    api = FakeApi()
    refused = run("add", "owner/tiny", answer="n\n", api=api)
    assert refused.exit_code == 1
    # Four weight files and their index, three configurations, the tokenizer's two, the words and the index.
    assert f"owner/tiny: 4.8 GB, licence mit, commit {COMMIT}" in refused.output
    assert api.downloads == 0
    assert not home.exists()


def test_a_look_tells_a_program_what_a_hub_model_would_be_and_fetches_nothing(home: Path) -> None:
    api = FakeApi()
    found = run("look", "owner/tiny", api=api)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {
        "name": "owner/tiny",
        "size": 4_800_000_000,
        "licence": "mit",
        "revision": COMMIT,
    }
    assert api.downloads == 0
    assert not home.exists()


def test_a_look_at_a_folder_adds_nothing(tmp_path: Path) -> None:
    folder = shutil.copytree(model.BUILTIN, tmp_path / "mine")
    told = json.loads(run("look", str(folder)).stdout)
    assert told["name"] == "mine"
    assert told["licence"] == "unknown"
    assert told["size"] > 1_000_000
    assert told["revision"].startswith("sha256:")
    assert len(run("list").output.splitlines()) == 1


@pytest.mark.parametrize(("options", "answer"), [((), "y\n"), (("--yes",), "")])
def test_a_hub_model_is_fetched_after_consent(
    options: tuple[str, ...], answer: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**13, 0, 10**13))  # type: ignore[attr-defined]
    api = FakeApi()
    found = run("add", "owner/tiny", *options, answer=answer, api=api)
    assert found.exit_code == 0, found.output
    assert api.downloads == 1
    assert COMMIT[:12] in run("list").output
    assert (home / "models" / "owner%2Ftiny" / "model_index.json").is_file()
    run("remove", "owner/tiny")
    assert list((home / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "no such thing"), "neither a folder or file nor a hub id"),
        (("look", "no such thing"), "neither a folder or file nor a hub id"),
        (("look", "builtin/model/deep"), "neither a folder or file nor a hub id"),
        (("add", "."), "model_index.json is missing"),
        (("remove", "nothing"), "no added model"),
        (("remove", "builtin"), "stays"),
    ],
)
def test_mistakes_are_user_errors(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert isinstance(found.exception, UserError)
    assert says in str(found.exception)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """A model that was taught a catalogue."""
    folder = Path(shutil.copytree(model.BUILTIN, tmp_path / "animals"))
    entries = [
        Entry("0", "cat", ("kitty", "pet"), ("a wooden cat with whiskers",), group="animals"),
        Entry("1", "fox", group="animals"),
        Entry("2", "pet bowl", ("bowl",), group="kitchen"),
    ]
    Lexicon.of(entries).save(folder)
    return folder


def test_words_are_listed_by_group_with_their_synonyms(animals: Path) -> None:
    found = run("words", "--model", str(animals))
    assert found.exit_code == 0
    groups = dict(group.split("\n", 1) for group in found.stdout.rstrip("\n").split("\n\n"))
    assert groups["animals"] == "  cat (kitty, pet), fox"
    assert groups["kitchen"] == "  pet bowl (bowl)"
    assert groups["colours"].startswith("  red, orange")
    assert groups["materials"] == "  wooden"
    assert "whiskers" in groups["other words"]
    assert "patterns" not in groups


def test_words_are_listed_by_a_part_of_them_or_of_their_group(animals: Path) -> None:
    assert (
        run("words", "PET", "--model", str(animals)).stdout
        == "animals\n  cat (kitty, pet)\n\nkitchen\n  pet bowl (bowl)\n"
    )
    assert run("words", "anim", "--model", str(animals)).stdout == "animals\n  cat (kitty, pet), fox\n"


def test_the_built_in_models_words_fit_a_terminal() -> None:
    found = run("words")
    assert found.exit_code == 0
    assert "mug (" in found.stdout
    assert max(map(len, found.stdout.splitlines())) < 80


def test_where_no_word_matches_or_any_will_do_one_line_says_so(animals: Path, tmp_path: Path) -> None:
    none = run("words", "gryphon", "--model", str(animals))
    assert isinstance(none.exception, UserError)
    assert str(none.exception) == 'animals knows no word with "gryphon" in it; try a shorter part, or none to see all'
    (animals / "lexicon.json").unlink()
    large = run("words", "--model", str(animals))
    assert isinstance(large.exception, UserError)
    assert "use any words" in str(large.exception)


def test_a_missing_argument_is_clicks_own_error() -> None:
    assert run("add").exit_code == 2
