"""The loop: a field becomes what the prompt asks for, one guided step after another.

Every draw of a step belongs to (seed, step, purpose) and everything else that a step depends on is in
`Progress.state()`, so a run that goes on from there ends as if it had never stopped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.checkpoints import flat, under
from backend.engine import distillation, regularisers, schedules
from backend.engine.cameras import Cameras
from backend.engine.fields import TrainableField
from backend.engine.finite import LeftOut
from backend.engine.fitting import Target
from backend.engine.normals import Surface, normal_image
from backend.engine.outcome import Look, read
from backend.engine.randomness import generator
from backend.engine.reference import Portrait
from backend.engine.rendering import Rendering
from backend.engine.rules import vsd
from backend.engine.rules.choice import by_view, rule
from backend.engine.rules.step import Step
from backend.engine.scene import Scene, Volume
from backend.engine.settings import Settings
from backend.engine.shading import over
from backend.engine.shots import Prompts, Shots, groups
from backend.guidance.interface import Guidance, Rival


@dataclass(frozen=True)
class Progress:
    """Where a run is. step: steps done, of `steps`. t: the timestep of the last one. losses: its weighted terms.

    left_out: views that were left out of the steps so far because something of them was not finite. render and state
    tell of the field as it is when they are called: call them before the next step. render: views of the field as
    (cameras, size) wants them. state: all that is needed to go on from here.
    """

    step: int
    steps: int
    t: int
    losses: dict[str, float]
    left_out: int
    render: Callable[[Cameras, int], Rendering]
    state: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Resumption:
    """A run to go on with: `step` steps were done, then `Progress.state()` was `tensors`."""

    step: int
    tensors: dict[str, Tensor]


def optimise(
    field: TrainableField,
    guidance: Guidance,
    prompts: Prompts,
    settings: Settings,
    seed: int,
    resume: Resumption | None = None,
    rival: Rival | None = None,
    views_at_once: int | None = None,
    portrait: Portrait | None = None,
    solid: Target | None = None,
) -> Iterator[Progress]:
    """Optimise `field` in place, yielding after every step. The caller may stop at any time.

    `field` has to be as new, even when resumed, and so has `rival`, which the rule vsd wants and which is trained, too.
    views_at_once: how many views are rendered and judged before what that takes is freed, or None for all of a step;
    the gradient is the same but for rounding. portrait: a picture that the field is to look like, as new as well.
    solid: what the field was fitted to, near which it is held. Views with numbers that are not finite have no part in
    their step, and the field is never spoilt; raises NonFiniteError where that happens all the time.
    """
    scene = Volume(field, settings, guidance.device, guidance.size, solid, portrait)
    return run(scene, guidance, prompts, settings, seed, resume, rival, views_at_once)


def run(
    scene: Scene,
    guidance: Guidance,
    prompts: Prompts,
    settings: Settings,
    seed: int,
    resume: Resumption | None = None,
    rival: Rival | None = None,
    views_at_once: int | None = None,
) -> Iterator[Progress]:
    """Optimise what `scene` shows, as `optimise` does a field."""
    going = _Run(scene, guidance, prompts, settings, seed, rival, views_at_once)
    if resume is not None:
        going.restore(resume)
    while going.step < settings.steps:
        yield going.advance()


class _Run:
    """The state of one optimisation."""

    def __init__(
        self,
        scene: Scene,
        guidance: Guidance,
        prompts: Prompts,
        settings: Settings,
        seed: int,
        rival: Rival | None,
        views_at_once: int | None,
    ) -> None:
        self.scene, self.guidance, self.prompts, self.rival = scene, guidance, prompts, rival
        self.settings, self.seed, self.views_at_once = settings, seed, views_at_once
        self.schedule = schedules.make(
            settings.schedule,
            guidance.abar,
            settings.steps,
            guidance.schedule_size,
            settings.time_prior,
            settings.time_prior_ddpm,
            settings.strength,
        )
        groups = list(scene.parameter_groups())
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        # Gradients grow with the number of pixels and with cfg; without an epsilon the pace does not.
        self.optimiser = torch.optim.Adam(
            [{"params": parameters, "rate": rate} for parameters, rate in groups],
            lr=0.0,
            betas=(0.9, 0.99),
            eps=1e-15,
            fused=True,
        )
        self.step = 0
        self.left_out = LeftOut()

    def _generator(self, purpose: str) -> torch.Generator:
        return generator(self.seed, self.step, purpose, self.guidance.device)

    def _drawn(self, purpose: str, *shape: int) -> Float[Tensor, "V *shape"]:
        """Normal draws for all views of the step, those that are looked at together or not."""
        draws = self._generator(purpose)
        return torch.randn((self.settings.views, *shape), generator=draws, device=draws.device)

    def advance(self) -> Progress:
        """Take one step."""
        settings, progress = self.settings, self.step / self.settings.steps
        self.scene.prepare(self.step, progress)
        shots = Shots.draw(settings, self.guidance, self.prompts, progress, self._generator)
        t = self.schedule.timestep(self.step, self._generator("timestep"))
        losses = self._improve(shots, t, progress)
        self.step += 1
        return Progress(self.step, settings.steps, t, losses, self.left_out.total, self.render, self.state)

    def _improve(self, shots: Shots, t: int, progress: float) -> dict[str, float]:
        """One step of Adam, of the views whose numbers are finite; returns the terms of the loss that are."""
        settings = self.settings
        at_once = self.views_at_once if by_view(settings.rule, progress) else None
        self.optimiser.zero_grad(set_to_none=True)
        taken = groups(settings.views, at_once, settings.joint_views)
        looks = [self._look(shots.part(views), views, t, progress) for views in taken]
        outcome = read(looks, [each.grad for each in self.parameters if each.grad is not None])
        if not outcome.spoilt:
            self._descend(progress)
        left_out = settings.views if outcome.spoilt else settings.views - outcome.sound
        self.left_out.count(self.step, left_out, outcome.spoilt or "guidance")
        return {name: value for name, value in outcome.losses.items() if math.isfinite(value)}

    def _look(self, shots: Shots, views: slice, t: int, progress: float) -> Look:
        """Add the gradient of some views to that of the step, of which they are `views`."""
        settings = self.settings
        shaded = settings.shading.active(progress)
        normals = shaded or settings.regularisation.of_surface(progress)
        rendering, seen = self.scene.look(shots, progress, normals)
        colour = rendering.colour
        if shaded and seen is not None:
            colour = shots.lighting.on(rendering, normal_image(rendering, seen))
        images = over(colour, rendering.opacity, shots.backgrounds)
        clean = self.guidance.model_space(images)
        step = self._step(clean.detach(), shots, views, t)
        loss, slope, sound = self._guided(step, clean, images, progress)
        terms = self._regularisers(rendering, sound, seen, views, progress)
        torch.stack([(images * slope).sum(), *terms.values()]).sum().backward()
        losses = {name: value.detach() for name, value in {"guidance": loss, **terms}.items()}
        rival = vsd.teach(step, self.rival) if self.rival is not None and sound.all() else None
        return Look(losses, sound, rival)

    def _step(self, clean: Float[Tensor, "B C h w"], shots: Shots, views: slice, t: int) -> Step:
        settings = self.settings
        noise = self._drawn("noise", *clean.shape[1:])
        told = shots.lighting.views(shots.cameras, settings.joint_views)
        return Step(
            self.guidance, clean, noise[views], t, shots.wishes, told, settings.cfg, self._generator, self.rival
        )

    def _guided(
        self, step: Step, clean: Float[Tensor, "B C h w"], images: Float[Tensor, "B c H W"], progress: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B c H W"], Bool[Tensor, " B"]]:
        """The guidance's loss, its slope by the images, and in which views that is finite; elsewhere it is 0.

        clean: the images in the model's space, by way of which the slope goes.
        """
        wanted = distillation.gradient(step, rule(self.settings.rule, progress), self.settings.weight)
        share = len(wanted) / self.settings.views
        (slope,) = torch.autograd.grad(distillation.surrogate(clean, wanted), images)
        sound = slope.isfinite().flatten(1).all(1)
        kept = sound[:, None, None, None]
        loss = wanted.where(kept, 0.0).square().sum() / (2 * self.settings.views)
        return loss, share * slope.where(kept, 0.0), sound

    def _regularisers(
        self, rendering: Rendering, sound: Bool[Tensor, " B"], seen: Surface | None, views: slice, progress: float
    ) -> dict[str, Tensor]:
        """The weighted terms that ask for more than looking right; of views, those that are `sound` count."""
        asked, (count, size, _) = self.settings.regularisation, rendering.opacity.shape
        # Sums over pixels, of which there count as many as the model is shown.
        share = count / self.settings.views * (self.guidance.size / size) ** 2
        terms: dict[str, Tensor] = {}
        if weight := share * asked.opacity.at(progress):
            terms["opacity"] = weight * regularisers.opacity(rendering.opacity.where(sound[:, None, None], 0.0))
        if weight := share * asked.entropy.at(progress):
            terms["entropy"] = weight * regularisers.entropy(rendering.opacity.where(sound[:, None, None], 0.0))
        if views.start == 0:
            terms |= self.scene.terms(progress, self._generator("terms"))
        if seen is not None and asked.of_surface(progress):
            aside = self._drawn("aside", size**2, 3)[views].flatten(0, 1)
            found = self.scene.surface_terms(rendering.only(sound), seen, progress, aside)
            terms |= {name: share * term for name, term in found.items()}
        return terms

    def _descend(self, progress: float) -> None:
        """One step of Adam."""
        rate = self.settings.learning_rate * self.settings.final_rate**progress
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * rate
        self.optimiser.step()

    def render(self, cameras: Cameras, size: int) -> Rendering:
        """Plain views of the field as it is, without a gradient."""
        with torch.no_grad():
            return self.scene.render(cameras, size, self.step / self.settings.steps)

    def state(self) -> dict[str, Tensor]:
        """Copies of all tensors that the rest of the run depends on."""
        tensors = self.scene.state()
        numbered = enumerate(self.optimiser.state[parameter] for parameter in self.parameters)
        tensors |= flat({f"optimiser.{index}": state for index, state in numbered})
        if self.rival is not None:
            tensors |= flat({"rival": self.rival.state()})
        tensors["left_out"] = torch.tensor([self.left_out.total, self.left_out.in_a_row])
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, resumption: Resumption) -> None:
        """Be as the run was after `resumption.step` steps."""
        device = self.guidance.device
        self.step = resumption.step
        tensors = {name: tensor.to(device) for name, tensor in resumption.tensors.items()}
        self.scene.restore(tensors, (self.step - 1) / self.settings.steps)
        for index, parameter in enumerate(self.parameters):
            self.optimiser.state[parameter] = under(f"optimiser.{index}", tensors)
        if self.rival is not None:
            self.rival.restore(under("rival", tensors))
        self.left_out = LeftOut(*tensors["left_out"].tolist())
