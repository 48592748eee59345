from dataclasses import replace

import pytest
import torch

from backend.engine.cameras import CameraDistribution
from backend.guidance.prompts import view_shares
from backend.presets import preset
from backend.tuning import tuned


@pytest.mark.parametrize("small", [True, False])
def test_what_the_preset_says_is_kept(small: bool) -> None:
    chosen = replace(preset("draft", small, "cpu"), steps=7, cfg=2.5, schedule="sqrt")
    optimisation = tuned(chosen, small).optimisation
    assert (optimisation.steps, optimisation.cfg, optimisation.schedule) == (7, 2.5, "sqrt")


def test_a_hash_grid_learns_more_slowly_than_voxels() -> None:
    voxels = preset("draft", small=True, device="cpu")
    rates = [
        tuned(replace(voxels, field=field), small=True).optimisation.learning_rate for field in ("voxel", "hashgrid")
    ]
    assert rates[0] > 10 * rates[1]


def test_only_a_large_model_is_told_views_apart() -> None:
    chosen = preset("draft", small=True, device="cpu")
    assert (tuned(chosen, small=True).view_mode, tuned(chosen, small=True).perp_neg) == ("nearest", False)
    assert (tuned(chosen, small=False).view_mode, tuned(chosen, small=False).perp_neg) == ("interpolated", True)


@pytest.mark.parametrize("small", [True, False])
def test_a_model_that_is_told_of_views_gets_rigs_and_no_words_for_them(small: bool) -> None:
    chosen = preset("draft", small, device="cpu")
    told, other = tuned(chosen, small, takes_views=True), tuned(chosen, small)
    assert (told.view_mode, told.perp_neg) == ("off", False)
    assert told.optimisation == replace(other.optimisation, rig=True)
    assert not other.optimisation.rig


def test_large_models_are_shown_what_photographs_show_and_the_built_in_one_its_own_pictures(
    generator: torch.Generator,
) -> None:
    chosen = preset("draft", small=False, device="cpu")
    large, small = tuned(chosen, small=False), tuned(chosen, small=True)
    assert small.optimisation.cameras == CameraDistribution()
    for tuning, overhead in ((large, 0.0), (small, 0.28)):  # the share of all conditioning
        drawn = tuning.optimisation.cameras.sample(20_000, generator)
        assert view_shares(drawn, tuning.above)[:, 3].mean().item() == pytest.approx(overhead, abs=0.02)
    assert large.optimisation.occupancy_resolution == 64
