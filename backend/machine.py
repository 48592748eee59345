"""What this machine is, in words."""

import platform
import re
import sys
from pathlib import Path

import psutil
import torch


def processor() -> str:
    """The CPU's name and how many cores this process sees."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (found := re.search(r"model name\s*: (.+)", cpuinfo.read_text("utf-8", "replace"))):
        name = found[1]
    return f"{name}, {psutil.cpu_count()} cores"


def memory() -> str:
    """Main memory, all and free."""
    size = psutil.virtual_memory()
    return f"{size.total / 2**30:.0f} GiB, {size.available / 2**30:.0f} free"


def free_memory(device: torch.device) -> int:
    """Bytes of the device's memory that this process may still take."""
    if device.type != "cuda":  # Metal's is main memory, too
        return int(psutil.virtual_memory().available)
    free, total = torch.cuda.mem_get_info(device)
    taken = torch.cuda.memory_allocated(device)
    allowed = total * torch.cuda.get_per_process_memory_fraction(device)
    # What torch keeps for later counts as taken.
    return int(min(free + torch.cuda.memory_reserved(device), allowed) - taken)


def gpu() -> str | None:
    """The first CUDA device and its memory, or None."""
    if not torch.cuda.is_available():
        return None
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def named(device: str) -> str:
    """What computes on a device of the kind "cpu", "cuda" or "mps"."""
    return (gpu() if device == "cuda" else None) or processor()


def described() -> str:
    """One line for the head of a table of timings."""
    parts = [processor(), f"{memory()} memory", f"{gpu() or 'no CUDA device'}", f"torch {torch.__version__}"]
    return "; ".join(parts)


def peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_gpu_memory() -> int | None:
    """The most bytes that this process's tensors have had on the first CUDA device, or None without one.

    Since the last call of torch.cuda.reset_peak_memory_stats, if there was one.
    """
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
