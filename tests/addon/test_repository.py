"""build_addon.py --repository: a folder that Blender takes the add-on and its updates from."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "in_blender"

FITTING = """
import json, runpy, sys
skips = runpy.run_path(sys.argv[1], run_name="blender_ext")["repository_filter_skip"]
listed, blenders, platforms = map(json.loads, sys.argv[2:])
for (blender, python) in blenders:
    for platform in platforms:
        known = {"filter_blender_version": tuple(blender), "filter_python_version": tuple(python)}
        known |= {"filter_platform": platform, "skip_message_fn": None, "error_fn": sys.exit}
        print(json.dumps([entry["archive_url"] for entry in listed if not skips(entry, **known)]))
"""
"""What Blender itself takes for fitting."""
BLENDERS = [((4, 5, 0), (3, 11, 0)), ((5, 0, 1), (3, 11, 0)), ((5, 1, 0), (3, 13, 0)), ((5, 2, 3), (3, 13, 0))]
PLATFORMS = ["linux-x64", "windows-x64", "macos-x64", "macos-arm64"]


def extensions_program(python: Path) -> Path:
    """Blender's program for extensions, which its module carries."""
    [found] = python.parents[1].glob("lib/python3.*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return found


@pytest.fixture
def zips(build_addon: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """zips(version, *generations) makes the zips of a version for all platforms, with empty wheels."""

    def make(version: str, *generations: str) -> list[Path]:
        monkeypatch.setattr(build_addon, "version", lambda: version)
        (tmp_path / "new").mkdir(exist_ok=True)
        paths = []
        for generation, platform in build_addon.PYZMQ_SHA256:
            target = build_addon.Target(generation, platform)
            if generation in (generations or build_addon.GENERATIONS):
                files = build_addon.extension(target.facts, {f"wheels/{target.wheel}": b""})
                paths.append(tmp_path / "new" / target.zip)
                paths[-1].write_bytes(build_addon.packed(files))
        return paths

    return make


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Its path has a space and a letter beyond ASCII."""
    folder = tmp_path / "für Blender"
    folder.mkdir()
    return folder


def listing(index: Path) -> dict[str, Any]:
    return json.loads(index.read_text("utf-8"))


def listed(index: Path) -> list[tuple[str, str, list[str]]]:
    found = [(each["version"], each["blender_version_min"], each["platforms"]) for each in listing(index)["data"]]
    return sorted(found)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_listing_is_what_blender_would_write(
    build_addon: ModuleType, blender: Path, zips: Callable[..., list[Path]], repository: Path
) -> None:
    ours = listing(build_addon.publish(repository, zips("1.0.0")))
    command = [blender, extensions_program(blender), "server-generate", "--repo-dir", repository]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "6 packages" in done.stdout
    assert "duplicate" not in done.stdout + done.stderr
    blenders_own = listing(repository / "index.json")
    for each in (ours, blenders_own):
        each["data"].sort(key=lambda entry: entry["archive_url"])
    assert ours == blenders_own
    assert ours["data"][0]["archive_url"] == "./dreamtime-1.0.0-blender4.5-linux-x64.zip"


def test_exactly_one_zip_fits_each_blender(
    build_addon: ModuleType, blender45: Path, zips: Callable[..., list[Path]], repository: Path
) -> None:
    """Of several, Blender would show the last and install the first."""
    for version in ("1.9.0", "1.10.0", "1.2.0"):
        index = build_addon.publish(repository, zips(version))
    values = [json.dumps(each) for each in (listing(index)["data"], BLENDERS, PLATFORMS)]
    command = [blender45, "-c", FITTING, extensions_program(blender45), *values]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {"linux-x64": "linux-x64", "windows-x64": "windows-x64"}
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [f"./dreamtime-1.10.0-blender{generation}-{names.get(platform, 'macos-universal')}.zip"]
        for generation in ("4.5", "4.5", "5.1", "5.1")
        for platform in PLATFORMS
    ]


def test_earlier_versions_stay_in_the_folder(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    build_addon.publish(repository, zips("1.0.0"))
    before = content(repository)
    index = build_addon.publish(repository, zips("1.1.0"))
    after = content(repository)
    assert len(after) == 13
    assert {name: after[name] for name in before if name != "index.json"} == {
        name: data for name, data in before.items() if name != "index.json"
    }
    assert {version for version, _, _ in listed(index)} == {"1.1.0"}


def test_a_blender_that_is_served_no_more_keeps_its_last_version(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    build_addon.publish(repository, zips("1.0.0"))
    index = build_addon.publish(repository, zips("2.0.0", "5.1"))
    assert {(version, first) for version, first, _ in listed(index)} == {("1.0.0", "4.5.0"), ("2.0.0", "5.1.0")}
    assert len(listed(index)) == 6


def test_what_is_listed_of_others_stays(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    other, blocked = {"id": "other", "archive_url": "./other.zip"}, {"id": "bad", "reason": "it bites"}
    (repository / "index.json").write_text(json.dumps({"version": "v1", "blocklist": [blocked], "data": [other]}))
    for version in ("1.0.0", "1.1.0"):
        found = listing(build_addon.publish(repository, zips(version)))
        assert found["blocklist"] == [blocked]
        assert [each for each in found["data"] if each["id"] == "other"] == [other]
        assert len(found["data"]) == 7


def test_the_same_again_changes_nothing(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    build_addon.publish(repository, zips("1.0.0"))
    before = content(repository)
    build_addon.publish(repository, zips("1.0.0"))
    assert content(repository) == before


def test_another_content_under_the_same_version_is_refused(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    """Blenders that have that version would never learn of it."""
    build_addon.publish(repository, zips("1.0.0", "4.5"))
    before = content(repository)
    changed = zips("1.0.0")
    with zipfile.ZipFile(changed[0], "a") as archive:
        archive.writestr("more.py", "")
    with pytest.raises(build_addon.BuildError, match=rf"has another {changed[0].name} already; raise the version in"):
        build_addon.publish(repository, changed)
    assert content(repository) == before


@pytest.mark.parametrize("text", ["half of", '["a list"]', '{"data": [5]}', '{"data": [{}]}'])
def test_a_listing_that_cannot_be_read_is_told_and_stays(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path, text: str
) -> None:
    (repository / "index.json").write_text(text)
    with pytest.raises(build_addon.BuildError, match=r"index.json is no listing of extensions; delete it and"):
        build_addon.publish(repository, zips("1.0.0"))
    assert content(repository) == {"index.json": text.encode()}


def test_a_zip_that_is_not_whole_is_told_and_nothing_is_published(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path
) -> None:
    build_addon.publish(repository, zips("1.0.0"))
    damaged = repository / "dreamtime-0.9.0-blender4.5-linux-x64.zip"
    damaged.write_bytes((repository / "dreamtime-1.0.0-blender4.5-linux-x64.zip").read_bytes()[:5000])
    before = content(repository)
    with pytest.raises(build_addon.BuildError, match=rf"{damaged.name} is no whole zip of this extension; delete it"):
        build_addon.publish(repository, zips("1.1.0"))
    assert content(repository) == before


def test_the_listing_is_replaced_only_when_it_is_written(
    build_addon: ModuleType, zips: Callable[..., list[Path]], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build_addon.publish(repository, zips("1.0.0"))
    before = index.read_bytes()
    write = Path.write_text

    def fill_the_disk(path: Path, text: str, *rest: Any) -> int:
        write(path, text[: len(text) // 2], *rest)
        raise OSError(28, "No space left on device")

    fresh = zips("1.1.0")
    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        build_addon.publish(repository, fresh)
    assert index.read_bytes() == before
    assert not [path for path in repository.iterdir() if path.name.startswith(".")]


def test_one_command_makes_it_and_says_what_to_give_blender(wheels: Path, repository: Path) -> None:
    options = ["--without-backend", "--platform", "linux-x64", "--wheels", wheels, "--offline"]
    command = [sys.executable, ROOT / "build_addon.py", "--website", "https://example.org/dreamtime", *options]
    for _ in range(2):
        done = subprocess.run([*command, "--repository", repository], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        index = repository / "index.json"
        assert done.stdout == f"{index.as_uri()}  to be added in Blender as a remote repository\n"
        assert len(content(repository)) == 3
    assert {each["website"] for each in listing(index)["data"]} == {"https://example.org/dreamtime"}
    done = subprocess.run([*command[:3], "me", *options, "--repository", repository], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("is wrong: website is no address; correct it there\n")


@pytest.mark.parametrize("other", ["--stage", "--install"])
def test_it_is_one_thing_or_the_other(repository: Path, other: str) -> None:
    command = [sys.executable, ROOT / "build_addon.py", "--repository", repository, other, repository]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"argument {other}: not allowed with argument --repository\n")
    assert not list(repository.iterdir())


def test_blender_installs_and_updates_from_it(
    build_addon: ModuleType,
    blender: Path,
    wheels: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Installed, updated, and uninstalled; before that, the zip for another Blender lay in its place."""
    targets = [build_addon.Target(generation, "linux-x64") for generation in build_addon.GENERATIONS]
    for version in ("1.0.0", "1.1.0"):
        monkeypatch.setattr(build_addon, "version", lambda version=version: version)
        folder = tmp_path / version
        folder.mkdir()
        built = build_addon.build(tmp_path / "built", targets, wheels, offline=True, backend=False)
        build_addon.publish(folder, built)
    later = shutil.copytree(tmp_path / "1.1.0", tmp_path / "later")
    shutil.copytree(tmp_path / "1.0.0", repository, dirs_exist_ok=True)
    generation = "4.5" if "bpy52" in blender.parts[-3] else "5.1"
    other = repository / f"dreamtime-1.0.0-blender{generation}-linux-x64.zip"
    command = [blender, HERE / "repository.py", (repository / "index.json").as_uri(), other, later, repository]
    own = {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "DREAMTIME_HOME": str(tmp_path / "dreamtime-home")}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installed and updated" in done.stdout
