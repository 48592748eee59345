"""A pool of pictures to train on: every object from all sides, as layers that are lit and coloured later.

It lies in a folder, a file an object, so that making it may be interrupted and goes on where it was.

Letters: P pictures, V views of one object, in rigs of RIG.
"""

import json
import os
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from backend.engine.cameras import CameraDistribution, Cameras
from backend.errors import UserError
from backend.files import write_whole
from backend.prior import catalogue, objects, packing, solids
from backend.prior.catalogue import Entry
from backend.prior.layers import Layers, cast
from backend.prior.objects import Surface
from backend.prior.packing import Packed

RIG = 4
"""Views that are taken together."""

_SUFFIX = ".views.safetensors"
_ANGLES = ("azimuth", "elevation", "fov", "distance")


@dataclass(frozen=True)
class Pool:
    """P pictures of `entries`, rig after rig. entry: which one each picture shows."""

    entries: tuple[Entry, ...]
    layers: UInt8[Tensor, "P 7 H W"]
    cameras: Cameras
    entry: Int[Tensor, " P"]

    def pictures(self, index: Int[Tensor, " B"]) -> Layers:
        """The pictures at `index`, on the device that the pool's layers are on."""
        return Layers.unpacked(self.layers[index.to(self.layers.device)])

    def to(self, device: torch.device) -> "Pool":
        """The same pool with its layers, a byte a value, on `device`; all else is looked up on the CPU."""
        return replace(self, layers=self.layers.to(device))


@dataclass(frozen=True)
class PictureSource:
    """An object to take pictures of. content: its GLB file, or it out of a packed file, or None: it is a solid."""

    entry: Entry
    content: Path | Packed | None = None

    def surface(self) -> Surface:
        """The object itself. Raises UserError if its file cannot be read."""
        match self.content:
            case None:
                return solids.surface(self.entry)
            case Packed():
                return self.content.surface()
            case path:
                return objects.read(path)


def sources(place: Path, with_solids: bool = True, plain: int = 4, patterned: int = 2) -> list[PictureSource]:
    """The objects of a folder or a packed file, and the solids. Raises UserError if that is not right."""
    if place.is_file():
        found = [PictureSource(entry, packed) for entry, packed in packing.read(place)]
    else:
        found = [PictureSource(entry, place / entry.file) for entry in catalogue.read(place)]
    return found + ([PictureSource(entry) for entry in solids.entries(plain, patterned)] if with_solids else [])


def make(folder: Path, sources: Sequence[PictureSource], rigs: int, size: int, seed: int) -> None:
    """Take `rigs` rigs of each object that `folder` has no pictures of yet, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [source for source in sources if not _file(folder, source.entry).is_file()]
    if not wanted:
        return
    take = partial(_take, folder, rigs, size, seed)
    context = get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(mp_context=context, initializer=_begin_worker) as workers:
        for _ in tqdm(workers.map(take, wanted, chunksize=4), total=len(wanted), desc="pictures", unit="object"):
            pass


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    if parent := parent_process():
        parent.join()
    os._exit(1)


def _file(folder: Path, entry: Entry) -> Path:
    return folder / (entry.file + _SUFFIX)


def _take(folder: Path, rigs: int, size: int, seed: int, source: PictureSource) -> None:
    entry = source.entry
    generator = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(entry.file.encode()))
    cameras = CameraDistribution().rigs(rigs, RIG, generator)
    surface = source.surface()
    tensors = {"layers": cast(surface, cameras, size).packed()}
    tensors |= {name: getattr(cameras, name) for name in _ANGLES}
    write_whole(_file(folder, entry), save(tensors, {"entry": json.dumps(asdict(entry))}))


def load(folder: Path) -> Pool:
    """All pictures of a pool. Raises UserError if there are none, or a file of them is damaged."""
    files = sorted(folder.glob("*" + _SUFFIX))
    if not files:
        raise UserError(f"{folder} holds no pictures; name that of a run of backend.prior.train, RUN/pictures")
    entries, parts = [], []
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                entries.append(catalogue.entry_of(json.loads(file.metadata()["entry"])))
                parts.append({name: file.get_tensor(name) for name in ("layers", *_ANGLES)})
        except SafetensorError as error:
            raise UserError(f"{path} is damaged ({error}); remove it, it will be made anew") from error
    counts = torch.tensor([len(part["layers"]) for part in parts])
    layers, *columns = (torch.cat([part.pop(name) for part in parts]) for name in ("layers", *_ANGLES))
    return Pool(tuple(entries), layers, Cameras(*columns), torch.arange(len(files)).repeat_interleave(counts))
