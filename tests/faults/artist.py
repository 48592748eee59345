"""An artist who loses nothing: submits, follows, cancels, fetches, and goes on after being killed.

    python tests/faults/artist.py FOLDER SEED

FOLDER/pairing holds the line of the backend. What is meant, acknowledged and fetched is written to FOLDER/journal
before and after it is done; FOLDER/view tells what the artist knows, and when it last heard. With FOLDER/drain there,
nothing new is begun, and the process ends when everything is finished and fetched.
"""

import hashlib
import json
import os
import random
import struct
import sys
import time
from pathlib import Path

from shared.client import Client
from shared.connection import Patience
from shared.errors import Spoilt, Storage, TooMuch, TransferError, UnknownAsset
from shared.inputs import PICTURE, Start
from shared.jobs import Generation, JobState, new_job_id
from shared.pairing import Pairing
from shared.records import from_json, to_json
from shared.states import FINAL, State

AT_ONCE = 3
OBJECTS = ("mug", "cube", "boat")
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0)
"""As far as the backend looks at it; the fake workers look at all bytes, and draw none."""


class Artist:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed + os.getpid())
        self.intended: dict[str, tuple[list[str], Generation]] = {}
        self.acknowledged: set[str] = set()
        self.fetched: set[str] = set()
        self.deleted: set[str] = set()
        self.states: dict[str, str] = {}
        self.read_journal()
        self.journal = (folder / "journal").open("ab", buffering=0)
        self.client = Client(Pairing.parse((folder / "pairing").read_text()), "tests", Patience(None))

    def read_journal(self) -> None:
        path = self.folder / "journal"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        if path.exists() and lines[-1]:  # killed in the middle of a line
            path.write_bytes(b"".join(line + b"\n" for line in lines[:-1]))
        for line in lines[:-1]:
            entry = json.loads(line)
            match entry["did"]:
                case "intend":
                    for id in entry["ids"]:
                        self.intended[id] = entry["ids"], from_json(Generation, entry["request"])
                case "acknowledged":
                    self.acknowledged |= set(entry["ids"])
                case "fetched":
                    self.fetched.add(entry["id"])
                case "deleted":
                    self.deleted.add(entry["id"])

    def note(self, did: str, **facts: object) -> None:
        self.journal.write(json.dumps({"did": did, **facts}).encode() + b"\n")
        os.fsync(self.journal.fileno())

    def show(self, cursor: int) -> None:
        """Tell the harness what is known now."""
        view = {"at": time.monotonic(), "cursor": cursor, "states": self.states}
        partial = self.folder / "view.partial"
        partial.write_text(json.dumps(view))
        partial.replace(self.folder / "view")

    def run(self) -> None:
        self.resubmit()
        boot, cursor, live = "", None, 0
        while True:
            news = self.client.news(cursor, live, 0.0 if cursor is None else 0.5)
            if news.boot != boot:
                self.reconcile()
            for event in news.events:
                self.states[event.job] = event.state
            boot, cursor, live = news.boot, news.cursor, news.live
            self.care()
            self.show(cursor)
            unfinished = [id for id in self.acknowledged - self.deleted if self.states.get(id) not in FINAL]
            if (self.folder / "drain").exists():
                if not unfinished and not self.to_fetch() and set(self.intended) == self.acknowledged:
                    return
            elif len(unfinished) < AT_ONCE:
                self.submit()
            elif self.draw.random() < 0.05:
                self.cancel(self.draw.choice(unfinished))

    def reconcile(self) -> None:
        """What the backend says counts, when it is another one than before."""
        for job in self.client.jobs():
            self.states[job.id] = job.state

    def submit(self) -> None:
        steps, size = self.draw.randrange(2, 30), self.draw.choice([10, 2000, 1_500_000])
        prompt = f"a {self.draw.choice(OBJECTS)} steps={steps} pace=0.01 size={size} keep=2 preview=1"
        start = self.drawn() if self.draw.random() < 0.3 else None
        request = Generation(prompt, seed=self.draw.randrange(1000), start=start)
        ids = [new_job_id() for _ in range(self.draw.choice([1, 1, 2]))]
        self.note("intend", ids=ids, request=to_json(request))
        for id in ids:
            self.intended[id] = ids, request
        self.ask(ids, request)

    def drawn(self) -> Start:
        """An input of the artist's own, on the artist's disk."""
        size = self.draw.choice([100, 300_000, 3_000_000])
        content = PNG + self.draw.randbytes(size)
        start = Start(PICTURE, hashlib.sha256(content).hexdigest(), "front")
        self.input(start).parent.mkdir(exist_ok=True)
        self.input(start).write_bytes(content)
        return start

    def input(self, start: Start) -> Path:
        return self.folder / "inputs" / start.sha256

    def resubmit(self) -> None:
        for id in list(self.intended):
            if id not in self.acknowledged:
                self.ask(*self.intended[id])

    def ask(self, ids: list[str], request: Generation) -> None:
        while True:
            try:
                if request.start:
                    self.client.upload(request.start, self.input(request.start))
                jobs = self.client.submit(tuple(ids), request)
            except (Storage, TooMuch, Spoilt):
                time.sleep(0.1)
                continue
            break
        self.note("acknowledged", ids=ids)
        self.acknowledged |= set(ids)
        for job in jobs:
            self.states[job.id] = job.state

    def cancel(self, id: str) -> None:
        self.note("cancel", id=id)
        try:
            self.states[id] = self.client.cancel(id).state
        except Storage:
            return

    def to_fetch(self) -> list[str]:
        return [id for id in self.acknowledged - self.fetched if self.states.get(id) == State.DONE]

    def care(self) -> None:
        """Fetch what is done, and now and then delete what was fetched."""
        for id in self.to_fetch():
            try:
                self.fetch(self.client.state(id))
            except (Storage, UnknownAsset, TransferError):
                return
        rest = list(self.fetched - self.deleted)
        if rest and self.draw.random() < 0.05:
            id = self.draw.choice(rest)
            try:
                self.states[id] = self.client.delete(id).state
            except Storage:
                return
            self.note("deleted", id=id)
            self.deleted.add(id)

    def fetch(self, job: JobState) -> None:
        if job.state != State.DONE:
            self.states[job.id] = job.state
            return
        folder = self.folder / "results" / job.id
        folder.mkdir(parents=True, exist_ok=True)
        self.client.fetch_all(job, folder)
        self.note("fetched", id=job.id)
        self.fetched.add(job.id)


if __name__ == "__main__":
    Artist(Path(sys.argv[1]), int(sys.argv[2])).run()
