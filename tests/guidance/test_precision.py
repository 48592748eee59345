from pathlib import Path

import pytest
import torch

from backend.guidance.precision import PRECISIONS, autocast, best_precision, dtype_of, steady

ROOT = Path(__file__).parents[2]


def test_a_cpu_takes_bf16_only_where_it_multiplies_that_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert best_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(("able", "expected"), [({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)])
def test_products_are_rounded_to_bf16_only_where_that_is_quick(
    able: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_autocast_is_asked_of_precision_alone() -> None:
    """Where bf16 is emulated, a training takes a hundred times as long."""
    files = [path for path in (ROOT / "backend").rglob("*.py") if path.name != "precision.py"]
    assert len(files) > 100
    assert [path.name for path in files if "torch.autocast" in path.read_text("utf-8")] == []


def test_a_gpu_takes_fp16_and_devices_nobody_has_tried_single_precision() -> None:
    assert best_precision(torch.device("cuda", 1)) == "fp16"
    assert best_precision(torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16"), (False, "fp32")])
def test_what_overflows_in_fp16_gets_more_range(able: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or able
    )
    assert steady("fp16", torch.device("cuda")) == expected
    assert asked == [False]
    assert [steady(precision, torch.device("cpu")) for precision in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_every_precision_has_its_type() -> None:
    assert [dtype_of(precision).itemsize for precision in PRECISIONS] == [4, 2, 2]
