"""The hash grid against tiny-cuda-nn's kernel written out as loops, and at its limits."""

import itertools
import math
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from backend.engine import tcnn_hashgrid
from backend.engine.fields import DENSITY_SCALE, Blob
from backend.engine.hashgrid import HashEncoding, HashGridConfig, HashGridField
from backend.engine.tcnn_hashgrid import TcnnEncoding, missing, tcnn_hash_grid_field

SMALL = HashGridConfig(levels=6, log2_table=9, base=4, finest=100, hidden=16)


def by_loops(params: Tensor, unit: Tensor, config: HashGridConfig) -> Tensor:
    """What tiny-cuda-nn's `kernel_grid` computes: 32-bit hashes, one point, level and corner after the other."""
    table, offset, levels = params.reshape(-1, config.features), 0, []
    for level in range(config.levels):
        scale = config.base * config.growth**level - 1
        resolution = math.ceil(scale - 1e-5) + 1
        size = min((resolution**3 + 7) // 8 * 8, 2**config.log2_table)
        rows = []
        for point in unit.tolist():
            position = [scale * v + 0.5 for v in point]
            total = torch.zeros(config.features)
            for corner in itertools.product((0, 1), repeat=3):
                cell = [math.floor(p) + c for p, c in zip(position, corner, strict=True)]
                weight = math.prod(1 - abs(p - v) for p, v in zip(position, cell, strict=True))
                if resolution**3 <= size:
                    index = cell[0] + cell[1] * resolution + cell[2] * resolution**2
                else:
                    index = cell[0] ^ (cell[1] * 2654435761 % 2**32) ^ (cell[2] * 805459861 % 2**32)
                total = total + weight * table[offset + index % size]
            rows.append(total)
        levels.append(torch.stack(rows))
        offset += size
    return torch.cat(levels, dim=1)


def encoding(config: HashGridConfig, generator: torch.Generator) -> HashEncoding:
    """An encoding with features of order 1, which show errors that 1e-4 would hide."""
    made = HashEncoding(config, generator)
    torch.nn.init.normal_(made.params, generator=generator)
    return made


def trained(generator: torch.Generator, channels: int = 3) -> HashGridField:
    field = HashGridField(generator, channels, SMALL)
    torch.nn.init.normal_(field.encoding.params, generator=generator)
    field.refine(1.0)
    return field


@pytest.mark.parametrize(
    ("config", "tolerance"),
    [
        (SMALL, 2e-4),
        (HashGridConfig(levels=1, base=5, finest=5), 1e-5),
        (HashGridConfig(levels=3, features=4, log2_table=4, base=2, finest=9), 1e-5),
        # In single precision a scale of 2047 is off by up to 1e-3 cells, and neighbouring features differ by a few.
        (HashGridConfig(levels=16, log2_table=14), 1e-2),
    ],
)
def test_the_encoding_is_the_kernel_by_loops(
    config: HashGridConfig, tolerance: float, generator: torch.Generator
) -> None:
    made = encoding(config, generator)
    edges = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.5], [0.5, 0.5, 0.5]])
    unit = torch.cat([edges, torch.rand(20, 3, generator=generator)])
    expected = by_loops(made.params, unit, config)
    torch.testing.assert_close(made(unit, config.levels), expected, atol=tolerance, rtol=0)


def test_gradients_of_the_table_are_those_of_the_loops(generator: torch.Generator) -> None:
    made = encoding(SMALL, generator)
    unit = torch.rand(5, 3, generator=generator)
    pull = torch.randn(5, SMALL.levels * SMALL.features, generator=generator)
    (ours,) = torch.autograd.grad((made(unit, SMALL.levels) * pull).sum(), made.params)
    (theirs,) = torch.autograd.grad((by_loops(made.params, unit, SMALL) * pull).sum(), made.params)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_first_and_second_derivatives_against_finite_differences(generator: torch.Generator) -> None:
    config = HashGridConfig(levels=3, log2_table=6, base=2, finest=7)
    made = encoding(config, generator).double()
    unit = torch.rand(4, 3, generator=generator, dtype=torch.float64).requires_grad_()

    def features(unit: Tensor, params: Tensor) -> Tensor:
        return torch.func.functional_call(made, {"params": params}, (unit, 3))

    params = made.params.detach().requires_grad_()
    assert torch.autograd.gradcheck(features, (unit, params))
    assert torch.autograd.gradgradcheck(features, (unit, params))


def test_sizes_of_the_default_stack_by_hand() -> None:
    # Ratio 128^(1/15) = 1.3819: 16, 16 * 1.3819 = 22.11 -> ceil(21.11) + 1 = 23, 30.55 -> 31 and so on.
    stack = HashGridConfig().stack
    assert [level.resolution for level in stack[:5]] == [16, 23, 31, 43, 59]
    assert stack[0].size == 4096
    assert stack[1].size == 12168  # 23^3 = 12167, rounded up to a multiple of 8
    assert [level.hashed for level in stack] == [False] * 5 + [True] * 11
    assert stack[-1].size == 2**19
    assert stack[-1].scale == pytest.approx(2047, abs=1e-2)
    assert all(b.offset == a.offset + a.size for a, b in itertools.pairwise(stack))


def test_levels_appear_one_at_a_time_until_half_of_the_run() -> None:
    config = HashGridConfig()
    shown = [config.shown(step / 1000) for step in range(1001)]
    assert shown[0] == 8
    assert shown[499] == 15
    assert shown[500] == shown[-1] == 16
    assert {b - a for a, b in itertools.pairwise(shown)} == {0, 1}
    assert HashGridConfig(grown_by=0.0).shown(0.0) == 16
    assert HashGridConfig(levels=1).shown(0.0) == 1


def test_hidden_levels_neither_matter_nor_learn(generator: torch.Generator) -> None:
    field = trained(generator)
    field.refine(0.0)
    x = torch.rand(50, 3, generator=generator) * 2 - 1
    before = field.density(x)
    (gradient,) = torch.autograd.grad(before.sum(), field.encoding.params)
    first_hidden = SMALL.features * SMALL.stack[3].offset
    assert gradient[:first_hidden].abs().max() > 0
    assert gradient[first_hidden:].abs().max() == 0
    with torch.no_grad():
        field.encoding.params[first_hidden:] = 7.0
    torch.testing.assert_close(field.density(x), before, atol=0, rtol=0)
    field.refine(1.0)
    assert (field.density(x) - before).abs().max() > 0.1


def test_showing_a_level_hardly_changes_a_fresh_field(generator: torch.Generator) -> None:
    field = HashGridField(generator, config=SMALL)
    x = torch.rand(50, 3, generator=generator) * 2 - 1
    before = field.density(x)
    field.refine(1.0)
    torch.testing.assert_close(field.density(x), before, atol=0.05, rtol=0)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_fresh_field_is_a_grey_blob(channels: int, generator: torch.Generator) -> None:
    field = HashGridField(generator, channels, SMALL, Blob(centre=4.0, slope=8.0))
    x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    density, colour = field.density_and_colour(x)
    expected = torch.tensor([DENSITY_SCALE * math.log1p(math.exp(raw)) for raw in (4.0, 0.0, -4.0)])
    torch.testing.assert_close(density, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(colour, torch.full((3, channels), 0.5 if channels == 3 else 0.0), atol=2e-3, rtol=0)


def test_density_and_colour_together_are_those_alone(generator: torch.Generator) -> None:
    field = trained(generator, channels=4)
    x = torch.rand(33, 3, generator=generator) * 2 - 1
    density, colour = field.density_and_colour(x)
    torch.testing.assert_close(field.density(x), density, atol=0, rtol=0)
    torch.testing.assert_close(field.colour(x), colour, atol=0, rtol=0)
    assert colour.shape == (33, 4)


def test_fields_are_constant_beyond_the_cube_and_take_no_points(generator: torch.Generator) -> None:
    field = trained(generator)
    outside = torch.tensor([[1.5, 0.2, -3.0]])
    torch.testing.assert_close(field.colour(outside), field.colour(outside.clamp(-1, 1)))
    density, colour = field.density_and_colour(torch.empty(0, 3))
    assert density.shape == (0,)
    assert colour.shape == (0, 3)


def test_parameters_depend_on_the_generator_alone() -> None:
    made = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        made.append(HashGridField(torch.Generator().manual_seed(5), config=SMALL).state_dict())
    other = HashGridField(torch.Generator().manual_seed(6), config=SMALL).state_dict()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not any(torch.equal(made[0][name], other[name]) for name in made[0])
    assert made[0]["encoding.params"].abs().max() <= 1e-4


def test_a_normal_can_be_asked_for_in_a_loss(generator: torch.Generator) -> None:
    field = trained(generator)
    x = (torch.rand(20, 3, generator=generator) - 0.5).requires_grad_()
    (slope,) = torch.autograd.grad(field.density(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert field.encoding.params.grad is not None
    assert field.encoding.params.grad.isfinite().all()
    assert field.encoding.params.grad.abs().max() > 0


def test_a_few_steps_fit_a_ball_of_colour(generator: torch.Generator) -> None:
    field = HashGridField(generator, config=SMALL)
    x = torch.rand(100, 3, generator=generator) * 2 - 1
    inside = x.norm(dim=-1) < 0.7
    wanted = torch.where(inside[:, None], torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9]))
    optimiser = torch.optim.Adam(field.parameters(), lr=0.03)
    losses = []
    for step in range(15):
        field.refine(step / 15)
        loss = (field.colour(x) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.1
    assert losses[-1] < 0.04


@pytest.mark.parametrize(
    "bad", [{"levels": 0}, {"features": 3}, {"log2_table": 2}, {"base": 1}, {"finest": 8}, {"grown_by": 1.5}]
)
def test_bad_sizes_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"hash grid|progress"):
        HashGridConfig(**bad)


class StandIn(torch.nn.Module):
    """tinycudann.Encoding as the bindings have it: flat `params`, all levels at once, computed by the loops."""

    def __init__(self, dims: int, settings: dict[str, object], dtype: torch.dtype) -> None:
        super().__init__()
        assert dims == 3
        assert dtype == torch.float32
        assert settings.pop("otype") == "HashGrid"
        assert settings.pop("interpolation") == "Linear"
        assert settings.pop("per_level_scale") == pytest.approx(SMALL.growth)
        assert settings == {
            "n_levels": SMALL.levels,
            "n_features_per_level": SMALL.features,
            "log2_hashmap_size": SMALL.log2_table,
            "base_resolution": SMALL.base,
        }
        entries = SMALL.stack[-1].offset + SMALL.stack[-1].size
        self.params = torch.nn.Parameter(torch.full((SMALL.features * entries,), math.nan))

    def forward(self, unit: Tensor) -> Tensor:
        return by_loops(self.params, unit, SMALL)


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tinycudann")
    module.Encoding = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tinycudann", module)


@pytest.mark.usefixtures("bindings")
def test_the_twins_start_equal_and_load_each_other() -> None:
    plain = HashGridField(torch.Generator().manual_seed(3), 4, SMALL)
    fast = tcnn_hash_grid_field(torch.Generator().manual_seed(3), 4, SMALL)
    assert isinstance(fast.encoding, TcnnEncoding)
    assert plain.state_dict().keys() == fast.state_dict().keys()
    assert len(list(fast.parameters())) == len(list(plain.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), fast.parameters(), strict=True))

    changed = trained(torch.Generator().manual_seed(4), channels=4)
    fast.load_state_dict(changed.state_dict())
    x = torch.rand(6, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1
    for progress in (0.0, 1.0):
        changed.refine(progress)
        fast.refine(progress)
        torch.testing.assert_close(fast.colour(x), changed.colour(x), atol=1e-4, rtol=1e-4)
    assert fast.density(torch.empty(0, 3)).shape == (0,)


def raising(error: Exception) -> Callable[[str], ModuleType]:
    def imported(name: str) -> ModuleType:
        raise error

    return imported


@pytest.mark.parametrize("error", [ImportError("no such"), OSError("no such"), NameError("no such")])
def test_missing_says_why_whatever_the_import_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(tcnn_hashgrid.importlib, "import_module", raising(error))
    assert missing() == "tinycudann cannot be imported: no such"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert missing() == "no CUDA device"


def test_the_networks_learn_more_slowly_than_the_table(generator: torch.Generator) -> None:
    field = HashGridField(generator, config=SMALL)
    (table, full), (heads, slower) = field.parameter_groups()
    assert (full, slower) == (1.0, 0.1)
    assert [id(p) for p in (*table, *heads)] == [id(p) for p in field.parameters()]
