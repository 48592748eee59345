"""A repository is added, and the add-on comes from there, is updated, and goes.

Arguments: its address, a zip for another Blender, a folder with a later state of the repository, its folder.
"""

import importlib
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

import bpy

address, other, later, folder = sys.argv[1:]
preferences = bpy.context.preferences
preferences.system.use_online_access = True
bpy.ops.preferences.extension_repo_add(name="DreamTime", remote_url=address, type="REMOTE", use_sync_on_startup=False)
repositories = list(preferences.extensions.repos)
[number] = [number for number, repository in enumerate(repositories) if repository.remote_url == address]
where = Path(repositories[number].directory, "dreamtime")
package = f"bl_ext.{repositories[number].module}.dreamtime"


def manifest() -> dict:
    return tomllib.loads((where / "blender_manifest.toml").read_text("utf-8"))


def fits() -> bool:
    found = manifest()
    parts = [[int(part) for part in found.get(f"blender_version_{end}", "999.0").split(".")] for end in ("min", "max")]
    return parts[0] <= list(bpy.app.version) < parts[1]


# As after an update of Blender that took the extensions of the one before along.
with zipfile.ZipFile(other) as archive:
    archive.extractall(where)
assert not fits()
bpy.ops.extensions.repo_sync(repo_index=number)
assert bpy.ops.extensions.package_install(repo_index=number, pkg_id="dreamtime") == {"FINISHED"}
assert fits()
assert manifest()["version"] == "1.0.0"
assert package in preferences.addons
runtime = importlib.import_module(f"{package}.runtime")
mine = runtime.user_folder()
(mine / "jobs").mkdir(exist_ok=True)
(mine / "jobs" / "note").write_text("kept")

shutil.copytree(later, folder, dirs_exist_ok=True)
bpy.ops.extensions.repo_sync(repo_index=number)
assert bpy.ops.extensions.package_upgrade_all() == {"FINISHED"}
assert manifest()["version"] == "1.1.0"
assert fits()
assert package in preferences.addons
assert (mine / "jobs" / "note").read_text() == "kept"

# What the preferences warn of.
assert bpy.ops.extensions.package_uninstall(repo_index=number, pkg_id="dreamtime") == {"FINISHED"}
assert not where.exists()
assert not mine.exists()
print("installed and updated")
