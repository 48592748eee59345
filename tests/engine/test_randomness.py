import itertools

import pytest
import torch

from backend.engine.randomness import generator, stage_seed


def draws(seed: int, step: int, purpose: str) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=generator(seed, step, purpose)).tolist())


def test_the_same_seed_step_and_purpose_give_the_same_draws() -> None:
    assert draws(3, 17, "cameras") == draws(3, 17, "cameras")


def test_every_seed_step_and_purpose_has_its_own_draws() -> None:
    keys = list(itertools.product((-1, 0, 1, 2, 12), (0, 1, 2, 12), ("cameras", "noise", "timestep", "")))
    # 1 and 12 with 2 would meet if the parts were written without a sign between them.
    keys += [(1, 22, "cameras"), (12, 2, "cameras"), (0, 1, "1/cameras"), (1, 1, "cameras")]
    keys = list(dict.fromkeys(keys))
    assert len({draws(*key) for key in keys}) == len(keys)


def test_draws_do_not_depend_on_those_before_or_on_the_global_state() -> None:
    expected = draws(5, 9, "noise")
    torch.manual_seed(1)
    torch.rand(1000)
    other = generator(5, 9, "lights")
    torch.rand(77, generator=other)
    state = torch.get_rng_state()
    assert draws(5, 9, "noise") == expected
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**31, 2**32, 2**63, 2**64, 10**40])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert draws(seed, 0, "noise") == draws(seed, 0, "noise")
    assert draws(seed, 0, "noise") != draws(seed + 1, 0, "noise")


def test_neighbouring_steps_are_uncorrelated() -> None:
    table = torch.stack([torch.rand(200, generator=generator(0, step, "noise")) for step in range(50)])
    centred = (table - table.mean(1, keepdim=True)) / table.std(1, keepdim=True)
    neighbours = (centred[1:] * centred[:-1]).mean(1)
    # 49 correlations of 200 draws each: all within 4 standard deviations (0.07), and their mean within 4 (of 0.01).
    assert neighbours.abs().max() < 4 / 200**0.5
    assert abs(neighbours.mean().item()) < 4 / (49 * 200) ** 0.5


def test_a_known_draw_stays_what_it_is() -> None:
    # A change here changes every job's result: old recipes would no longer give their meshes.
    assert generator(0, 0, "cameras").initial_seed() % 2**64 == 18398491283423992889  # BLAKE2b-64 of "0/0/cameras"
    assert generator(0, 0, "cameras", torch.device("cpu")).device.type == "cpu"


def test_every_stage_has_its_own_draws_and_the_first_those_of_the_job() -> None:
    seeds = {stage_seed(seed, stage) for seed in (0, 1, 12) for stage in ("shape", "paint", "mesh")}
    assert len(seeds) == 9
    assert stage_seed(7, "shape") == 7  # or old recipes would no longer give their meshes
    assert draws(stage_seed(7, "paint"), 3, "noise") == draws(stage_seed(7, "paint"), 3, "noise")
    assert draws(stage_seed(7, "paint"), 3, "noise") != draws(7, 3, "noise")
