"""Models under other names than diffusers': in one file, or as MVDream is published. Imports torch only to convert."""

import shutil
from pathlib import Path

from backend.guidance import folders, mvdream, single_file


def is_foreign(path: Path) -> bool:
    """Whether the model in `path` has other names than diffusers'."""
    return path.is_file() or mvdream.has_published_unet(path)


def stays(path: Path) -> bool:
    """Whether such a model is read from where it is. Raises UserError for a file that is none."""
    return path.is_file() and single_file.kind_of(path) != "MVDream"


def converted(source: Path, target: Path) -> Path:
    """`target`, a new folder with the model in `source` as diffusers has it, or nothing at all.

    Raises UserError for what guidance does not understand.
    """
    from backend.guidance import conversion, linked  # they import torch

    shutil.rmtree(target, ignore_errors=True)
    try:
        (linked.write if stays(source) else conversion.convert)(source, target)
        folders.check(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target
