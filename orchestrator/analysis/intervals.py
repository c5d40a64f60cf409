"""The mean of some numbers, their spread, and Student's t interval of the mean. Pure."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import NamedTuple

from scipy import special  # imports in a tenth of the time of scipy.stats, and computes the same

CONFIDENCE = 0.95


class Summary(NamedTuple):
    """A mean over seeds with its standard deviation and interval."""

    mean: float
    sd: float
    """With n - 1; NaN for fewer than two numbers."""
    low: float
    """Lower end of the t interval of the mean; NaN for fewer than two numbers."""
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there are two numbers or more."""
        return not math.isnan(self.sd)


def mean(values: Sequence[float]) -> float:
    """Returns the mean; NaN without values. Sums exactly (fsum), so that two equal means stay equal in any order of the seeds."""
    return fmean(values) if values else math.nan


def summary(values: Sequence[float], confidence: float = CONFIDENCE) -> Summary:
    """Returns the mean of the values, their sd, and the ends of the t interval of the mean."""
    n, centre = len(values), mean(values)
    if n < 2:
        return Summary(centre, math.nan, math.nan, math.nan)
    sd = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (n - 1))
    half = _t_quantile(confidence, n - 1) * sd / math.sqrt(n)
    return Summary(centre, sd, centre - half, centre + half)


@cache
def _t_quantile(confidence: float, degrees_of_freedom: int) -> float:
    """Returns Student's t at the upper end of an interval. Cached: a sweep needs few quantiles, tens of thousands of times."""
    return float(special.stdtrit(degrees_of_freedom, (1 + confidence) / 2))
