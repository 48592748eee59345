"""The installation of the local backend: programs in a thread, watched, cancelled at any time, whole or not at all."""

import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from io import TextIOWrapper

from . import complaints, pip_output
from .child import Child
from .environment import Environment, Marker, mark, python_in
from .files import delete, patiently
from .identity import Identity
from .pip_output import Progress
from .plan import Plan
from .troubles import CannotInstall, InstallError, InstallStopped

HOME = "DREAMTIME_HOME"

_RAW_PROGRESS_PIP = (24, 1)
_PIP = "pip>=24.1"
_MB = 10**6
_PIP_VERSION = re.compile(r"pip (\d+)\.(\d+)")

logger = logging.getLogger(__name__)


class Installation:
    """Makes the environment of a plan, which the artist has agreed to. version: of the add-on.

    It happens in a thread that never touches Blender; `progress`, `finished` and `error` may be looked at any time.
    """

    def __init__(self, plan: Plan, version: str) -> None:
        self.plan = plan
        self.log = plan.environment.logs / "install.log"
        self.progress = Progress("Starting", "", 0.0)
        self.error: InstallError | None = None
        self._version = version
        self._stop = threading.Event()
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._work, name="dreamtime-install", daemon=True)

    def start(self, online: bool) -> None:
        """Begin. online: whether Blender may use the internet (bpy.app.online_access). Raises CannotInstall."""
        if not online:
            raise CannotInstall(
                "Blender may not use the internet, and the backend is downloaded from there",
                "turn on Allow Online Access in Preferences > System, or run the backend on another computer",
            )
        environment = self.plan.environment
        try:
            environment.logs.mkdir(parents=True, exist_ok=True)
            if Identity.read(environment.lock):
                raise CannotInstall("the backend is being installed or removed already", "wait until that is finished")
            self._identity = Identity.of(os.getpid())
            if self._identity:
                self._identity.write(environment.lock)
        except OSError as error:
            raise CannotInstall(f"cannot write {environment.folder} ({error.strerror})", "see who owns it") from error
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether it is over; `error` says how it ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def cancel(self) -> None:
        """End it soon; returns at once."""
        self._stop.set()
        if self._child:
            self._child.kill()

    def join(self, seconds: float) -> bool:
        """Wait for its end, for so long; whether it came."""
        self._thread.join(seconds)
        return self.finished

    # --- in the thread ---

    def _work(self) -> None:
        environment = self.plan.environment
        try:
            with self.log.open("w", encoding="utf-8") as log:
                self._make(environment, log)
        except InstallError as error:
            self.error = error
        except OSError as error:
            self.error = complaints.explain("installing the backend", [str(error)], self.log)
        finally:
            try:
                delete(environment.partial)
            except OSError as error:  # the next installation removes it
                logger.warning("cannot remove %s: %s", environment.partial, error)
            if self._identity:
                self._identity.forget(environment.lock)

    def _make(self, environment: Environment, log: TextIOWrapper) -> None:
        partial = environment.partial
        self._tell("Preparing", 0.0)
        delete(partial)
        self._run(log, "making the environment", [str(self.plan.python), "-m", "venv", str(partial)])
        python = str(python_in(partial))
        self._tell("Preparing", 0.01)
        how = "raw" if self._new_pip(log, python) else "off"
        reader = pip_output.Reader(self.plan.cost.download_mb * _MB)
        self._run(
            log,
            "installing the packages",
            [python, "-m", "pip", "install", "--progress-bar", how, *self.plan.arguments],
            lambda line: setattr(self, "progress", reader.read(line)),
        )
        self._tell("Trying it", pip_output.INSTALLED)
        self._run(log, "trying the backend", [python, "-m", "backend", "doctor"])
        mark(partial, Marker(self._version, self.plan.build, ".".join(map(str, self.plan.python_version))))
        _swap(environment)
        self._tell("Installed", 1.0)

    def _new_pip(self, log: TextIOWrapper, python: str) -> bool:
        """Whether pip can tell how much of a file is there; it is renewed for that if it can be."""
        try:
            self._run(log, "renewing pip", [python, "-m", "pip", "install", "--retries", "1", _PIP])
        except InstallStopped:
            raise
        except InstallError as error:  # the old one installs as well, and tells less
            logger.info("pip stays as it is: %s", error)
        told = self._run(log, "asking pip", [python, "-m", "pip", "--version"])
        found = next(filter(None, map(_PIP_VERSION.match, told)), None)
        return found is not None and (int(found[1]), int(found[2])) >= _RAW_PROGRESS_PIP

    def _run(
        self, log: TextIOWrapper, step: str, command: Sequence[str], hear: Callable[[str], object] = len
    ) -> list[str]:
        """Run a program to its end; returns what it printed. Raises InstallError if it failed or was cancelled."""
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        environment = self.plan.environment
        own = {HOME: str(environment.home), "PIP_CACHE_DIR": str(environment.downloads)}
        self._child = child = Child(command, environment.folder, **own)
        if self._stop.is_set():  # before `cancel` could see the child
            child.kill()
        lines = []
        for line in child.lines():
            log.write(line + "\n")
            log.flush()
            lines.append(line)
            hear(line)
        code = child.wait()
        self._child = None
        if self._stop.is_set():
            raise InstallStopped("the installation was cancelled", log_tail=complaints.tail(lines))
        if code:
            raise complaints.explain(step, lines, self.log)
        return lines

    def _tell(self, phase: str, fraction: float) -> None:
        self.progress = Progress(phase, "", fraction)


def _swap(environment: Environment) -> None:
    """Put the new environment where the old one was; if that cannot be, the old one stays."""
    delete(environment.replaced)
    there = environment.path.exists()
    if there:
        patiently(lambda: environment.path.rename(environment.replaced))
    try:
        patiently(lambda: environment.partial.rename(environment.path))
    except OSError:
        if there:
            environment.replaced.rename(environment.path)
        raise
    try:
        delete(environment.replaced)
    except OSError as error:  # the next installation removes it
        logger.warning("cannot remove %s: %s", environment.replaced, error)
