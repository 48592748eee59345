"""Numbers that are not finite: what has them is left out and counted, never passed off as something else."""

from dataclasses import dataclass

PATIENCE = 20
"""After so many steps in a row that had to leave views out, a run fails."""


class NonFiniteError(ArithmeticError):
    """A term of the loss, or a gradient, was infinite or not a number too often; `step` and `term` of the last time."""

    def __init__(self, step: int, term: str) -> None:
        self.step, self.term = step, term
        super().__init__(f"the {term} is not finite at step {step}, for the {PATIENCE}th time in a row")


@dataclass
class LeftOut:
    """Views that were left out of steps. total: of the whole run; in_a_row: how many steps up to now had any."""

    total: int = 0
    in_a_row: int = 0

    def count(self, step: int, views: int, term: str) -> None:
        """`views` were left out of `step`, because of `term`. Raises NonFiniteError if that happens all the time."""
        self.total += views
        self.in_a_row = self.in_a_row + 1 if views else 0
        if self.in_a_row == PATIENCE:
            raise NonFiniteError(step, term)
