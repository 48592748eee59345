"""The jobs as the panel shows them, and what is known of the backend. Only the main thread touches it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..shared.errors import Refusal, Trouble
from ..shared.jobs import Generation, JobState, Live
from ..shared.limits import SEEDS
from ..shared.messages import Welcome
from ..shared.offer import OfferedModel, OfferedPreset
from ..shared.prompts import tidied
from ..shared.states import FINAL, State
from .completion import Completion
from .mailbox import Changed, Connected, Fetched, Gone, Learnt, Lost, News, NotFetched, Progress, Refused, Sending
from .records import Note

SENDING, REFUSED, ASKING = "sending", "refused", "asking"
"""States of a job that no backend has yet, that it will not take, or that it has not told about since Blender began."""


_SHAPED = 0.75
"""How much of a job is done with the last step, on a computer without a GPU; elsewhere the rest is shorter still."""

_REACHED = {"surface": 0.75, "cleaning": 0.8, "unwrapping": 0.83, "baking": 0.88, "writing": 0.94}
"""How much is done when a stage begins."""

_PAINTED = 0.9
_REACHED_PAINTING = {"colouring": 0.9, "writing": 0.94}
"""The same for a job that makes colours alone."""


@dataclass
class Entry:
    """A job.

    state: of `shared.states`, or one of the above. mine: whether it was asked for since Blender was started, so
    that its object goes into the scene by itself; scene is that scene's session_uid. preview: the latest PNG;
    previews counts them. fetched: whether the results are on this machine. sent: how much of what it begins from is on
    the backend, while it is sent.
    """

    job: str
    batch: str
    request: Generation
    created: float
    state: str = SENDING
    ahead: int | None = None
    attempt: int = 0
    seconds: float | None = None
    warnings: tuple[str, ...] = ()
    trouble: tuple[str, str] | None = None
    live: Live | None = None
    preview: bytes = b""
    previews: int = 0
    mine: bool = False
    scene: int = 0
    available: bool = False
    fetched: bool = False
    imported: bool = False
    sent: float | None = None

    @property
    def running(self) -> bool:
        """Whether it may still change by itself."""
        return self.state not in FINAL and self.state not in (REFUSED, ASKING)

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1, as far as is known."""
        if self.state == State.DONE:
            return 1.0
        if self.live is None:
            return 0.0
        paint = self.request.paint_only
        if self.live.step is not None and self.live.steps:
            return (_PAINTED if paint else _SHAPED) * self.live.step / self.live.steps
        return (_REACHED_PAINTING if paint else _REACHED).get(self.live.stage, 0.0)


@dataclass(frozen=True)
class Arrived:
    """The results of a job are here, for the first time since it was asked for in this Blender: import them."""

    job: str


@dataclass(frozen=True)
class Ended:
    """A job of this Blender will not change any more: tell the artist if it failed."""

    job: str


@dataclass(frozen=True)
class Shown:
    """There is something new to see of a job: a picture, or a coarse mesh."""

    job: str
    coarse: bytes


Effect = Arrived | Ended | Shown


class Book:
    """All jobs, the newest first, and the backend."""

    def __init__(self, notes: Iterable[Note] = (), fetched: Callable[[str], bool] = lambda job: False) -> None:
        """notes: of earlier days. fetched: whether a job's results are on this machine; then no backend is needed."""
        self.entries: dict[str, Entry] = {}
        self.welcome: Welcome | None = None
        self.trouble: Trouble | None = None
        self._completions: dict[str, Completion] = {}
        self._unknown: tuple[str, str, tuple[str, ...]] = "", "", ()
        self._forgotten: set[str] = set()
        for note in notes:
            entry = Entry(note.job, note.batch, note.request, note.created, imported=note.imported)
            entry.fetched = note.sent and fetched(note.job)
            entry.state = State.DONE if entry.fetched else ASKING if note.sent else SENDING
            self.entries[note.job] = entry

    def newest_first(self) -> list[Entry]:
        return sorted(self.entries.values(), key=lambda entry: (-entry.created, entry.request.seed))

    def running(self) -> list[Entry]:
        """Jobs that may still change, in the order in which they were asked for."""
        return [entry for entry in reversed(self.newest_first()) if entry.running]

    def model(self, name: str) -> OfferedModel | None:
        """A model that the backend offers."""
        models = self.welcome.offer.models if self.welcome else ()
        return next((model for model in models if model.name == name), None)

    def preset(self, model: str, name: str) -> OfferedPreset | None:
        found = self.model(model)
        return next((preset for preset in found.presets if preset.name == name), None) if found else None

    def completion(self, model: str) -> Completion | None:
        """The words of a model, or None if it has none, or they are not here yet."""
        found = self.model(model)
        return self._completions.get(found.words.sha256) if found and found.words else None

    def nearest(self, prompt: str, model: str) -> tuple[str, ...]:
        """What the backend named instead, if `prompt` for `model` was the last one that it knew no object in, or ()."""
        *refused, nearest = self._unknown
        return nearest if refused == [tidied(prompt), model] else ()

    def mean(self, jobs: tuple[str, ...], request: Generation, created: float, scene: int = 0) -> None:
        """Note jobs that are about to be asked for, from a scene of that session_uid."""
        for index, job in enumerate(jobs):
            seeded = Generation(**{**vars(request), "seed": (request.seed + index) % SEEDS})
            self.entries[job] = Entry(job, jobs[0], seeded, created, mine=True, scene=scene)

    def away(self) -> None:
        """The talk with the backend was ended: what is known of it may not hold of the next one."""
        self.welcome = self.trouble = None
        self._unknown = "", "", ()
        for entry in self.running():
            entry.state, entry.live = ASKING, None

    def forget(self, job: str) -> None:
        """The artist dropped it: what is still said of it does not bring it back."""
        self.entries.pop(job, None)
        self._forgotten.add(job)

    def apply(self, news: News) -> list[Effect]:
        """Take in news; what has to be done because of it."""
        match news:
            case Connected(welcome):
                self.welcome, self.trouble = welcome, None
            case Learnt(sha256, completion):
                self._completions[sha256] = completion
            case Lost(trouble):
                self.trouble = trouble
            case Changed(state):
                return self._changed(state)
            case Sending(jobs, share):
                for job in jobs:
                    if entry := self.entries.get(job):
                        entry.sent = share
            case Refused(jobs, trouble):
                self._refused(jobs, trouble)
                return [Ended(job) for job in jobs if job in self.entries][:1]  # the reason is one for all
            case Fetched(job):
                return self._fetched(job)
            case NotFetched(job, trouble):
                if entry := self.entries.get(job):
                    entry.trouble = (trouble.sentence, trouble.remedy)
            case Gone(job):
                if (entry := self.entries.get(job)) and not entry.fetched:
                    entry.state, entry.live = State.DELETED, None
            case Progress():
                return self._progress(news)
        return []

    def _changed(self, state: JobState) -> list[Effect]:
        if state.id in self._forgotten:
            return []
        entry = self.entries.get(state.id)
        if entry is None:
            entry = Entry(state.id, state.batch, state.request, state.created, state=state.state)
            self.entries[state.id] = entry
        ended = entry.running and state.state in FINAL
        entry.state, entry.ahead, entry.attempt = state.state, state.ahead, state.attempt
        entry.warnings, entry.available = state.warnings, bool(state.results)
        entry.trouble = (state.reason.sentence, state.reason.remedy) if state.reason else None
        if state.started is not None and state.finished is not None:
            entry.seconds = state.finished - state.started
        if state.state != State.RUNNING:
            entry.live = None
        # A job that is done has ended for the artist when its results are here.
        return [Ended(state.id)] if ended and entry.mine and state.state != State.DONE else []

    def _refused(self, jobs: tuple[str, ...], trouble: Trouble) -> None:
        for job in jobs:
            if entry := self.entries.get(job):
                if isinstance(trouble, Refusal) and trouble.nearest:
                    self._unknown = entry.request.prompt, entry.request.model, trouble.nearest
                entry.trouble = (trouble.sentence, trouble.remedy)
                if entry.state == SENDING:
                    entry.state = REFUSED

    def _fetched(self, job: str) -> list[Effect]:
        entry = self.entries.get(job)
        if entry is None or entry.fetched:
            return []
        entry.fetched, entry.trouble = True, None
        return [Arrived(job), Ended(job)] if entry.mine and not entry.imported else []

    def _progress(self, news: Progress) -> list[Effect]:
        entry = self.entries.get(news.live.job)
        if entry is None or not entry.running:
            return []
        if entry.state != State.CANCELLING:
            entry.live = news.live
        if news.preview:
            entry.preview = news.preview
            entry.previews += 1
        return [Shown(entry.job, news.coarse)] if news.preview or news.coarse else []
