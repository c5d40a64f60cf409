"""The cells of other sweeps that a search starts from (`search.warm_start`)."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import SpecError
from orchestrator.ledger import sweep_records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial


@dataclass(frozen=True)
class TrainedCell:
    """A cell of another sweep that the search could have proposed."""

    cell: Cell
    fields: dict[str, Any]
    """The cell's fields in the space of the search."""
    results: list[TrialResult]
    """A completed result for each seed that all cells of the search have."""


def trained_cells(source: str, spec: SweepSpec, space: Space, ledger: Ledger, known: Collection[str]) -> Iterator[TrainedCell]:
    """Yields the cells of the sweep `source` that the search could have proposed, and that have completed with all the search's seeds.

    `known` has the ids of cells to leave out, because the search has them already. Raises SpecError if there is no such sweep.
    """
    for cell in _recorded(source, spec, ledger).cells:
        fields = fields_in_space(cell, spec, space)
        if fields is None or cell.id in known:
            continue
        results = [ledger.result(Trial(cell, seed)) for seed in spec.seed_list]
        completed = [result for result in results if result is not None and result.status == "completed"]
        if len(completed) == len(results):
            yield TrainedCell(cell, fields, completed)


def fields_in_space(cell: Cell, spec: SweepSpec, space: Space) -> dict[str, Any] | None:
    """Returns the fields with which a search would propose this cell; None if it cannot propose it."""
    config = cell.config.model_dump()
    fields: dict[str, Any] = {}
    for name in space.order:
        if space.active(name, fields):
            value = config[name]
            fields[name] = list(value) if isinstance(value, tuple) else value
    if not space.holds(fields):
        return None
    return fields if spec.cell_of(fields).id == cell.id else None


def _recorded(source: str, spec: SweepSpec, ledger: Ledger) -> SweepSpec:
    try:
        return sweep_records.read_sweep(ledger.storage, source, spec.own_datasets)
    except FileNotFoundError:
        raise SpecError(
            f"search.warm_start: {ledger.storage} has no sweep {source!r}; run it there first, or leave it out"
        ) from None
