"""build_addon.py: what it puts into the zips, and how it fails."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "build_addon.py"


def run(*arguments: object, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def linux(build_addon: ModuleType) -> object:
    return build_addon.Target("4.5", "linux-x64")


@pytest.fixture
def checkout(build_addon: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the script reads, in a folder that a test may spoil; nothing of the backend is in it."""
    copy = tmp_path / "checkout"
    for room in ("blender_addon", "shared"):
        shutil.copytree(ROOT / room, copy / room)
    for name in ("LICENSE", "pyproject.toml", "README.md", "requirements.lock"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "backend").mkdir()
    (copy / "backend" / "__init__.py").write_text('"""A backend."""\n')
    monkeypatch.setattr(build_addon, "ROOT", copy)
    return copy


@pytest.fixture(scope="module")
def whole(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip with the backend in it."""
    out = tmp_path_factory.mktemp("whole")
    options = ["--blender", "4.5", "--platform", "linux-x64", "--wheels", wheels, "--offline"]
    done = run("--out", out, *options)
    assert done.returncode == 0, done.stderr
    [path] = out.iterdir()
    data = path.read_bytes()
    assert done.stdout == f"{path}  {len(data):,} bytes  SHA-256 {sha256(data).hexdigest()}\n"
    return path


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_the_zip_holds_the_addon_with_shared_inside(addon_zip: Path) -> None:
    found = names(addon_zip)
    assert found == sorted(found)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared").rglob("*.py")}
    own = {path.relative_to(ROOT / "blender_addon").as_posix() for path in (ROOT / "blender_addon").rglob("*.py")}
    assert {name for name in found if name.endswith(".py")} == modules | own - {"demo.py"}
    assert "__init__.py" in found
    assert {"LICENSE", "blender_manifest.toml"} < set(found)
    assert [name for name in found if name.endswith(".whl")] == [
        "wheels/pyzmq-27.3.0-cp311-cp311-manylinux_2_26_x86_64.manylinux_2_28_x86_64.whl"
    ]


def test_what_is_none_of_blenders_business_stays_out(checkout: Path, build_addon: ModuleType, tmp_path: Path) -> None:
    for name in ("tests/test_it.py", "panels/__pycache__/main.pyc", ".hidden/it.py", "demo.py"):
        (checkout / "blender_addon" / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / "blender_addon" / name).write_text("")
    (checkout / "blender_addon" / "icon.png").write_bytes(b"picture")
    folder = build_addon.stage(tmp_path)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert "icon.png" in found
    assert not [name for name in found if re.search(r"test_it|pyc|hidden|demo", name)]


def test_the_backend_and_its_versions_travel_in_the_zip(whole: Path, addon_zip: Path, build_addon: ModuleType) -> None:
    wheel = f"backend_wheel/dreamtime-{build_addon.version()}-py3-none-any.whl"
    assert set(names(whole)) - set(names(addon_zip)) == {wheel, "backend_wheel/requirements.lock"}
    with zipfile.ZipFile(whole) as opened, zipfile.ZipFile(opened.open(wheel)) as inner:
        assert opened.read("backend_wheel/requirements.lock") == (ROOT / "requirements.lock").read_bytes()
        inside = inner.namelist()
        for path in (ROOT / "backend" / "prior" / "weights" / "64").rglob("*.safetensors"):
            assert inner.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()
    assert {"backend/__main__.py", "shared/client.py"} < set(inside)
    assert {name.split("/")[0] for name in inside} == {
        "backend",
        "shared",
        f"dreamtime-{build_addon.version()}.dist-info",
    }


def test_pip_takes_the_backends_wheel(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole) as opened:
        [wheel] = [name for name in opened.namelist() if name.startswith("backend_wheel/") and name.endswith(".whl")]
        opened.extract(wheel, tmp_path)
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", tmp_path / "there"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, tmp_path / wheel], check=True)
    assert (tmp_path / "there" / "backend" / "__main__.py").read_bytes() == (
        ROOT / "backend" / "__main__.py"
    ).read_bytes()
    usage = subprocess.run(
        [tmp_path / "there" / "bin" / "dreamtime", "models", "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "there")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert usage.startswith("Usage: dreamtime models [OPTIONS] COMMAND")


def test_the_small_zip_is_small(addon_zip: Path, whole: Path) -> None:
    assert addon_zip.stat().st_size < 1_500_000
    assert 15_000_000 < whole.stat().st_size < 40_000_000


def test_the_same_sources_give_the_same_bytes(
    whole: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another day, another folder with newer files, another umask and time zone, another order of the files."""
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(ROOT / "blender_addon", copy / "blender_addon")
    for room in ("shared", "backend"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("build_addon.py", "LICENSE", "pyproject.toml", "README.md", "requirements.lock"):
        shutil.copyfile(ROOT / name, copy / name)
    for path in copy.rglob("*"):
        os.utime(path, (1.9e9, 1.9e9))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    options = ["--blender", "4.5", "--platform", "linux-x64", "--wheels", wheels, "--offline"]
    before = os.umask(0o077)
    try:
        done = subprocess.run(
            [sys.executable, copy / "build_addon.py", "--out", tmp_path / "out", *options],
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        os.umask(before)
    [again] = (tmp_path / "out").iterdir()
    assert sha256(again.read_bytes()).hexdigest() == sha256(whole.read_bytes()).hexdigest()
    assert done.stdout.split()[-1] == sha256(whole.read_bytes()).hexdigest()


def test_the_source_tree_is_left_alone(checkout: Path, build_addon: ModuleType, wheels: Path, linux: object) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}

    before = content()
    build_addon.build(checkout.parent / "out", [linux], wheels, offline=True, backend=True)
    assert content() == before


def test_each_platform_and_generation_gets_its_own(build_addon: ModuleType) -> None:
    found = {}
    for generation, platform in build_addon.PYZMQ_SHA256:
        target = build_addon.Target(generation, platform)
        found[target.zip.removeprefix(f"dreamtime-{build_addon.version()}-")] = target.facts
    assert set(found) == {
        f"blender{generation}-{platform}.zip"
        for generation in ("4.5", "5.1")
        for platform in ("linux-x64", "windows-x64", "macos-universal")
    }
    assert found["blender4.5-windows-x64.zip"] == {
        "blender_version_min": "4.5.0",
        "blender_version_max": "5.1.0",
        "platforms": ["windows-x64"],
        "wheels": ["./wheels/pyzmq-27.3.0-cp311-cp311-win_amd64.whl"],
    }
    assert found["blender5.1-macos-universal.zip"] == {
        "blender_version_min": "5.1.0",
        "platforms": ["macos-arm64", "macos-x64"],
        "wheels": ["./wheels/pyzmq-27.3.0-cp312-abi3-macosx_10_15_universal2.whl"],
    }


def test_the_wheel_is_of_the_version_that_is_tested(build_addon: ModuleType) -> None:
    assert f"pyzmq=={build_addon.PYZMQ}\n" in (ROOT / "requirements.lock").read_text()


def test_one_zip_serves_both_kinds_of_mac(
    build_addon: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(build_addon, "build", lambda out, targets, *rest: asked.extend(targets) or [])
    monkeypatch.setattr(sys, "argv", ["build_addon.py", "--platform", "macos-x64", "macos-arm64", "--blender", "5.1"])
    assert build_addon.main() == 0
    assert asked == [build_addon.Target("5.1", "macos-universal")]


def absolute_imports(folder: Path) -> list[str]:
    """Imports by an absolute name, wherever they stand in the modules of a folder."""
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.append(node.module or "")
    return found


def test_inside_blender_nothing_is_called_shared(staged: Path) -> None:
    found = {name.split(".")[0] for name in absolute_imports(staged)}
    assert "zmq" in found
    assert not found & {"shared", "backend", "blender_addon", "dreamtime", "bl_ext", "torch"}


def test_staging_runs_no_program_and_can_be_repeated(
    build_addon: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(build_addon, "run")
    folder = build_addon.stage(tmp_path / "new")
    assert folder == tmp_path / "new" / "dreamtime"
    (folder / "old.py").write_text("")
    assert build_addon.stage(tmp_path / "new") == folder
    assert not (folder / "old.py").exists()
    assert list((tmp_path / "new").iterdir()) == [folder]
    assert "wheels" not in tomllib.loads((folder / "blender_manifest.toml").read_text())


def test_staging_replaces_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "dreamtime").mkdir()
    (tmp_path / "dreamtime" / "novel.txt").write_text("a night at sea")
    done = run("--stage", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"build_addon.py: {tmp_path / 'dreamtime'} is something else; choose another folder\n"
    assert (tmp_path / "dreamtime" / "novel.txt").read_text() == "a night at sea"


def test_it_needs_the_standard_library_only(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", SCRIPT, "--stage", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'dreamtime'}\n"), done.stderr


def test_a_missing_wheel_is_told(tmp_path: Path, linux: object) -> None:
    options = ["--without-backend", "--blender", "4.5", "--platform", "linux-x64", "--wheels", tmp_path / "none"]
    done = run("--out", tmp_path / "out", "--offline", *options)
    assert (done.returncode, done.stdout) == (2, "")
    name = "pyzmq-27.3.0-cp311-cp311-manylinux_2_26_x86_64.manylinux_2_28_x86_64.whl"
    assert done.stderr == (
        f"build_addon.py: {name} is not in {tmp_path / 'none'}; put it there, or run this once without --offline\n"
    )
    assert not list((tmp_path / "out").iterdir())


def test_offline_needs_a_folder_of_wheels() -> None:
    done = run("--offline")
    assert done.returncode == 2
    assert done.stderr.endswith("error: --offline needs --wheels, a folder with the wheels\n")


def test_a_corrupted_wheel_is_refused(wheels: Path, build_addon: ModuleType, linux: object, tmp_path: Path) -> None:
    spoilt = tmp_path / "wheels" / linux.wheel
    shutil.copytree(wheels, spoilt.parent)
    data = bytearray(spoilt.read_bytes())
    data[len(data) // 2] ^= 1
    spoilt.write_bytes(data)
    with pytest.raises(build_addon.BuildError, match=r"is not the file that was published .*; delete it and"):
        build_addon.build(tmp_path / "out", [linux], spoilt.parent, offline=True, backend=False)
    assert not list((tmp_path / "out").iterdir())


def test_an_earlier_zip_stays_if_a_later_build_fails(
    checkout: Path, build_addon: ModuleType, wheels: Path, linux: object, tmp_path: Path
) -> None:
    [path] = build_addon.build(tmp_path / "out", [linux], wheels, offline=True, backend=False)
    before = path.read_bytes()
    (checkout / "LICENSE").unlink()
    with pytest.raises(OSError, match="LICENSE"):
        build_addon.build(tmp_path / "out", [linux], wheels, offline=True, backend=False)
    assert path.read_bytes() == before
    assert list((tmp_path / "out").iterdir()) == [path]


@pytest.mark.parametrize("room", ["shared", "blender_addon"])
def test_a_checkout_with_a_hole_is_told(checkout: Path, build_addon: ModuleType, tmp_path: Path, room: str) -> None:
    (checkout / room / "__init__.py").unlink()
    with pytest.raises(build_addon.BuildError, match=f"{room}/__init__.py is missing; run this in a whole checkout"):
        build_addon.stage(tmp_path)


def test_a_backend_that_cannot_be_built_is_told(
    checkout: Path, build_addon: ModuleType, wheels: Path, linux: object, tmp_path: Path
) -> None:
    project = checkout / "pyproject.toml"
    project.write_text(project.read_text().replace('license = "GPL-3.0-or-later"', "license = 5"))
    with pytest.raises(build_addon.BuildError, match=r"no wheel of the backend; run .* \(.*error") as caught:
        build_addon.build(tmp_path / "out", [linux], wheels, offline=True, backend=True)
    assert "\n" not in str(caught.value)


@pytest.fixture
def blender_program(tmp_path: Path) -> Callable[..., Path]:
    """Makes a program that says it is a Blender, writes down what it is told to do, answers, and ends with a code."""

    def make(said: str, answer: str = 'STATUS Installed "dreamtime"', code: int = 0) -> Path:
        program = tmp_path / "blender"
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{said}"; exit 0; fi\n'
            f"echo \"$@\" > '{tmp_path}/told'\necho '{answer}'\nexit {code}\n"
        )
        program.chmod(0o755)
        return program

    return make


@pytest.mark.skipif(sys.platform != "linux", reason="it builds for this machine, and the wheels are for Linux")
@pytest.mark.parametrize(
    ("said", "generation"),
    [("Blender 4.5.15 LTS", "4.5"), ("Blender 5.0.1", "4.5"), ("Blender 5.1.0", "5.1"), ("Blender 5.2.3 LTS", "5.1")],
)
def test_the_zip_for_a_blender_is_installed_in_it(
    blender_program: Callable[..., Path],
    wheels: Path,
    tmp_path: Path,
    build_addon: ModuleType,
    said: str,
    generation: str,
) -> None:
    options = ["--without-backend", "--wheels", wheels, "--offline", "--out", tmp_path / "out"]
    done = run("--install", blender_program(said), *options)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "out").iterdir()
    assert path.name == f"dreamtime-{build_addon.version()}-blender{generation}-linux-x64.zip"
    assert (tmp_path / "told").read_text() == f"--command extension install-file -r user_default -e {path}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="it builds for this machine, and the wheels are for Linux")
@pytest.mark.parametrize(
    ("answer", "code"), [("ERROR dreamtime: This Blender version is too new", 0), ("Error: Add-on not loaded", 1)]
)
def test_a_blender_that_refuses_is_told(
    blender_program: Callable[..., Path], wheels: Path, tmp_path: Path, answer: str, code: int
) -> None:
    """Blender ends with 0 if it refuses an extension, and with 1 if it cannot enable it."""
    options = ["--without-backend", "--wheels", wheels, "--offline", "--out", tmp_path / "out"]
    done = run("--install", blender_program("Blender 4.5.1", answer, code), *options)
    assert done.returncode == 2
    [path] = (tmp_path / "out").iterdir()
    told = f"{tmp_path / 'blender'} did not install {path}; drop it into Blender's window to see why ({answer})"
    assert done.stderr == f"build_addon.py: {told}\n"


@pytest.mark.parametrize("said", ["Blender 4.2.23 LTS", "GNU bash"])
def test_an_old_blender_or_none_is_told(blender_program: Callable[..., Path], tmp_path: Path, said: str) -> None:
    program = blender_program(said)
    done = run("--install", program, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == f"build_addon.py: {program} is no Blender of 4.5 or later; get one from blender.org\n"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run("--install", tmp_path / "nothing", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert str(tmp_path / "nothing") in done.stderr
    assert len(done.stderr.splitlines()) == 1
