"""The child process of the server that speaks to the cluster, so that nothing that befalls Ray befalls the server.

    python -m backend.service.cluster.bridge --address HOST:PORT --device cuda

Commands come in on the standard input and news goes out on the standard output, both as `pipe` has them. It keeps a
post on each device that the cluster lends, and ends with the server.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from functools import partial
from io import BufferedIOBase
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from backend.service import pipe
from backend.service.cluster import guard
from backend.service.cluster.machines import GoneError, Machine, Machines, PostError, UnreachableError
from backend.service.cluster.post import Standing
from backend.service.cluster.station import Station
from backend.service.executor import Advanced, Lost, Task, Update
from backend.service.pipe import Message, PipeError
from backend.service.worker import die_with_parent, own_pipes
from shared.limits import TEXT_CHARACTERS

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Between two looks for machines that came or went."""

LOST_SECONDS = 60.0
"""When the cluster does not say for so long which machines there are, this process ends, and is started anew."""

_PAUSE_SECONDS, _PAUSE_MOST_SECONDS = 1.0, 30.0  # before a device whose post died gets another
_PATIENCE_SECONDS = 20.0  # until it is said what a device waits for


class Bridge:
    """See the top of the file. kind: of the devices. tell: sends one message to the server."""

    def __init__(self, machines: Machines, kind: str, tell: Callable[[Message], None]) -> None:
        self._machines, self._kind, self._tell = machines, kind, tell
        self._present: frozenset[str] = frozenset()
        self._places: dict[tuple[str, int], str] = {}
        self._stations: dict[str, Station] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def watch(self) -> None:
        """Keep posts where the cluster lends devices. Raises TimeoutError when it is out of reach."""
        while True:
            machines = await self._look()
            for machine in machines:
                for index in range(machine.devices):
                    if (machine.id, index) not in self._places:
                        self._places[machine.id, index] = self._name(machine)
                        self._spawn(self._hold(machine, index))
            await asyncio.sleep(WATCH_SECONDS)

    def obey(self, command: dict[str, Any]) -> None:
        """Do what the server says."""
        job = command["job"]
        if command["do"] == "cancel":
            for each in self._stations.values():
                self._spawn(each.cancel(job))
            return
        given = command["given"] and Path(command["given"])
        task = Task(job, command["attempt"], command["request"], Path(command["folder"]), given)
        station = self._stations.get(command["device"])
        if station:
            self._spawn(station.carry(task))
        else:
            self._report(command["device"], Lost(task.job, task.attempt, f"{command['device']} has just left"))

    async def _look(self) -> tuple[Machine, ...]:
        async with asyncio.timeout(LOST_SECONDS):
            machines = await asyncio.to_thread(self._machines.present)
        self._present = frozenset(machine.id for machine in machines)
        return machines

    async def _hold(self, machine: Machine, index: int) -> None:
        """Keep a post on one device of a machine, until that is gone."""
        name, pause = self._places[machine.id, index], _PAUSE_SECONDS
        while machine.id in self._present:
            heard = await self._attend(machine, name)
            pause = _PAUSE_SECONDS if heard else min(2 * pause, _PAUSE_MOST_SECONDS)
            await asyncio.sleep(pause)
        del self._places[machine.id, index]
        self._tell(Message({"is": "withdrawn", "name": name}))

    async def _attend(self, machine: Machine, name: str) -> bool:
        """Have a post on a device as long as it lives; whether it said anything."""
        heard = asyncio.Event()

        def report(news: Update | Standing) -> None:
            heard.set()
            self._report(name, news)

        async def present() -> bool:
            return machine.id in {one.id for one in await self._look()}

        contact = self._machines.station(machine)
        station = self._stations[name] = Station(machine.name, contact, report, present)
        waiting = self._spawn(self._explain(name, heard))
        try:
            await station.attend()
        except (GoneError, UnreachableError, PostError) as error:
            logger.warning("%s: %s", name, error)
            self._report(name, Standing("broken", str(error), frozenset(), {}))
        finally:
            waiting.cancel()
            del self._stations[name]
            contact.end()
        return heard.is_set()

    async def _explain(self, name: str, heard: asyncio.Event) -> None:
        """Say what a device waits for that is not there after a while."""
        self._report(name, Standing("starting", "", frozenset(), {}))
        await asyncio.sleep(_PATIENCE_SECONDS)
        if not heard.is_set():
            self._report(name, Standing("starting", "waits for the cluster, where others may use it", frozenset(), {}))

    def _name(self, machine: Machine) -> str:
        name, taken = f"{machine.name}/{self._kind}", set(self._places.values())
        return name if name not in taken else next(f"{name} {n}" for n in count(2) if f"{name} {n}" not in taken)

    def _report(self, name: str, news: Update | Standing) -> None:
        self._tell(_message(name, news))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        """What nobody foresaw ends this process; the server starts another one, and jobs go on."""
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("the bridge failed", exc_info=error)
            os._exit(1)


def _message(name: str, news: Update | Standing) -> Message:
    """One message to the server."""
    if isinstance(news, Standing):
        header = {**asdict(news), "trouble": news.trouble[:TEXT_CHARACTERS], "models": sorted(news.models)}
        return Message({"is": "posted", "name": name, **header})
    header = asdict(news)
    if isinstance(news, Advanced):
        header |= {"preview": len(news.preview), "coarse": len(news.coarse)}
        return Message({"is": "advanced", **header}, news.preview + news.coarse)
    header = json.loads(json.dumps(header, default=str))  # paths of results
    return Message({"is": type(news).__name__.lower(), **header})


def main() -> NoReturn:
    """Be the bridge of a server until it closes the standard input or dies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True, help="HOST:PORT of the cluster's head, or local")
    parser.add_argument("--device", required=True, help="cpu or cuda")
    parser.add_argument("--devices", type=int, default=1, help="how many this machine lends, with --address local")
    parser.add_argument("--worker", default="backend.service.worker")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    die_with_parent()
    commands, news = own_pipes()
    tell = partial(_tell, news, threading.Lock())
    lack = guard.lack(options.address)
    if lack:
        _give_up(lack, tell)
    from backend.service.cluster.ray_core import RayMachines

    machines = RayMachines(options.device, options.worker)
    try:
        if options.address == guard.LOCAL:
            machines.begin(options.devices)
        else:
            machines.join(options.address)
    except ConnectionError as error:
        _give_up(str(error), tell)
    tell(Message({"is": "ready", "facts": {}}))
    asyncio.run(_bridge(Bridge(machines, options.device, tell), commands, machines.leave))
    os._exit(1)


def _give_up(sentence: str, tell: Callable[[Message], None]) -> NoReturn:
    tell(Message({"is": "trouble", "sentence": sentence[:TEXT_CHARACTERS]}))
    sys.exit(sentence)


async def _bridge(bridge: Bridge, commands: BufferedIOBase, leave: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    threading.Thread(target=_obey, args=(bridge, commands, loop, leave), name="commands", daemon=True).start()
    try:
        await bridge.watch()
    except TimeoutError:
        logger.error("the cluster does not answer")


def _obey(bridge: Bridge, commands: BufferedIOBase, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]) -> None:
    """Take commands, until there is no server to give them. The posts end with their owner, which is this process."""
    try:
        while (message := pipe.read(commands)) is not None:
            loop.call_soon_threadsafe(bridge.obey, message.header)
        leave()
    except (PipeError, OSError):
        logger.exception("the server's commands cannot be understood")
    finally:
        os._exit(0)


def _tell(news: BufferedIOBase, lock: threading.Lock, message: Message) -> None:
    try:
        with lock:
            pipe.write(news, message)
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    main()
