"""What was lost, doubled or spoilt: the artists' journals and files against the server's own rows."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from backend.service.dispatch import CRASHES_FORGIVEN
from shared.jobs import Generation
from shared.records import from_json, to_json
from shared.states import FINAL


def view(home: Path) -> dict:
    try:
        return json.loads((home / "view").read_text())
    except FileNotFoundError:
        return {"at": 0.0, "cursor": 0, "states": {}}


def journal(home: Path) -> Iterator[dict]:
    for line in (home / "journal").read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)


class Findings:
    """What the journals of the artists and the server's rows say together."""

    def __init__(
        self, executions: Path, homes: list[Path], owners: dict[str, str], database: sqlite3.Connection
    ) -> None:
        """executions: a file with a line for each. homes: folders of the artists, in their order. owners: their keys by
        name. database: the server's.
        """
        self.acknowledged = self.done = self.cancelled = self.failed = 0
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.rows = {(row["owner"], row["id"]): row for row in database.execute("SELECT * FROM jobs")}
        done = database.execute("SELECT owner, job FROM events WHERE state = 'done'")
        self.many = sum(count > 1 for count in Counter(map(tuple, done)).values())
        for index, home in enumerate(homes):
            self.examine(home, owners[f"artist {index}"])
        lines = executions.read_text().splitlines()
        finished = Counter(json.loads(line)["folder"] for line in lines)
        self.executions = sum(finished.values())
        self.again = sum(count - 1 for count in finished.values())

    def lose(self, what: str, id: str, why: str) -> None:
        self.counts[what] += 1
        self.wrong.append(f"{what}: job {id}: {why}")

    def examine(self, home: Path, owner: str) -> None:
        acknowledged, cancelled, fetched = set(), set(), set()
        intended = {}
        for entry in journal(home):
            if entry["did"] == "intend":
                intended |= {id: (entry["request"], index) for index, id in enumerate(entry["ids"])}
            acknowledged |= set(entry.get("ids", [])) if entry["did"] == "acknowledged" else set()
            cancelled |= {entry["id"]} if entry["did"] == "cancel" else set()
            fetched |= {entry["id"]} if entry["did"] == "fetched" else set()
        known = view(home)["states"]
        for id in acknowledged:
            self.acknowledged += 1
            row = self.rows.get((owner, id))
            if row is None:
                self.lose("lost", id, "the server does not know it")
            elif row["state"] not in FINAL:
                self.lose("lost", id, f"it is still {row['state']}")
            else:
                self.examine_final(row, id in cancelled, id in fetched)
                if known.get(id, "deleted") != row["state"]:  # what was deleted is listed no more
                    self.lose("wrong state", id, f"the artist thinks it is {known.get(id)}, it is {row['state']}")
        extra = {id for mine, id in self.rows if mine == owner} - set(intended)
        for id in extra:
            self.lose("duplicates", id, "nobody asked for it")
        self.examine_files(home, fetched, intended)

    def examine_final(self, row: sqlite3.Row, cancelled: bool, fetched: bool) -> None:
        match row["state"]:
            case "done" | "deleted":
                self.done += 1
                if not fetched:
                    self.lose("lost", row["id"], "its result was not fetched")
            case "cancelled":
                self.cancelled += 1
                if not cancelled:
                    self.lose("lost", row["id"], "it was cancelled, and nobody wanted that")
            case "failed":
                self.failed += 1
                if row["crashes"] < CRASHES_FORGIVEN:
                    self.lose("lost", row["id"], f"it failed: {row['reason']}")

    def examine_files(self, home: Path, fetched: set[str], intended: dict[str, tuple[dict, int]]) -> None:
        for id in fetched:
            folder = home / "results" / id
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            if set(files) != {"mesh.glb", "preview.png", "turntable.gif", "report.json"}:
                self.lose("corrupt", id, f"there are {sorted(files)}")
                continue
            report = json.loads(files["report.json"])
            request, index = intended[id]
            digest = request_digest(request, index)
            if report["digest"] != digest or hashlib.sha256(files["mesh.glb"]).hexdigest() != report["mesh"]:
                self.lose("corrupt", id, "the result is not the one that was asked for")


def request_digest(request: dict, index: int) -> str:
    """What the fake worker makes of the request; see fake_worker.py."""
    asked = from_json(Generation, request)
    values = to_json(replace(asked, seed=asked.seed + index))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
