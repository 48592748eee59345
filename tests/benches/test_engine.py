"""What the bench prints, on few steps. Nothing here asserts a speed."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import machine
from backend.benches import engine
from backend.guidance.diffusion import DiffusionGuidance
from backend.pipeline.asking import load_guidance
from backend.pipeline.job import planned
from backend.pipeline.request import Request


def test_a_step_is_compared_with_its_guidance_call() -> None:
    job, _ = planned(Request(engine.PROMPT, device="cpu"))
    rows = dict(engine.step_rows(job, load_guidance(job), steps=8))
    assert re.fullmatch(r"\d+\.\d\dx", rows["step / guidance call"])
    # The step contains the call, so no noise makes it ten times cheaper.
    assert float(rows["step / guidance call"][:-1]) > 0.1


def test_what_is_timed_is_what_the_step_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Perp-Neg a step asks for up to four predictions of a view, by where its camera stands."""
    job, _ = planned(Request(engine.PROMPT, device="cpu"))
    alone = replace(job.optimisation, views=1, joint_views=1)
    job = replace(job, view_mode="interpolated", perp_neg=True, optimisation=alone)
    asked: list[tuple[int, int]] = []
    call = DiffusionGuidance._outputs

    def outputs(guidance: DiffusionGuidance, noisy: Tensor, t: int, text: Sequence[Tensor], told: Any) -> Tensor:
        asked.append((len(noisy), len(text)))
        return call(guidance, noisy, t, text, told)

    monkeypatch.setattr(DiffusionGuidance, "_outputs", outputs)
    engine.step_rows(job, load_guidance(job), steps=8)
    assert asked[::2] == asked[1::2]
    assert {views for views, _ in asked} == {1}
    assert {texts for _, texts in asked} >= {3, 4}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test needs to be missing")
def test_without_a_gpu_its_rows_say_so() -> None:
    assert [value for _, value in engine.stable_diffusion_rows()] == ["not measured: no CUDA device"] * 2


def test_the_machine_is_named() -> None:
    assert "cores" in machine.described()
    assert f"torch {torch.__version__}" in machine.described()
