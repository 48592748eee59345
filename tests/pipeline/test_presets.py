import pytest

from backend.engine import schedules
from backend.engine.schedules import stable_diffusion_abar
from backend.pipeline.presets import PRESETS, preset
from backend.pipeline.tuning import tuned


@pytest.mark.parametrize("name", PRESETS)
def test_only_a_large_model_on_cuda_gets_a_hash_grid(name: str) -> None:
    devices = ("cpu", "cuda", "mps")
    fields = {(small, device): preset(name, small, device).field for small in (True, False) for device in devices}
    assert {kind for kind, field in fields.items() if field == "hashgrid"} == {(False, "cuda")}


def test_the_built_in_model_takes_as_many_steps_as_the_readme_says() -> None:
    chosen = [preset(name, small=True, device="cpu") for name in PRESETS]
    assert [(each.steps, each.cfg) for each in chosen] == [(120, 8.0), (300, 8.0), (800, 8.0)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_large_model_takes_more_steps_and_more_guidance_to_the_same_mesh(name: str) -> None:
    small, large = preset(name, small=True, device="cpu"), preset(name, small=False, device="cpu")
    assert large.steps > 5 * small.steps
    assert large.cfg > small.cfg
    assert (large.faces, large.texture, large.resolution) == (small.faces, small.texture, small.resolution)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_draws_its_timesteps_by_lot(name: str, small: bool) -> None:
    chosen = preset(name, small, device="cpu")
    assert isinstance(schedules.make(chosen.schedule, stable_diffusion_abar(), chosen.steps), schedules.Table)


@pytest.mark.parametrize("name", PRESETS)
def test_a_large_model_of_pixels_is_asked_with_less_guidance_than_one_of_latents(name: str) -> None:
    assert preset(name, small=False, device="cuda", latent=False).cfg == 20
    assert preset(name, small=False, device="cuda").cfg == 100
    assert preset(name, small=True, device="cuda", latent=False) == preset(name, small=True, device="cuda")


def test_a_draft_of_a_large_model_is_a_few_views_without_perp_neg() -> None:
    """So an artist with an ordinary card sees in minutes whether the prompt works."""
    tunings = {name: tuned(preset(name, small=False, device="cuda"), small=False) for name in PRESETS}
    works = {name: (of.optimisation.steps, of.optimisation.views, of.perp_neg) for name, of in tunings.items()}
    assert works == {"draft": (1_000, 2, False), "standard": (5_000, 4, True), "high": (10_000, 4, True)}


def test_views_that_see_each_other_stay_four_in_a_draft() -> None:
    draft = preset("draft", small=False, device="cuda", multi_view=True)
    assert (draft.steps, draft.views) == (1_500, 4)
    assert preset("draft", small=True, device="cpu").views == 4
