"""The optimiser of a training: Muon for matrices, AdamW for everything else.

Muon (Keller Jordan, 2024) makes the momentum of a matrix orthogonal before it steps, so that all its directions learn
at one pace. A convolution counts as a matrix of its outputs by all that goes into one.
"""

from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.prior.muon import StackedMuon


class Optimiser:
    """Steps all parameters of `module`, which has to lie in memory channels last.

    rate: of matrices; vector_rate: of the others.
    """

    def __init__(self, module: nn.Module, rate: float, vector_rate: float, weight_decay: float) -> None:
        self._full = (rate, vector_rate)
        self._weights = [
            layer.weight
            for name, layer in module.named_modules()
            # The first and the last layer face pixels, whose directions are not alike: AdamW's, by Muon's author.
            if isinstance(layer, nn.Linear | nn.Conv2d) and not name.endswith(("conv_in", "conv_out"))
        ]
        # The same numbers, seen as matrices: what Muon steps, the layers have.
        self._matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in self._weights]
        for matrix, weight in zip(self._matrices, self._weights, strict=True):
            if matrix.data_ptr() != weight.data_ptr():
                raise ValueError("convolutions are not laid out channels last: Muon would step copies of them")
        taken = {id(weight) for weight in self._weights}
        self._others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
        device = self._matrices[0].device
        on_gpu = device.type == "cuda"
        self._muon = StackedMuon(self._matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self._adam = torch.optim.AdamW(
            self._others,
            lr=vector_rate,
            betas=(0.9, 0.99),
            weight_decay=weight_decay,
            fused=True,
            capturable=on_gpu,
        )
        if on_gpu:  # a step captured in a CUDA graph would keep numbers for ever
            for optimiser, full in zip((self._muon, self._adam), self._full, strict=True):
                optimiser.param_groups[0]["lr"] = torch.full((), full, device=device)

    def step(self, share: float) -> None:
        """Step down the gradients at `share` of the full rates, and forget them."""
        self.slow(share)
        self.descend()

    def slow(self, share: float) -> None:
        """Let the next steps be taken at `share` of the full rates."""
        for optimiser, full in zip((self._muon, self._adam), self._full, strict=True):
            group = optimiser.param_groups[0]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(share * full)
            else:
                group["lr"] = share * full

    def descend(self) -> None:
        """Step down the gradients, and forget them: on a GPU, nothing here waits for it."""
        for matrix, weight in zip(self._matrices, self._weights, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        self._muon.step()
        self._adam.step()
        for parameter in chain(self._weights, self._matrices, self._others):
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, besides the parameters."""
        return {
            f"{name}.{index}.{key}": value
            for name, (optimiser, parameters) in self._both.items()
            for index, parameter in enumerate(parameters)
            for key, value in optimiser.state[parameter].items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for path, value in state.items():
            name, index, key = path.split(".")
            optimiser, parameters = self._both[name]
            parameter = parameters[int(index)]
            # A fused optimiser walks parameter and moments in memory order: they must be laid out alike.
            alike = value.shape == parameter.shape
            optimiser.state[parameter][key] = torch.empty_like(parameter).copy_(value) if alike else value

    @property
    def _both(self) -> dict[str, tuple[torch.optim.Optimizer, list[nn.Parameter]]]:
        return {"muon": (self._muon, self._matrices), "adam": (self._adam, self._others)}


def _as_matrix(weight: Float[Tensor, "out *rest"]) -> Float[Tensor, "out k"]:
    """One row an output; a view of the same memory where convolutions are laid out channels last."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.ndim == 4 else weight
