"""The real engine in a worker: the same bytes as on the command line, previews, and trouble with a code each."""

import errno
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from backend import machine
from backend.benches import random_models
from backend.checkpoints import newest
from backend.engine.fields import VoxelField
from backend.errors import DiskFullError, NotFiniteError, OutOfMemoryError, UnwritableError, UserError
from backend.guidance import library
from backend.mesh import charts
from backend.pipeline import generate as generating
from backend.pipeline import keeping, meshing, speeds
from backend.pipeline.generate import PARTS
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.results import MESH
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Work
from backend.service import engine as module
from backend.service.engine import FILES, OUT, TorchEngine
from backend.service.executor import Advanced, Crashed, Stopped, Task, Update
from backend.service.local import LocalExecutor
from backend.service.worker import Standing, TaskError
from shared import meshes
from shared.coarse import unpack

REQUEST: dict[str, Any] = {"prompt": "a red mug", "preset": "draft", "steps": 8, "faces": 300, "texture": 64, "seed": 3}


def ignored(standing: Standing) -> None:
    """A listener."""


@pytest.fixture
def engine() -> TorchEngine:
    return TorchEngine()


@pytest.mark.usefixtures("small_pictures")
def test_a_task_becomes_files_with_previews_on_the_way(engine: TorchEngine, tmp_path: Path) -> None:
    heard: list[Standing] = []
    results, report = engine.carry_out(REQUEST, tmp_path, "cpu", heard.append)
    assert tuple(result.name for result in results) == FILES
    for result in results:
        assert result.path == tmp_path / OUT / result.name
        assert result.size == result.path.stat().st_size
    assert report == json.loads((tmp_path / OUT / "report.json").read_text())
    assert [one.stage for one in heard if one.step is None] == list(PARTS)
    assert [one.step for one in heard if one.step] == list(range(1, 9))
    first, *_, last = [one for one in heard if one.step]
    assert first.preview.startswith(b"\x89PNG")
    assert last.preview.startswith(b"\x89PNG")
    assert len(unpack(last.coarse).triangles) > 100
    assert speeds.known(machine.processor())[("builtin", "draft")] == report["step_seconds"]["optimising"] > 0
    assert [one.interruptible for one in heard if one.step is None] == [False, False, True, True, True, True, True]
    etas = [one.eta for one in heard if one.eta is not None]
    assert etas[-1] < etas[0]
    # Asked again, as after a crash between the last file and the news of it, nothing is done anew.
    heard.clear()
    assert engine.carry_out(REQUEST, tmp_path, "cpu", heard.append) == (results, report)
    assert heard == []


@pytest.mark.usefixtures("small_pictures")
def test_painting_a_mesh_is_announced_and_timed_part_by_part(engine: TorchEngine, tmp_path: Path) -> None:
    corners = array("f", (-1, -1, 0, 1, -1, 0, 0, 1, 0, 0, 0, 1))
    faces = array("I", (0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3))
    content = meshes.pack(memoryview(corners), memoryview(faces))
    (tmp_path / "given").write_bytes(content)
    start = {"sort": "mesh", "sha256": hashlib.sha256(content).hexdigest(), "name": "Wedge"}
    request = {**REQUEST, "start": start, "paint_only": True}

    def heard(folder: str) -> list[Standing]:
        told: list[Standing] = []
        engine.carry_out(request, tmp_path / folder, "cpu", told.append, tmp_path / "given")
        return told

    parts = [one for one in heard("first") if one.step is None]
    assert [one.stage for one in parts] == ["loading", "unwrapping", "painting", "colouring", "writing"]
    assert [one.interruptible for one in parts] == [False, True, False, True, True]
    assert [one.eta is None for one in parts] == [True, True, True, False, False], "no step was taken before it"
    again = [one.eta for one in heard("second") if one.step is None]
    assert None not in again
    assert again == sorted(again, reverse=True), "its steps are still to come while it is unwrapped"
    assert again[1] > again[3]


@pytest.mark.usefixtures("small_pictures")
def test_an_unwrapping_that_failed_is_a_note_of_the_task(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "__file__", str(tmp_path / "nowhere.py"))
    _, report = engine.carry_out(REQUEST, tmp_path, "cpu", ignored)
    assert [note.partition(":")[0] for note in report["notes"]] == ["unwrapping failed"]
    assert json.loads((tmp_path / OUT / "report.json").read_text())["notes"] == report["notes"]


class Enough(Exception):
    """Ends a run at once."""


def begun(engine: TorchEngine, folder: Path, request: dict[str, Any], after: int = 1) -> list[Standing]:
    """What is heard up to `after` steps."""
    heard: list[Standing] = []

    def listen(standing: Standing) -> None:
        heard.append(standing)
        if standing.step and sum(one.step is not None for one in heard) >= after:
            raise Enough

    with pytest.raises(Enough):
        engine.carry_out(request, folder, "cpu", listen)
    return heard


def test_a_checkpoint_of_other_settings_or_versions_is_left_behind(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "CHECKPOINT_SECONDS", 0.0)
    begun(engine, tmp_path, REQUEST, after=4)
    found = newest(tmp_path / OUT / CHECKPOINTS / Shape.name)
    assert found is not None
    assert found.step == 3
    assert begun(engine, tmp_path, REQUEST)[-1].step == 4
    assert begun(engine, tmp_path, {**REQUEST, "seed": 4}, after=3)[0].step is None
    assert begun(engine, tmp_path, {**REQUEST, "seed": 4})[-1].step == 3
    monkeypatch.setattr("backend.pipeline.job.versions", lambda: {"torch": "0"})
    assert begun(engine, tmp_path, {**REQUEST, "seed": 4})[-1].step == 1


def test_the_number_of_threads_of_one_task_does_not_reach_the_next(engine: TorchEngine, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    begun(engine, tmp_path, REQUEST)
    assert torch.get_num_threads() == threads


def test_a_large_model_has_a_time_left_before_its_first_step(engine: TorchEngine, tmp_path: Path) -> None:
    small = random_models.small("sd1", latents=8)
    folder = random_models.save_folder(tmp_path / "sd1", "sd1", small, "epsilon")
    library.record(replace(library.of_folder(folder), name="mine"))
    engine.warm_up("cpu")
    asked = {**REQUEST, "model": "mine"}

    def left(request: dict[str, Any], out: str) -> float | None:
        heard = begun(engine, tmp_path / out, request)
        return next(one.eta for one in heard if one.stage == "optimising")

    assert left(asked, "counted")
    assert left({**asked, "field": "sdf"}, "other") is None
    speeds.remember(machine.processor(), "mine", "draft", 1000.0)
    known = left(asked, "known")
    assert known
    assert known > 8 * 1000.0


def test_warm_facts(engine: TorchEngine) -> None:
    facts = engine.warm_up("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert "core" in facts["device"]
    assert 0 < facts["seconds_per_step"] < facts["warm_up_seconds"]
    assert facts["flops_per_second"] > 0
    curves = facts["curves"]
    assert set(curves) == {"time_prior", "time_prior_ddpm", "linear", "sqrt"}  # uniform draws lots
    assert all(curve == sorted(curve, reverse=True) and len(curve) == 64 for curve in curves.values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": "gibberish zzz"}, "object"),
        ({"prompt": ""}, "empty"),
        ({"prompt": 7}, "prompt is 7"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": True}, "seed is True"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"latent_field": 1}, "latent_field is 1"),
        ({"latent_field": True}, "leave out the latent field"),
        ({"cfg": -1}, "cfg is -1"),
        ({"preset": "best"}, 'no preset "best"'),
        ({"device": "cuda"}, "no 'device'"),
        ({"out": "/etc"}, "no 'out'"),
        ({"model": "no such model"}, "no model"),
        ({"model": "."}, "no model"),
        ({"model": str(module.library.builtin().folder)}, "no model"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    engine: TorchEngine, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TaskError, match=sentence) as caught:
        engine.carry_out({**REQUEST, **change}, tmp_path, "cpu", ignored)
    assert caught.value.code == "bad_request"
    assert not (tmp_path / OUT).exists()


def test_a_request_needs_a_prompt(engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="lacks prompt"):
        engine.carry_out({"preset": "draft"}, tmp_path, "cpu", ignored)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (DiskFullError("the disk of /srv/x is full"), "disk_full", "the backend's disk has too little room"),
        (UnwritableError("cannot write into /srv/x"), "unwritable", "cannot write into its own folder"),
        (NotFiniteError("not finite; a lower cfg"), "not_finite", "a lower cfg"),
        (UserError("nothing is left: more steps, or a lower --level"), "no_result", "nothing is left: more steps"),
        (UserError("too small: try more --faces or another seed"), "no_result", "try more faces or another seed"),
        (OutOfMemoryError("too little"), "out_of_memory", "too little memory"),
        (OSError(errno.ENOSPC, "full"), "disk_full", "full"),
        (OSError(errno.EACCES, "denied"), "unwritable", "denied"),
    ],
)
def test_every_trouble_has_its_code(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, sentence: str
) -> None:
    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(module, "generate", failing)
    with pytest.raises(TaskError, match=sentence) as caught:
        engine.carry_out(REQUEST, tmp_path, "cpu", ignored)
    assert (caught.value.code, caught.value.spent) == (code, code == "out_of_memory")
    assert "/srv" not in caught.value.sentence, "no path crosses the wire"


CPU_WORDS = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7 PiB"),
        RuntimeError(CPU_WORDS),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"),
        RuntimeError("CUDA error: out of memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
@pytest.mark.parametrize(
    ("where", "settings"), [("load_guidance", 'the model "builtin"'), ("build", "300 faces and a texture of 64")]
)
def test_memory_that_runs_out_is_told_by_the_setting_to_lower(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str, settings: str
) -> None:
    def hungry(*arguments: Any) -> None:
        if where == "build":
            with arguments[3]("surface"):
                raise error
        try:
            raise error
        except Exception as cause:  # as loading a model puts it
            raise UserError("cannot load the model") from cause

    if where == "build":
        monkeypatch.setattr(Shape, "carry_out", lambda *_: Work(field=VoxelField()))
        monkeypatch.setattr(meshing, where, hungry)
    else:
        monkeypatch.setattr(generating, where, hungry)
    with pytest.raises(TaskError, match=settings) as caught:
        engine.carry_out(REQUEST, tmp_path, "cpu", ignored)
    assert (caught.value.code, caught.value.spent) == ("out_of_memory", True)


def test_for_want_of_memory_a_preview_is_left_out(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any) -> bytes:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module.previews, "picture", hungry)
    heard = begun(engine, tmp_path, REQUEST)
    assert (heard[-1].step, heard[-1].preview) == (1, b"")


# A worker as it is, but for checkpoints of every step.
WORKER = """
from backend.pipeline import keeping
keeping.CHECKPOINT_SECONDS = 0.0
from backend.service import worker
worker.main(worker._torch_engine)
"""
DEADLINE = 240.0


class Bench:
    """A real worker and a loop around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = LocalExecutor(["cpu"], folder / "logs", [sys.executable, "-c", WORKER])

    def until(self, done: Callable[[list[Update]], object]) -> list[Update]:
        updates: list[Update] = []
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            select.select([self.executor], [], [], 0.02)
            updates += self.executor.poll(time.monotonic())
            if done(updates):
                return updates
        raise AssertionError(f"not within {DEADLINE} s; {self.executor.devices()}, {updates}")

    def start(self, job: str, attempt: int = 1, **changes: Any) -> None:
        self.until(lambda _: self.executor.free())
        self.executor.start("cpu", Task(job, attempt, {**REQUEST, **changes}, self.folder / job))

    def mesh(self, job: str) -> bytes:
        """The mesh of the running task, which is stopped when it is there."""
        path = self.folder / job / OUT / MESH
        self.until(lambda _: path.exists())
        self.executor.cancel(job)
        (stopped,) = self.until(lambda updates: [one for one in updates if not isinstance(one, Advanced)])[-1:]
        assert isinstance(stopped, Stopped)
        return path.read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.executor.close()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_bytes_are_those_of_the_command_line_whatever_happened_before(bench: Bench, tmp_path: Path) -> None:
    options = [f"--{name}={value}" for name, value in REQUEST.items() if name != "prompt"]
    command = [sys.executable, "-m", "backend", "generate", REQUEST["prompt"], "--out", str(tmp_path / "cli"), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as fresh:
        bench.start("killed", steps=REQUEST["steps"])
        bench.until(lambda updates: any(isinstance(one, Advanced) and (one.step or 0) >= 5 for one in updates))
        os.kill(bench.executor.pids()["cpu"], signal.SIGKILL)
        (crashed,) = bench.until(lambda updates: [one for one in updates if isinstance(one, Crashed)])[-1:]
        assert isinstance(crashed, Crashed)
        bench.start("killed", attempt=2)
        updates = bench.until(lambda updates: any(isinstance(one, Advanced) and one.step for one in updates))
        assert next(one.step for one in updates if isinstance(one, Advanced) and one.step) > 1
        resumed = bench.mesh("killed")
        bench.start("another", prompt="a blue boat", preset="standard", steps=3)  # stopped in the middle
        bench.until(lambda updates: any(isinstance(one, Advanced) and one.step for one in updates))
        bench.executor.cancel("another")
        bench.start("after others")
        later = bench.mesh("after others")
        deadline = time.monotonic() + DEADLINE
        while not (tmp_path / "cli" / MESH).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        fresh.kill()
    expected = (tmp_path / "cli" / MESH).read_bytes()
    assert resumed == expected
    assert later == expected
