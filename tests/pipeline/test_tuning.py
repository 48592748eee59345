from dataclasses import replace

import pytest
import torch

from backend.engine.cameras import CameraDistribution, EvenRigs
from backend.engine.names import FIELDS
from backend.engine.settings import Shading
from backend.guidance.prompts import view_shares
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned


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


@pytest.mark.parametrize("small", [True, False])
def test_distances_alone_are_asked_to_be_some(small: bool) -> None:
    chosen = preset("draft", small, device="cpu")
    for field in FIELDS:
        asked = tuned(replace(chosen, field=field), small).optimisation.regularisation
        assert (asked.eikonal.at(0.5) > 0) == (field == "sdf")
        assert asked.opacity.at(1.0) > 0


def test_a_rival_learns_faster_beside_the_short_runs_of_a_small_model() -> None:
    rates = [tuned(preset("draft", small, "cpu"), small).optimisation.rival_rate for small in (True, False)]
    assert rates[0] > rates[1]


def test_only_a_large_model_that_is_told_of_views_by_words_is_told_them_apart_by_them() -> None:
    chosen = preset("standard", small=False, device="cpu")
    by_words, told = tuned(chosen, small=False), tuned(chosen, small=False, takes_views=True)
    small = tuned(preset("draft", small=True, device="cpu"), small=True)
    assert (by_words.view_mode, by_words.perp_neg, by_words.optimisation.rig) == ("interpolated", True, False)
    for other in (told, small):
        assert (other.view_mode, other.perp_neg, other.optimisation.rig) == ("off", False, True)


def test_a_small_model_sees_views_together_and_forgets_nothing_early() -> None:
    settings = tuned(preset("draft", small=True, device="cpu"), small=True).optimisation
    assert settings.joint_views == 4
    assert settings.depth is not None
    assert settings.regularisation.opacity.at(0.5) == settings.regularisation.entropy.at(0.5) == 0.0
    assert min(settings.regularisation.opacity.at(1.0), settings.regularisation.entropy.at(1.0)) > 0.0


def test_a_multi_view_model_is_tuned_as_its_authors_did() -> None:
    chosen = preset("high", small=False, device="cuda", multi_view=True)
    assert (chosen.steps, chosen.cfg, chosen.schedule, chosen.field) == (10_000, 50.0, "window", "hashgrid")
    tuning = tuned(chosen, small=False, multi_view=True)
    settings = tuning.optimisation
    assert (tuning.view_mode, tuning.perp_neg) == ("off", False)
    assert (settings.rule, settings.weight, settings.cfg, settings.schedule) == ("x0", "one", 50.0, "window")
    assert (settings.views, settings.joint_views, settings.rig) == (4, 4, True)
    assert isinstance(settings.cameras, EvenRigs)
    assert settings.cameras.elevation_degrees == (0.0, 30.0)
    assert settings.cameras.fov_degrees == (15.0, 60.0)
    assert settings.shading == Shading()


def test_what_a_large_model_that_is_told_of_views_makes_is_not_thinned_before_it_has_a_shape() -> None:
    opacity = tuned(preset("draft", small=False, device="cpu"), small=False, takes_views=True)
    assert opacity.optimisation.regularisation.opacity.at(0.0) == 0.0
    assert opacity.optimisation.regularisation.opacity.at(1.0) > 0.0


def test_large_models_are_shown_what_photographs_show_and_the_built_in_one_its_own_pictures(
    generator: torch.Generator,
) -> None:
    large, small = (tuned(preset("draft", small, device="cpu"), small) for small in (False, True))
    assert small.optimisation.cameras == CameraDistribution()
    for tuning, highest in ((large, 45.0), (small, 60.0)):
        drawn = tuning.optimisation.cameras.sample(20_000, generator)
        assert drawn.elevation.rad2deg().max().item() == pytest.approx(highest, abs=0.5)
    drawn = large.optimisation.cameras.sample(20_000, generator)
    assert view_shares(drawn)[:, 3].max() == 0, "none of them is an overhead view"
    assert large.optimisation.occupancy_resolution == 64
