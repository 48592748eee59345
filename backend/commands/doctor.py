"""dreamtime doctor: what this machine has and lacks, with the fix for each lack."""

import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass

import click

from backend.errors import UserError
from backend.files import FREE_BYTES_NEEDED

_NEEDED = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "skimage" if sys.version_info >= (3, 13) else "mcubes",
    "psutil",
    "scipy",
    "trimesh",
    "embreex",
    "xatlas",
    "fast_simplification",
)
_REINSTALL = "python -m pip install --force-reinstall xatlas"
_CUBE_TEXELS = 64
_INSTALL = 'python -m pip install -c requirements.lock -e "." in the program\'s folder'


@dataclass(frozen=True)
class Finding:
    """One thing looked at. fix: what to do about a lack, or None if nothing is lacking. needed: whether it must be."""

    name: str
    found: str
    fix: str | None = None
    needed: bool = False

    def __str__(self) -> str:
        mark = "ok" if self.fix is None else "MISSING" if self.needed else "none"
        return f"{mark:8}{self.name:18}{self.found}" + (f"\n{'':26}-> {self.fix}" if self.fix else "")


def findings() -> list[Finding]:
    """Everything that matters for making objects here."""
    packages = _packages()
    found = [Finding("Python", platform.python_version()), packages, _disk()]
    # The rest is found out by these very packages.
    return found if packages.fix else [*found, *_machine(), *_devices(), _tinycudann(), _unwrapping(), *_models()]


def _packages() -> Finding:
    lacking = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        return Finding("packages", f"without {', '.join(lacking)}", _INSTALL, needed=True)
    return Finding("packages", "all there")


def _machine() -> list[Finding]:
    import torch

    from backend import machine
    from backend.guidance.precision import best_precision

    precision = best_precision(torch.device("cpu"))
    return [
        Finding("processor", f"{machine.processor()}; computes in {precision}"),
        Finding("memory", machine.memory()),
        Finding("torch", torch.__version__),
    ]


def _disk() -> Finding:
    free = shutil.disk_usage(".").free
    text = f"{free / 2**30:.1f} GiB free here"
    enough = free >= FREE_BYTES_NEEDED
    return Finding("disk", text, None if enough else "make room: a job needs 200 MiB", needed=not enough)


def _devices() -> list[Finding]:
    import torch

    from backend import machine

    gpu = machine.gpu()
    if gpu:
        cuda = Finding("CUDA", f"{gpu}, torch built for CUDA {torch.version.cuda} (nobody has tried this path yet)")
    elif torch.version.cuda is None:
        cuda = Finding(
            "CUDA", "this torch has no CUDA", "for an NVIDIA card: install torch from pytorch.org's CUDA index"
        )
    else:
        cuda = Finding("CUDA", "no device", "check the NVIDIA driver with nvidia-smi; without a card the CPU is used")
    if torch.backends.mps.is_available():
        return [cuda, Finding("Metal", "there, used with --device mps only (nobody has tried this path yet)")]
    return [cuda]


def _tinycudann() -> Finding:
    from backend.engine import tcnn_hashgrid

    lack = tcnn_hashgrid.missing()
    if lack is None:
        return Finding("tinycudann", "there, used for the hash grid (nobody has tried this path yet)")
    return Finding(
        "tinycudann", f"not usable: {lack}", "nothing to do: it only makes the hash grid faster on an NVIDIA card"
    )


def _unwrapping() -> Finding:
    import trimesh

    from backend.mesh.asset import TriangleMesh
    from backend.mesh.unwrap import UnwrapError, charted

    cube = trimesh.creation.box()
    try:
        charted(TriangleMesh(cube.vertices.astype("float32"), cube.faces.astype("int32")), _CUBE_TEXELS)
    except UnwrapError as error:
        return Finding("unwrapping", str(error), _REINSTALL, needed=True)
    return Finding("unwrapping", "works")


def _models() -> list[Finding]:
    from backend.guidance import library

    try:
        return [Finding("model", f"{model.name} ({model.origin})") for model in library.listed()]
    except UserError as error:
        return [Finding("models", "unreadable", str(error), needed=True)]


def _cluster(address: str) -> list[Finding]:
    """The cluster at `address`: whether it can be joined, and by strangers, too, and what its machines lend."""
    from backend.service.cluster import guard

    lack = guard.lack(address)
    if lack:
        problem, _, remedy = lack.partition("; ")
        return [Finding("cluster", problem, remedy, needed=True)]
    from backend.service.cluster.ray_core import SLOTS, RayMachines

    gpus, slots = RayMachines("cuda", ""), RayMachines("cpu", "")
    try:
        gpus.join(address)
        lent = {machine.name: machine.devices for machine in gpus.present()}
        rest = {machine.name: machine.devices for machine in slots.present()}
    except ConnectionError as error:
        return [Finding("cluster", str(error), "is Ray on this machine, too, and the token the same", needed=True)]
    finally:
        gpus.leave()
    joined = Finding("cluster", f"joined at {address}; nobody is let in without its token")
    if not any((*lent.values(), *rest.values())):
        remedy = f"on a machine with a GPU: ray start; on another one: ray start --resources '{{\"{SLOTS}\": 1}}'"
        joined = Finding("cluster", "joined, but no machine lends a device", remedy, needed=True)
    return [joined, *(Finding(name, f"lends {lent[name]} GPUs, {rest.get(name, 0)} {SLOTS} slots") for name in lent)]


@click.command()
@click.option("--ray", "cluster", help="Look at the Ray cluster with its head at HOST:PORT, too.")
def doctor(cluster: str | None) -> None:
    """Print what this machine has and lacks, with the fix for each lack."""
    found = [*findings(), *(_cluster(cluster) if cluster else [])]
    for finding in found:
        click.echo(str(finding))
    lacks = [finding.name for finding in found if finding.needed and finding.fix]
    click.echo(f"mend first: {', '.join(lacks)}" if lacks else "ready to make objects")
    click.get_current_context().exit(1 if lacks else 0)
