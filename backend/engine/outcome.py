"""What came of a step: the terms of its loss, and whether its numbers were finite."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Look:
    """What came of some views of a step, where it was computed. sound: which views were finite. rival: its loss."""

    losses: dict[str, Float[Tensor, ""]]
    sound: Bool[Tensor, " B"]
    rival: float | None


@dataclass
class Outcome:
    """What came of a step. sound: how many views were finite; spoilt: what spoils it, if anything does."""

    losses: dict[str, float]
    sound: int = 0
    spoilt: str | None = None

    def add(self, name: str, value: float, spoiling: str | None) -> None:
        """One more term; `spoiling` is the name of what spoils the step if it is not finite."""
        self.losses[name] = self.losses.get(name, 0.0) + value
        if not math.isfinite(value):
            self.spoilt = self.spoilt or spoiling


def read(looks: Sequence[Look], gradients: Sequence[Tensor]) -> Outcome:
    """What came of all views of a step, with its gradients. All is read at once: a GPU is waited for."""
    slope = torch.nn.utils.get_total_norm(gradients)
    terms = [value for look in looks for value in look.losses.values()]
    *values, size = torch.stack([*terms, *(look.sound.sum().to(slope) for look in looks), slope]).tolist()
    outcome, told = Outcome({}, int(sum(values[len(terms) :]))), iter(values)
    for look in looks:
        for name in look.losses:
            outcome.add(name, next(told), None if name == "guidance" else f"{name} loss")
        if look.rival is not None:
            outcome.add("rival", look.rival, "rival")
    if not outcome.sound:
        outcome.spoilt = "guidance"
    if not math.isfinite(size):
        outcome.spoilt = outcome.spoilt or "gradient"
    return outcome
