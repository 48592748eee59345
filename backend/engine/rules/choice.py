"""Which rule holds when."""

from backend.engine.names import RuleName
from backend.engine.rules.asd import asd
from backend.engine.rules.bridge import bridge
from backend.engine.rules.csd import csd
from backend.engine.rules.sdi import sdi
from backend.engine.rules.sds import sds
from backend.engine.rules.step import Rule
from backend.engine.rules.vsd import vsd
from backend.engine.rules.x0 import x0

LATE = 0.5
"""The progress from which the rules hold that sharpen what is there already; before it, `sds` lays it out."""


_OF_ALL_VIEWS: tuple[Rule, ...] = (sdi, vsd, x0)
"""Rules that compare the views of a step, learn from them, or draw for all of them at once."""


def by_view(name: RuleName, progress: float) -> bool:
    """Whether the rule makes of each view by itself what it makes of it among others."""
    return rule(name, progress) not in _OF_ALL_VIEWS


def rule(name: RuleName, progress: float) -> Rule:
    """The rule `name` at `progress` in [0, 1] of a run."""
    match name:
        case "sds":
            return sds
        case "csd":
            return csd
        case "asd":
            return asd
        case "x0":
            return x0
        case "vsd":
            return vsd
        case "sdi":
            return sdi if progress >= LATE else sds
        case "bridge":
            return bridge if progress >= LATE else sds
