"""The folder of one task, on the server's machine and where it is worked on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.files import sha256
from backend.service.cluster import parcels
from backend.service.cluster.machines import PostError
from backend.service.cluster.parcels import Arrival, Entry
from backend.service.executor import Result

Ask = Callable[..., Awaitable[Any]]
"""Asks the post: a method's name, and its arguments."""


class Mirror:
    """Keeps `folder`, which is the server's, like that of the post. sent, fetched: bytes so far.

    Nothing is ever half there: what came whole takes its place, and what changed on its way comes the next time.
    """

    def __init__(self, ask: Ask, job: str, folder: Path) -> None:
        self.sent = self.fetched = 0
        self._ask, self._job, self._folder = ask, job, folder
        self._alike: dict[str, Entry] = {}

    async def send(self) -> None:
        """Send what is here, as a job that is gone on with needs it."""
        await self._ask("prepare", self._job)
        for entry in (await asyncio.to_thread(parcels.listed, self._folder)).values():
            for offset in _offsets(entry):
                data = await asyncio.to_thread(parcels.piece, self._folder, entry, offset)
                await self._ask("put", entry.path, offset, data or b"")
                self.sent += len(data or b"")
        self._alike = await self._ask("settle", self._job)

    async def fetch(self) -> None:
        """Fetch what is new or changed there, and remove what is gone there. Raises OSError."""
        there: dict[str, Entry] = await self._ask("files", self._job)
        changed = [entry for path, entry in there.items() if self._alike.get(path) != entry]
        gone = self._alike.keys() - there.keys()
        if not changed and not gone:
            return
        arrival = await asyncio.to_thread(Arrival, self._folder)
        for entry in changed:
            for offset in _offsets(entry):
                data: bytes | None = await self._ask("piece", self._job, entry, offset)
                if data is None:  # it is another one by now
                    return
                await asyncio.to_thread(arrival.add, entry.path, offset, data)
                self.fetched += len(data)
        await asyncio.to_thread(arrival.settle, gone)
        self._alike = there

    async def results(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """The results where they lie here. Raises PostError if one is not as the worker wrote it."""
        here = tuple(replace(one, path=parcels.inside(self._folder, one.path.as_posix())) for one in results)
        for one in here:
            if not one.path.is_file() or await asyncio.to_thread(sha256, one.path) != one.sha256:
                raise PostError(f"{one.name} did not arrive as the worker wrote it")
        return here


def _offsets(entry: Entry) -> range:
    return range(0, max(entry.size, 1), parcels.PIECE_BYTES)
