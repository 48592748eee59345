"""What the panel says."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

Module = Callable[[str], ModuleType]
JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"


@pytest.fixture
def wording(module: Module) -> ModuleType:
    return module("session.wording")


def entry(module: Module, **facts: Any) -> Any:
    made = module("session.book").Entry(JOB, JOB, module("shared.jobs").Generation("a mug"), 1.0)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_the_time_it_takes_is_always_said(module: Module, wording: ModuleType) -> None:
    preset = module("shared.offer").OfferedPreset
    new = preset("draft", 100, 1, 1, "voxel", "linear", 1.0, None, None)
    assert wording.expected(None, None, 1) == wording.expected(new, None, 1) == "Time not known yet"
    known = replace(new, seconds=12.0, step_seconds=0.1)
    assert wording.expected(known, None, 1) == "About 12 s"
    assert wording.expected(known, None, 3) == "About 12 s each"
    assert wording.expected(known, 7100, 1) == "About 12 min"


def test_progress_in_words(module: Module, wording: ModuleType) -> None:
    live = module("shared.jobs").Live
    assert wording.progress(entry(module)) == "Sending"
    assert wording.progress(entry(module, state="queued", ahead=2)) == "Waiting, 2 before it"
    shaping = live(JOB, 1, "optimising", 34, 180, 500, 12.3, 0, 0)
    assert wording.progress(entry(module, state="running", live=shaping)) == "Shaping 34/180 · 12 s left"
    baking = live(JOB, 1, "baking", None, None, None, None, 0, 0)
    assert wording.progress(entry(module, state="running", live=baking)) == "Painting"
    elsewhere = live(JOB, 1, "baking", None, None, None, None, 0, 0, "ws2/cuda")
    assert wording.progress(entry(module, state="running", live=elsewhere)) == "Painting · ws2"
    here = live(JOB, 1, "baking", None, None, None, None, 0, 0, "cuda:0")
    assert wording.progress(entry(module, state="running", live=here)) == "Painting"


def test_what_a_job_begins_from_is_said(module: Module, wording: ModuleType) -> None:
    generation, start = module("shared.jobs").Generation, module("shared.inputs").Start
    mesh, picture = start("mesh", "ab" * 32, "Suzanne"), start("picture", "ab" * 32, "front.png")
    assert wording.begun_from(generation("a mug")) == ""
    assert wording.begun_from(generation("a mug", start=mesh)) == "From Suzanne"
    assert wording.begun_from(generation("a mug", start=mesh, paint_only=True)) == "Colours for Suzanne"
    assert wording.begun_from(generation("a mug", start=picture)) == "From the picture front.png"
    assert wording.begun_from(generation("a mug", start=picture, sketch=True)) == "From the sketch front.png"
    assert wording.progress(entry(module, sent=0.4)) == "Sending 40%"
    assert wording.chosen([]) == "No mesh is selected"
    assert wording.chosen(["Suzanne"]) == "Suzanne"
    assert wording.chosen(["Suzanne", "Cube", "Cone"]) == "Suzanne and 2 more, one after another"
    assert len({wording.strength(value) for value in (0.01, 0.34, 0.5, 0.69, 0.7, 1.0)}) == 3


@pytest.mark.parametrize(
    ("paint_only", "before", "optimised", "after"),
    [
        (False, ["loading"], "optimising", ["surface", "cleaning", "unwrapping", "baking", "writing"]),
        (True, ["loading", "unwrapping"], "painting", ["colouring", "writing"]),
    ],
)
def test_the_bar_never_goes_back(
    module: Module, paint_only: bool, before: list[str], optimised: str, after: list[str]
) -> None:
    live = module("shared.jobs").Live
    request = module("shared.jobs").Generation("a mug", paint_only=paint_only)
    standings = [
        *(live(JOB, 1, stage, None, None, None, None, 0, 0) for stage in before),
        *(live(JOB, 1, optimised, step, 60, 500, None, 0, 0) for step in (1, 30, 60)),
        *(live(JOB, 1, stage, None, None, None, None, 0, 0) for stage in after),
    ]
    running = {"state": "running", "request": request}
    fractions = [entry(module, **running, live=standing).fraction for standing in standings]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] < entry(module, state="done").fraction == 1.0


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"state": "done", "fetched": True}, "Ready to import"),
        ({"state": "done", "fetched": True, "imported": True}, "In the scene"),
        ({"state": "done", "available": True}, "On the backend"),
        ({"state": "done", "available": True, "mine": True}, "Fetching"),
        ({"state": "done", "available": True, "mine": True, "trouble": ("it is gone", "")}, "Not fetched"),
        ({"state": "done"}, "Removed: too old"),
        ({"state": "cancelled"}, "Cancelled"),
        ({"state": "refused"}, "Refused"),
    ],
)
def test_outcomes_in_words(module: Module, wording: ModuleType, facts: dict[str, Any], text: str) -> None:
    assert wording.outcome(entry(module, **facts)) == text


def test_what_a_failed_job_tells_is_made_of_sentences(wording: ModuleType) -> None:
    told = wording.ended("a mug", "the backend's disk is full", "make room on the backend's disk")
    assert told == "a mug: the backend's disk is full. Make room on the backend's disk"


def test_a_backend_that_does_not_answer_may_be_behind_a_firewall(module: Module, wording: ModuleType) -> None:
    book = module("session.book").Book()
    book.trouble = module("shared.errors").Unreachable("no backend answers at studio:7391")
    text, remedy = wording.status(book)
    assert text == "No backend answers at studio:7391"
    assert "the address and the firewall" in remedy


def test_the_status_says_what_is_wrong_and_what_to_do(module: Module, wording: ModuleType) -> None:
    book, errors = module("session.book").Book(), module("shared.errors")
    assert wording.status(book) == ("Connecting", "")
    book.trouble = errors.NotPaired("the backend does not know this computer")
    text, remedy = wording.status(book)
    assert text == "The backend does not know this computer"
    assert remedy.startswith("Run dreamtime pair NAME")
    offer = module("shared.offer").Offer((), (), (), ())
    welcome = module("shared.messages").Welcome("studio", "0.1.0", JOB, 1.0, ("cuda:0: idle",), (), offer)
    book.trouble, book.welcome = None, welcome
    assert wording.status(book) == ("studio · cuda", "")
    full = module("shared.messages").Welcome(
        "studio", "0.1.0", JOB, 1.0, ("cpu: idle",), ("the backend's disk is full; make room on its disk",), offer
    )
    book.welcome = full
    assert wording.status(book) == ("The backend's disk is full", "Make room on its disk")
    dead = "cpu: the worker died while it started (exit code 1): no CUDA driver"
    book.welcome = replace(full, trouble=(dead,))
    text, remedy = wording.status(book)
    assert text == "Cpu: the worker died while it started (exit code 1): no CUDA driver"
    assert "dreamtime doctor" in remedy  # or the panel would show a tick
