"""What the panel says: states, times and troubles in a few words."""

from collections.abc import Sequence

from ..shared.durations import duration
from ..shared.errors import Trouble
from ..shared.inputs import PICTURE
from ..shared.jobs import Generation
from ..shared.offer import OfferedPreset
from ..shared.states import State
from .book import ASKING, REFUSED, SENDING, Book, Entry

STAGES = {
    "loading": "Loading the model",
    "optimising": "Shaping",
    "surface": "Finding the surface",
    "cleaning": "Cleaning",
    "unwrapping": "Unwrapping",
    "baking": "Painting",
    "writing": "Writing",
}

_STATES = {
    SENDING: "Sending",
    REFUSED: "Refused",
    ASKING: "Backend away",
    State.QUEUED: "Waiting",
    State.RUNNING: "Starting",
    State.CANCELLING: "Cancelling",
    State.DONE: "Done",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled",
    State.DELETED: "No longer on the backend",
}

_NO_REMEDY = "run dreamtime doctor on the backend's machine, which looks for the cause"


def expected(preset: OfferedPreset | None, steps: int | None, variations: int) -> str:
    """How long it will take by `preset`, but for `steps`; the line is always there, so that nothing jumps."""
    seconds = preset.takes(steps) if preset else None
    if seconds is None:
        return "Time not known yet"
    return f"About {duration(seconds)}{' each' if variations > 1 else ''}"


def progress(entry: Entry) -> str:
    """Where a job is, for the bar: "Shaping 34/180 · 12 s left"."""
    live = entry.live
    if live is None:
        if entry.state == SENDING and entry.sent is not None:
            return f"Sending {entry.sent:.0%}"
        ahead = f", {entry.ahead} before it" if entry.ahead else ""
        return f"{_STATES.get(entry.state, entry.state)}{ahead}"
    stage = STAGES.get(live.stage, live.stage.capitalize())
    step = f" {live.step}/{live.steps}" if live.step is not None and live.steps else ""
    left = f" · {duration(live.eta)} left" if live.eta is not None else ""
    machine, slash, _ = live.device.rpartition("/")
    where = f" · {machine}" if slash else ""
    return f"{stage}{step}{left}{where}"


def begun_from(request: Generation) -> str:
    """What a job begins from, for the list; "" where that is nothing."""
    if request.start is None:
        return ""
    what = request.start.name or f"A {request.start.sort}"
    if request.start.sort == PICTURE:
        return f"From the sketch {what}" if request.sketch else f"From the picture {what}"
    return f"Colours for {what}" if request.paint_only else f"From {what}"


def chosen(names: Sequence[str]) -> str:
    """The objects that a job will begin from."""
    if not names:
        return "No mesh is selected"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more, one after another"


def strength(value: float) -> str:
    """What a strength means."""
    if value < 0.35:
        return "Keeps the shape, and changes its details"
    if value < 0.7:
        return "Keeps the masses, and finds its own forms within them"
    return "Takes the shape for a hint, and may leave it far behind"


def outcome(entry: Entry) -> str:
    """How a finished job stands in the list."""
    if entry.state == State.DONE and entry.fetched:
        return "In the scene" if entry.imported else "Ready to import"
    if entry.state == State.DONE and not entry.available:
        return "Removed: too old"
    if entry.state == State.DONE:
        return "Not fetched" if entry.trouble else "Fetching" if entry.mine else "On the backend"
    return _STATES.get(entry.state, entry.state)


def status(book: Book) -> tuple[str, str]:
    """The backend in one line, and what to do if it does not work, or ""."""
    if book.trouble:
        return sentence(book.trouble.sentence), sentence(book.trouble.remedy)
    if book.welcome is None:
        return "Connecting", ""
    if book.welcome.trouble:
        problem, _, remedy = book.welcome.trouble[0].partition("; ")
        return sentence(problem), sentence(remedy or _NO_REMEDY)
    devices = ", ".join(device.partition(":")[0] for device in book.welcome.devices)
    return f"{book.welcome.name} · {devices}", ""


def ended(prompt: str, problem: str, remedy: str) -> str:
    """That a job failed or was refused, and what to do."""
    return f"{prompt}: {problem}. {sentence(remedy)}"


def told(error: Trouble) -> str:
    """A trouble and what to do about it, in one line."""
    return f"{sentence(error.sentence)}: {error.remedy}"


def sentence(text: str) -> str:
    """With a capital, as it stands alone."""
    return text[:1].upper() + text[1:]
