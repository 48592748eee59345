import pytest
import torch
from torch import nn

from backend.prior.muon import StackedMuon, orthogonal

SHAPES = [(8, 8), (8, 24), (24, 8), (8, 24), (5, 7)]


def matrices(generator: torch.Generator) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize(("able", "tolerance"), [("amx_bf16", 0.01), ("avx2", 0.02)])
def test_it_steps_as_torch_does_one_matrix_at_a_time(
    able: str, tolerance: float, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True})
    stacked = matrices(generator)
    single = [nn.Parameter(matrix.detach().clone()) for matrix in stacked]
    options = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    ours, theirs = StackedMuon(stacked, **options), torch.optim.Muon(single, **options)
    for _ in range(3):
        for a, b in zip(stacked, single, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
    for a, b in zip(stacked, single, strict=True):
        # Torch rounds to bf16 on the way, in another order or where we do not.
        assert (a - b).norm() < tolerance * 3 * 0.02 * 0.2 * max(a.shape) ** 0.5 * min(a.shape) ** 0.5
        assert torch.allclose(ours.state[a]["momentum_buffer"], theirs.state[b]["momentum_buffer"])


def test_a_rate_in_a_tensor_is_the_same_rate(generator: torch.Generator) -> None:
    first = matrices(generator)
    second = [nn.Parameter(matrix.detach().clone()) for matrix in first]
    for parameters, rate in ((first, 0.02), (second, torch.tensor(0.02))):
        for index, matrix in enumerate(parameters):
            matrix.grad = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(index))
        StackedMuon(parameters, lr=rate, adjust_lr_fn="match_rms_adamw").step()
    for a, b in zip(first, second, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 6), (6, 20), (20, 6)])
def test_directions_become_alike_in_length(shape: tuple[int, int], generator: torch.Generator) -> None:
    stack = torch.randn(3, *shape, generator=generator)
    turned = orthogonal(stack, (3.4445, -4.7750, 2.0315), 5, 1e-7).float()
    lengths = torch.linalg.svdvals(turned)
    assert lengths.min() > 0.5
    assert lengths.max() < 1.5
