"""The extension's manifest: how it is written, and what must not be in it."""

import json
import re
from collections.abc import Collection
from typing import Any

from packager import project
from packager.project import NAME
from packager.targets import PLATFORMS

MANIFEST = "blender_manifest.toml"

RELEASE = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
TERSE = re.compile(r"(?!\s).{0,63}[^\W_]")
# All that Blender knows for add-ons.
TAGS = (
    "|3D View|Add Curve|Add Mesh|Animation|Bake|Camera|Compositing|Development|Game Engine|Geometry Nodes|Grease Pencil"
    "|Import-Export|Lighting|Material|Mesh|Modeling|Node|Object|Paint|Physics|Pipeline|Render|Rigging|Scene|Sculpt"
    "|Sequencer|System|Text Editor|Tracking|User Interface|UV|"
)


def written(facts: dict[str, Any]) -> str:
    """The text of the manifest. facts: what it says for a target."""
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in {"version": project.version(), **facts}.items()]
    return "".join(lines) + (project.ROOT / "blender_addon" / MANIFEST).read_text("utf-8")


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
