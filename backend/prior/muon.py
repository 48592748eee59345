"""Muon: the steps of `torch.optim.Muon`, a shape of matrices at a time, and quick without bf16, too.

A model's many small matrices, one after the other, would have a GPU wait for thousands of launches at each step. Here
the rate may be a tensor, too, which a step captured in a CUDA graph reads anew each time.

Letters: n matrices of one shape.
"""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from backend.guidance.precision import multiplies_bf16


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with its "match_rms_adamw" rates."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # there is no closure
        """Step all matrices that have gradients."""
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            if not matrices:
                continue
            rate, momentum = group["lr"], group["momentum"]
            gradients = [matrix.grad for matrix in matrices]
            moments = [self._moment(matrix) for matrix in matrices]
            torch._foreach_lerp_(moments, gradients, 1 - momentum)
            directions = torch._foreach_lerp(gradients, moments, momentum)
            torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
            for shape, members in _by_shape(matrices).items():
                stack = torch.stack([directions[index] for index in members])
                turned = orthogonal(stack, group["ns_coefficients"], group["ns_steps"], group["eps"])
                change = -0.2 * max(shape) ** 0.5 * rate * turned.float()
                torch._foreach_add_([matrices[index] for index in members], list(change.unbind()))

    def _moment(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        return state["momentum_buffer"]


def orthogonal(
    stack: Float[Tensor, "n a b"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "n a b"]:
    """About the nearest orthogonal matrix to each: Newton-Schulz iterations as torch.optim.Muon has them.

    In bf16, as there, but where `stack` lies on a device that would emulate it.
    """
    wide = stack.bfloat16() if multiplies_bf16(stack.device) else stack
    tall = stack.shape[1] > stack.shape[2]
    wide = wide.mT if tall else wide
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    a, b, c = coefficients
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.mT if tall else wide


def _by_shape(matrices: list[Tensor]) -> dict[tuple[int, ...], list[int]]:
    found = defaultdict(list)
    for index, matrix in enumerate(matrices):
        found[tuple(matrix.shape)].append(index)
    return found
