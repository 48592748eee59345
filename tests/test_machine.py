"""What this machine has left, from numbers that are given."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from backend.machine import free_memory


def test_free_memory_of_a_gpu_is_what_the_driver_has_and_what_torch_keeps_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 8_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2_500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2_000)
    assert free_memory(torch.device("cuda")) == 5_500


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_free_memory_elsewhere_is_what_the_system_can_still_give(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3_000))
    assert free_memory(torch.device(device)) == 3_000
