"""The extension's manifest: by the rules of build_addon.py, and by those of Blender itself."""

import json
import os
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

INSTALLED = """
import importlib, json, sys
import bpy
module = importlib.import_module("bl_ext.user_default.dreamtime")
import zmq
print("found", json.dumps({
    "enabled": "bl_ext.user_default.dreamtime" in bpy.context.preferences.addons,
    "module": module.__file__,
    "shared": sorted(name for name in sys.modules if name.split(".")[0] in ("shared", "backend")),
    "zmq": zmq.__file__,
    "version": zmq.__version__,
    "curve": zmq.has("curve"),
    "release": bpy.app.version[:2],
}))
"""


def manifest(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as opened:
        return tomllib.loads(opened.read("blender_manifest.toml").decode())


def blenders_own(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Blender's program for extensions, which its module carries."""
    [scripts] = python.parents[1].glob("lib/python3.*/site-packages/bpy/*/scripts")
    program = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    verb, *rest = map(str, arguments)
    command = [python, program, verb, "--valid-tags", scripts / "modules" / "_bpy_internal" / "extensions" / "tags.py"]
    return subprocess.run([*command, *rest], capture_output=True, text=True, check=False)


def fitting(python: Path, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("addon_zip52" if "bpy52" in python.parts[-3] else "addon_zip")


def test_the_versions_agree(addon_zip: Path, addon_zip52: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest(addon_zip)["version"] == manifest(addon_zip52)["version"] == project["version"]


def test_what_blender_is_told(addon_zip: Path, addon_zip52: Path) -> None:
    old, new = manifest(addon_zip), manifest(addon_zip52)
    assert (old["blender_version_min"], old["blender_version_max"]) == ("4.5.0", "5.1.0")
    assert new["blender_version_min"] == "5.1.0"
    assert "blender_version_max" not in new
    assert old["platforms"] == new["platforms"] == ["linux-x64"]
    own = {"version", "blender_version_min", "blender_version_max", "platforms", "wheels", "website"}
    source = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    assert {key: value for key, value in old.items() if key not in own} == source
    assert source["id"] == "dreamtime"
    assert not own & set(source)


LICENCES = {
    "pyzmq, BSD-3-Clause": ("LICENSE.md", r"BSD 3-Clause License\s+Copyright \(c\) ([\d-]+), (.+)"),
    "libsodium, ISC": ("LICENSE.libsodium.txt", r"ISC License[\s*]+Copyright \(c\) ([\d-]+)[\s*]+(.+?) <"),
    "libzmq, MPL-2.0": ("LICENSE.zeromq.txt", r"Mozilla Public License Version 2\.0()()"),
    "parts of Tornado in pyzmq, Apache-2.0": ("LICENSE.tornado.txt", r"Apache License\s+Version 2\.0()()"),
}
"""Where the wheel of pyzmq tells the licence of a work in it, and, but for the last two, whose it is and since when."""


@pytest.mark.parametrize("work", LICENCES)
def test_the_libraries_inside_are_credited_as_their_licences_say(addon_zip: Path, addon_zip52: Path, work: str) -> None:
    file, pattern = LICENCES[work]
    for archive in (addon_zip, addon_zip52):
        [credit] = [line for line in manifest(archive)["copyright"] if f"({work})" in line]
        years, name = credit.removesuffix(f" ({work})").split(" ", 1)
        [wheel] = manifest(archive)["wheels"]
        with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(opened.open(wheel.removeprefix("./"))) as inner:
            [path] = [path for path in inner.namelist() if path.endswith(f"licenses/{file}")]
            found = re.search(pattern, inner.read(path).decode())
        assert found
        assert found.groups() in ((years, name), ("", ""))


def test_every_work_in_the_wheel_is_credited(addon_zip: Path, addon_zip52: Path) -> None:
    for archive in (addon_zip, addon_zip52):
        [wheel] = manifest(archive)["wheels"]
        with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(opened.open(wheel.removeprefix("./"))) as inner:
            told = {Path(path).name for path in inner.namelist() if Path(path).name.startswith("LICENSE")}
        assert told == {file for file, _ in LICENCES.values()}
        assert len(manifest(archive)["copyright"]) == 1 + len(told)


def test_the_permissions_say_what_takes_an_artist_by_surprise(addon_zip: Path) -> None:
    permissions = manifest(addon_zip)["permissions"]
    assert "download" in permissions["network"]
    assert "gigabytes" in permissions["files"]


@pytest.fixture
def good(build_addon: ModuleType) -> dict[str, Any]:
    facts = build_addon.Target("4.5", "linux-x64").facts
    source = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    return {"version": "1.2.3", **facts, **source}


def files(content: dict[str, Any]) -> set[str]:
    return {"__init__.py", *(name.removeprefix("./") for name in content.get("wheels", []))}


def test_nothing_is_wrong_with_ours(build_addon: ModuleType, good: dict[str, Any]) -> None:
    assert build_addon.faults(good, files(good)) == []


SPOILT = [
    ({"schema_version": "2"}, "schema_version is not 1.0.0"),
    ({"id": "dream__time"}, "id is not dreamtime"),
    ({"version": "1.2"}, "a version is not like 4.5.0"),
    ({"version": "1.02.3"}, "a version is not like 4.5.0"),
    ({"blender_version_min": "4.5"}, "a version is not like 4.5.0"),
    ({"blender_version_max": "next"}, "a version is not like 4.5.0"),
    ({"name": ""}, "name is missing"),
    ({"tagline": "It ends with a full stop."}, "tagline is over 64 characters or ends with punctuation"),
    ({"tagline": "a" * 65}, "tagline is over 64 characters or ends with punctuation"),
    ({"tagline": " a space first"}, "tagline is over 64 characters or ends with punctuation"),
    ({"maintainer": ""}, "maintainer is missing"),
    ({"type": "addon"}, "type is not add-on"),
    ({"license": []}, "license names no SPDX licence"),
    ({"tags": ["3D View", "AI"]}, "tags are not Blender's"),
    (
        {"permissions": {"files": "Keep jobs", "network": "Talk to it", "clipboard": "x", "web": "x"}},
        "permissions are not network, clipboard and files",
    ),
    (
        {"permissions": {"files": "Keep jobs", "network": "Talk to it!", "clipboard": "x"}},
        "a permission is over 64 characters or ends with punctuation",
    ),
]

STRICTER = [
    ({"id": "other"}, "id is not dreamtime"),
    ({"website": "dreamtime"}, "website is no address"),
    ({"license": ["GPL-3.0-or-later"]}, "license names no SPDX licence"),
    ({"permissions": {"files": "Keep jobs"}}, "permissions are not network, clipboard and files"),
    ({"platforms": ["linux-x86_64"]}, "platforms are not Blender's"),
    ({"wheels": ["./wheels/zmq-1-py3-none-any.whl"]}, "wheels are not those in the extension"),
    ({"wheels": []}, "wheels are not those in the extension"),
]
"""What Blender lets pass, and finds out too late."""


@pytest.mark.parametrize(("change", "fault"), SPOILT + STRICTER)
def test_each_fault_is_named(build_addon: ModuleType, good: dict[str, Any], change: dict[str, Any], fault: str) -> None:
    assert build_addon.faults(good | change, files(good)) == [fault]


@pytest.mark.parametrize("key", ["schema_version", "id", "version", "blender_version_min", "license", "type"])
def test_what_is_missing_is_named(build_addon: ModuleType, good: dict[str, Any], key: str) -> None:
    have = files(good)
    del good[key]
    [fault] = build_addon.faults(good, have)
    assert fault.startswith(key)


def test_an_extension_without_code_is_none(build_addon: ModuleType, good: dict[str, Any]) -> None:
    assert build_addon.faults(good, files(good) - {"__init__.py"}) == ["__init__.py is missing"]


def test_the_longest_words_that_blender_takes(build_addon: ModuleType, good: dict[str, Any]) -> None:
    good |= {"tagline": "a" * 64, "permissions": {"files": "é" * 64, "network": "x", "clipboard": "x"}}
    assert build_addon.faults(good, files(good)) == []


def test_a_fault_stops_the_build(build_addon: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_addon, "TAGS", "|3D View|")
    expected = r"^blender_addon/blender_manifest.toml is wrong: tags are not Blender's; correct it there$"
    with pytest.raises(build_addon.BuildError, match=expected):
        build_addon.stage(tmp_path)
    assert not list(tmp_path.rglob("*.py"))


def test_the_tags_are_those_that_blender_knows(build_addon: ModuleType, blender: Path) -> None:
    [path] = blender.parents[1].glob(
        "lib/python3.*/site-packages/bpy/*/scripts/modules/_bpy_internal/extensions/tags.py"
    )
    said = subprocess.run(
        [blender, "-c", f"import runpy; print('|'.join(runpy.run_path({str(path)!r})['addons']))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(build_addon.TAGS.strip("|").split("|")) == set(said.stdout.strip().split("|")) - {"All"}


def test_blender_finds_the_zip_valid(blender: Path, request: pytest.FixtureRequest) -> None:
    done = blenders_own(blender, "validate", fitting(blender, request))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Success parsing TOML" in done.stdout


def test_blender_builds_the_same_files(blender: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    archive = fitting(blender, request)
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "source")
        ours = {name: opened.read(name) for name in opened.namelist()}
    done = blenders_own(blender, "build", "--source-dir", tmp_path / "source", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = (tmp_path / "out").iterdir()
    with zipfile.ZipFile(built) as opened:
        assert {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")} == ours


@pytest.mark.parametrize(("change", "fault"), SPOILT)
def test_blender_refuses_the_same(
    blender45: Path, build_addon: ModuleType, good: dict[str, Any], tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    """With the rules of one Blender only, since both have the same."""
    if "schema_version" in change:
        change = {"schema_version": "one"}
    (tmp_path / "__init__.py").touch()
    (tmp_path / "blender_manifest.toml").write_text(toml(good))
    assert blenders_own(blender45, "validate", tmp_path).returncode == 0
    (tmp_path / "blender_manifest.toml").write_text(toml(good | change))
    assert blenders_own(blender45, "validate", tmp_path).returncode == 1


def toml(content: dict[str, Any]) -> str:
    """For texts, lists of texts, and tables of texts at the end."""
    plain = [f"{key} = {value!r}" for key, value in content.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{key}]", *(f"{name} = {text!r}" for name, text in value.items())])
        for key, value in content.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*plain, *tables, ""])


def test_blender_installs_and_enables_it(blender: Path, run_blender: Callable[..., str], tmp_path: Path) -> None:
    for _ in range(2):  # installed, and then opened again
        [line] = [line for line in run_blender(blender, INSTALLED).splitlines() if line.startswith("found ")]
        found = json.loads(line.removeprefix("found "))
        assert found["enabled"]
        assert found["curve"] is True
        assert found["shared"] == []
        assert found["version"] == "27.3.0"
        assert Path(found["module"]).is_relative_to(tmp_path)
        assert Path(found["zmq"]).is_relative_to(tmp_path)
        assert found["release"] == ([5, 2] if "bpy52" in blender.parts[-3] else [4, 5])


def test_blender_refuses_the_zip_of_the_other_generation(
    blender: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    other = request.getfixturevalue("addon_zip" if "bpy52" in blender.parts[-3] else "addon_zip52")
    code = f"import bpy; bpy.ops.extensions.package_install_files(filepath={str(other)!r}, repo='user_default')"
    done = subprocess.run(
        [blender, "-c", code],
        env={**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "extensions" / "user_default" / "dreamtime").exists()
    assert "Blender version" in done.stdout + done.stderr


def test_a_script_that_fails_in_blender_fails_the_test(blender45: Path, run_blender: Callable[..., str]) -> None:
    assert run_blender(blender45, "import sys; print(sys.argv[1:])", 1, "two").endswith("['1', 'two']\n")
    with pytest.raises(AssertionError, match="exit code 1"):
        run_blender(blender45, "raise ValueError('no')")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_blender(
            blender45, "import bpy, traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()"
        )
