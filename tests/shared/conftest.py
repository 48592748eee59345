"""One message of each kind, with everything in it that it can hold, and a backend that does what a test says."""

from collections.abc import Iterator

import pytest

from shared import limits
from shared.assets import Asset
from shared.client import Client
from shared.inputs import Start
from shared.jobs import Event, Generation, JobState, Live, Reason
from shared.messages import (
    Acknowledge,
    Cancel,
    Chunk,
    Delete,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
    Welcome,
)
from shared.offer import Offer, OfferedModel, OfferedPreset, OfferedSchedule, Range
from tests.shared.scripted import DEADLINE, Backend

JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"
OTHER = "1b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"
SHA = "ab" * 32
REQUEST = Generation(
    "a red mug",
    "dull",
    "builtin",
    "high",
    7,
    500,
    "linear",
    "voxel",
    7.5,
    9000,
    512,
    12.5,
    True,
    "flat",
    Start("mesh", SHA, "Suzanne"),
    0.5,
    True,
    True,
)
STATE = JobState(
    id=JOB,
    number=3,
    batch=OTHER,
    state="failed",
    attempt=2,
    request=REQUEST,
    warnings=("a word without effect",),
    created=1.5,
    started=2.5,
    finished=3.5,
    ahead=None,
    reason=Reason("crashed", "it died", "again"),
    results=(Asset("mesh.glb", SHA, 17),),
    acknowledged=True,
)
OFFER = Offer(
    models=(
        OfferedModel(
            "builtin",
            "GPL",
            5,
            False,
            Asset("words.json", SHA, 70),
            (OfferedPreset("draft", 60, 9, 9, "voxel", "x", 7.5, None, None),),
        ),
    ),
    schedules=(OfferedSchedule("linear", (900, 20)),),
    fields=("voxel",),
    ranges=(Range("seed", 0.0, 7.0),),
)


@pytest.fixture
def one_of_each() -> list[Message]:
    return [
        Hello("0.1.0"),
        Submit((JOB, OTHER), REQUEST),
        GetState(JOB),
        GetList(12),
        GetEvents(4, 5, 10.0),
        Cancel(JOB),
        Fetch(SHA, 0, 512),
        Upload("mesh", SHA, 1024, 512, b"bytes"),
        Acknowledge(JOB),
        Delete(JOB),
        Welcome("there", "0.1.0", JOB, 1e9, ("cpu: idle",), ("no room",), OFFER),
        Jobs((STATE,), more=True),
        News(JOB, 9, 8, (Event(1, JOB, "done", 1, 1.0),), (Live(JOB, 1, "optimising", 1, 2, 3, 4.0, 2, 3),), b"ppccc"),
        Chunk(SHA, 512, 1024, b"bytes"),
        Held(SHA, 512),
        Refused("invalid", "no", "ask for something else", ("mug", "cup")),
    ]


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer comes, however slow the machine is. Where none comes, a test says `impatient`."""
    monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
    monkeypatch.setattr(limits, "BACKOFF_FIRST_SECONDS", 0.02)


@pytest.fixture
def impatient(long_waits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer comes, and is not waited for."""
    monkeypatch.setattr(limits, "REPLY_SECONDS", 0.3)


@pytest.fixture
def backend(long_waits: None) -> Iterator[Backend]:
    backend = Backend()
    backend.start()
    yield backend
    backend.close()


@pytest.fixture
def client(backend: Backend) -> Iterator[Client]:
    with Client(backend.pairing, "0.1.0") as client:
        yield client
