"""Machines that are threads of this process, with posts whose workers are real processes that pretend."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from backend.service.cluster.machines import GoneError, Machine, UnreachableError
from backend.service.cluster.post import Post
from backend.service.slot import Patience

DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""

LONG = Patience(cancel=DEADLINE, terminate=DEADLINE, start=DEADLINE, restart=0.01, restart_most=0.02, broken=0.3)
PATIENCE = LONG
"""What the posts of a hall have."""

FAKE = "tests.service.fake_worker"


class Wire:
    """The way to a post, which can be cut, and the post be killed. losing: methods whose next answer gets lost."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.cut = self.dead = self.ended = False
        self.losing: list[str] = []

    async def ask(self, method: str, *arguments: Any) -> Any:
        self.check()
        answer = await asyncio.to_thread(getattr(self.post, method), *arguments)
        self.check()
        if method in self.losing:
            self.losing.remove(method)
            raise UnreachableError("the answer was lost")
        return answer

    def check(self) -> None:
        if self.dead:
            raise GoneError("the actor died")
        if self.cut:
            raise UnreachableError("socket closed")

    def kill(self) -> None:
        self.dead = True
        self.post.close()

    def end(self) -> None:
        self.ended = True
        self.post.close()


class Hall:
    """Machines that come and go. wires: those to the posts, in the order in which they were put there."""

    def __init__(self) -> None:
        self.machines: list[Machine] = []
        self.wires: list[Wire] = []

    def add(self, name: str, devices: int = 1) -> None:
        self.machines.append(Machine(f"id of {name}", name, devices))

    def present(self) -> tuple[Machine, ...]:
        return tuple(self.machines)

    def station(self, machine: Machine) -> Wire:
        self.wires.append(Wire(Post("cpu", FAKE, PATIENCE)))
        return self.wires[-1]


def until(done: Callable[[], Any]) -> Any:
    """What `done` returns as soon as that is something."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE} s")
