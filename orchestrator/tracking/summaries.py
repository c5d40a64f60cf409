"""Summaries of a cell and of a sweep, which a tracker shows in addition to the runs of the trials. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.spec.trial import Cell
from orchestrator.tracking.ledger_marks import digest


@dataclass(frozen=True)
class CellSummary:
    """Content of the run of a cell: its rows of the cell table, by metric."""

    cell: Cell
    n: int
    """Number of seeds with a result."""
    n_planned: int
    """Number of seeds that the sweep asks for."""
    values: Mapping[str, Mapping[str, float]]
    """By metric name: `mean`, `sd`, `low` and `high`."""
    group: str = ""
    """Label of the group of cells that may be compared with this one; empty if all cells of the sweep may be compared."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """By metric name: the number of seeds with the metric, if it is not `n`. Earlier versions had fewer metrics."""

    @property
    def plain_values(self) -> dict[str, dict[str, float]]:
        """`values` as plain dictionaries of Python's floats."""
        return {name: {part: float(number) for part, number in numbers.items()} for name, numbers in self.values.items()}

    @property
    def tags(self) -> dict[str, str]:
        """The tag `group`, if the cell may not be compared with all others of its sweep."""
        return {"group": self.group} if self.group else {}


@dataclass(frozen=True)
class SweepSummary:
    """Content of the run of a whole sweep."""

    name: str
    """The sweep's name."""
    parameters: Mapping[str, str]
    ended_cell_ids: Sequence[str]
    """Ids of the cells that have an outcome, in the order of the sweep or search."""
    courses: Mapping[str, Sequence[float]]
    """The `hypervolume`, or the best value of each objective, after each of these cells. NaN if there is no value yet."""
    counts: Mapping[str, int]
    """Number of cells by outcome; `open` cells have none yet."""
    files: Sequence[Path]
    """The run's artifacts, with distinct names."""
    page: Path | None = None
    """The report's page, another artifact. It is not part of `content`, because it has a date and links to runs."""

    @property
    def content(self) -> str:
        """A hash of everything except the page."""
        files = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in self.files]
        courses = [(name, list(map(float, course))) for name, course in self.courses.items()]
        return digest(sorted(self.parameters.items()), list(self.ended_cell_ids), courses, sorted(self.counts.items()), files)
