"""What this machine offers: its models, presets and estimates."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from backend.errors import UserError
from backend.pipeline import speeds
from backend.service import wordlists
from backend.service.estimates import Estimates
from backend.service.offer import checked, offer
from backend.service.shelf import Shelf
from shared.jobs import Generation
from shared.offer import Offer


class Catalogue:
    """Models, presets and estimates. device: the kind of device that jobs run on.

    finished: model, preset and seconds of past jobs. facts: what a warm worker measured.
    """

    def __init__(
        self,
        device: str,
        finished: Callable[[], list[tuple[str, str, float]]],
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        self._device = device
        self._finished, self._facts = finished, facts
        self._shelf = Shelf()

    def offer(self) -> Offer:
        """What can be asked for now."""
        facts = self._facts()
        steps = speeds.known(facts.get("device", ""))
        estimates = Estimates(self._finished(), facts.get("seconds_per_step"), steps, facts.get("flops_per_second"))
        return offer(self._shelf.models(), self._device, estimates.of, facts.get("curves", {}))

    def check(self, request: Generation) -> list[str]:
        """Warnings for the artist. Raises UserError for what cannot be done."""
        return checked(request, self._shelf.models())[1]

    def words(self, sha256: str) -> bytes | None:
        """The file of a model's words, by its digest; None if no model has it."""
        for model in self._shelf.models():
            with suppress(UserError):  # damaged words: the model is not offered, and the log says so
                if (listed := wordlists.of(model.folder)) and listed.asset.sha256 == sha256:
                    return listed.content
        return None
