"""By how much the cells of a search break its constraints. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.errors import LedgerError
from orchestrator.spec.search_block import PARAMETERS, SECONDS, Constraint
from orchestrator.spec.trial import Trial


class Measured(Protocol):
    """What constraints read of the result of a trial."""

    @property
    def trial(self) -> Trial:
        """The trial."""

    @property
    def train_seconds(self) -> float:
        """How long it was trained."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Facts on how it was made; among them the number of its parameters."""

    def value(self, name: str) -> float | None:
        """Returns a metric; None if it was not reported."""


def excess(results: Sequence[Measured], constraints: Sequence[Constraint]) -> dict[str, float]:
    """Returns by how much the means over completed trials break each constraint, by its name. Zero or less: it is kept."""
    return {c.name: c.excess(math.fsum(_measured(r, c.metric) for r in results) / len(results)) for c in constraints}


def _measured(result: Measured, name: str) -> float:
    """Returns what a constraint limits: the training time, the number of parameters, or a metric."""
    if name == SECONDS:
        return result.train_seconds
    value = result.provenance.get(PARAMETERS) if name == PARAMETERS else result.value(name)
    if value is None:
        raise LedgerError(
            f"search.constraints: {result.trial.label} was trained before {name} was recorded; leave that constraint out"
        )
    return float(value)
