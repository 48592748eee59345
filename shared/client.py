"""The client: what can be asked of a backend, for the command line and the add-on alike.

A `Client` is for one thread. It asks one thing at a time, or fetches a file with several chunks under way. What a
lost connection costs is for its `Patience` to say.
"""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from . import limits
from .assets import Asset
from .connection import Connection, Patience
from .errors import Spoilt, TransferError
from .inputs import Start
from .jobs import Generation, JobState, Live
from .messages import (
    Acknowledge,
    Cancel,
    Chunk,
    Delete,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    News,
    Submit,
    Upload,
    Welcome,
)
from .pairing import Pairing
from .states import FINAL
from .words import Words


class Client:
    """Speaks to the backend that `pairing` names. version: of the program, for the backend's information."""

    def __init__(self, pairing: Pairing, version: str, patience: Patience | None = None) -> None:
        self.pairing = pairing
        self._version = version
        self._connection = Connection(pairing, patience or Patience())

    def stop(self) -> None:
        """Let whatever waits here raise Stopped, now and from now on. The one method for other threads."""
        self._connection.stop()

    def close(self) -> None:
        """End at once; nothing is waited for."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- requests ---

    def hello(self) -> Welcome:
        return self._connection.ask(Hello(self._version), Welcome)

    def submit(self, jobs: tuple[str, ...], request: Generation) -> tuple[JobState, ...]:
        """Make these jobs; keep the ids before, and submit again with the same ones if no answer came."""
        return self._connection.ask(Submit(jobs, request), Jobs).jobs

    def state(self, job: str) -> JobState:
        return self._connection.ask(GetState(job), Jobs).jobs[0]

    def jobs(self) -> Iterator[JobState]:
        """All of the artist's jobs, the newest first."""
        before, more = None, True
        while more:
            page = self._connection.ask(GetList(before), Jobs)
            yield from page.jobs
            more = page.more
            before = page.jobs[-1].number if page.jobs else None

    def news(self, cursor: int | None, live: int, wait: float) -> News:
        """Events after `cursor` and progress after `live`, as soon as there are any, within `wait` seconds."""
        return self._connection.ask(GetEvents(cursor, live, wait), News, wait)

    def cancel(self, job: str) -> JobState:
        return self._connection.ask(Cancel(job), Jobs).jobs[0]

    def acknowledge(self, job: str) -> JobState:
        """Say that all results of the job are here."""
        return self._connection.ask(Acknowledge(job), Jobs).jobs[0]

    def delete(self, job: str) -> JobState:
        return self._connection.ask(Delete(job), Jobs).jobs[0]

    def words(self, file: Asset) -> Words:
        """The words of a model, by what its offer says of them. Raises TransferError if the bytes are others."""
        content = bytearray()
        self._connection.patiently(lambda: self._receive(file, len(content), content.extend))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise TransferError(f"{file.name} arrived with other bytes than the backend promised")
        return Words.unpack(bytes(content))

    # --- longer conversations ---

    def follow(self, job: str) -> Iterator[JobState | Live]:
        """Where the job is, whenever that changes, until it is finished. Survives restarts of the backend."""
        boot, cursor, live = "", None, 0
        state = None
        while state is None or state.state not in FINAL:
            news = self.news(cursor, live, 0.0 if cursor is None else limits.LONG_POLL_SECONDS)
            yield from (part for part in news.running if part.job == job)
            if news.boot != boot or any(event.job == job for event in news.events):
                state = self.state(job)
                yield state
            boot, cursor, live = news.boot, news.cursor, news.live

    def fetch(self, asset: Asset, path: Path, received: Callable[[int], object] = lambda size: None) -> None:
        """Bring a file of a result here: whole and as promised, or not at all.

        What an interrupted fetch left beside `path` is gone on from. received: hears how many bytes are there.
        Raises TransferError if the bytes are others than promised, OSError if they cannot be written.
        """
        part = path.with_name(f"{path.name}.{asset.sha256[:12]}.part")
        with part.open("a+b") as file:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
            if file.tell() > asset.size:
                file.truncate(0)
                file.seek(0)
                digest = hashlib.sha256()

            def keep(chunk: bytes) -> None:
                file.write(chunk)
                digest.update(chunk)

            self._connection.patiently(lambda: self._receive(asset, file.tell(), keep, received))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != asset.sha256:
            part.unlink()
            raise TransferError(f"{asset.name} arrived with other bytes than the backend promised")
        part.replace(path)

    def upload(self, start: Start, path: Path, sent: Callable[[int], object] = lambda size: None) -> None:
        """Bring the input in the file at `path` to the backend, so that a job may begin from it.

        What is there already is not sent again, also after a lost connection. sent: hears how many bytes are there.
        Raises Refusal if the backend does not take it, OSError if the file cannot be read.
        """
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                self._connection.patiently(lambda: self._bring(start, file, size, sent))
            except Spoilt:  # a power cut may have left zeros there; once it is sent again from the first byte
                self._connection.patiently(lambda: self._bring(start, file, size, sent))

    def _bring(self, start: Start, file: BinaryIO, size: int, sent: Callable[[int], object]) -> None:
        """Send the bytes that are not there yet, in order, with several chunks under way."""

        def put(offset: int, length: int) -> int:
            file.seek(offset)
            return self._connection.send(Upload(start.sort, start.sha256, size, offset, file.read(length)))

        there = self._connection.answer(put(0, 0), Held).there
        sent(there)
        wanted = iter(range(there, size, limits.CHUNK_BYTES))
        under_way: deque[int] = deque()
        while there < size:
            free = limits.CHUNKS_IN_FLIGHT - len(under_way)
            under_way += [put(offset, limits.CHUNK_BYTES) for offset in itertools.islice(wanted, free)]
            if not under_way:
                raise TransferError(f"the backend did not take all of {start.name}", "generate it again")
            there = self._connection.answer(under_way.popleft(), Held).there
            sent(there)

    def fetch_all(self, job: JobState, folder: Path, received: Callable[[int], object] = lambda size: None) -> None:
        """Bring all results of a job into `folder`, then tell the backend that they are here."""
        total = 0

        def added(size: int) -> None:
            received(total + size)

        for asset in job.results:
            self.fetch(asset, folder / asset.name, added)
            total += asset.size
        self.acknowledge(job.id)

    def _receive(
        self,
        asset: Asset,
        start: int,
        write: Callable[[bytes], None],
        received: Callable[[int], object] = lambda size: None,
    ) -> None:
        """Write the bytes of `asset` from `start` on, in order, with several chunks under way."""
        wanted = iter(range(start, asset.size, limits.CHUNK_BYTES))
        under_way: deque[tuple[int, int]] = deque()
        done = start
        while done < asset.size:
            for offset in itertools.islice(wanted, limits.CHUNKS_IN_FLIGHT - len(under_way)):
                length = min(limits.CHUNK_BYTES, asset.size - offset)
                under_way.append((self._connection.send(Fetch(asset.sha256, offset, length)), length))
            number, length = under_way.popleft()
            chunk = self._connection.answer(number, Chunk)
            if (chunk.sha256, chunk.offset, chunk.size, len(chunk.body)) != (asset.sha256, done, asset.size, length):
                raise TransferError(f"{asset.name} is not as long as the backend promised")
            write(chunk.body)
            done += length
            received(done)
