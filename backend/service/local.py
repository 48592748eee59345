"""The devices of this machine: a worker process each, warm, watched, and started anew when it dies."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from backend.service.bell import Bell
from backend.service.child import Child, heard
from backend.service.executor import Device, Task, Update
from backend.service.slot import Patience, Slot

_LOOK_SECONDS = 10.0  # for GPUs


class LocalExecutor:
    """See `Executor`. command: what a device runs, see `Child`.

    It starts its processes in the thread that polls it; on Linux they end with that thread.
    """

    def __init__(
        self,
        devices: Sequence[str],
        log_folder: Path,
        command: Sequence[str],
        patience: Patience | None = None,
    ) -> None:
        self._bell = Bell()
        patience = patience or Patience()
        self._slots = {
            device: Slot(device, partial(Child, command, device, log_folder, self._bell.ring, heard), patience)
            for device in devices
        }
        self._bell.ring()  # the first poll starts the workers

    def devices(self) -> tuple[Device, ...]:
        return tuple(Device(slot.device, slot.state, slot.trouble) for slot in self._slots.values())

    def free(self) -> tuple[str, ...]:
        return tuple(slot.device for slot in self._slots.values() if slot.state == "idle")

    def models(self, device: str) -> None:
        """All: the server reads the same folder."""

    def start(self, device: str, task: Task) -> None:
        slot = self._slots.get(device)
        if slot is None or slot.state != "idle":
            raise ValueError(f"{device} is not free")
        slot.start(task)

    def cancel(self, job: str) -> None:
        for slot in self._slots.values():
            if slot.task and slot.task.job == job:
                slot.cancel()
                self._bell.ring()  # the next poll notes the time

    def poll(self, now: float) -> list[Update]:
        self._bell.hush()
        return [update for slot in self._slots.values() for update in slot.poll(now)]

    def fileno(self) -> int:
        return self._bell.fileno()

    def facts(self) -> dict[str, Any]:
        return next((slot.facts for slot in self._slots.values() if slot.facts), {})

    def pids(self) -> dict[str, int]:
        """The process of each device that has one."""
        return {slot.device: slot.child.pid for slot in self._slots.values() if slot.child}

    def close(self) -> None:
        for slot in self._slots.values():
            slot.dismiss()
        for slot in self._slots.values():
            slot.close()
        self._bell.close()


def available_devices() -> tuple[str, ...]:
    """ "cuda:0" and so on, one for each GPU that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows; ("cpu",) if none."""
    gpus = [f"cuda:{index}" for index in _listed_gpus()]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        gpus = [gpu for gpu in gpus if gpu.removeprefix("cuda:") in allowed.split(",")]
    return tuple(gpus) or ("cpu",)


def _listed_gpus() -> range:
    command = shutil.which("nvidia-smi")
    if command is None:
        return range(0)
    try:
        listed = subprocess.run(  # noqa: S603 a program of the driver's
            [command, "--list-gpus"], capture_output=True, timeout=_LOOK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer computes nothing either
        return range(0)
    return range(sum(line.startswith(b"GPU ") for line in listed.stdout.splitlines()))
