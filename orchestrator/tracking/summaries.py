"""What a tracker shows of a whole cell and of a whole sweep, beside the runs of its trials. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.spec.trial import Cell
from orchestrator.tracking.ledger_marks import digest


@dataclass(frozen=True)
class CellSummary:
    """What the run of a cell shows: its row of the cell table, by metric."""

    cell: Cell
    n: int
    n_planned: int
    values: Mapping[str, Mapping[str, float]]
    """Metric name to `mean`, `sd`, `low`, `high`."""
    group: str = ""
    """What the cells that it may be compared with have in common; empty if all cells of the sweep may be compared."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Metric name to the number of seeds that have it, where that is not `n`: earlier versions had fewer metrics."""

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
    """What the run of a whole sweep shows."""

    name: str
    """The sweep's."""
    parameters: Mapping[str, str]
    told: Sequence[str]
    """Ids of the cells that have an outcome, in their order."""
    courses: Mapping[str, Sequence[float]]
    """What was reached after each of these cells: the `hypervolume`, or the best of each objective. NaN is nothing yet."""
    counts: Mapping[str, int]
    """Cells by their outcome; `open` ones have none yet."""
    files: Sequence[Path]
    """Its artifacts; names are distinct."""
    page: Path | None = None
    """The report's page, an artifact too. It is left out of `content`: it has the time at which it was made, and links to runs."""

    @property
    def content(self) -> str:
        """A hash of all of it."""
        files = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in self.files]
        courses = [(name, list(map(float, course))) for name, course in self.courses.items()]
        return digest(sorted(self.parameters.items()), list(self.told), courses, sorted(self.counts.items()), files)
