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
        asked = tuned(replace(chosen, field=field), small, takes_views=small).optimisation.regularisation
        assert (asked.eikonal.at(0.5) > 0) == (field == "sdf")
        assert asked.opacity.at(1.0) > 0


def test_a_rival_learns_faster_beside_the_short_runs_of_a_small_model() -> None:
    rates = [tuned(preset("draft", small, "cpu"), small).optimisation.rival_rate for small in (True, False)]
    assert rates[0] > rates[1]


def test_only_a_large_model_is_told_views_apart() -> None:
    chosen = preset("draft", small=True, device="cpu")
    assert (tuned(chosen, small=True).view_mode, tuned(chosen, small=True).perp_neg) == ("nearest", False)
    assert (tuned(chosen, small=False).view_mode, tuned(chosen, small=False).perp_neg) == ("interpolated", True)


@pytest.mark.parametrize("small", [True, False])
def test_a_model_that_is_told_of_views_gets_rigs_and_no_words_for_them(small: bool) -> None:
    chosen = preset("draft", small, device="cpu")
    told, other = tuned(chosen, small, takes_views=True), tuned(chosen, small)
    assert (told.view_mode, told.perp_neg) == ("off", False)
    assert told.optimisation.rig
    assert not other.optimisation.rig


def test_a_small_model_that_is_told_of_views_sees_them_together_and_forgets_nothing_early() -> None:
    chosen = preset("draft", small=True, device="cpu", told=True)
    settings = tuned(chosen, small=True, takes_views=True).optimisation
    assert (settings.steps, settings.cfg, settings.joint_views) == (120, 8.0, 4)
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


def test_what_a_model_that_is_told_of_views_makes_is_not_thinned_before_it_has_a_shape() -> None:
    opacity = tuned(preset("draft", small=True, device="cpu"), small=True, takes_views=True)
    assert opacity.optimisation.regularisation.opacity.at(0.0) == 0.0
    assert opacity.optimisation.regularisation.opacity.at(1.0) > 0.0


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
