"""Which zips there are: a Blender generation and a platform each."""

from dataclasses import dataclass
from typing import Any

from packager import project
from packager.project import NAME

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


@dataclass(frozen=True)
class Target:
    """One zip. generation: a key of GENERATIONS. platform: a key of PLATFORMS."""

    generation: str
    platform: str

    @property
    def zip(self) -> str:
        return f"{NAME}-{project.version()}-blender{self.generation}-{self.platform}.zip"

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
