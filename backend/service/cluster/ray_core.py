"""A cluster as Ray Core has it. Only the bridge's process imports this, and nothing else imports Ray.

Ray looks for its token once, when it is imported: see `guard`.
"""

from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from backend.service.cluster.guard import LOCAL
from backend.service.cluster.machines import Contact, GoneError, Machine, PostError, UnreachableError
from backend.service.cluster.post import Post
from shared.limits import MIB

SLOTS = "dreamtime"
"""The resource by which a machine lends its processor: so many tasks at a time."""

_AT_ONCE = 4  # calls of one post: it is asked for news, files and a cancellation at the same time
_LOCAL_STORE_BYTES = 256 * MIB  # pieces of files are on their way there
_QUIET = {"log_to_driver": False, "logging_level": "error"}


class RayMachines:
    """See `Machines`. kind: "cuda" for the GPUs of the cluster, "cpu" for its slots. worker: see `Post`."""

    def __init__(self, kind: str, worker: str) -> None:
        self._kind, self._worker = kind, worker
        self._resource = "GPU" if kind == "cuda" else SLOTS

    def join(self, address: str) -> None:
        """Join the cluster at `address`. Raises ConnectionError."""
        try:
            ray.init(address=address, **_QUIET)
        except (RayError, RuntimeError, OSError) as error:
            problem, _, _ = str(error).partition(". ")
            raise ConnectionError(f"the cluster at {address} cannot be joined ({problem})") from error

    def begin(self, devices: int) -> None:
        """Begin a cluster of this machine alone."""
        lent = {"num_gpus": devices} if self._kind == "cuda" else {"resources": {SLOTS: devices}}
        ray.init(
            address=LOCAL,
            include_dashboard=False,
            object_store_memory=_LOCAL_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **lent,
            **_QUIET,
        )

    def leave(self) -> None:
        """Leave the cluster, with all posts; one of this machine alone ends with that."""
        ray.shutdown()

    def present(self) -> tuple[Machine, ...]:
        return tuple(_machine(node, self._resource) for node in ray.nodes() if node["Alive"])

    def station(self, machine: Machine) -> Contact:
        wanted = {"num_gpus": 1} if self._kind == "cuda" else {"resources": {SLOTS: 1}}
        there = NodeAffinitySchedulingStrategy(machine.id, soft=False)
        actor = ray.remote(Post).options(
            **wanted, num_cpus=0, max_concurrency=_AT_ONCE, max_restarts=0, scheduling_strategy=there
        )
        return _RayContact(actor.remote(self._kind, self._worker))


class _RayContact:
    """See `Contact`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def ask(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except ActorUnavailableError as error:
            raise UnreachableError(_brief(error)) from error
        except RayTaskError as error:
            raise PostError(_brief(error.cause)) from error
        except RayActorError as error:
            raise GoneError(_brief(error)) from error
        except RayError as error:
            raise UnreachableError(_brief(error)) from error

    def end(self) -> None:
        ray.kill(self._actor, no_restart=True)


def _machine(node: dict[str, Any], resource: str) -> Machine:
    """A machine goes by the name that it was given with --node-name, or else by its own."""
    named, address = node["NodeName"], node["NodeManagerAddress"]
    name = node["NodeManagerHostname"] if named == address else named
    return Machine(node["NodeID"], name, int(node["Resources"].get(resource, 0)))


def _brief(error: BaseException) -> str:
    """Its last line, which says what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
