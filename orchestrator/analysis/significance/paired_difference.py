"""A paired difference over seeds. Pure."""

from dataclasses import dataclass

from orchestrator.analysis.intervals import Summary
from orchestrator.analysis.significance.hypotheses import ERROR


@dataclass(frozen=True)
class NotRanked:
    """A pair that is not compared, and why not."""

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """first - second over the seeds that both have complete, in the unit of the quantity."""

    first: str
    second: str
    quantity: str
    seeds: tuple[int, ...]
    n_planned: int
    over_seeds: Summary
    p: float
    """Two-sided p-value of the sign-flip test: exact for up to `EXACT_PAIRS` seeds; 1 for a single seed."""
    p_holm: float
    """Holm's correction of `p` over the `pairs` that were compared together; pairs that are not ranked do not count."""
    pairs: int
    least: float
    """The smallest value that `p_holm` could have with this many pairs and seeds, whatever the numbers."""
    caveat: str = ""

    @property
    def n(self) -> int:
        """Seeds that both have complete."""
        return len(self.seeds)

    @property
    def shown(self) -> bool:
        """Whether the corrected p-value is at most 5 %."""
        return self.p_holm <= ERROR
