"""MVDream as it is published: with the names of the program that it was trained by, so that adding it converts it.

As one checkpoint with all parts (sd-v2.1-base-4view, bytedance/MVDream), or as a folder like those of diffusers but for
its UNet (ashawkey/mvdream_diffusers). Nothing here imports torch: the server lists models too.
"""

import json
from pathlib import Path

_UNETS = ("MultiViewUNetModel", "MultiViewUNetWrapperModel")


def has_published_unet(folder: Path) -> bool:
    """Whether the UNet in `folder` has the original names."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("_class_name") in _UNETS
