"""The loop: a field becomes what the prompt asks for, one guided step after another.

Every draw of a step belongs to (seed, step, purpose) and everything else that a step depends on is in
`Progress.state()`, so a run that goes on from there ends as if it had never stopped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine import distillation, regularisers, schedules
from backend.engine.cameras import Cameras
from backend.engine.fields import TrainableField
from backend.engine.normals import normal_image, surface
from backend.engine.randomness import generator
from backend.engine.rendering import Occupancy, Rendering, render
from backend.engine.rules.choice import rule
from backend.engine.rules.step import Step
from backend.engine.settings import Settings
from backend.engine.shading import over
from backend.guidance.interface import Guidance, Wishes
from backend.guidance.views import Views


@runtime_checkable
class Prompts(Protocol):
    """What is asked for, seen from where: see `guidance.prompts`."""

    def at(self, cameras: Cameras) -> Wishes:
        """What is asked for from each camera."""
        ...


class NonFiniteError(ArithmeticError):
    """A loss or its gradient is infinite or not a number. `step` and `term` tell which."""

    def __init__(self, step: int, term: str) -> None:
        self.step, self.term = step, term
        super().__init__(f"the {term} is not finite at step {step}")


@dataclass(frozen=True)
class Progress:
    """Where a run is. step: steps done, of `steps`. t: the timestep of the last one. losses: its weighted terms.

    render and state tell of the field as it is when they are called: call them before the next step.
    render: views of the field as (cameras, size) wants them. state: all that is needed to go on from here.
    """

    step: int
    steps: int
    t: int
    losses: dict[str, float]
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
) -> Iterator[Progress]:
    """Optimise `field` in place, yielding after every step. The caller may stop at any time.

    `field` has to be as new, even when resumed. Raises NonFiniteError before a step would spoil it.
    """
    run = _Run(field, guidance, prompts, settings, seed)
    if resume is not None:
        run.restore(resume)
    while run.step < settings.steps:
        yield run.advance()


class _Run:
    """The state of one optimisation."""

    def __init__(
        self, field: TrainableField, guidance: Guidance, prompts: Prompts, settings: Settings, seed: int
    ) -> None:
        self.field, self.guidance, self.prompts = field, guidance, prompts
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
        cameras = settings.cameras.sample(settings.views, self._generator("cameras"))
        t = self.schedule.timestep(self.step, self._generator("timestep"))
        losses = self._losses(cameras, t, progress)
        self._descend(losses, progress)
        self.step += 1
        values = {name: value.item() for name, value in losses.items()}
        return Progress(self.step, settings.steps, t, values, self.render, self.state)

    def _losses(self, cameras: Cameras, t: int, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms that the step is to lower."""
        settings, size = self.settings, self.guidance.size
        rendering = render(self.field, cameras, size, self.occupancy, settings.spacing, self._generator("samples"))
        losses = self._regularisers(rendering, progress)
        colour = rendering.colour
        orientation = settings.regularisation.orientation.at(progress)
        if orientation or settings.shading.active(progress):
            seen = surface(self.field, rendering)
            if orientation:
                losses["orientation"] = orientation * regularisers.orientation(
                    seen.normals,
                    rendering.directions[rendering.samples.ray[seen.index]],
                    rendering.weights[seen.index],
                    settings.views,
                )
            if settings.shading.active(progress):
                colour = self._lit(rendering, normal_image(rendering, seen), cameras)
        clean = self.guidance.model_space(over(colour, rendering.opacity, self._backgrounds()))
        noise = torch.randn(clean.shape, generator=self._generator("noise"), device=clean.device)
        views, wishes = Views.unlit(cameras), self.prompts.at(cameras)
        step = Step(self.guidance, clean.detach(), noise, t, wishes, views, settings.cfg, self._generator)
        wanted = distillation.gradient(step, rule(settings.rule, progress), settings.weight)
        return {"guidance": distillation.surrogate(clean, wanted), **losses}

    def _regularisers(self, rendering: Rendering, progress: float) -> dict[str, Float[Tensor, ""]]:
        asked = self.settings.regularisation
        terms = {
            "opacity": (asked.opacity, lambda: regularisers.opacity(rendering.opacity)),
            "entropy": (asked.entropy, lambda: regularisers.entropy(rendering.opacity)),
            "roughness": (asked.roughness, lambda: self.field.roughness(self._generator("roughness"))),
        }
        return {name: weight * term() for name, (ramp, term) in terms.items() if (weight := ramp.at(progress))}

    def _backgrounds(self) -> Float[Tensor, "B c"]:
        draws, views, channels = self._generator("backgrounds"), self.settings.views, self.guidance.channels
        if channels == 3:
            return self.settings.backgrounds.sample(views, draws)
        # Latents are scaled to unit variance, so these are as varied as latents are.
        return torch.randn(views, channels, generator=draws, device=draws.device)

    def _lit(
        self, rendering: Rendering, normals: Float[Tensor, "B H W 3"], cameras: Cameras
    ) -> Float[Tensor, "B c H W"]:
        """The rendered colours under one light per view, in the settings' mixture of plain, lit and textureless."""
        shading, draws = self.settings.shading, self._generator("lights")
        brightness = self.settings.lights.sample(cameras.backward, draws).shade(normals)[:, None]
        lot = torch.rand(len(normals), 1, 1, 1, generator=draws, device=draws.device)
        bare = rendering.opacity[:, None] * brightness
        lit = torch.where(lot < shading.textureless, bare, rendering.colour * brightness)
        return torch.where(lot < shading.textureless + shading.lambertian, lit, rendering.colour)

    def _descend(self, losses: dict[str, Float[Tensor, ""]], progress: float) -> None:
        """One step of Adam down the sum of `losses`."""
        for name, loss in losses.items():
            if not torch.isfinite(loss):
                raise NonFiniteError(self.step, f"{name} loss")
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        slopes = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(slopes)):
            raise NonFiniteError(self.step, "gradient")
        rate = self.settings.learning_rate * self.settings.final_rate**progress
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * rate
        self.optimiser.step()

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
        tensors["occupancy"] = self.occupancy.cells
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, resumption: Resumption) -> None:
        """Be as the run was after `resumption.step` steps."""
        device = self.guidance.device
        self.step = resumption.step
        self.field.refine((self.step - 1) / self.settings.steps)
        tensors = {name: tensor.to(device) for name, tensor in resumption.tensors.items()}
        self.field.load_state_dict(
            {name.removeprefix("field."): tensor for name, tensor in tensors.items() if name.startswith("field.")}
        )
        for index, parameter in enumerate(self.parameters):
            prefix = f"optimiser.{index}."
            self.optimiser.state[parameter] = {
                name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
            }
        self.occupancy = Occupancy(tensors["occupancy"])
