"""Checkpoints that survive a kill at any moment.

A checkpoint is a folder with tensors (safetensors), facts (JSON) and a manifest of SHA-256s. It is
written beside its final name and renamed when it is whole and on disk, so a folder under the final
name is complete unless the disk damaged it later; then the manifest tells, and the one before it is used.
"""

import errno
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.files import sha256, to_disk

logger = logging.getLogger(__name__)

_PREFIX = "step-"
_PARTIAL = ".partial"
_TENSORS, _FACTS, _MANIFEST = "tensors.safetensors", "facts.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: the step it belongs to, named tensors, and JSON-compatible facts."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Groups of tensors as one: each name comes after its group's and a dot. See `under`."""
    return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group of those that `flat` put together."""
    prefix = f"{group}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class CorruptCheckpointError(Exception):
    """A checkpoint folder is incomplete or its bytes have changed since they were written."""


def write(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> None:
    """Add `checkpoint` to `folder`, then remove all but the newest `keep`."""
    final = folder / f"{_PREFIX}{checkpoint.step:09d}"
    partial = final.with_name(final.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, partial / _TENSORS)
    except SafetensorError as error:  # what it makes of a full disk
        full = os.strerror(errno.ENOSPC) in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
    (partial / _FACTS).write_text(json.dumps(checkpoint.facts), "utf-8")
    manifest = {name: sha256(partial / name) for name in (_TENSORS, _FACTS)}
    (partial / _MANIFEST).write_text(json.dumps(manifest), "utf-8")
    for path in (*partial.iterdir(), partial):
        to_disk(path)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    to_disk(folder)
    for outdated in _newest_first(folder)[keep:]:
        shutil.rmtree(outdated)
    for leftover in folder.glob(f"{_PREFIX}*{_PARTIAL}"):
        shutil.rmtree(leftover)


def clear(folder: Path) -> None:
    """Remove all checkpoints from `folder`, and the folder if nothing else is in it."""
    for path in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def newest(folder: Path) -> Checkpoint | None:
    """The newest intact checkpoint in `folder`, or None. Damaged ones are named in the log and passed over."""
    for path in _newest_first(folder):
        try:
            return read(path)
        except CorruptCheckpointError as error:
            logger.warning("%s; trying the one before it", error)
    return None


def read(path: Path) -> Checkpoint:
    """Read one checkpoint folder. Raises CorruptCheckpointError if it is not as it was written."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text("utf-8"))
        damaged = [name for name in (_TENSORS, _FACTS) if manifest.get(name) != sha256(path / name)]
    except (OSError, ValueError, AttributeError) as error:
        raise CorruptCheckpointError(f"checkpoint {path} is incomplete ({error})") from error
    if damaged:
        raise CorruptCheckpointError(f"checkpoint {path} is damaged ({', '.join(damaged)})")
    step = int(path.name.removeprefix(_PREFIX))
    return Checkpoint(step, load_file(path / _TENSORS), json.loads((path / _FACTS).read_text("utf-8")))


def _newest_first(folder: Path) -> list[Path]:
    found = (path for path in folder.glob(f"{_PREFIX}*") if not path.name.endswith(_PARTIAL))
    return sorted(found, reverse=True)
