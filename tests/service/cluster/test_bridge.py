"""The bridge and its posts: tasks are seen through, whatever comes in between; machines come and go."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.service.cluster import bridge as module
from backend.service.cluster import station
from backend.service.cluster.bridge import Bridge
from backend.service.cluster.executor import News, Posted, Withdrawn, understood
from backend.service.cluster.machines import GoneError, UnreachableError
from backend.service.executor import Advanced, Crashed, Failed, Finished, Lost, Stopped
from backend.service.pipe import Message
from tests.service.cluster import pretending
from tests.service.cluster.pretending import Hall, until


class Server:
    """What the server has of a bridge, which runs in a thread. news: all that came of it."""

    def __init__(self, hall: Hall, folder: Path) -> None:
        self.folder = folder
        self.news: list[News] = []
        self.loop = asyncio.new_event_loop()
        self.bridge = Bridge(hall, "cpu", self._hear)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def start(self, prompt: str, job: str = "7", attempt: int = 1, device: str = "ws1/cpu") -> None:
        until(lambda: self.state(device) == "idle")
        self.order(_request(prompt), job, attempt, device)

    def order(
        self,
        request: dict[str, Any],
        job: str = "7",
        attempt: int = 1,
        device: str = "ws1/cpu",
        given: str | None = None,
    ) -> None:
        whose = {"device": device, "job": job, "attempt": attempt, "folder": self.of(job)}
        self.obey(do="start", request=request, given=given, **whose)

    def obey(self, **command: Any) -> None:
        self.loop.call_soon_threadsafe(self.bridge.obey, command)

    def of(self, job: str) -> str:
        return str(self.folder / job)

    def state(self, device: str) -> str | None:
        """How the device stands, as it was said last."""
        said = [one for one in self.news if isinstance(one, Posted | Withdrawn) and one.name == device]
        return said[-1].state if said and isinstance(said[-1], Posted) else None

    def trouble(self, device: str) -> str:
        said = [one for one in self.news if isinstance(one, Posted) and one.name == device]
        return said[-1].trouble if said else ""

    def ended(self, job: str = "7", attempt: int = 1) -> Any:
        """How the attempt ended: it does so once."""
        kinds = (Finished, Crashed, Stopped, Lost)

        def found() -> list[Any]:
            return [one for one in self.news if isinstance(one, kinds) and (one.job, one.attempt) == (job, attempt)]

        until(found)
        (only,) = found()
        return only

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._work.cancel)
        self._thread.join()

    def _hear(self, message: Message) -> None:
        self.news += understood(message)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._work = self.loop.create_task(self.bridge.watch())
        try:
            self.loop.run_until_complete(self._work)
        except asyncio.CancelledError:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def _request(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "seed": 1}


@pytest.fixture
def server(hall: Hall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(station, "MIRROR_SECONDS", 0.02)
    monkeypatch.setattr(station, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(station, "_AGAIN_SECONDS", 0.01)
    hall.add("ws1")
    server = Server(hall, tmp_path / "work")
    yield server
    server.close()


def test_a_task_is_done_when_its_results_lie_in_the_servers_folder(server: Server) -> None:
    server.start("steps=5 size=3000000 preview=1")
    finished = server.ended()
    assert isinstance(finished, Finished)
    for result in finished.results:
        assert result.path.is_relative_to(server.of("7"))
        assert hashlib.sha256(result.path.read_bytes()).hexdigest() == result.sha256
    pictures = [one.preview for one in server.news if isinstance(one, Advanced) and one.preview]
    assert pictures[0].startswith(b"\x89PNG")
    assert server.state("ws1/cpu") == "idle"


def test_what_a_task_begins_from_goes_with_it(server: Server, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"a mesh")
    start = {"sort": "mesh", "sha256": hashlib.sha256(b"a mesh").hexdigest(), "name": "Suzanne"}
    until(lambda: server.state("ws1/cpu") == "idle")
    server.order({**_request("steps=3"), "start": start}, given=str(sent))
    assert isinstance(server.ended(), Finished)
    server.order({**_request("steps=3"), "start": start}, job="8")  # without it, it is not done
    until(lambda: any(isinstance(one, Failed) and one.job == "8" for one in server.news))


def test_lost_answers_change_nothing(server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "_AGAIN_SECONDS", 0.5)  # in which such a task is done
    until(lambda: server.state("ws1/cpu") == "idle")
    hall.wires[0].losing = ["prepare", "put", "settle", "start", "look", "files", "piece", "piece", "forget"]
    Path(server.of("7")).mkdir(parents=True)
    (Path(server.of("7")) / "kept").write_text("from before")
    server.start("steps=5 size=3000000")
    assert isinstance(server.ended(), Finished)
    assert hall.wires[0].losing == []
    assert (Path(server.of("7")) / "executions.log").read_text().count("\n") == 1


def test_a_task_whose_machine_vanished_goes_on_elsewhere_from_the_last_checkpoint(server: Server, hall: Hall) -> None:
    hall.add("ws2")
    server.start("steps=4000 pace=0.005")
    checkpoint = Path(server.of("7")) / "checkpoint.json"
    until(checkpoint.exists)
    hall.machines.pop(0)
    hall.wires[0].kill()
    assert isinstance(server.ended(), Lost)
    until(lambda: Withdrawn("ws1/cpu") in server.news)
    server.start("steps=4000 pace=0.005", attempt=2, device="ws2/cpu")
    first = until(lambda: [one for one in server.news if isinstance(one, Advanced) and one.attempt == 2 and one.step])
    assert first[0].step > 1


def test_a_post_that_dies_on_a_machine_that_lives_is_a_crash_and_is_replaced(server: Server, hall: Hall) -> None:
    server.start("hang=3")
    until(lambda: any(isinstance(one, Advanced) for one in server.news))
    hall.wires[0].kill()
    assert isinstance(server.ended(), Crashed)
    server.start("steps=3", attempt=2)
    assert isinstance(server.ended(attempt=2), Finished)


def test_a_silent_machine_is_given_up_and_its_post_is_not_heard_any_more(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start("hang=3")
    until(lambda: any(isinstance(one, Advanced) for one in server.news))
    monkeypatch.setattr(station, "SILENT_SECONDS", 0.2)
    hall.wires[0].cut = True
    lost = server.ended()
    assert isinstance(lost, Lost)
    assert "ws1" in lost.reason
    until(lambda: hall.wires[0].ended)
    until(lambda: len(hall.wires) > 1)


def test_a_post_that_was_given_up_is_no_crash_of_its_task(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start("hang=3")
    until(lambda: any(isinstance(one, Advanced) for one in server.news))
    monkeypatch.setattr(station, "SILENT_SECONDS", 0.5)
    wire, silences = hall.wires[0], []

    async def ask(method: str, *arguments: Any) -> Any:
        if method == "look":
            silences.append(method)
            raise UnreachableError("socket closed")
        if len(silences) < 3:
            return {}
        while not wire.ended:  # what was asked hangs until the post is ended, as it is silent
            await asyncio.sleep(0.01)
        raise GoneError("it was ended")

    monkeypatch.setattr(wire, "ask", ask)
    assert isinstance(server.ended(), Lost)


def test_a_crash_keeps_the_checkpoint(server: Server) -> None:
    server.start("steps=30 crash=20")
    crashed = server.ended()
    assert (crashed.reason, crashed.sentence.partition(":")[0]) == ("SIGKILL", "ws1")
    server.start("steps=30 crash=20", attempt=2)
    assert isinstance(server.ended(attempt=2), Finished)
    steps = [one.step for one in server.news if isinstance(one, Advanced) and one.attempt == 2 and one.step]
    assert min(steps) >= 20


def test_a_task_can_be_cancelled_while_it_is_still_on_its_way(server: Server) -> None:
    until(lambda: server.state("ws1/cpu") == "idle")
    request = _request("steps=100000 pace=0.01")
    server.order(request)
    server.obey(do="cancel", job="7")
    assert server.ended() == Stopped("7", 1)
    server.start("steps=100000 pace=0.01", "8")
    until(lambda: any(isinstance(one, Advanced) and one.step for one in server.news))
    server.obey(do="cancel", job="8")
    assert server.ended("8") == Stopped("8", 1)


def test_a_worker_that_will_not_be_cancelled_is_killed(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretending, "PATIENCE", replace(pretending.LONG, cancel=0.05, terminate=0.05))
    hall.add("ws2")
    server.start("steps=100000 pace=0.01 deaf=1 stubborn=1", device="ws2/cpu")
    until(lambda: any(isinstance(one, Advanced) and one.step for one in server.news))
    server.obey(do="cancel", job="7")
    assert server.ended() == Stopped("7", 1)
    server.start("steps=3", "8", device="ws2/cpu")
    assert isinstance(server.ended("8"), Finished)


def test_a_task_for_a_device_that_has_just_left_is_given_back(server: Server) -> None:
    server.order(_request(""), device="ws9/cpu")
    assert isinstance(server.ended(), Lost)


def test_a_result_that_was_damaged_on_its_way_is_none(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: server.state("ws1/cpu") == "idle")
    post = hall.wires[0].post
    piece = post.piece
    monkeypatch.setattr(post, "piece", lambda *which: (piece(*which) or b"").replace(b"GIF89a", b"GIF87a"))
    server.start("steps=3")
    crashed = server.ended()
    assert isinstance(crashed, Crashed)
    assert "turntable.gif did not arrive" in crashed.sentence


def test_a_post_that_names_files_elsewhere_writes_none(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: server.state("ws1/cpu") == "idle")
    post = hall.wires[0].post
    files = post.files
    moved = {"../stolen": "out/mesh.glb"}

    def lying(job: str) -> dict[str, Any]:
        from backend.service.cluster.parcels import Entry

        return {path: Entry(path, 5, 1) for path in moved} if "out/mesh.glb" in files(job) else {}

    monkeypatch.setattr(post, "files", lying)
    monkeypatch.setattr(post, "piece", lambda *which: b"12345")
    server.start("steps=3")
    assert isinstance(server.ended(), Crashed)
    assert not (server.folder / "stolen").exists()


def test_a_machine_with_another_version_is_not_given_jobs_and_says_why(
    server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: server.state("ws1/cpu") == "idle")
    monkeypatch.setattr(
        "backend.service.cluster.post.Post.introduce", lambda post: {"device": "cpu", "version": "0.0.9"}
    )
    hall.wires[0].kill()
    until(lambda: "0.0.9" in server.trouble("ws1/cpu"))
    assert "install the same" in server.trouble("ws1/cpu")


def test_devices_of_one_machine_and_machines_of_one_name_are_told_apart(server: Server, hall: Hall) -> None:
    hall.add("ws2", devices=2)
    hall.machines.append(type(hall.machines[0])("another id", "ws2", 1))
    for device in ("ws2/cpu", "ws2/cpu 2", "ws2/cpu 3"):
        until(lambda device=device: server.state(device) == "idle")


def test_what_a_device_waits_for_is_said(server: Server, hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)
    given = asyncio.Event()

    async def occupied(method: str, *arguments: Any) -> Any:
        await given.wait()
        raise UnreachableError("never")

    class Occupied:
        ask = staticmethod(occupied)

        def end(self) -> None: ...

    monkeypatch.setattr(hall, "station", lambda machine: Occupied())
    hall.add("ws2")
    until(lambda: "others may use it" in server.trouble("ws2/cpu"))


def test_a_cluster_that_does_not_say_what_it_has_ends_the_bridge(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOST_SECONDS", 0.02)
    waiting = threading.Event()
    monkeypatch.setattr(hall, "present", lambda: waiting.wait(60.0))

    async def watched() -> None:
        with pytest.raises(TimeoutError):
            await Bridge(hall, "cpu", lambda message: None).watch()
        waiting.set()

    asyncio.run(watched())
