"""The client thread against a real backend with fake workers."""

import hashlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Module = Callable[[str], ModuleType]
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""

NEVER = 10 * DEADLINE


class Desk:
    """A link and what it told, as the pump would take it in."""

    def __init__(self, module: Module, pairings: Callable[[], list[Any]], folder: Path) -> None:
        self.m = module
        self.book = module("session.book").Book(module("session.records").Notes(folder / "jobs").all())
        self.mailbox = module("session.mailbox").Mailbox()
        self.folder = folder
        self.effects: list[Any] = []
        self.link = module("session.link").Link(pairings, folder, "tests", self.mailbox)
        self.link.start()

    def until(self, condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.book.trouble, self.book.entries)
            while (news := self.mailbox.take()) is not None:
                self.effects += self.book.apply(news)
            time.sleep(0.01)

    def generate(self, prompt: str, count: int = 1, seed: int = 0, given: bytes = b"") -> tuple[str, ...]:
        shared, inputs = self.m("shared.jobs"), self.m("shared.inputs")
        jobs = tuple(shared.new_job_id() for _ in range(count))
        start = inputs.Start(inputs.PICTURE, hashlib.sha256(given).hexdigest(), "front") if given else None
        request = shared.Generation(prompt, seed=seed, start=start)
        self.book.mean(jobs, request, time.time())
        self.link.send(self.m("session.commands").Generate(jobs, request, time.time(), given))
        return jobs

    def send(self, kind: str, job: str) -> None:
        self.link.send(getattr(self.m("session.commands"), kind)(job))

    def state(self, job: str) -> str:
        return str(self.book.entries[job].state)

    def seen(self, kind: str) -> list[str]:
        return [effect.job for effect in self.effects if type(effect).__name__ == kind]


@pytest.fixture
def open_desk(
    module: Module, host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Desk]]:
    monkeypatch.setattr(module("session.link"), "JOIN_SECONDS", DEADLINE)  # that of a busy machine
    desks: list[Desk] = []

    def open_desk(pairings: Callable[[], list[Any]] | None = None, folder: str = "user") -> Desk:
        line = str(host.pairing)
        parse = module("shared.pairing").Pairing.parse
        desks.append(Desk(module, pairings or (lambda: [parse(line)]), tmp_path / folder))
        return desks[-1]

    yield open_desk
    assert all(desk.link.stop() for desk in desks)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def test_from_generate_to_files(desk: Desk, host: Any) -> None:
    (job,) = desk.generate("a red mug steps=20 hold=10 preview=1")
    desk.until(lambda: desk.book.entries[job].previews > 0)
    entry = desk.book.entries[job]
    assert (entry.state, entry.live.steps) == ("running", 20)
    assert entry.preview.startswith(b"\x89PNG")
    assert any(effect.coarse for effect in desk.effects if type(effect).__name__ == "Shown")
    host.go()
    desk.until(lambda: desk.seen("Arrived") == [job])
    assert desk.state(job) == "done"
    assert (desk.folder / "results" / job / "mesh.glb").stat().st_size == 2000
    assert [path.name for path in (desk.folder / "results").iterdir()] == [job]
    assert desk.seen("Ended") == [job]


def test_the_backend_and_what_it_offers_are_known(desk: Desk) -> None:
    desk.until(lambda: desk.book.welcome is not None)
    assert desk.book.model("builtin") is not None
    assert desk.book.preset("builtin", "draft").steps == 120
    assert desk.book.preset("builtin", "best") is None
    assert desk.book.model("none") is None


def test_the_words_of_a_model_are_brought_here_once(desk: Desk) -> None:
    desk.until(lambda: desk.book.completion("builtin") is not None)
    assert "a red mug" in desk.book.completion("builtin").prompts("a red m")
    assert desk.book.completion("none") is None
    assert len(desk.link._plans.learnt) == 1


def test_words_that_cannot_be_had_keep_nobody_from_working(
    open_desk: Callable[..., Desk], module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: Any, file: Any) -> Any:
        raise module("shared.errors").UnknownAsset("the backend has no such file")

    monkeypatch.setattr(module("shared.client").Client, "words", refuse)
    desk = open_desk()
    (job,) = desk.generate("a red mug steps=1")
    desk.until(lambda: desk.state(job) == "done")
    assert desk.book.completion("builtin") is None


def test_the_nearest_objects_are_there_while_the_prompt_is_the_one_that_was_refused(desk: Desk) -> None:
    (job,) = desk.generate("a unicorn")
    desk.until(lambda: desk.state(job) == "refused")
    assert desk.book.nearest(" a  unicorn ", "builtin")[:2] == ("horse", "stag")
    assert desk.book.nearest("a unicorns", "builtin") == ()
    assert desk.book.nearest("a unicorn", "other") == ()
    desk.book.away()
    assert desk.book.nearest("a unicorn", "builtin") == ()


def test_variations_have_seeds_of_their_own(desk: Desk) -> None:
    jobs = desk.generate("a red mug steps=1", count=3, seed=7)
    desk.until(lambda: all(desk.state(job) == "done" for job in jobs))
    assert [desk.book.entries[job].request.seed for job in jobs] == [7, 8, 9]
    assert {desk.book.entries[job].batch for job in jobs} == {jobs[0]}


def test_a_refusal_is_told_and_not_tried_again(desk: Desk, open_desk: Callable[..., Desk]) -> None:
    (job,) = desk.generate("a unicorn")
    desk.until(lambda: desk.state(job) == "refused")
    assert "knows no object" in desk.book.entries[job].trouble[0]
    assert desk.seen("Ended") == [job]
    assert list((desk.folder / "jobs").iterdir()) == []


def test_cancelling_and_deleting(desk: Desk) -> None:
    (job,) = desk.generate("a red mug steps=100000 pace=0.02")
    desk.until(lambda: desk.state(job) == "running")
    desk.send("Cancel", job)
    desk.until(lambda: desk.state(job) == "cancelled")
    assert desk.seen("Ended") == [job]
    desk.send("Delete", job)
    desk.book.forget(job)
    (other,) = desk.generate("a red mug steps=1")
    desk.until(lambda: other in desk.seen("Arrived"))
    assert job not in desk.book.entries
    assert [path.stem for path in (desk.folder / "jobs").iterdir()] == [other]


def test_deleting_removes_the_files_here(desk: Desk) -> None:
    (job,) = desk.generate("a red mug steps=1")
    desk.until(lambda: desk.seen("Arrived") == [job])
    desk.send("Delete", job)
    desk.until(lambda: not (desk.folder / "results" / job).exists())


@pytest.mark.parametrize("runs", [False, True])
def test_a_job_that_is_dropped_before_its_end_never_comes_back(
    desk: Desk, open_desk: Callable[..., Desk], runs: bool
) -> None:
    (job,) = desk.generate("a red mug steps=100000 pace=0.02")
    if runs:
        desk.until(lambda: desk.state(job) == "running")
    desk.send("Delete", job)
    desk.book.forget(job)
    (other,) = desk.generate("a red mug steps=1")
    desk.until(lambda: other in desk.seen("Arrived"))
    assert list(desk.book.entries) == [other]
    assert [path.stem for path in (desk.folder / "jobs").iterdir()] == [other]
    afterwards = open_desk(folder="other")
    afterwards.until(lambda: other in afterwards.book.entries)
    afterwards.send("Fetch", other)  # by when all that the backend lists is here
    afterwards.until(lambda: afterwards.book.entries[other].fetched)
    assert list(afterwards.book.entries) == [other]


def test_a_failed_job_says_why(desk: Desk) -> None:
    (job,) = desk.generate("a red mug steps=1 fail=out_of_memory")
    desk.until(lambda: desk.seen("Ended") == [job])
    assert desk.book.entries[job].trouble == (
        "it failed with out_of_memory",
        "take a smaller preset or model, a latent field where offered, or close other programs there",
    )


def test_a_killed_backend_costs_nothing(desk: Desk, host: Any) -> None:
    (job,) = desk.generate("a red mug steps=10 hold=5")
    desk.until(lambda: desk.state(job) == "running")
    host.end(signal.SIGKILL)
    host.go()
    desk.until(lambda: desk.book.trouble is not None and "no backend answers" in desk.book.trouble.sentence)
    host.start()
    desk.until(lambda: desk.seen("Arrived") == [job])
    assert desk.book.trouble is None
    assert desk.book.entries[job].attempt == 2


def test_what_was_meant_while_the_backend_was_away_is_made_later(desk: Desk, host: Any) -> None:
    desk.until(lambda: desk.book.welcome is not None)
    host.end(signal.SIGKILL)
    (job,) = desk.generate("a red mug steps=1")
    time.sleep(0.05)
    assert desk.state(job) == "sending"
    host.start()
    desk.until(lambda: desk.seen("Arrived") == [job])


def test_a_blender_that_was_closed_finds_its_jobs_again(open_desk: Callable[..., Desk], host: Any) -> None:
    first = open_desk()
    (job,) = first.generate("a red mug steps=10 hold=5")
    first.until(lambda: first.state(job) == "running")
    assert first.link.stop()
    second = open_desk()
    assert second.state(job) == "asking"  # until the backend says more
    host.go()
    second.until(lambda: second.book.entries[job].fetched)
    assert second.state(job) == "done"
    assert second.seen("Arrived") == []  # it goes into the scene when the artist says so
    assert host.executions() == 1


def test_results_that_are_here_need_no_backend(open_desk: Callable[..., Desk], module: Module) -> None:
    first = open_desk()
    (job,) = first.generate("a red mug steps=1")
    first.until(lambda: first.seen("Arrived") == [job])
    assert first.link.stop()
    notes = module("session.records").Notes(first.folder / "jobs").all()
    book = module("session.book").Book(notes, lambda job: (first.folder / "results" / job).is_dir())
    assert (book.entries[job].state, book.entries[job].fetched) == ("done", True)
    assert module("session.wording").outcome(book.entries[job]) == "Ready to import"


def test_a_request_that_was_never_sent_is_sent_after_a_restart(
    open_desk: Callable[..., Desk], module: Module, host: Any, tmp_path: Path
) -> None:
    shared, records = module("shared.jobs"), module("session.records")
    job = shared.new_job_id()
    request = shared.Generation("a red mug steps=1", seed=3)
    records.Notes(tmp_path / "user" / "jobs").keep(
        records.Note(job, job, request, host.pairing.server_key.hex(), time.time())
    )
    desk = open_desk()
    desk.until(lambda: desk.book.entries[job].fetched)
    assert desk.book.entries[job].request.seed == 3


def test_jobs_of_another_machine_are_listed_and_fetched_when_asked_for(open_desk: Callable[..., Desk]) -> None:
    here, there = open_desk(), open_desk(folder="other")
    (job,) = there.generate("a red mug steps=1")
    there.until(lambda: there.seen("Arrived") == [job])
    here.until(lambda: job in here.book.entries and here.state(job) == "done")
    assert (here.book.entries[job].available, here.book.entries[job].fetched) == (True, False)
    here.send("Fetch", job)
    here.until(lambda: here.book.entries[job].fetched)
    assert (here.folder / "results" / job / "mesh.glb").is_file()


def test_without_a_backend_the_reason_is_told_and_stopping_waits_for_nothing(
    open_desk: Callable[..., Desk], module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Any:
        raise module("session.pairings").NotRunning("no backend runs on this machine")

    monkeypatch.setattr(module("session.link"), "RETRY_SECONDS", NEVER)
    desk = open_desk(nowhere)
    desk.until(lambda: desk.book.trouble is not None)
    assert desk.book.trouble.remedy == "press Start Backend or Install Backend, or run dreamtime serve"
    assert desk.link.stop()


def test_stopping_does_not_wait_for_a_dead_backend(
    open_desk: Callable[..., Desk], module: Module, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module("shared.limits"), "REPLY_SECONDS", NEVER)
    desk = open_desk()
    desk.until(lambda: desk.book.welcome is not None)
    host.process.send_signal(signal.SIGSTOP)  # its connections stay, and nothing is answered any more
    desk.generate("a red mug steps=1")
    assert desk.link.stop()


def test_a_wrong_key_is_told(open_desk: Callable[..., Desk], module: Module, host: Any) -> None:
    host.keys.pair("ana")
    pairing = module("shared.pairing").Pairing("127.0.0.1", host.port, host.pairing.server_key, b"\1" * 32)
    desk = open_desk(lambda: [pairing])
    desk.until(lambda: desk.book.trouble is not None)
    assert "does not know this computer" in desk.book.trouble.sentence
    assert "dreamtime pair NAME" in desk.book.trouble.remedy


def test_the_line_of_a_stopped_backend_does_not_hide_one_that_runs(
    open_desk: Callable[..., Desk], module: Module, host: Any
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        pairing = module("shared.pairing").Pairing
        stopped = pairing("127.0.0.1", taken.getsockname()[1], b"\1" * 32, b"\2" * 32)
        desk = open_desk(lambda: [stopped, pairing.parse(str(host.pairing))])
        desk.until(lambda: desk.book.welcome is not None)
    assert desk.book.trouble is None


def test_what_is_asked_for_in_the_last_moment_is_not_lost(open_desk: Callable[..., Desk], host: Any) -> None:
    desk = open_desk()
    desk.until(lambda: desk.book.welcome is not None)
    host.process.send_signal(signal.SIGSTOP)
    jobs = desk.generate("a red mug steps=1", count=2, seed=5)
    assert desk.link.stop()
    host.process.send_signal(signal.SIGCONT)
    again = open_desk()
    again.until(lambda: all(again.state(job) == "done" for job in jobs))
    assert [again.book.entries[job].request.seed for job in jobs] == [5, 6]


def test_a_result_that_is_damaged_here_is_replaced_when_it_is_fetched_again(desk: Desk) -> None:
    (job,) = desk.generate("a red mug steps=1")
    desk.until(lambda: desk.book.entries[job].fetched)
    mesh = desk.folder / "results" / job / "mesh.glb"
    mesh.write_bytes(b"")
    desk.book.entries[job].fetched = False
    desk.send("Fetch", job)
    desk.until(lambda: desk.book.entries[job].fetched)
    assert mesh.stat().st_size == 2000


def test_of_a_refused_batch_the_reason_is_told_once(desk: Desk) -> None:
    jobs = desk.generate("a unicorn", count=3)
    desk.until(lambda: all(desk.state(job) == "refused" for job in jobs))
    assert desk.seen("Ended") == [jobs[0]]


def test_when_another_backend_is_chosen_the_jobs_of_this_one_are_away(desk: Desk) -> None:
    (job,) = desk.generate("a red mug steps=100000 pace=0.02")
    desk.until(lambda: desk.book.entries[job].live is not None)
    desk.book.away()
    assert (desk.state(job), desk.book.entries[job].live, desk.book.welcome) == ("asking", None, None)
    desk.send("Cancel", job)
    desk.until(lambda: desk.state(job) == "cancelled")


def test_a_job_that_is_being_cancelled_has_no_progress(module: Module) -> None:
    book = module("session.book").Book()
    shared, mailbox = module("shared.jobs"), module("session.mailbox")
    job = shared.new_job_id()
    book.mean((job,), shared.Generation("a red mug"), 0.0)
    book.entries[job].state = "cancelling"
    live = shared.Live(job, 1, "optimising", 3, 10, 500, 12.0, 0, 0)
    book.apply(mailbox.Progress(live))
    assert module("session.wording").progress(book.entries[job]) == "Cancelling"


def test_a_job_that_was_deleted_elsewhere_is_not_waited_for(
    open_desk: Callable[..., Desk], host: Any, module: Module
) -> None:
    here = open_desk(folder="here")
    (job,) = here.generate("a red mug steps=100000 pace=0.02")
    here.until(lambda: here.state(job) == "running")
    elsewhere = open_desk(folder="elsewhere")
    elsewhere.until(lambda: job in elsewhere.book.entries)
    elsewhere.send("Delete", job)
    here.until(lambda: here.state(job) == "deleted")
    assert module("session.wording").outcome(here.book.entries[job]) == "No longer on the backend"
    assert here.link.stop()
    again = open_desk(folder="here")
    again.until(lambda: again.state(job) == "deleted")


PICTURE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0) + bytes(2_000_000)


def test_what_a_job_begins_from_is_sent_before_it(open_desk: Callable[..., Desk], module: Module) -> None:
    desk = open_desk()
    shares = []
    put = desk.mailbox.put

    def hear(news: Any) -> None:
        if type(news).__name__ == "Sending":
            shares.append(news.share)
        put(news)

    desk.mailbox.put = hear
    jobs = desk.generate("a red mug steps=1", count=2, given=PICTURE)
    desk.until(lambda: all(desk.book.entries[job].fetched for job in jobs))
    assert shares[0] < shares[-1] == 1.0
    assert shares == sorted(shares)
    assert len(shares) <= 1 / module("session.conversation").TOLD_SHARE + 2
    assert [path.read_bytes() for path in (desk.folder / "inputs").iterdir()] == [PICTURE]


def test_what_was_meant_is_sent_with_its_input_after_a_restart(
    open_desk: Callable[..., Desk], module: Module, host: Any
) -> None:
    first = open_desk()
    first.until(lambda: first.book.welcome is not None)
    host.end(signal.SIGKILL)
    (job,) = first.generate("a red mug steps=1", given=PICTURE)
    first.until(lambda: first.book.trouble is not None)
    assert first.link.stop()
    host.start()
    again = open_desk()
    again.until(lambda: again.book.entries[job].fetched)


def test_a_job_is_asked_for_once_more_without_its_input(open_desk: Callable[..., Desk], module: Module) -> None:
    desk = open_desk()
    (job,) = desk.generate("a red mug steps=1", given=PICTURE)
    desk.until(lambda: desk.book.entries[job].fetched)
    shared, request = module("shared.jobs"), desk.book.entries[job].request
    for path in (desk.folder / "inputs").iterdir():  # the backend has it still
        path.unlink()
    again = shared.new_job_id()
    desk.book.mean((again,), request, time.time())
    desk.link.send(module("session.commands").Generate((again,), request, time.time()))
    desk.until(lambda: desk.book.entries[again].fetched)


def test_a_start_that_nobody_has_is_refused_with_a_remedy(open_desk: Callable[..., Desk], module: Module) -> None:
    desk = open_desk()
    shared, inputs = module("shared.jobs"), module("shared.inputs")
    job = shared.new_job_id()
    request = shared.Generation("a red mug steps=1", start=inputs.Start(inputs.PICTURE, "ab" * 32, "front"))
    desk.book.mean((job,), request, time.time())
    desk.link.send(module("session.commands").Generate((job,), request, time.time()))
    desk.until(lambda: desk.state(job) == "refused")
    assert "choose it again" in desk.book.entries[job].trouble[1]


def test_inputs_that_no_job_names_are_removed_after_a_day(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk()
    (job,) = desk.generate("a red mug steps=1", given=PICTURE)
    desk.until(lambda: desk.book.entries[job].fetched)
    assert desk.link.stop()
    folder = desk.folder / "inputs"
    for name in ("old", "new"):
        (folder / name).touch()
    for path in folder.iterdir():
        if path.name != "new":
            os.utime(path, (0, 0))
    again = open_desk()
    again.until(lambda: again.book.welcome is not None)
    assert {path.name for path in folder.iterdir()} == {"new", hashlib.sha256(PICTURE).hexdigest()}


def test_what_was_half_fetched_long_ago_is_removed(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    old, new = (tmp_path / "user" / "results" / f"{name}.partial" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    desk = open_desk()
    desk.until(lambda: desk.book.welcome is not None)
    assert (old.exists(), new.exists()) == (False, True)
