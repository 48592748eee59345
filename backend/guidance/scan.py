"""What the model folders of other programs hold: those of ComfyUI, of A1111 and its kin, or any.

Nothing here imports torch or reads a weight.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError
from backend.guidance import folders, single_file, weights

_INDEX = "model_index.json"
_ENDINGS = (".safetensors", ".sft")


@dataclass(frozen=True)
class Found:
    """What a scan came upon. kind: of a model that can be added, else "". refused: why it cannot, else ""."""

    path: Path
    kind: str = ""
    refused: str = ""


def scan(folder: Path) -> Iterator[Found]:
    """What lies in `folder` and below, sorted: checkpoints, pickles, folders of diffusers'; what cannot be added, too.

    Of the folder of a whole ComfyUI or A1111 its models are looked through alone. Raises UserError if it is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name the one that models are kept in")
    root = folder / "models" if (folder / "models").is_dir() else folder
    for path in _candidates(root):
        try:
            if path.is_dir():
                folders.check(path)
                yield Found(path, "diffusers folder")
            else:
                yield Found(path, single_file.kind_of(path))
        except UserError as error:
            yield Found(path, refused=_reason(path, error))


def _reason(path: Path, error: UserError) -> str:
    """What the error says of `path`, without naming it."""
    return str(error).partition("; ")[0].removeprefix(f"{path} is ").removeprefix(f"{path} ")


def _candidates(root: Path) -> Iterator[Path]:
    seen: set[str] = set()
    found: list[Path] = []
    for name, inside, files in os.walk(root, followlinks=True):
        here = Path(name)
        if (real := os.path.realpath(name)) in seen or _INDEX in files:
            inside.clear()  # a link in a circle, or a whole model
        if real in seen:
            continue
        seen.add(real)
        if _INDEX in files:
            found.append(here)
            continue
        found += [here / file for file in files if file.lower().endswith(_ENDINGS) or weights.is_pickle(file)]
    yield from sorted(found)
