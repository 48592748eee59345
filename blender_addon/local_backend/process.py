"""The process of the local backend: started, watched, found again by the next Blender, stopped.

Nothing here waits: `poll` is called now and then, by one thread, and says how it stands.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from ..shared.pairing import Pairing, PairingError
from . import complaints
from .child import apart, kill_group, variables
from .environment import Environment, Readiness
from .identity import Identity
from .install import HOME, Installation
from .removal import Removal
from .status import Stage, Status
from .troubles import CannotRemove, CannotStart

STOP_SECONDS = 10.0
"""How long the backend may take to stop before it is killed."""

SLOW_SECONDS = 30.0
"""After so long, a start is called slow."""

_LOOK_SECONDS = 1.0  # between two looks at a process of another Blender


class LocalBackend:
    """version: of the add-on. clock: monotonic seconds."""

    def __init__(self, environment: Environment, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.environment = environment
        self.installation: Installation | None = None
        self._removal: Removal | None = None
        self.log = environment.logs / "backend.log"
        self._version = version
        self._clock = clock
        self._record = environment.folder / "running.json"
        self._line = environment.home / "keys" / "local.pairing"
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None
        self._status = self._at_rest()
        self._began = self._look_after = 0.0
        self._stale: object = None
        self._restarted = False

    # --- what the artist does ---

    def install(self, installation: Installation, online: bool) -> None:
        """Begin an installation. Raises CannotInstall, and CannotStart while a backend runs or is removed."""
        if self._in_use():
            raise CannotStart("the backend runs, and its files are in use", "stop it first")
        if self._removal:
            raise CannotStart("the backend is being removed", "wait until that is finished")
        installation.start(online)
        self.installation = installation
        self._status = Status(Stage.INSTALLING, installation.progress.phase)

    def remove(self) -> None:
        """Begin to delete all of it, with its models and jobs. Raises CannotRemove, as while a backend runs."""
        if self.installation or self._removal:
            raise CannotRemove("the backend is being installed or removed already", "wait until that is finished")
        if self._in_use() or self._adopt() or self._identity:
            raise CannotRemove("the backend runs, and its files are in use")
        removal = Removal(self.environment)
        removal.start()
        self._removal = removal
        self._status = Status(Stage.REMOVING, "The local backend is being removed")

    def start(self) -> None:
        """Start the backend on any free port, or find the one that runs already. Raises CannotStart."""
        if self._process or self.installation or self._removal or self._status.stage is Stage.STOPPING:
            return
        if self._adopt():
            return
        if self.environment.readiness(self._version) is not Readiness.READY:
            raise CannotStart(self._at_rest().sentence)
        self._restarted = False
        self._launch("The backend is starting")

    def stop(self) -> None:
        """Ask the backend to stop; it is killed if it has not in ten seconds. Its jobs go on at the next start."""
        identity = self._identity
        if identity is None and self._process is None:
            elsewhere = self._status.stage is Stage.RUNNING
            self._status = self._at_rest()
            if elsewhere:
                self._status = Status(Stage.STOPPED, "another program runs this backend", "stop it there")
            return
        self._began = self._clock()
        self._status = Status(Stage.STOPPING, "The backend is stopping")
        if self._process:
            self._process.terminate()
        elif identity and identity.alive():
            os.kill(identity.pid, signal.SIGTERM)

    def leave(self, keep: bool) -> None:
        """Blender ends. keep: the backend goes on with its jobs, and the next Blender finds it. Waits for nothing."""
        if self.installation:
            self.installation.cancel()
        if not keep:
            self.stop()
        else:
            self._remember()

    # --- how it stands ---

    def poll(self) -> Status:
        """How it stands now. Looks at a few small files at most, and never waits."""
        if self.installation:
            self._look_at_installation(self.installation)
        elif self._removal:
            self._look_at_removal(self._removal)
        elif self._process:
            self._look_at_process(self._process)
        elif self._clock() >= self._look_after:
            self._look_after = self._clock() + _LOOK_SECONDS
            self._look_around()
        return self._status

    def _look_at_installation(self, installation: Installation) -> None:
        progress = installation.progress
        if not installation.finished:
            words = f"{progress.phase} {progress.package}".strip()
            self._status = Status(Stage.INSTALLING, f"{words} ({progress.fraction:.0%})")
            return
        self.installation = None
        self._status = self._at_rest()
        if error := installation.error:
            self._status = Status(self._status.stage, error.sentence, error.remedy, None, error.log_tail)

    def _look_at_removal(self, removal: Removal) -> None:
        if not removal.finished:
            return
        self._removal = None
        self._status = self._at_rest()
        if error := removal.error:
            self._status = Status(self._status.stage, error.sentence, error.remedy)

    def _look_at_process(self, process: subprocess.Popen[bytes]) -> None:
        code = process.poll()
        if code is not None:
            self._ended(code)
        elif self._status.stage is Stage.STOPPING:
            if self._clock() - self._began > STOP_SECONDS:
                kill_group(process.pid)
        elif self._status.stage is Stage.STARTING:
            if self._mark_of_line() != self._stale and (pairing := self._pairing()):
                self._remember()
                self._status = Status(Stage.RUNNING, self._running_words(), "", pairing)
            elif self._clock() - self._began > SLOW_SECONDS:
                self._status = Status(Stage.STARTING, "The backend still starts", f"if it stays so, read {self.log}")

    def _look_around(self) -> None:
        """Without a process of this Blender: one of another may come, end, or be being stopped."""
        identity, stage = self._identity, self._status.stage
        if identity is None:
            resting = stage in (Stage.ABSENT, Stage.OUTDATED, Stage.STOPPED) and not self._status.remedy
            if not (stage is Stage.RUNNING or resting) or self._adopt():
                return
            if resting:
                self._status = self._at_rest()
        elif not identity.runs():
            identity.forget(self._record)
            self._identity = None
            self._status = self._at_rest()
            if stage is Stage.RUNNING:
                self._status = Status(Stage.CRASHED, "the backend ended", "start it again", None, self._last_words())
        elif stage is Stage.STOPPING and self._clock() - self._began > STOP_SECONDS:
            kill_group(identity.pid)

    def _ended(self, code: int) -> None:
        stage, words = self._status.stage, self._last_words()
        if self._identity:
            self._identity.forget(self._record)
        self._process = self._identity = None
        complaint = next((line.removeprefix("error: ") for line in reversed(words) if line.startswith("error: ")), "")
        if stage is Stage.STOPPING or code == 0:  # somebody else may have asked it to stop
            self._status = self._at_rest()
        elif "another backend uses" in complaint:
            self._adopt(certain=True)
        elif complaint:
            sentence, _, remedy = complaint.partition("; ")
            self._status = Status(Stage.CRASHED, sentence, remedy or "mend that and start it again", None, words)
        elif self._restarted:
            remedy = "start it again, and look into its log if that goes on"
            self._status = Status(Stage.CRASHED, f"the backend crashed twice ({_end(code)})", remedy, None, words)
        else:
            self._restarted = True
            with suppress(CannotStart):  # the status says it
                self._launch(f"The backend crashed ({_end(code)}) and is started again")

    # --- helpers ---

    def _in_use(self) -> bool:
        return self._status.stage in (Stage.STARTING, Stage.RUNNING, Stage.STOPPING)

    def _launch(self, sentence: str) -> None:
        """Start the process. Raises CannotStart."""
        marker = self.environment.marker()
        # nvidia-smi lists a card whose driver is too old for torch, too.
        device = ["--device", "cpu"] if marker and marker.build == "cpu" else []
        command = [str(self.environment.python), "-m", "backend", "serve", "--port", "0", *device]
        self._stale = self._mark_of_line()
        try:
            self.environment.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.environment.logs.mkdir(exist_ok=True)
            with suppress(OSError):  # there is none, or on Windows it is in use
                self.log.replace(self.log.with_name(self.log.name + ".1"))
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 the add-on's own command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.environment.home,
                    env=variables(**{HOME: str(self.environment.home)}),
                    **apart(),
                )
        except OSError as error:
            self._status = Status(
                Stage.CRASHED, f"the backend cannot be started ({error.strerror})", "install it again"
            )
            raise CannotStart(self._status.sentence, self._status.remedy) from error
        self._identity = Identity.of(self._process.pid)
        self._began = self._clock()
        self._status = Status(Stage.STARTING, sentence)

    def _adopt(self, certain: bool = False) -> bool:
        """Use the backend that an earlier or another Blender started; whether there is one.

        certain: it is known that there is one, even if nobody recorded its process.
        """
        self._identity = Identity.read(self._record)
        pairing = self._pairing() if self._identity or certain else None
        if pairing and self.environment.readiness(self._version) is Readiness.OUTDATED:
            self._status = Status(Stage.RUNNING, "The backend of another version runs", "stop it and install", pairing)
        elif pairing:
            self._status = Status(Stage.RUNNING, "The backend runs; it was started before", "", pairing)
        elif certain:
            self._status = Status(Stage.CRASHED, "another program runs this backend", "stop it there")
        return pairing is not None

    def _remember(self) -> None:
        """Record the process, so that the next Blender finds it."""
        if self._identity:
            with suppress(OSError):  # on a full disk; it is found by its lock then, and cannot be stopped from there
                self._identity.write(self._record)

    def _at_rest(self) -> Status:
        """How it stands without a process."""
        readiness = self.environment.readiness(self._version)
        if readiness is Readiness.ABSENT:
            return Status(Stage.ABSENT, "The local backend is not installed")
        if readiness is Readiness.OUTDATED:
            return Status(Stage.OUTDATED, "The local backend is of another version, or its Blender is gone")
        return Status(Stage.STOPPED, "The local backend is installed and does not run")

    def _running_words(self) -> str:
        return "The backend crashed and was started again" if self._restarted else "The backend runs"

    def _mark_of_line(self) -> object:
        """What changes when the backend writes its pairing line, as it does at each start."""
        try:
            found = self._line.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _pairing(self) -> Pairing | None:
        try:
            return Pairing.from_file(self._line.read_bytes())
        except (OSError, PairingError):
            return None

    def _last_words(self) -> tuple[str, ...]:
        return complaints.last_lines(self.log)


def _end(code: int) -> str:
    """How a process ended."""
    if code < 0 and sys.platform != "win32":
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"code {code}"
