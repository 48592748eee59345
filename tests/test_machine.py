"""What this machine has left, from numbers that are given."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from backend.machine import free_memory


def test_free_memory_of_a_gpu_is_what_the_driver_has_and_what_torch_keeps_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu(monkeypatch, allowed=1.0)
    assert free_memory(torch.device("cuda")) == 5_500


def test_no_more_of_a_gpu_is_free_than_this_process_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, allowed=0.5)
    assert free_memory(torch.device("cuda")) == 2_000


def gpu(monkeypatch: pytest.MonkeyPatch, allowed: float) -> None:
    """One of 8,000 bytes, 5,000 of them free. torch keeps 2,500, of which tensors take 2,000."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 8_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2_500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2_000)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: allowed)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_free_memory_elsewhere_is_what_the_system_can_still_give(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3_000))
    assert free_memory(torch.device(device)) == 3_000
