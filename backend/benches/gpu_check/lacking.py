"""What a machine lacks for the check, and how to carry it to one that is offline. Nothing here imports torch."""

import importlib.metadata
import importlib.util
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
_TEST_PACKAGES = ("beartype", "pytest", "pytest-randomly")
_ROOM = 16 * 2**30
"""Bytes for four models of half precision."""


def lacking(temporary: Path) -> Iterator[str]:
    """A line for each thing. temporary: where models are made."""
    yield from packages(ROOT)
    if shutil.which("nvidia-smi") is None:
        yield "an NVIDIA card with its driver"
    elif _version("torch").endswith("+cpu"):
        yield "torch with CUDA: python -m pip download torch==2.13.0 --index-url https://download.pytorch.org/whl/cu130"
    if importlib.util.find_spec("tinycudann") is None:
        yield (
            "tinycudann, without which the hash grid is plain torch: on a machine with nvcc python -m pip wheel "
            "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch, and carry that"
        )
    if not (ROOT / "tests" / "gpu").is_dir():
        yield "the tests: run it from a clone"
    free = shutil.disk_usage(temporary).free
    if free < _ROOM:
        yield f"room for models: {temporary} has {free >> 30} GiB left of {_ROOM >> 30}; set TMPDIR to another folder"


def packages(root: Path) -> Iterator[str]:
    """Those of the program and of its GPU tests that are not there, in the versions that it is tested with."""
    if not (root / "pyproject.toml").is_file():
        return
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (root / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    needed = [line for line in project["dependencies"] if sys.version_info < (3, 13) or "python_version" not in line]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in (*needed, *_TEST_PACKAGES)]
    absent = [f"{name}=={pins[name]}" if name in pins else name for name in names if not _version(name)]
    if absent:
        yield (
            f"packages: python -m pip download --no-deps --dest wheels {' '.join(absent)}, and there "
            "python -m pip install --no-index --no-deps wheels/*"
        )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
