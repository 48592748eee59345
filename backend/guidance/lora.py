"""VSD's rival (arXiv 2305.16213): a frozen model with low-rank additions to its attention (LoRA, arXiv 2106.09685).

There is one network in memory. With the additions switched on it is the rival, without them what it always was.

Letters: see `interface`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.predictions import Predictions, target
from backend.guidance.views import FEATURES, Views

RANK = 4
"""As ProlificDreamer's own program and threestudio have it; the additions count in full, so alpha is the rank."""

_NAME = "rival"
_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


class LoraRival:
    """The `Rival` of a diffusers model: the model itself, before it has learnt anything. rate: its learning rate.

    A model serves one rival at a time: a new one takes the place of the one before.
    """

    def __init__(self, guidance: DiffusionGuidance, draws: torch.Generator, rate: float) -> None:
        self._guidance, self._unet = guidance, guidance.parts.unet
        if _NAME in getattr(self._unet, "peft_config", {}):
            self._unet.delete_adapters(_NAME)
        with torch.random.fork_rng(devices=[]):  # all of it is drawn on the CPU, wherever it goes
            torch.manual_seed(draws.initial_seed())
            self._unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=_ATTENTION), _NAME)
            telling = _ViewEmbedding(self._unet.time_embedding.linear_2.out_features).to(guidance.device)
        # A model that is told how pictures are taken needs no more telling.
        self._telling = telling if self._unet.class_embedding is None else None
        self._layers = [module for module in self._unet.modules() if isinstance(module, BaseTunerLayer)]
        self._parameters = {name: found for name, found in self._unet.named_parameters() if f".{_NAME}." in name}
        if self._telling is not None:
            self._parameters |= dict(self._telling.named_parameters())
        for parameter in self._parameters.values():
            parameter.data = parameter.data.float()  # half precision is too coarse for small steps
        # Without an epsilon the pace does not depend on the size of the slopes, as in threestudio.
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(), lr=rate, betas=(0.9, 0.99), eps=1e-15, fused=True
        )
        self._switch(on=False)

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """What it says by now, of pictures taken as `views` tells."""
        with self._switched_on():
            return self._guidance.predict(noisy, t, conditionings, views)

    def learn(
        self,
        clean: Float[Tensor, "B C h w"],
        noise: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        conditioning: Float[Tensor, "B L D"],
        views: Views,
    ) -> float:
        """Take one step towards telling `noise` from `clean`; see `interface.Rival`."""
        abar = self._guidance.abar[t.cpu()].to(clean)[:, None, None, None]
        noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
        wanted = target(self._guidance.parts.prediction, clean, noise, abar)
        self._optimiser.zero_grad()
        total = 0.0
        with self._switched_on():
            for part, (output,) in self._guidance.outputs(noisy, t, [conditioning], views):
                # The slopes of a sum, not of a mean, are of a size that half precision can hold.
                loss = (output - wanted[part]).square().sum() / len(clean)
                loss.backward()
                total += loss.item()
        slopes = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        if not math.isfinite(total) or not torch.isfinite(nn.utils.get_total_norm(slopes)):
            return math.nan
        self._optimiser.step()
        return total / clean[0].numel()

    def state(self) -> dict[str, Tensor]:
        """All that it consists of and that its optimiser knows."""
        tensors: dict[str, Tensor] = dict(self._parameters)
        for name, parameter in self._parameters.items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in self._optimiser.state[parameter].items()}
        return tensors

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Be as the rival was that had `state`."""
        for name, parameter in self._parameters.items():
            prefix = f"{name}."
            parameter.copy_(state[name])
            self._optimiser.state[parameter] = {
                key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)
            }

    @contextmanager
    def _switched_on(self) -> Iterator[None]:
        self._switch(on=True)
        try:
            yield
        finally:
            self._switch(on=False)

    def _switch(self, on: bool) -> None:
        for layer in self._layers:
            layer.enable_adapters(on)
        if self._telling is not None:
            self._unet.class_embedding = self._telling if on else None


class _ViewEmbedding(nn.Module):
    """What is added to the embedding of the timestep, by a picture's view: nothing, before it has learnt anything."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, width), nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        return self.last(nn.functional.silu(self.first(features.float())))
