"""The models that lie on this machine, read anew when they have changed."""

from backend.guidance import library
from backend.guidance.library import ModelSource


class Shelf:
    """See the top of the file."""

    def __init__(self) -> None:
        self._models: list[ModelSource] = []
        self._fingerprint: tuple[tuple[str, int], ...] | None = None

    def models(self) -> list[ModelSource]:
        """Those that can be used."""
        fingerprint = library.fingerprint()
        if fingerprint != self._fingerprint:
            self._models, self._fingerprint = library.usable(), fingerprint
        return self._models
