"""Values in [0, 1]: greys of images given as numbers, for every dataset with images, and vectors with the likelihood bernoulli. Pure."""

ROUNDING = 1e-6
"""Greys that lie at most so far outside [0, 1] were put there by rounding. They are taken, and clipped."""
OVERSHOOT = 0.01
"""Greys that lie at most so far outside [0, 1] have its scale, as after interpolation. They are refused, and to be clipped."""


def in_unit(low: float, high: float, margin: float) -> bool:
    """Whether values from `low` to `high` lie in [0, 1], or outside by at most `margin`. NaN does not."""
    return low >= -margin and high <= 1 + margin


def written(low: float, high: float) -> str:
    """Returns `0 to 1.000002`: enough digits to see that values lie outside [0, 1] by more than `ROUNDING`."""
    return f"{low:.7g} to {high:.7g}"
