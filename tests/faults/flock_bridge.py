"""A bridge to a hundred machines that are not there: takes what flock.py's backend says, and answers as they would."""

import heapq
import random
import sys
import threading
import time
from functools import partial
from itertools import count

from backend.guidance import library
from backend.service import pipe
from backend.service.pipe import Message
from backend.service.worker import own_pipes

MACHINES = 100
REPORT_SECONDS = 0.5


class Flock:
    """Jobs of one to three seconds on machines of unequal speed."""

    def __init__(self, news) -> None:
        self.news, self.draw = news, random.Random(0)
        self.due: list[tuple[float, int, object]] = []
        self.count = count()
        self.lock = threading.Lock()

    def tell(self, kind: str, blob: bytes = b"", **header: object) -> None:
        pipe.write(self.news, Message({"is": kind, **header}, blob))

    def later(self, seconds: float, act) -> None:
        with self.lock:
            heapq.heappush(self.due, (time.monotonic() + seconds, next(self.count), act))

    def obey(self, command: dict) -> None:
        seconds = self.draw.uniform(1.0, 3.0)
        whose = {"job": command["job"], "attempt": command["attempt"]}
        for turn in range(int(seconds / REPORT_SECONDS)):
            self.later(turn * REPORT_SECONDS, partial(self.advance, whose, turn))
        self.later(seconds, partial(self.tell, "finished", results=[], report={}, **whose))

    def advance(self, whose: dict, step: int) -> None:
        picture = bytes(20_000)
        header = {"stage": "optimising", "step": step, "steps": 9, "t": 500, "eta": 1.0}
        self.tell("advanced", picture, preview=len(picture), coarse=0, **whose, **header)

    def run(self) -> None:
        self.tell("ready", facts={})
        builtin = library.builtin()
        models = [[builtin.name, builtin.revision]]
        for index in range(MACHINES):
            facts = {"seconds_per_step": 0.01 * (1 + index)}
            self.tell("posted", name=f"ws{index}/cuda", state="idle", trouble="", models=models, facts=facts)
        while True:
            with self.lock:
                now = time.monotonic()
                acts = [heapq.heappop(self.due)[2] for _ in range(len(self.due)) if self.due[0][0] <= now]
            for act in acts:
                act()
            time.sleep(0.005)


def main() -> None:
    commands, news = own_pipes()
    flock = Flock(news)
    threading.Thread(target=flock.run, daemon=True).start()
    while (message := pipe.read(commands)) is not None:
        flock.obey(message.header)
    sys.exit(0)


if __name__ == "__main__":
    main()
