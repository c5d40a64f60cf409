"""Translates between a search's space and Optuna: dimensions to distributions, and drawn values to values of a cell."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from orchestrator.ledger.proposals import Proposal
from orchestrator.spec.search_block import Choice, Range
from orchestrator.spec.search_space import Space, highest, label

DIGITS = 4
"""Significant digits of a number in a cell. A sampler draws sixteen, which nobody needs."""
STEPPED_DIGITS = 12
"""Significant digits of a number from a stepped range. The sum of the steps has rounding errors in the digits after these."""


def distribution_of(dimension: Range | Choice) -> BaseDistribution:
    """Returns Optuna's distribution for a dimension."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution([label(value) for value in dimension.choices])
    if isinstance(dimension.low, int):
        return IntDistribution(dimension.low, highest(dimension), log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(dimension.low, highest(dimension), log=dimension.log, step=dimension.step)


def distributions_of(proposal: Proposal) -> dict[str, BaseDistribution]:
    """Returns the distributions from which a proposal was drawn, by field."""
    return {name: json_to_distribution(text) for name, text in proposal.distributions.items()}


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Returns whether a value can be drawn from a distribution."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False


def draw(trial: optuna.Trial, name: str, dimension: Range | Choice) -> Any:
    """Returns the value that the trial's sampler draws for a field."""
    distribution = distribution_of(dimension)
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def cell_value(dimension: Range | Choice, drawn: Any) -> Any:
    """Returns the value of a cell's field for the value that Optuna drew.

    A choice has the form that it has in the sweep file. A number is rounded to four significant digits, within its range. A number from
    a stepped range has the form in which a person writes it: 0.3 and not 0.30000000000000004.
    """
    if isinstance(dimension, Choice):
        return next(value for value in dimension.choices if label(value) == drawn and type(label(value)) is type(drawn))
    if isinstance(drawn, int):
        return drawn
    digits = DIGITS if dimension.step is None else STEPPED_DIGITS
    return min(max(float(f"{drawn:.{digits}g}"), dimension.low), dimension.high)


def of_fields(space: Space, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the values and the distributions with which Optuna would have drawn these fields of a cell, each by field."""
    dimensions = {name: space.dimensions[name] for name in space.order if name in fields}
    drawn = {name: label(fields[name]) if isinstance(kind, Choice) else fields[name] for name, kind in dimensions.items()}
    return drawn, {name: distribution_to_json(distribution_of(kind)) for name, kind in dimensions.items()}
