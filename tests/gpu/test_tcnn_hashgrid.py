"""The hash grid on tiny-cuda-nn against its plain twin, which the CPU tests hold against loops."""

import pytest
import torch
from torch import Tensor

from backend.engine.hashgrid import HashGridConfig, HashGridField
from backend.engine.tcnn_hashgrid import missing, tcnn_hash_grid_field

LACK = missing()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(LACK is not None, reason=f"needs a CUDA device and tinycudann: {LACK}"),
]

# No scale between first and last is a whole number: there the device's exp2 could round a level's size otherwise.
CONFIGS = [HashGridConfig(levels=6, log2_table=10, base=4, finest=100, hidden=16), HashGridConfig(log2_table=15)]


def twins(config: HashGridConfig) -> tuple[HashGridField, HashGridField]:
    """The plain field and the fast one, with the same parameters and features of order 1, all levels shown."""
    generator = torch.Generator("cuda").manual_seed(0)
    plain = HashGridField(generator, channels=4, config=config)
    torch.nn.init.normal_(plain.encoding.params, generator=generator)
    fast = tcnn_hash_grid_field(generator, channels=4, config=config)
    fast.load_state_dict(plain.state_dict())
    plain.refine(1.0)
    fast.refine(1.0)
    return plain, fast


def points(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator("cuda").manual_seed(1), device="cuda") * 2 - 1


def test_the_twins_draw_the_same_parameters() -> None:
    plain = HashGridField(torch.Generator("cuda").manual_seed(3), config=CONFIGS[0])
    fast = tcnn_hash_grid_field(torch.Generator("cuda").manual_seed(3), config=CONFIGS[0])
    assert plain.state_dict().keys() == fast.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, atol=0, rtol=0)


# A scale near 2047 is good to 1e-3 cells in single precision, and features of neighbouring points differ by about 1.
@pytest.mark.parametrize(("config", "tolerance"), list(zip(CONFIGS, (1e-3, 2e-2), strict=True)))
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_features_are_equal(config: HashGridConfig, tolerance: float, progress: float) -> None:
    plain, fast = twins(config)
    unit, shown = (points(3001) + 1) / 2, config.shown(progress)
    torch.testing.assert_close(fast.encoding(unit, shown), plain.encoding(unit, shown), atol=tolerance, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 255, 257])
def test_density_and_colour_are_equal(count: int) -> None:
    plain, fast = twins(CONFIGS[0])
    x = points(count)
    for ours, theirs in zip(fast.density_and_colour(x), plain.density_and_colour(x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-3)


def test_gradients_are_equal() -> None:
    plain, fast = twins(CONFIGS[0])
    x = points(2000)
    slopes = []
    for field in (plain, fast):
        density, colour = field.density_and_colour(x)
        slopes.append(torch.autograd.grad(density.mean() + colour.square().mean(), list(field.parameters())))
    for ours, theirs in zip(slopes[1], slopes[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3 * theirs.abs().max().item(), rtol=1e-3)


def test_gradients_of_normals_are_equal() -> None:
    plain, fast = twins(CONFIGS[0])
    slopes = []
    for field in (plain, fast):
        x = points(500).requires_grad_()
        (normal,) = torch.autograd.grad(field.density(x).sum(), x, create_graph=True)
        (table,) = torch.autograd.grad(normal.square().mean(), field.encoding.params)
        slopes.append((normal.detach(), table))
    for ours, theirs in zip(slopes[1], slopes[0], strict=True):
        # A point within rounding of a cell's face may fall on either side, where the slope jumps: all but a few.
        wrong = (ours - theirs).abs() > 1e-2 * theirs.abs().max()
        assert wrong.float().mean() < 1e-3
