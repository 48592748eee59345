"""What the bridge needs of a cluster: its machines, and posts on their devices."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


class GoneError(Exception):
    """The post is dead, and will not come back."""


class UnreachableError(Exception):
    """The post did not answer, and may yet; what was asked may have been done or not."""


class PostError(Exception):
    """The post could not do what was asked."""


@dataclass(frozen=True)
class Machine:
    """A machine that is there. id: another one after each start of Ray on it. devices: how many it lends."""

    id: str
    name: str
    devices: int


@runtime_checkable
class Contact(Protocol):
    """The way to one post."""

    async def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of `post.Post` returns. Raises GoneError, UnreachableError and PostError."""
        ...

    def end(self) -> None:
        """End the post, whatever it does."""
        ...


@runtime_checkable
class Machines(Protocol):
    """A cluster."""

    def present(self) -> tuple[Machine, ...]:
        """The machines that are there. It may take a while."""
        ...

    def station(self, machine: Machine) -> Contact:
        """Put a post on a device of `machine`; it answers once the cluster has given it one."""
        ...
