"""The frequency measure on pictures whose answer is known, and gradients of a model that wants one picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.errors import UserError
from backend.evaluation import claims, gradients
from backend.evaluation.gradients import Gradients, spectrum
from backend.evaluation.suites import facts_of, prepared


def waves(cycles: int, size: int = 32) -> torch.Tensor:
    """Stripes of `cycles` periods over the picture."""
    phase = 2 * torch.pi * cycles * torch.arange(size) / size
    return torch.sin(phase).expand(3, size, size) + 5.0  # the level must not matter


@pytest.mark.parametrize("cycles", [1, 4, 9, 15])
def test_stripes_have_their_own_frequency(cycles: int) -> None:
    centroid, high = spectrum(waves(cycles), waves(cycles))
    assert centroid == pytest.approx(cycles / 32)
    assert high == pytest.approx(float(cycles > 8), abs=1e-9)


def test_noise_that_two_estimates_do_not_share_does_not_count(generator: torch.Generator) -> None:
    first, second = (waves(2) + 0.5 * torch.randn(3, 32, 32, generator=generator) for _ in range(2))
    centroid, high = spectrum(first, second)
    assert centroid == pytest.approx(2 / 32, abs=0.01)
    assert high == pytest.approx(0, abs=0.05)
    assert spectrum(first, first)[1] > 0.15, "which it would otherwise"


def test_the_built_in_model_wants_the_object_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "NOISES", 4)
    bench = prepared("builtin", "cpu", None)
    found = gradients.gradients(bench.guidance, "a red mug", torch.full((1, 3, 32, 32), 0.5), cfg=7.5)
    assert len(found.centroid) == len(found.share_high) == len(gradients.TIMESTEPS)
    assert found.pictures.shape == (3, 3, 32, 32)
    # To lower blue and green where the mug is to be, against where it is not.
    wanted = -found.pictures[0]
    middle, rim = wanted[:, 12:20, 10:18].mean((1, 2)), wanted[:, :2].mean((1, 2))
    assert (middle - rim)[0] > (middle - rim)[1:].max()
    facts = facts_of(bench, "gradients")
    gradients.save([found, found], tmp_path / "kept.safetensors", facts)
    assert gradients.facts_of(tmp_path / "kept.safetensors") == facts
    again = gradients.load(tmp_path / "kept.safetensors")
    assert [one.centroid for one in again] == [found.centroid, found.centroid]
    torch.testing.assert_close(again[1].pictures, found.pictures, atol=1e-3, rtol=1e-3)
    assert isinstance(again[0], Gradients)
    assert gradients.load(tmp_path / "none") == []
    assert gradients.facts_of(tmp_path / "none") == {}


@pytest.mark.parametrize(("rise", "verdict"), [(0.1, "reproduced"), (0.0, "undecided"), (-0.1, "not reproduced")])
def test_what_gets_finer_is_told_from_what_does_not(rise: float, verdict: str) -> None:
    def of(start: float) -> Gradients:
        centroid = tuple(np.linspace(start, start + rise, len(gradients.TIMESTEPS)).tolist())
        return Gradients("a red mug", torch.zeros(3, 2, 2), torch.zeros(3, 3, 2, 2), centroid, centroid)

    found = claims.frequency([of(0.1 + 0.001 * index) for index in range(8)])
    assert found.verdict == verdict
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(rise)


def test_gradients_of_an_older_version_are_named(tmp_path: Path) -> None:
    save_file({"image": torch.zeros(1)}, tmp_path / "old.safetensors", {"facts": "[]"})
    for read in (gradients.load, gradients.facts_of):
        with pytest.raises(UserError, match=r"old\.safetensors is of an older version"):
            read(tmp_path / "old.safetensors")
