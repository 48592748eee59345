"""Against diffusers' own pipelines, and by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine import distillation
from backend.engine.cameras import CameraDistribution
from backend.engine.rules import guided
from backend.engine.rules.sds import sds
from backend.engine.rules.step import Step
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.interface import Wishes
from backend.guidance.loading import load
from backend.guidance.views import Views
from backend.prior import model

CPU = torch.device("cpu")


class Recorder:
    """Stands in for a scheduler's `step` and keeps what each one was told, and the image it predicted."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler, self.original = scheduler, scheduler.step
        self.steps: list[tuple[int, Tensor, Tensor]] = []

    def __call__(self, output: Tensor, t: Tensor, sample: Tensor, return_dict: bool = True, **settings: Any) -> Any:
        result = self.original(output, t, sample, return_dict=True, **settings)
        # The scheduler turns eps, v or anything else into x_0; from that the noise follows by definition.
        abar = self.scheduler.alphas_cumprod[int(t)].double()
        eps = (sample.double() - abar.sqrt() * result.pred_original_sample.double()) / (1 - abar).sqrt()
        self.steps.append((int(t), sample, eps.float()))
        return result if return_dict else (result.prev_sample,)


def wishes(guidance: DiffusionGuidance, prompt: str, negative: str = "") -> Wishes:
    positive, unwanted = guidance.encode([prompt, negative]).split(1)
    return Wishes(positive, unwanted)


def views(count: int) -> Views:
    return Views.unlit(CameraDistribution().rigs(1, count, torch.Generator().manual_seed(4)))


def a_step(guidance: DiffusionGuidance, clean: Tensor, noise: Tensor, t: int, asked: Wishes, cfg: float) -> Step:
    return Step(guidance, clean, noise, t, asked, views(len(clean)), cfg, lambda purpose: torch.Generator())


def eps(guidance: DiffusionGuidance, noisy: Tensor, t: int, asked: Wishes, cfg: float) -> Tensor:
    """The noise in `noisy`, guided."""
    said, output = guided.ask(a_step(guidance, noisy, noisy, t, asked, cfg), noisy, t, cfg)
    return said.eps(output)


@pytest.mark.parametrize("negative", ["", "a blue bowl"])
@pytest.mark.parametrize("kind", ["sd1", "sd2", "if", "sdxl"])
def test_eps_is_what_diffusers_own_pipeline_computes(
    kind: str, negative: str, pipelines: dict[str, Any], guidances: dict[str, DiffusionGuidance], monkeypatch: Any
) -> None:
    pipeline, guidance = pipelines[kind], guidances[kind]
    recorder = Recorder(pipeline.scheduler)
    monkeypatch.setattr(pipeline.scheduler, "step", recorder)
    settings = {"clean_caption": False} if kind == "if" else {}
    pipeline(
        "a red mug, front view",
        negative_prompt=negative or None,
        num_inference_steps=3,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
        **settings,
    )
    asked = wishes(guidance, "a red mug, front view", negative)
    assert len(recorder.steps) == 3
    for t, noisy, theirs in recorder.steps[:2]:
        torch.testing.assert_close(eps(guidance, noisy, t, asked, 7.5), theirs, atol=1e-5, rtol=1e-5)


def test_eps_of_the_prior_is_what_its_own_parts_compute(
    folders: dict[str, Path], guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    prior, guidance = model.load(folders["prior"]), guidances["prior"]
    recorder = Recorder(prior.scheduler)
    prior.scheduler.set_timesteps(4)
    noisy = torch.randn(2, 3, 32, 32, generator=generator)
    t = prior.scheduler.timesteps[1]
    with torch.no_grad():
        u, c = (prior.unet(noisy, t, prior.encode([text] * 2)).sample for text in ("", "a red mug"))
    recorder(u + 3.0 * (c - u), t, noisy)
    asked = Wishes(guidance.encode(["a red mug"] * 2), guidance.encode([""] * 2))
    torch.testing.assert_close(eps(guidance, noisy, int(t), asked, 3.0), recorder.steps[0][2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "if", "sdxl", "prior"])
def test_the_noise_schedule_is_the_models(kind: str, folders: dict[str, Path], guidances: dict[str, Any]) -> None:
    abar = guidances[kind].abar
    assert abar.dtype == torch.float64
    assert abar.shape == (1000,)
    # Half of the signal's power is left at 360 in Stable Diffusion's schedule, in the middle of the cosine one.
    assert abar[500 if kind == "if" else 359] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "if", "sdxl", "prior"])
def test_without_guidance_the_negative_prompt_makes_no_difference(
    kind: str, guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances[kind]
    shape = (1, guidance._parts.unet.config.in_channels, guidance.size, guidance.size)
    noisy = torch.randn(shape, generator=generator)
    plain, other = (
        eps(guidance, noisy, 500, wishes(guidance, "a red mug", negative), 1.0) for negative in ("", "a bowl")
    )
    assert torch.equal(plain, other)
    # The shortcut is what the formula says.
    torch.testing.assert_close(
        plain, eps(guidance, noisy, 500, wishes(guidance, "a red mug"), 1.0 + 1e-7), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kind", ["sd2", "if", "sdxl", "prior"])
def test_perp_neg_is_the_papers_formula_over_single_predictions(
    kind: str, guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances[kind]
    shape = (2, guidance._parts.unet.config.in_channels, guidance.size, guidance.size)
    noisy = torch.randn(shape, generator=generator)
    texts = guidance.encode(["", "a red mug, side view", "a red mug, front view", "a red mug, back view"])
    weights = torch.tensor([[-2.0, -0.5], [-1.0, 0.0]])
    against = texts[2:].expand(2, -1, -1, -1)
    asked = Wishes(texts[1:2].repeat(2, 1, 1), texts[:1].repeat(2, 1, 1), against, weights)
    found = eps(guidance, noisy, 600, asked, 7.5)
    for view in range(2):
        one = noisy[view : view + 1]
        u, c, *others = (
            eps(guidance, one, 600, Wishes(text[None], text[None]), 1.0).flatten().double() for text in texts
        )
        direction = (c - u) / (c - u).norm()
        expected = u + 7.5 * (c - u)
        for weight, other in zip(weights[view].tolist(), others, strict=True):
            expected += 7.5 * weight * ((other - u) - torch.dot(other - u, direction) * direction)
        torch.testing.assert_close(found[view].flatten(), expected.float(), atol=1e-4, rtol=1e-4)


def test_views_do_not_influence_each_other(guidances: dict[str, DiffusionGuidance], generator: torch.Generator) -> None:
    guidance = guidances["prior"]
    noisy = torch.randn(3, 3, 32, 32, generator=generator)
    text = guidance.encode(["a red mug", "a blue car", "a tree"])
    empty = guidance.encode([""]).repeat(3, 1, 1)
    together = eps(guidance, noisy, 300, Wishes(text, empty), 5.0)
    for i in range(3):
        alone = eps(guidance, noisy[i : i + 1], 300, Wishes(text[i : i + 1], empty[:1]), 5.0)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("views_at_once", [1, 2, 3])
@pytest.mark.parametrize("kind", ["sd2", "sdxl", "prior"])
def test_lean_guidance_says_the_same(
    kind: str, views_at_once: int, guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances[kind]
    lean = guidance.lean(views_at_once)
    images = torch.rand(3, 3, 16, 16, generator=generator)
    text = guidance.encode(["a red mug", "a blue car", "a tree", "", "a front", "a back"])
    asked = Wishes(text[:3], text[3:4].repeat(3, 1, 1), text[4:].expand(3, -1, -1, -1), -torch.rand(3, 2))
    slopes = []
    for one in (guidance, lean):
        given = images.clone().requires_grad_()
        clean = one.model_space(given)
        step = a_step(one, clean, torch.ones_like(clean), 400, asked, 7.5)
        wanted = distillation.gradient(step, sds, "one")
        distillation.surrogate(clean, wanted).backward()
        slopes.append(given.grad)
    assert slopes[0] is not None
    assert slopes[0].abs().max() > 1e-3
    torch.testing.assert_close(slopes[1], slopes[0], atol=1e-4, rtol=1e-3)


def test_lean_guidance_keeps_little_for_the_gradient(
    guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.numel()
        return tensor

    for guidance in (guidances["sd2"], guidances["sd2"].lean(1)):
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            guidance.model_space(torch.rand(4, 3, 16, 16, generator=generator, requires_grad=True))
    assert kept[1] < 0.1 * kept[0]


def test_a_prediction_of_the_image_itself_is_understood(folders: dict[str, Path], generator: torch.Generator) -> None:
    guidance = load(folders["prior"], CPU, "fp32")
    object.__setattr__(guidance._parts, "prediction", "sample")
    noisy = torch.randn(1, 3, 32, 32, generator=generator)
    asked = wishes(guidance, "a red mug")
    clean = guidance._parts.unet(noisy, 400, asked.positive).sample
    abar = float(guidance.abar[400])
    rebuilt = math.sqrt(abar) * clean + math.sqrt(1 - abar) * eps(guidance, noisy, 400, asked, 1.0)
    torch.testing.assert_close(rebuilt, noisy, atol=1e-5, rtol=0)


def test_the_built_in_model_in_half_precision_says_nearly_the_same(generator: torch.Generator) -> None:
    exact, fast = (load(model.BUILTIN, CPU, precision) for precision in ("fp32", "bf16"))
    noisy = torch.randn(4, 12, 32, 32, generator=generator)
    asked = Wishes(exact.encode(["a red mug"] * 4), exact.encode([""] * 4))
    for t, cfg, allowed in ((100, 1.0, 0.02), (500, 1.0, 0.02), (900, 1.0, 0.02), (500, 10.0, 0.1)):
        reference = eps(exact, noisy, t, asked, cfg)
        error = (eps(fast, noisy, t, asked, cfg) - reference).norm() / reference.norm()
        assert 0 < error < allowed


def test_pixel_models_are_shown_images_between_minus_one_and_one(guidances: dict[str, DiffusionGuidance]) -> None:
    guidance = guidances["prior"]
    images = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    torch.testing.assert_close(guidance.model_space(images), images * 2 - 1)
    torch.testing.assert_close(guidance.decode(guidance.model_space(images)), images)
    # Another size is resized: a flat image stays flat.
    flat = torch.full((2, 3, 48, 48), 0.25)
    torch.testing.assert_close(guidance.model_space(flat), torch.full((2, 3, 32, 32), -0.5))


def test_latents_are_the_mean_that_diffusers_own_encoder_gives(
    pipelines: dict[str, Any], guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    vae = pipelines["sd1"].vae
    images = torch.rand(2, 3, 64, 64, generator=generator)
    with torch.no_grad():
        reference = vae.encode(images * 2 - 1).latent_dist.mean * 0.18215
    torch.testing.assert_close(guidances["sd1"].model_space(images), reference, atol=1e-5, rtol=1e-5)


def test_small_renders_are_enlarged_for_the_encoder(guidances: dict[str, DiffusionGuidance]) -> None:
    guidance = guidances["sd1"]
    assert (guidance.channels, guidance.size) == (3, 8)
    images = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(
        guidance.model_space(images), guidance.model_space(torch.full((1, 3, 64, 64), 0.3)), atol=1e-5, rtol=0
    )


def test_the_gradient_goes_through_the_encoder_as_differences_say(
    guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances["sd2"]
    images = torch.rand(1, 3, 16, 16, generator=generator, requires_grad=True)
    direction = torch.randn(1, 3, 16, 16, generator=generator)
    wanted = torch.randn(1, 4, 8, 8, generator=generator)
    (guidance.model_space(images) * wanted).sum().backward()
    assert images.grad is not None
    slope = (images.grad * direction).sum().item()
    with torch.no_grad():
        ahead, behind = ((guidance.model_space(images + h * direction) * wanted).sum() for h in (5e-3, -5e-3))
    assert slope == pytest.approx((ahead - behind).item() / 1e-2, rel=0.02)
    assert all(parameter.grad is None for parameter in guidance._parts.vae.parameters())


def test_decoding_is_what_diffusers_own_decoder_gives(
    pipelines: dict[str, Any], guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.no_grad():
        reference = pipelines["sd1"].vae.decode(latents / 0.18215).sample
    shown = pipelines["sd1"].image_processor.postprocess(reference, output_type="pt")
    torch.testing.assert_close(guidances["sd1"].decode(latents), shown, atol=1e-5, rtol=1e-5)


def test_a_latent_field_is_diffused_as_it_is(folders: dict[str, Path], generator: torch.Generator) -> None:
    guidance = load(folders["sd1"], CPU, "fp32", latent_field=True)
    assert (guidance.channels, guidance.size) == (4, 8)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    assert torch.equal(guidance.model_space(latents), latents)


def test_eps_is_a_constant_in_single_precision(
    guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances["sd1"]
    noisy = torch.randn(1, 4, 8, 8, generator=generator, requires_grad=True)
    found = eps(guidance, noisy, 10, wishes(guidance, "a mug"), 100.0)
    assert found.dtype == torch.float32
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("kind", "size"), [("sd1", 64), ("sd2", 64), ("sdxl", 64), ("if", 8), ("prior", 32), ("told", 64)]
)
def test_timesteps_are_translated_by_the_size_of_pictures_and_not_of_latents(
    kind: str, size: int, guidances: dict[str, DiffusionGuidance]
) -> None:
    assert guidances[kind].schedule_size == size


def test_the_background_of_a_latent_field_is_what_a_plain_picture_is_to_the_model(
    folders: dict[str, Path], pipelines: dict[str, Any]
) -> None:
    guidance = load(folders["sd1"], CPU, "fp32", latent_field=True)
    colours = torch.tensor([[0.2, 0.5, 0.9], [0.7, 0.7, 0.7]])
    found = guidance.plain(colours)
    pictures = colours[:, :, None, None].expand(-1, -1, 64, 64)
    with torch.no_grad():
        latents = pipelines["sd1"].vae.encode(2 * pictures - 1).latent_dist.mean * 0.18215
    torch.testing.assert_close(found, latents.mean((2, 3)), atol=1e-5, rtol=1e-5)
    assert torch.equal(load(folders["sd1"], CPU, "fp32").plain(colours), colours)
