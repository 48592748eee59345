"""The tables against brute force, against the rows of a sheet computed by other means, and at their ends."""

import hashlib
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine import schedules
from backend.engine.names import SCHEDULES
from backend.engine.schedules import Table, TimePrior, Uniform, Window, follow, make, stable_diffusion_abar

ABAR = stable_diffusion_abar()
SHARES = (0.01, 0.10, 0.25, 0.50, 0.75, 0.90, 0.99)

ROWS = {
    "linear": (970, 884, 740, 500, 260, 116, 30),
    "sqrt": (912, 765, 640, 499, 391, 335, 303),
    "time_prior": (974, 914, 822, 673, 524, 429, 302),
    "time_prior_ddpm": (854, 720, 642, 556, 470, 394, 264),
}
BANDS = {  # per cent of iterations below 200, 200-400, 400-600, 600-800, from 800
    "linear": (19, 21, 20, 20, 18),
    "sqrt": (0, 27, 42, 24, 7),
    "time_prior": (0, 6, 31, 34, 28),
    "time_prior_ddpm": (0, 11, 52, 34, 3),
}


def table(name: str, steps: int = 10_000) -> tuple[int, ...]:
    schedule = make(name, ABAR, steps)
    assert isinstance(schedule, Table)
    return schedule.timesteps


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of_the_sheet(name: str) -> None:
    t = table(name)
    assert [t[round(share * len(t))] for share in SHARES] == pytest.approx(ROWS[name], abs=1)


def test_the_rows_of_the_sheet_for_both_weights_together() -> None:
    both = make("time_prior", ABAR, 10_000, time_prior=TimePrior(times_ddpm=True))
    assert isinstance(both, Table)
    found = [both.timesteps[round(share * 10_000)] for share in SHARES]
    assert found == pytest.approx((979, 958, 918, 833, 695, 549, 375), abs=1)


@pytest.mark.parametrize("name", BANDS)
def test_the_bands_of_the_sheet(name: str) -> None:
    t = torch.tensor(table(name))
    edges = (0, 200, 400, 600, 800, 1000)
    shares = [100 * ((t >= low) & (t < high)).float().mean().item() for low, high in pairwise(edges)]
    assert shares == pytest.approx(BANDS[name], abs=1.5)


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 2000])
def test_follow_is_the_equation_by_brute_force(steps: int, generator: torch.Generator) -> None:
    weight = torch.rand(961, generator=generator, dtype=torch.float64)
    tails = [weight[t:].sum().item() / weight.sum().item() for t in range(961)]
    reference = []
    for i in range(steps):
        distance = [abs(tail - i / steps) for tail in tails]
        best = min(distance)
        reference.append({20 + t for t, d in enumerate(distance) if d <= best + 1e-12})
    assert all(int(t) in allowed for t, allowed in zip(follow(weight, steps), reference, strict=True))


def test_weight_of_one_timestep_only_stays_there() -> None:
    weight = torch.zeros(961, dtype=torch.float64)
    weight[480] = 1.0
    assert set(follow(weight, 10)[1:].tolist()) <= {500.0, 501.0}


def test_time_prior_weight_by_hand() -> None:
    t = torch.tensor([1100.0, 800.0, 650.0, 500.0, 400.0], dtype=torch.float64)
    half = torch.exp(torch.tensor(-0.5, dtype=torch.float64))
    one = torch.ones((), dtype=torch.float64)
    torch.testing.assert_close(TimePrior().weight(t), torch.stack([half, one, one, one, half]))


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("uniform", "window")])
@pytest.mark.parametrize("steps", [1, 3, 60, 10_000])
def test_deterministic_schedules_never_increase_and_stay_in_range(name: str, steps: int) -> None:
    t = table(name, steps)
    assert len(t) == steps
    assert all(later <= earlier for earlier, later in pairwise(t))
    assert 20 <= min(t) <= max(t) <= 980


def test_uniform_draws_evenly_from_the_generator_alone() -> None:
    schedule = make("uniform", ABAR, 10)
    assert isinstance(schedule, Uniform)
    draws = [[schedule.timestep(0, g) for _ in range(4000)] for g in (torch.Generator().manual_seed(1) for _ in "ab")]
    assert draws[0] == draws[1]
    assert min(draws[0]) >= 20
    assert max(draws[0]) <= 980
    # The mean of 4000 draws from 20..980 lies within 3 standard errors (4.4 each) of 500.
    assert sum(draws[0]) / 4000 == pytest.approx(500, abs=13.2)


def test_the_window_falls_to_its_lower_half_by_four_fifths_of_the_run() -> None:
    schedule = make("window", ABAR, 10_000)
    assert isinstance(schedule, Window)
    ends = [(schedule.lowest[i], schedule.highest[i]) for i in (0, 2000, 4000, 8000, 9999)]
    assert ends == [(980, 980), (740, 860), (500, 740), (20, 500), (20, 500)]
    assert all(later <= earlier for earlier, later in pairwise(schedule.lowest))
    assert all(later <= earlier for earlier, later in pairwise(schedule.highest))


def test_a_window_is_drawn_from_evenly_by_the_generator_alone() -> None:
    schedule = make("window", ABAR, 10)
    assert isinstance(schedule, Window)
    draws = [[schedule.timestep(9, g) for _ in range(4000)] for g in (torch.Generator().manual_seed(1) for _ in "ab")]
    assert draws[0] == draws[1]
    assert 20 <= min(draws[0]) <= 24
    assert 496 <= max(draws[0]) <= 500
    # The mean of 4000 draws from 20..500 lies within 3 standard errors (2.2 each) of 260.
    assert sum(draws[0]) / 4000 == pytest.approx(260, abs=6.6)
    assert schedule.timestep(0, torch.Generator()) == 980


def test_another_noise_schedule_gets_timesteps_of_equal_noise() -> None:
    angle = torch.linspace(0, 1, 1000, dtype=torch.float64) * torch.pi / 2
    cosine = torch.cos(angle).square().clamp(1e-5, 1 - 1e-5)
    ours = make("time_prior", cosine, 50)
    theirs = make("time_prior", ABAR, 50)
    assert isinstance(ours, Table)
    assert isinstance(theirs, Table)
    used = torch.tensor(ours.timesteps)
    own = schedules.log_snr(cosine)
    gap = own[used] - schedules.log_snr(ABAR)[torch.tensor(theirs.timesteps)]
    # The nearest timestep is at most half a step of the model's own schedule away.
    spacing = torch.maximum(own[used - 1] - own[used], own[used] - own[used + 1])
    assert (gap.abs() <= spacing / 2 + 1e-9).all()
    assert ours.timesteps != theirs.timesteps


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_smaller_picture_gets_timesteps_of_equal_noise_after_averaging(size: int, generator: torch.Generator) -> None:
    t = torch.tensor([900.0, 700.0, 400.0, 200.0])
    abar = ABAR[torch.tensor(schedules.translated(t, ABAR, size))].float()
    large = torch.randn(4, 400, 64, 64, generator=generator)
    noise = (1 - ABAR[t.long()].float()).sqrt() / ABAR[t.long()].float().sqrt()
    averaged = torch.nn.functional.avg_pool2d(noise[:, None, None, None] * large, 64 // size).std((1, 2, 3))
    # One timestep more or less changes the noise by at most 2 %.
    torch.testing.assert_close(averaged, (1 - abar).sqrt() / abar.sqrt(), rtol=0.02, atol=0)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        make("linear", ABAR, 0)
    with pytest.raises(ValueError, match="increase"):
        Table("linear", (5, 6))


COSINE = torch.cos(torch.linspace(0, 1, 1000, dtype=torch.float64) * torch.pi / 2).square().clamp(1e-5, 1 - 1e-5)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("uniform", "window")])
@pytest.mark.parametrize(("abar", "size"), [(ABAR, size) for size in (16, 32, 96, 128, 256)] + [(COSINE, 64)])
def test_translated_schedules_do_not_pile_up_at_an_end(name: Any, abar: Tensor, size: int) -> None:
    found = make(name, abar, 5000, size)
    assert isinstance(found, Table)
    spent = Counter(found.timesteps)
    assert max(found.timesteps) <= 980
    for end in (max(spent), min(spent)):
        assert spent[end] <= 0.015 * 5000


@pytest.mark.parametrize("size", [16, 32, 96, 128])
def test_uniform_draws_no_timestep_twice_as_often_as_another(size: int) -> None:
    found = make("uniform", ABAR, 10, size)
    assert isinstance(found, Uniform)
    assert len(set(found.candidates)) == len(found.candidates)
    assert max(found.candidates) <= 980


def test_a_schedule_over_what_is_left_of_the_range_dwells_where_its_weight_is_large() -> None:
    """At 128 the noisiest timesteps have no equal: the run begins at the noisiest that has one."""
    t = schedules.common(ABAR, 128)
    assert t[0] == 20
    assert 800 < t[-1] < 900
    by_hand = follow(TimePrior().weight(t), 200, int(t[-1]))
    found = make("time_prior", ABAR, 200, 128)
    assert isinstance(found, Table)
    assert found.timesteps == schedules.translated(by_hand, ABAR, 128)
    assert found.timesteps[0] == 980


@pytest.mark.parametrize("strength", [0.01, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", SCHEDULES)
def test_with_less_strength_a_schedule_keeps_to_the_lower_timesteps(
    name: Any, strength: float, generator: torch.Generator
) -> None:
    schedule = make(name, ABAR, 100, strength=strength)
    drawn = [schedule.timestep(i, generator) for i in range(100)]
    assert 20 <= min(drawn) <= max(drawn) <= 20 + 960 * strength
    assert max(drawn) > 20 + 960 * strength - max(5, 300 * strength)


def test_strength_is_a_cut_and_the_weight_over_what_is_left_is_the_same() -> None:
    t = torch.arange(20, 501, dtype=torch.float64)
    half = make("time_prior", ABAR, 50, strength=0.5)
    assert isinstance(half, Table)
    assert half.timesteps == tuple(follow(TimePrior().weight(t), 50, 500).int().tolist())
    assert make("time_prior", ABAR, 50, strength=1.0) == make("time_prior", ABAR, 50)


def test_a_model_without_such_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="some of Stable Diffusion's noise"):
        make("linear", torch.full((1000,), 1e-12, dtype=torch.float64), 10)


@pytest.mark.parametrize(
    ("steps", "digest"), [(60, "cb1b26a96ecd7493"), (180, "f9d570984d0020dc"), (500, "b385f5da96ab77d1")]
)
def test_the_schedules_of_a_model_of_32_pixels_are_what_they_were(steps: int, digest: str) -> None:
    names = ("time_prior", "time_prior_ddpm", "linear", "sqrt")
    tables = [make(name, ABAR, steps, 32).timesteps for name in names]  # type: ignore[union-attr]
    assert hashlib.sha256(repr(tables).encode()).hexdigest()[:16] == digest
