"""Schedules: which diffusion timestep an iteration is guided at.

TP-SDS (DreamTime, arXiv 2306.12422) replaces uniformly drawn timesteps by a deterministic,
non-increasing t(i): where a weight W(t) is large the schedule dwells, where it is small it hurries.

Letters: T timesteps of a noise schedule, N iterations, i one of them, abar = alphas_cumprod.
Constants are in Stable Diffusion's timesteps, which act on 64 x 64 latents. A model with another noise
schedule gets the timesteps of equal log signal-to-noise ratio, and one of pictures of another size those of
equal ratio per picture: noise drowns an image of fewer pixels sooner (simple diffusion, arXiv 2301.11093,
section 2.1). W is normalised over those that have an equal among the model's own.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.names import ScheduleName

REFERENCE_SIZE = 64
"""Height and width of what Stable Diffusion diffuses."""

T_MIN, T_MAX = 20, 980
"""The range of timesteps, both ends included."""


@dataclass(frozen=True)
class Table:
    """A deterministic schedule: one timestep per iteration, never increasing."""

    name: ScheduleName
    timesteps: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(later > earlier for earlier, later in pairwise(self.timesteps)):
            raise ValueError(f"the timesteps of {self.name} increase")

    def timestep(self, i: int, generator: torch.Generator) -> int:
        return self.timesteps[i]


@dataclass(frozen=True)
class Uniform:
    """Plain SDS: each iteration draws one of `candidates`, all equally likely."""

    name: ScheduleName
    candidates: tuple[int, ...]

    def timestep(self, i: int, generator: torch.Generator) -> int:
        return self.candidates[
            int(torch.randint(len(self.candidates), (1,), generator=generator, device=generator.device))
        ]


@dataclass(frozen=True)
class Window:
    """MVDream's: iteration i draws one of the timesteps `lowest[i]` to `highest[i]`, all equally likely."""

    name: ScheduleName
    lowest: tuple[int, ...]
    highest: tuple[int, ...]

    def timestep(self, i: int, generator: torch.Generator) -> int:
        low, high = self.lowest[i], self.highest[i]
        return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))


Schedule = Table | Uniform | Window
"""Chooses the timestep of iteration i, 0 <= i < N. Only Table does not draw from the generator."""


@dataclass(frozen=True)
class TimePrior:
    """W_p of DreamTime: flat on [m2, m1], a Gaussian flank of width s1 above m1 and s2 below m2.

    times_ddpm: W_d * W_p instead, see `ddpm_weight`.
    """

    m1: float = 800.0
    m2: float = 500.0
    s1: float = 300.0
    s2: float = 100.0
    times_ddpm: bool = False

    def weight(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """W_p(t), 1 at its largest; or W_d(t) W_p(t), not normalised."""
        above, below = (t - self.m1).clamp(min=0) / self.s1, (self.m2 - t).clamp(min=0) / self.s2
        prior = torch.exp(-(above.square() + below.square()) / 2)
        return ddpm_weight(t) * prior if self.times_ddpm else prior


@dataclass(frozen=True)
class TimePriorDdpm:
    """W_d * W_p of DreamTime's later version: W_d = sqrt((1 - abar) / abar), W_p one Gaussian (m, s)."""

    m: float = 500.0
    s: float = 125.0

    def weight(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """W_d(t) W_p(t), not normalised."""
        return ddpm_weight(t) * torch.exp(-((t - self.m) / self.s).square() / 2)


def ddpm_weight(t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """W_d(t) = sqrt((1 - abar) / abar) for Stable Diffusion's abar: how strongly noise outweighs the image."""
    abar = stable_diffusion_abar()[t.long()]
    return torch.sqrt((1 - abar) / abar)


def make(
    name: ScheduleName,
    abar: Float[Tensor, " T"],
    steps: int,
    size: int = REFERENCE_SIZE,
    time_prior: TimePrior | None = None,
    time_prior_ddpm: TimePriorDdpm | None = None,
    strength: float = 1.0,
) -> Schedule:
    """The schedule `name` over `steps` iterations for a model that diffuses size x size with noise schedule `abar`.

    strength: the share of the timesteps, counted from below, over which W is normalised; it starts at their top.
    """
    if steps < 1:
        raise ValueError(f"a schedule needs at least one step, not {steps}")
    t = _lower(common(abar, size), strength)
    match name:
        case "uniform":
            least, *_, most = translated(t, abar, size)
            return Uniform(name, tuple(range(least, most + 1)))
        case "window":
            lowest, highest = falling_window(steps)
            lowest, highest = (end.clamp(max=float(t[-1])) for end in (lowest, highest))
            return Window(name, translated(lowest, abar, size), translated(highest, abar, size))
        case "sqrt":
            chosen = hifa(steps, float(t[-1]), min(max(HIFA_T_MIN, float(t[0])), float(t[-1])))
        case "linear":
            chosen = follow(torch.ones_like(t), steps, int(t[-1]))
        case "time_prior":
            chosen = follow((time_prior or TimePrior()).weight(t), steps, int(t[-1]))
        case "time_prior_ddpm":
            chosen = follow((time_prior_ddpm or TimePriorDdpm()).weight(t), steps, int(t[-1]))
    return Table(name, translated(chosen, abar, size))


def common(abar: Float[Tensor, " T"], size: int) -> Float[Tensor, " n"]:
    """Those of T_MIN..T_MAX, in order, that a model has, too, up to T_MAX of its own thousand.

    What is less noisy than its first timestep, or noisier than T_MAX, would pile up there. For small pictures lower
    timesteps than T_MIN are as noisy as that. Raises ValueError if there are none.
    """
    t = torch.arange(T_MIN, T_MAX + 1, dtype=torch.float64)
    own = torch.tensor(translated(t, abar, size))
    shared = t[(own > 0) & (own <= T_MAX * len(abar) // 1000)]
    if len(shared) == 0:
        raise ValueError("a schedule needs a model with some of Stable Diffusion's noise")
    return shared


def _lower(t: Float[Tensor, " n"], strength: float) -> Float[Tensor, " m"]:
    """Those of `t` in the lower `strength` of the range from T_MIN to T_MAX; the lowest of them at least."""
    kept = t[t <= T_MIN + strength * (T_MAX - T_MIN)]
    return kept if len(kept) else t[:1]


def follow(weight: Float[Tensor, " n"], steps: int, highest: int = T_MAX) -> Float[Tensor, " steps"]:
    """t(i) = argmin_t' | sum_{t >= t'} W(t) - i/N |, with W normalised: DreamTime's equation for t.

    weight: W(t) >= 0 for n timesteps in a row, up to t = highest.
    """
    from_the_top = weight.flip(0).cumsum(0) / weight.sum()
    progress = torch.arange(steps, dtype=weight.dtype) / steps
    # Sums and progress both grow, so the nearest sum is next to where the progress would be inserted.
    after = torch.searchsorted(from_the_top, progress).clamp(max=len(weight) - 1)
    before = (after - 1).clamp(min=0)
    nearer_before = progress - from_the_top[before] <= from_the_top[after] - progress
    return (highest - torch.where(nearer_before, before, after)).to(weight.dtype)


HIFA_T_MIN = 300.0


def hifa(steps: int, t_max: float = T_MAX, t_min: float = HIFA_T_MIN) -> Float[Tensor, " steps"]:
    """t(i) = t_max - (t_max - t_min) sqrt(i/N): HiFA (arXiv 2305.18766)."""
    progress = torch.arange(steps, dtype=torch.float64) / steps
    return t_max - (t_max - t_min) * progress.sqrt()


def falling_window(steps: int) -> tuple[Float[Tensor, " steps"], Float[Tensor, " steps"]]:
    """The ends of a window that falls from T_MAX alone to all from T_MIN to 500, which it is from i/N = 0.8 on.

    It is MVDream's: 8,000 steps of 10,000 (bytedance/MVDream-threestudio, configs/mvdream-sd21.yaml).
    """
    fallen = (torch.arange(steps, dtype=torch.float64) / steps / 0.8).clamp(max=1)
    return T_MAX - (T_MAX - T_MIN) * fallen, T_MAX - (T_MAX - 500) * fallen


def stable_diffusion_abar() -> Float[Tensor, " T"]:
    """abar of Stable Diffusion's noise schedule: scaled-linear from 0.00085 to 0.012, T = 1000."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    return torch.cumprod(1 - betas, dim=0)


def log_snr(abar: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """log(abar / (1 - abar)): falls as t grows."""
    return torch.log(abar) - torch.log1p(-abar)


def translated(t: Float[Tensor, " n"], abar: Float[Tensor, " T"], size: int) -> tuple[int, ...]:
    """The timesteps under `abar` at which size x size values are as noisy as Stable Diffusion's latents are at `t`.

    log SNR + 2 log(REFERENCE_SIZE / size): averaging k x k values into one leaves 1 / k^2 of the noise.
    """
    target = log_snr(stable_diffusion_abar())[t.round().long()] + 2 * math.log(REFERENCE_SIZE / size)
    own = log_snr(abar.double().cpu()).flip(0)
    after = torch.searchsorted(own, target).clamp(1, len(own) - 1)
    nearer_before = target - own[after - 1] <= own[after] - target
    return tuple((len(own) - 1 - torch.where(nearer_before, after - 1, after)).tolist())
