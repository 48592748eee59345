"""A folder that Blender takes the add-on and its updates from."""

import json
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packager.errors import BuildError
from packager.manifest import MANIFEST
from packager.project import NAME


def publish(folder: Path, zips: Sequence[Path]) -> Path:
    """Move zips into a repository that Blender can be pointed at, and list them in its index.json; returns its path.

    The listing is as `extension server-generate` makes it, but of zips for the same Blender it has the newest only:
    Blender shows the last that fits, and installs the first. Earlier zips stay, and so does what is listed of others.
    """
    index = folder / "index.json"
    listing: dict[str, Any] = {"version": "v1", "blocklist": []}
    try:
        if index.exists():
            listing = json.loads(index.read_text("utf-8"))
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
