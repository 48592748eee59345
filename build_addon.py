"""Build the installable zips of the Blender add-on; the standard library is enough.

python build_addon.py                          all zips, into dist/
python build_addon.py --install BLENDER        the zip for that Blender, installed and enabled in it
python build_addon.py --wheels DIR --offline   without the internet, by wheels that were downloaded before
python build_addon.py --stage DIR              no zip: the add-on as a folder, DIR/dreamtime, without wheels
python build_addon.py --repository DIR         all zips into DIR, and its index.json, from which Blender takes updates

One zip cannot serve all Blenders: up to 5.0 they run Python 3.11 and from 5.1 on 3.13, pyzmq has no wheel for both,
and Blender refuses an extension that brings two. The same sources give the same bytes: names are sorted, times and
modes are fixed, and nothing is compressed, since compressors differ.
"""

import argparse
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent
NAME = "dreamtime"
MANIFEST = "blender_manifest.toml"
LEFT_OUT = {"__pycache__", "tests", "demo.py"}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

GENERATIONS = {"4.5": ("cp311-cp311", "4.5.0", "5.1.0"), "5.1": ("cp312-abi3", "5.1.0", "")}
"""Blenders that share a Python: the tags of their wheels, the first version, and the first that is too new."""
PLATFORMS = {
    "linux-x64": ("manylinux_2_26_x86_64.manylinux_2_28_x86_64", ["linux-x64"]),
    "windows-x64": ("win_amd64", ["windows-x64"]),
    "macos-universal": ("macosx_10_15_universal2", ["macos-arm64", "macos-x64"]),
}
"""One zip each: the tag of its wheel, and Blender's names of the platforms that it is for."""
PYZMQ = "27.3.0"
PYZMQ_SHA256 = {
    ("4.5", "linux-x64"): "477b8ad30d66fc905c5388351e83b9ac25824b00e82c0d052b72ea6392636dfd",
    ("4.5", "windows-x64"): "df98c790f86b6aa2378b4bb94dec7b85b0adb195b880b41e429a4990aed2a8c9",
    ("4.5", "macos-universal"): "86fb4408797aabb54a31e147176ae0f2474d99f1715a36a4564089eca9ef9ce8",
    ("5.1", "linux-x64"): "858fe25231e0fd8612da142efde019faa5ef63fa150a821a27870e791b38c798",
    ("5.1", "windows-x64"): "3ea8e8fa5c097e68fef91d70b150fda96f307758103868018fc4deeb9c214122",
    ("5.1", "macos-universal"): "15155fd8f308d3bd47f67a8f6cc809f9db90abbf63c514c384a17622e2cf080f",
}
SETUPTOOLS = "setuptools-84.2.1-py3-none-any.whl"  # builds the backend's wheel, the same everywhere
SETUPTOOLS_SHA256 = "ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2"

RELEASE = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
TERSE = re.compile(r"(?!\s).{0,63}[^\W_]")
# All that Blender knows for add-ons.
TAGS = (
    "|3D View|Add Curve|Add Mesh|Animation|Bake|Camera|Compositing|Development|Game Engine|Geometry Nodes|Grease Pencil"
    "|Import-Export|Lighting|Material|Mesh|Modeling|Node|Object|Paint|Physics|Pipeline|Render|Rigging|Scene|Sculpt"
    "|Sequencer|System|Text Editor|Tracking|User Interface|UV|"
)


class BuildError(Exception):
    """One line: what is wrong, and what to do."""


@dataclass(frozen=True)
class Target:
    """One zip. generation: a key of GENERATIONS. platform: a key of PLATFORMS."""

    generation: str
    platform: str

    @property
    def zip(self) -> str:
        return f"{NAME}-{version()}-blender{self.generation}-{self.platform}.zip"

    @property
    def wheel(self) -> str:
        return f"pyzmq-{PYZMQ}-{GENERATIONS[self.generation][0]}-{PLATFORMS[self.platform][0]}.whl"

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says for this target alone."""
        _, first, too_new = GENERATIONS[self.generation]
        latest = {"blender_version_max": too_new} if too_new else {}
        places = {"platforms": PLATFORMS[self.platform][1], "wheels": [f"./wheels/{self.wheel}"]}
        return {"blender_version_min": first, **latest, **places}


def version() -> str:
    """DreamTime's own, from pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def build(
    out: Path, targets: Sequence[Target], wheels: Path | None, offline: bool, backend: bool, website: str = ""
) -> list[Path]:
    """Write the zips into `out`, each whole or not at all; returns their paths.

    wheels: the folder for wheels from PyPI, or None to keep none. offline: take them from there only.
    backend: put the backend's wheel in, for a local backend by one click. website: for the manifest, or "".
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".build-") as name:
        scratch = Path(name)
        kept = wheels or scratch
        common = backend_files(wheel(SETUPTOOLS, SETUPTOOLS_SHA256, kept, offline), scratch) if backend else {}
        page = {"website": website} if website else {}
        for target in targets:
            digest = PYZMQ_SHA256[target.generation, target.platform]
            own = {f"wheels/{target.wheel}": wheel(target.wheel, digest, kept, offline)}
            (scratch / target.zip).write_bytes(packed(extension(target.facts | page, own | common)))
        return [(scratch / target.zip).replace(out / target.zip) for target in targets]


def stage(folder: Path) -> Path:
    """Put the add-on into folder/dreamtime, for any Blender and without wheels; an earlier one there is replaced."""
    target = folder / NAME
    if target.exists() and not (target / MANIFEST).exists():
        raise BuildError(f"{target} is something else; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".stage-") as scratch:
        fresh = Path(scratch, NAME)
        for name, data in extension({"blender_version_min": GENERATIONS["4.5"][1]}, {}).items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        if target.exists():
            target.rename(Path(scratch, "earlier"))
        return fresh.rename(target)


def publish(folder: Path, zips: Sequence[Path]) -> Path:
    """Move zips into a repository that Blender can be pointed at, and list them in its index.json; returns its path.

    The listing is as `extension server-generate` makes it, but of zips for the same Blender it has the newest only:
    Blender shows the last that fits, and installs the first. Earlier zips stay, and so does what is listed of others.
    """
    index = folder / "index.json"
    try:
        listing = json.loads(index.read_text("utf-8")) if index.exists() else {"version": "v1", "blocklist": []}
        data = [each for each in listing.get("data", []) if each["id"] != NAME]
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise BuildError(f"{index} is no listing of extensions; delete it and run this again") from error
    # Blenders that have this version would never learn of the other one.
    if changed := [path.name for path in zips if not same(path, folder / path.name)]:
        raise BuildError(f"{folder} has another {changed[0]} already; raise the version in pyproject.toml")
    entries = {path.name: entry(path) for path in [*folder.glob(f"{NAME}-*.zip"), *zips]}
    newest_first = sorted(entries.values(), key=lambda each: numbers(each["version"]), reverse=True)
    listed: list[dict[str, Any]] = []
    for each in newest_first:
        if not any(overlap(each, newer) for newer in listed):
            listed.append(each)
    listing["data"] = data + sorted(listed, key=lambda each: str(each["archive_url"]))
    for path in zips:
        path.replace(folder / path.name)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".index-") as scratch:
        fresh = Path(scratch, index.name)
        fresh.write_text(json.dumps(listing, indent=2), "utf-8")
        return fresh.replace(index)


def same(path: Path, earlier: Path) -> bool:
    """Whether a file can take the place of an earlier one, because that is not there or holds the same."""
    return not earlier.exists() or earlier.read_bytes() == path.read_bytes()


def entry(path: Path) -> dict[str, Any]:
    """What a listing says of a zip: its manifest, the Pythons that its wheels are for, and how to check the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = tomllib.loads(archive.read(MANIFEST).decode())
        wheels = [name.split("-") for name in manifest.pop("wheels")]
        pythons = {"3" if abi == "abi3" else f"{python[2]}.{python[3:]}" for _, _, python, abi, _ in wheels}
        numbers(manifest["version"])
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BuildError(f"{path} is no whole zip of this extension; delete it and run this again") from error
    data = path.read_bytes()
    facts = {"python_versions": sorted(pythons), "archive_url": f"./{quote(path.name)}", "archive_size": len(data)}
    return manifest | facts | {"archive_hash": f"sha256:{sha256(data).hexdigest()}"}


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two entries of a listing fit the same Blender on the same platform."""
    first = max(numbers(each["blender_version_min"]) for each in (one, other))
    too_new = min(numbers(each.get("blender_version_max", "999.0.0")) for each in (one, other))
    return bool({*one["platforms"]} & {*other["platforms"]}) and first < too_new


def numbers(version: str) -> tuple[int, ...]:
    """A version such as 4.5.0, to be compared."""
    return tuple(map(int, version.split(".")))


def extension(facts: dict[str, Any], extra: dict[str, bytes]) -> dict[str, bytes]:
    """All files of the extension by name. facts: what its manifest says for a target. extra: files to add."""
    files = sources("blender_addon") | {f"shared/{name}": data for name, data in sources("shared").items()} | extra
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in {"version": version(), **facts}.items()]
    manifest = "".join(lines) + (ROOT / "blender_addon" / MANIFEST).read_text("utf-8")
    files |= {MANIFEST: manifest.encode(), "LICENSE": (ROOT / "LICENSE").read_bytes()}
    if wrong := faults(tomllib.loads(manifest), files):
        raise BuildError(f"blender_addon/{MANIFEST} is wrong: {', '.join(wrong)}; correct it there")
    return files


def sources(room: str) -> dict[str, bytes]:
    """What the extension takes from a folder of the repository, by name in that folder."""
    paths = {path.relative_to(ROOT / room): path for path in (ROOT / room).rglob("*") if path.is_file()}
    left_out = {name for name in paths if any(part in LEFT_OUT or part.startswith(".") for part in name.parts)}
    found = {name.as_posix(): path.read_bytes() for name, path in paths.items() if name not in left_out}
    if "__init__.py" not in found:
        raise BuildError(f"{room}/__init__.py is missing; run this in a whole checkout")
    return found


def faults(manifest: dict[str, Any], files: Collection[str]) -> list[str]:
    """What Blender, or a careful reader, would refuse in a manifest. files: the names in the extension."""
    texts = ("schema_version", "id", "version", "name", "tagline", "maintainer", "type", "blender_version_min")
    if missing := [f"{key} is missing" for key in texts if not manifest.get(key)]:
        return missing
    versions = (manifest["version"], manifest["blender_version_min"], manifest.get("blender_version_max", "999.0.0"))
    licences, permissions = manifest.get("license", []), manifest.get("permissions", {})
    platforms = {name for _, names in PLATFORMS.values() for name in names}
    wheels = {name.removeprefix("./") for name in manifest.get("wheels", [])}
    checks = {
        "schema_version is not 1.0.0": manifest["schema_version"] == "1.0.0",
        "id is not dreamtime": manifest["id"] == NAME,
        "tagline is over 64 characters or ends with punctuation": TERSE.fullmatch(manifest["tagline"]),
        "type is not add-on": manifest["type"] == "add-on",
        "website is no address": manifest.get("website", "https://").startswith(("https://", "http://")),
        "license names no SPDX licence": licences and all(text.startswith("SPDX:") for text in licences),
        "a version is not like 4.5.0": all(map(RELEASE.fullmatch, versions)),
        "tags are not Blender's": all(f"|{tag}|" in TAGS for tag in manifest.get("tags", [])),
        "permissions are not network, clipboard and files": set(permissions) == {"network", "clipboard", "files"},
        "a permission is over 64 characters or ends with punctuation": all(map(TERSE.fullmatch, permissions.values())),
        "platforms are not Blender's": set(manifest.get("platforms", [])) <= platforms,
        "wheels are not those in the extension": wheels == {name for name in files if name.startswith("wheels/")},
        "__init__.py is missing": "__init__.py" in files,
    }
    return [sentence for sentence, passed in checks.items() if not passed]


def packed(files: dict[str, bytes]) -> bytes:
    """A zip whose bytes depend on the names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)  # of 1980
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def backend_files(setuptools: bytes, scratch: Path) -> dict[str, bytes]:
    """The backend's wheel and the versions it is tested with, by their names in the extension."""
    source, tools = scratch / "source", scratch / "tools"
    tools.mkdir()
    (tools / SETUPTOOLS).write_bytes(setuptools)
    for room in ("backend", "shared"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    # Without pip's settings, or it might take another setuptools.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    options = ["--no-deps", "--no-index", "--ignore-requires-python", "--find-links", tools, "--wheel-dir", scratch]
    bare["PIP_CONFIG_FILE"] = os.devnull
    run([*PIP, "wheel", *options, source], "no wheel of the backend; run pip wheel --no-deps . to see why", bare)
    built = scratch / f"{NAME}-{version()}-py3-none-any.whl"
    with zipfile.ZipFile(built) as archive:
        data = packed({name: archive.read(name) for name in archive.namelist() if not name.endswith("/")})
    lock = (ROOT / "requirements.lock").read_bytes()
    return {f"backend_wheel/{built.name}": data, "backend_wheel/requirements.lock": lock}


def wheel(name: str, digest: str, folder: Path, offline: bool) -> bytes:
    """A wheel from PyPI, downloaded into `folder` unless it is there. digest: its SHA-256."""
    path = folder / name
    if not path.exists():
        if offline:
            raise BuildError(f"{name} is not in {folder}; put it there, or run this once without --offline")
        package, release, python, abi, system = name.removesuffix(".whl").split("-")
        tags = ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        tags += ["--platform", system.split(".")[-1], "--only-binary=:all:", "--ignore-requires-python"]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:  # never half a wheel for others
            wanted = ["--no-deps", "--dest", scratch, f"{package}=={release}"]
            run([*PIP, "download", *tags, *wanted], f"{name} was not downloaded; see whether pip reaches PyPI")
            Path(scratch, name).replace(path)
    data = path.read_bytes()
    if sha256(data).hexdigest() != digest:
        raise BuildError(f"{path} is not the file that was published (SHA-256); delete it and run this again")
    return data


def run(command: list[Any], failure: str, environment: dict[str, str] | None = None, sign: str = "") -> str:
    """What a program wrote. failure: what its failing means, and what to do then. sign: what it writes on success."""
    told = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(command, env=environment, **told)  # noqa: S603  # our own words
    if done.returncode or sign not in done.stdout:
        said = f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["no word"]
        last = ([line for line in said if re.search(r"\berror\b", line, re.IGNORECASE)] or said)[-1].strip()
        raise BuildError(f"{failure} ({last})")
    return done.stdout


def fitting(blender: str) -> Target:
    """The zip for a Blender on this machine. blender: its program."""
    found = re.search(r"Blender (\d+)\.(\d+)", run([blender, "--version"], f"{blender} does not start; see why"))
    release = (int(found[1]), int(found[2])) if found else (0, 0)
    if release < (4, 5):
        raise BuildError(f"{blender} is no Blender of 4.5 or later; get one from blender.org")
    here = f"{platform.system()} {platform.machine()}".lower().replace("darwin arm64", "darwin x86_64")
    names = {"linux x86_64": "linux-x64", "windows amd64": "windows-x64", "darwin x86_64": "macos-universal"}
    if here not in names:
        raise BuildError(f"there is no zip for {here}; use Linux or Windows on x64, or macOS")
    return Target("5.1" if release >= (5, 1) else "4.5", names[here])


def main() -> int:
    options = parsed()
    try:
        if options.stage:
            print(stage(options.stage))  # noqa: T201
            return 0
        wanted = [name for name, (_, names) in PLATFORMS.items() if {*names} & {*options.platform}]
        targets = [Target(generation, name) for generation in options.blender for name in wanted]
        if options.install:
            targets = [fitting(options.install)]
        backend, website = not options.without_backend, options.website
        if options.repository:
            options.repository.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=options.repository, prefix=".new-") as name:
                zips = build(Path(name), targets, options.wheels, options.offline, backend, website)
                index = publish(options.repository, zips)
            print(f"{index.resolve().as_uri()}  to be added in Blender as a remote repository")  # noqa: T201
            return 0
        for path in build(options.out, targets, options.wheels, options.offline, backend, website):
            print(f"{path}  {path.stat().st_size:,} bytes  SHA-256 {sha256(path.read_bytes()).hexdigest()}")  # noqa: T201
            if options.install:
                command = [options.install, "--command", "extension", "install-file", "-r", "user_default", "-e", path]
                failure = f"{options.install} did not install {path}; drop it into Blender's window to see why"
                run(command, failure, sign=f'nstalled "{NAME}"')  # it ends well even if it refuses
    except (BuildError, OSError) as error:
        remedy = "; see that it is there and that the disk has room" if isinstance(error, OSError) else ""
        print(f"build_addon.py: {error}{remedy}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    platforms = [name for _, names in PLATFORMS.values() for name in names]
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zips (dist)")
    parser.add_argument("--platform", choices=platforms, nargs="+", default=platforms, help="only for these")
    parser.add_argument("--blender", choices=GENERATIONS, nargs="+", default=GENERATIONS, help="only from this on")
    parser.add_argument("--wheels", type=Path, help="folder where wheels from PyPI are kept and looked for")
    parser.add_argument("--offline", action="store_true", help="take wheels from the folder only")
    parser.add_argument("--without-backend", action="store_true", help="small zips, for a backend elsewhere")
    parser.add_argument("--website", default="", metavar="URL", help="page of whoever publishes, for the manifest")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--install", metavar="BLENDER", help="build the zip for this Blender and install it")
    instead.add_argument("--repository", type=Path, metavar="DIR", help="make or renew a repository for Blender in DIR")
    instead.add_argument("--stage", type=Path, metavar="DIR", help="write DIR/dreamtime instead of zips")
    options = parser.parse_args()
    if options.offline and not options.wheels:
        parser.error("--offline needs --wheels, a folder with the wheels")
    return options


if __name__ == "__main__":
    sys.exit(main())
