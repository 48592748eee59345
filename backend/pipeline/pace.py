"""How often something is done that is worth a part of the time, but not more."""

import math


class Pace:
    """Tells when it is due again. Times are seconds of one clock.

    share: of all time that it may take. least: seconds between one and the next, however little it takes.
    """

    def __init__(self, share: float, least: float) -> None:
        self._share, self._least = share, least
        self._next = -math.inf

    def due(self, now: float) -> bool:
        """Whether it is time for one."""
        return now >= self._next

    def made(self, begun: float, ended: float) -> None:
        """Note what the last one took; the dearer it was, the later is the next."""
        self._next = ended + max(self._least, (ended - begun) * (1 / self._share - 1))
