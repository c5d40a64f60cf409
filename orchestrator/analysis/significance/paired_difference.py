"""A paired difference over seeds. Pure."""

from dataclasses import dataclass

from orchestrator.analysis.intervals import Summary
from orchestrator.analysis.significance.hypotheses import ERROR


@dataclass(frozen=True)
class NotRanked:
    """A pair that is not compared, with the reason."""

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """first - second over the seeds that are complete for both, in the unit of the quantity."""

    first: str
    second: str
    quantity: str
    seeds: tuple[int, ...]
    n_planned: int
    over_seeds: Summary
    p: float
    """Two-sided p-value of the sign-flip test: exact for up to `EXACT_PAIRS` seeds; 1 for a single seed."""
    p_holm: float
    """`p` with Holm's correction over all `pairs`."""
    pairs: int
    """How many pairs were compared together; pairs that are not ranked do not count."""
    least: float
    """The smallest value that `p_holm` can have with this number of pairs and seeds."""
    caveat: str = ""

    @property
    def n(self) -> int:
        """How many seeds are complete for both."""
        return len(self.seeds)

    @property
    def shown(self) -> bool:
        """Whether the corrected p-value is at most 5 %."""
        return self.p_holm <= ERROR
