import json
import os
import shutil
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.guidance import library
from backend.prior import model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["if"], tmp_path / "my model"))


def test_a_machine_starts_with_the_built_in_model(home: Path) -> None:
    (only,) = library.listed()
    assert only == library.resolve("builtin") == library.builtin()
    assert only.name == "builtin"
    assert only.folder == model.BUILTIN
    assert 1e6 < only.size <= 32e6
    assert not home.exists()


def test_an_added_folder_is_found_by_name_and_by_path_and_stays_when_removed(folder: Path, home: Path) -> None:
    added = library.record(library.of_folder(folder))
    assert library.resolve("my model") == added
    assert [item.name for item in library.listed()] == ["builtin", "my model"]
    by_path = library.resolve(str(folder))
    assert (by_path.revision, by_path.size, by_path.added) == (added.revision, added.size, "")
    assert len(added.added) == len("2000-01-31")
    library.remove("my model")
    assert [item.name for item in library.listed()] == ["builtin"]
    assert (folder / "model_index.json").is_file()
    assert list((home / "models").iterdir()) == []


def test_a_download_goes_with_its_record(folder: Path, home: Path) -> None:
    here = home / "models" / "owner%2Fname"
    here.parent.mkdir(parents=True)
    shutil.move(folder, here)
    library.record(library.ModelSource("owner/name", "owner/name", here, "c" * 40, "mit", 5))
    assert library.resolve("owner/name").folder == here
    library.remove("owner/name")
    assert not here.exists()


def test_the_revision_follows_contents_and_names_but_not_unrelated_files(folder: Path) -> None:
    before = library.of_folder(folder)
    (folder / "README.md").write_text("hello")
    assert library.of_folder(folder) == before
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"sample_size": 8', '"sample_size": 9'))
    after = library.of_folder(folder)
    assert after.size == before.size
    assert after.revision != before.revision
    stem = folder / "unet" / "diffusion_pytorch_model"
    stem.with_suffix(".safetensors").rename(stem.with_suffix(".fp16.safetensors"))
    renamed = library.of_folder(folder)
    assert renamed.revision not in (before.revision, after.revision)
    (folder / "lexicon.json").write_text("{}")
    assert library.of_folder(folder).revision != renamed.revision, "words decide what the model is told"


def test_files_that_changed_or_went_after_adding_are_noticed(folder: Path) -> None:
    library.record(library.of_folder(folder))
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(UserError, match=r"have changed.*models remove my model"):
        library.resolve("my model")
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="are gone"):
        library.resolve("my model")


def test_an_unknown_name_is_refused_with_the_nearest(folder: Path) -> None:
    library.record(library.of_folder(folder))
    with pytest.raises(UserError, match=r'no model "my modle".*nearest: my model \('):
        library.resolve("my modle")
    with pytest.raises(UserError, match="nearest: builtin"):
        library.resolve("zzzzzzzz")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model_index\.json"):
        library.resolve(str(tmp_path))


def test_a_name_is_given_once(folder: Path) -> None:
    library.record(library.of_folder(folder))
    with pytest.raises(UserError, match="already"):
        library.record(library.of_folder(folder))
    with pytest.raises(UserError, match="already"):
        library.check_new("builtin")


def test_folders_of_one_name_get_a_number(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    second = Path(shutil.copytree(folder, tmp_path / "other" / "my model"))
    assert library.add(folder).name == "my model"
    assert library.add(second).name == "my model-2"
    assert library.resolve("my model-2").folder == second
    assert library.resolve("my model").folder == folder
    with pytest.raises(UserError, match='was added already, as "my model-2"'):
        library.add(second, "third")
    builtin = Path(shutil.copytree(folder, tmp_path / "builtin"))
    assert library.add(builtin).name == "builtin-2"


def test_a_model_gets_the_name_that_it_is_given(folder: Path) -> None:
    assert library.add(folder, "owner/eins").name == "owner/eins"
    assert library.resolve("owner/eins").folder == folder


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "\u65e5" * 30, "builtin"])
def test_what_is_no_name_for_a_model_is_refused(folder: Path, home: Path, name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        library.add(folder, name)
    assert not home.exists()


def test_a_snapshot_in_the_hubs_cache_gets_its_models_name(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--deep-floyd--IF-I-M"
    snapshot = cache / "snapshots" / ("c" * 40)
    blobs = cache / "blobs"
    blobs.mkdir(parents=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            blob = blobs / path.relative_to(folder).as_posix().replace("/", "-")
            shutil.copy(path, blob)
            (snapshot / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / path.relative_to(folder)).symlink_to(blob)
    added = library.add(snapshot)
    assert added.name == "deep-floyd/IF-I-M"
    assert added.revision == library.of_folder(folder).revision
    library.remove(added.name)
    assert snapshot.is_dir()
    (blobs / "unet-diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match="unet has no safetensors"):
        library.add(snapshot)


def test_an_added_folder_stays_wherever_it_lies(folder: Path, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    here = Path(shutil.move(folder, home / "models" / "mine"))
    library.add(here)
    library.remove("mine")
    assert (here / "model_index.json").is_file()


def test_a_single_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v1-5.safetensors").touch()
    with pytest.raises(UserError, match=r"cannot read .*v1-5\.safetensors"):
        library.resolve(str(tmp_path / "v1-5.safetensors"))


def test_what_cannot_be_removed(folder: Path) -> None:
    with pytest.raises(UserError, match="built-in"):
        library.remove("builtin")
    with pytest.raises(UserError, match="none was added"):
        library.remove("my model")
    library.record(library.of_folder(folder))
    with pytest.raises(UserError, match="there are: my model"):
        library.remove("../my model")


MISTYPED = {"name": "a", "origin": "a", "folder": "x", "revision": "r", "licence": "mit", "size": "large"}


@pytest.mark.parametrize("content", ["{", "[1]", json.dumps({"folder": "x", "nonsense": 1}), json.dumps(MISTYPED)])
def test_a_damaged_record_is_named(home: Path, content: str) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        library.listed()


def test_the_usable_are_those_whose_record_and_folder_are_sound(
    folder: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added = library.record(library.of_folder(folder))
    assert library.usable() == [library.builtin(), added]
    (home / "models" / "a.json").write_text("{")
    assert library.usable() == [library.builtin(), added]
    shutil.rmtree(folder)
    assert library.usable() == [library.builtin()]
    assert "a.json is damaged" in caplog.text
    assert str(folder) in caplog.text


def test_the_fingerprint_tells_whether_the_library_changed(folder: Path, home: Path) -> None:
    prints = [library.fingerprint()]
    library.record(library.of_folder(folder))
    prints.append(library.fingerprint())
    assert library.fingerprint() == prints[-1]
    os.utime(home / "models" / "my model.json", ns=(1, 1))
    prints.append(library.fingerprint())
    library.remove("my model")
    assert library.fingerprint() == prints[0]
    assert len(set(prints)) == len(prints)


def test_a_record_that_goes_while_fingerprints_are_taken_does_no_harm(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_record_paths", lambda: [home / "gone.json"])
    assert library.fingerprint() == ()


def test_a_home_that_cannot_be_written_is_one_line(folder: Path, home: Path) -> None:
    home.write_text("a file where a folder should be")
    with pytest.raises(UserError, match="set DREAMTIME_HOME"):
        library.record(library.of_folder(folder))
