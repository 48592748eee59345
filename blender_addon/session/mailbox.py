"""News on its way from the client thread to Blender: events in order, and only the latest of progress and pictures."""

import threading
from dataclasses import dataclass, replace

from ..shared.errors import Trouble
from ..shared.jobs import JobState, Live
from ..shared.messages import Welcome
from .completion import Completion


@dataclass(frozen=True)
class Connected:
    """The backend answers."""

    welcome: Welcome


@dataclass(frozen=True)
class Learnt:
    """The words of a model are here. sha256: of their file, by which the backend's offer names them."""

    sha256: str
    completion: Completion


@dataclass(frozen=True)
class Lost:
    """The backend does not answer, or not as it should. The thread goes on trying."""

    trouble: Trouble


@dataclass(frozen=True)
class Changed:
    """How a job stands now."""

    state: JobState


@dataclass(frozen=True)
class Sending:
    """What these jobs begin from is on its way. share: how much of it is there, from 0 to 1."""

    jobs: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Refused:
    """The backend will not take these jobs."""

    jobs: tuple[str, ...]
    trouble: Trouble


@dataclass(frozen=True)
class Fetched:
    """All results of a job are here."""

    job: str


@dataclass(frozen=True)
class NotFetched:
    """They could not be brought here; asking for them again may help."""

    job: str
    trouble: Trouble


@dataclass(frozen=True)
class Gone:
    """The backend has a job no more: it was deleted elsewhere."""

    job: str


@dataclass(frozen=True)
class Progress:
    """The latest of a running job. preview: a PNG; coarse: a packed mesh; b"" where there is nothing new."""

    live: Live
    preview: bytes = b""
    coarse: bytes = b""


News = Connected | Learnt | Lost | Changed | Sending | Refused | Fetched | NotFetched | Gone | Progress


class Mailbox:
    """Filled by the client thread, emptied by the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[News] = []
        self._progress: dict[str, Progress] = {}

    def put(self, news: News) -> None:
        with self._lock:
            if not isinstance(news, Progress):
                self._events.append(news)
                return
            before = self._progress.get(news.live.job)
            if before and before.live.attempt == news.live.attempt:
                news = replace(news, preview=news.preview or before.preview, coarse=news.coarse or before.coarse)
            self._progress[news.live.job] = news

    def take(self) -> News | None:
        """The next event, or else some job's latest progress, or None."""
        with self._lock:
            if self._events:
                return self._events.pop(0)
            if self._progress:
                return self._progress.pop(next(iter(self._progress)))
            return None
