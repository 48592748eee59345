"""The loop: a field becomes what the prompt asks for, one guided step after another.

Every draw of a step belongs to (seed, step, purpose) and everything else that a step depends on is in
`Progress.state()`, so a run that goes on from there ends as if it had never stopped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.engine import distillation, regularisers, schedules
from backend.engine.cameras import Cameras
from backend.engine.fields import TrainableField
from backend.engine.finite import LeftOut
from backend.engine.lighting import Lighting
from backend.engine.normals import Surface, normal_image, surface
from backend.engine.randomness import generator
from backend.engine.regularisers import Ramp
from backend.engine.rendering import Occupancy, Rendering, render
from backend.engine.rules import vsd
from backend.engine.rules.choice import rule
from backend.engine.rules.step import Step
from backend.engine.settings import Settings
from backend.engine.shading import over
from backend.guidance.interface import Guidance, Rival, Wishes
from backend.guidance.views import Views


@runtime_checkable
class Prompts(Protocol):
    """What is asked for, seen from where: see `guidance.prompts`."""

    def at(self, cameras: Cameras) -> Wishes:
        """What is asked for from each camera."""
        ...


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
) -> Iterator[Progress]:
    """Optimise `field` in place, yielding after every step. The caller may stop at any time.

    `field` has to be as new, even when resumed, and so has `rival`, which the rule vsd wants and which is trained, too.
    Views with numbers that are not finite have no part in their step, and the field is never spoilt; raises
    NonFiniteError where that happens all the time.
    """
    run = _Run(field, guidance, prompts, settings, seed, rival)
    if resume is not None:
        run.restore(resume)
    while run.step < settings.steps:
        yield run.advance()


class _Run:
    """The state of one optimisation."""

    def __init__(
        self,
        field: TrainableField,
        guidance: Guidance,
        prompts: Prompts,
        settings: Settings,
        seed: int,
        rival: Rival | None,
    ) -> None:
        self.field, self.guidance, self.prompts, self.rival = field, guidance, prompts, rival
        self.settings, self.seed = settings, seed
        self.schedule = schedules.make(
            settings.schedule,
            guidance.abar,
            settings.steps,
            guidance.size,
            settings.time_prior,
            settings.time_prior_ddpm,
        )
        groups = list(field.parameter_groups())
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

    def advance(self) -> Progress:
        """Take one step."""
        settings, progress = self.settings, self.step / self.settings.steps
        self.field.refine(progress)
        if self.step % settings.occupancy_every == 0:
            self.occupancy = Occupancy.of(
                self.field, settings.occupancy_resolution, settings.occupancy_threshold, self.guidance.device
            )
        cameras = self._cameras()
        lighting = Lighting.draw(settings.shading, settings.lights, cameras, progress, self._generator("lights"))
        t = self.schedule.timestep(self.step, self._generator("timestep"))
        losses = self._improve(cameras, lighting, t, progress)
        self.step += 1
        return Progress(self.step, settings.steps, t, losses, self.left_out.total, self.render, self.state)

    def _cameras(self) -> Cameras:
        drawn, views, draws = self.settings.cameras, self.settings.views, self._generator("cameras")
        return drawn.rigs(1, views, draws) if self.settings.rig else drawn.sample(views, draws)

    def _improve(self, cameras: Cameras, lighting: Lighting, t: int, progress: float) -> dict[str, float]:
        """One step of Adam, of the views whose numbers are finite; returns the terms of the loss that are."""
        settings = self.settings
        rendering = render(
            self.field, cameras, self.guidance.size, self.occupancy, settings.spacing, self._generator("samples")
        )
        shaded = settings.shading.active(progress)
        seen = surface(self.field, rendering) if shaded or settings.regularisation.orientation.at(progress) else None
        terms = self._regularisers(rendering, seen, progress)
        colour = rendering.colour
        if shaded and seen is not None:
            colour = lighting.on(rendering, normal_image(rendering, seen))
        images = over(colour, rendering.opacity, self._backgrounds())
        clean = self.guidance.model_space(images)
        step = self._step(clean.detach(), lighting.views(cameras, settings.joint_views), t)
        loss, slope, sound = self._guided(step, clean, images, progress)
        if not sound.all():
            terms = self._regularisers(rendering.only(sound), seen, progress)
        spoilt = self._descend(images, slope, terms, progress) if sound.any() else "guidance"
        losses = {name: value.item() for name, value in {"guidance": loss, **terms}.items()}
        if self.rival is not None and sound.all():
            losses["rival"] = vsd.teach(step, self.rival)
            spoilt = spoilt or (None if math.isfinite(losses["rival"]) else "rival")
        left_out = settings.views if spoilt else int((~sound).sum())
        self.left_out.count(self.step, left_out, spoilt or "guidance")
        return {name: value for name, value in losses.items() if math.isfinite(value)}

    def _step(self, clean: Float[Tensor, "B C h w"], views: Views, t: int) -> Step:
        noise = torch.randn(clean.shape, generator=self._generator("noise"), device=clean.device)
        wishes = self.prompts.at(views.cameras)
        return Step(self.guidance, clean, noise, t, wishes, views, self.settings.cfg, self._generator, self.rival)

    def _guided(
        self, step: Step, clean: Float[Tensor, "B C h w"], images: Float[Tensor, "B c H W"], progress: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B c H W"], Bool[Tensor, " B"]]:
        """The guidance's loss, its slope by the images, and in which views that is finite; elsewhere it is 0.

        clean: the images in the model's space, by way of which the slope goes.
        """
        wanted = distillation.gradient(step, rule(self.settings.rule, progress), self.settings.weight)
        (slope,) = torch.autograd.grad(distillation.surrogate(clean, wanted), images)
        sound = slope.isfinite().flatten(1).all(1)
        return wanted[sound].square().sum() / (2 * len(wanted)), slope.where(sound[:, None, None, None], 0.0), sound

    def _regularisers(self, rendering: Rendering, seen: Surface | None, progress: float) -> dict[str, Tensor]:
        """The weighted terms that ask for more than looking right."""
        asked = self.settings.regularisation
        terms: dict[str, tuple[Ramp, Callable[[], Tensor]]] = {
            "opacity": (asked.opacity, lambda: regularisers.opacity(rendering.opacity)),
            "entropy": (asked.entropy, lambda: regularisers.entropy(rendering.opacity)),
            "roughness": (asked.roughness, lambda: self.field.roughness(self._generator("roughness"))),
        }
        if seen is not None:
            terms["orientation"] = (asked.orientation, partial(seen.facing_away, rendering))
        return {name: weight * term() for name, (ramp, term) in terms.items() if (weight := ramp.at(progress))}

    def _backgrounds(self) -> Float[Tensor, "B c"]:
        draws, views, channels = self._generator("backgrounds"), self.settings.views, self.guidance.channels
        if channels == 3:
            return self.settings.backgrounds.sample(views, draws)
        # Latents are scaled to unit variance, so these are as varied as latents are.
        own = 1 if self.settings.backgrounds.shared else views
        return torch.randn(own, channels, generator=draws, device=draws.device).expand(views, -1)

    def _descend(
        self,
        images: Float[Tensor, "B c H W"],
        slope: Float[Tensor, "B c H W"],
        terms: dict[str, Float[Tensor, ""]],
        progress: float,
    ) -> str | None:
        """One step of Adam; not taken where something is not finite, whose name is returned."""
        for name, term in terms.items():
            if not torch.isfinite(term):
                return f"{name} loss"
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack([(images * slope).sum(), *terms.values()]).sum().backward()
        slopes = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(slopes)):
            return "gradient"
        rate = self.settings.learning_rate * self.settings.final_rate**progress
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * rate
        self.optimiser.step()
        return None

    def render(self, cameras: Cameras, size: int) -> Rendering:
        """Plain views of the field as it is, without a gradient."""
        with torch.no_grad():
            return render(self.field, cameras, size, self.occupancy, self.settings.spacing)

    def state(self) -> dict[str, Tensor]:
        """Copies of all tensors that the rest of the run depends on."""
        tensors = {f"field.{name}": tensor for name, tensor in self.field.state_dict().items()}
        for index, parameter in enumerate(self.parameters):
            for name, tensor in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{index}.{name}"] = tensor
        if self.rival is not None:
            tensors |= {f"rival.{name}": tensor for name, tensor in self.rival.state().items()}
        tensors["occupancy"] = self.occupancy.cells
        tensors["left_out"] = torch.tensor([self.left_out.total, self.left_out.in_a_row])
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, resumption: Resumption) -> None:
        """Be as the run was after `resumption.step` steps."""
        device = self.guidance.device
        self.step = resumption.step
        self.field.refine((self.step - 1) / self.settings.steps)
        tensors = {name: tensor.to(device) for name, tensor in resumption.tensors.items()}
        self.field.load_state_dict(_under("field.", tensors))
        for index, parameter in enumerate(self.parameters):
            self.optimiser.state[parameter] = _under(f"optimiser.{index}.", tensors)
        if self.rival is not None:
            self.rival.restore(_under("rival.", tensors))
        self.occupancy = Occupancy(tensors["occupancy"])
        self.left_out = LeftOut(*tensors["left_out"].tolist())


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
