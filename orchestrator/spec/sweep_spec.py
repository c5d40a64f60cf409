"""A sweep: the content of its file, and the cells and trials that follow from it. Pure: no torch, no Ray, nothing written."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, StringConstraints, model_validator

from orchestrator.errors import SpecError
from orchestrator.spec import expansion, trial
from orchestrator.spec.fields import NAME
from orchestrator.spec.search_block import Search
from orchestrator.spec.sections import DEFAULT_OBJECTIVES, STRICT, Objective, Replicates, Resources, Seeds
from orchestrator.spec.trial import Cell, Trial
from orchestrator.spec.yaml_reader import Document

_Values = Annotated[list[Any], Field(min_length=1)]


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a sweep with its seeds."""

    cell: Cell
    seeds: tuple[int, ...]
    """In ascending order."""
    stopped: bool = False
    """Whether a search stopped the cell early. Its trials are then not completed."""
    imported: bool = False
    """Whether a search took the cell from a sweep of `warm_start`. Such cells do not count towards the search's `cells`."""


@dataclass(frozen=True)
class _Resolved:
    """The cells of a sweep, and what follows from them. Each trial is made once, because its id is a hash of its configuration."""

    planned: tuple[PlannedCell, ...]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(planned.cell for planned in self.planned)

    @cached_property
    def seeds_by_cell(self) -> dict[str, tuple[int, ...]]:
        return {planned.cell.id: planned.seeds for planned in self.planned}

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(Trial(planned.cell, seed) for planned in self.planned for seed in planned.seeds)

    @cached_property
    def wanted(self) -> tuple[Trial, ...]:
        stopped = {planned.cell.id for planned in self.planned if planned.stopped}
        return tuple(trial for trial in self.trials if trial.cell.id not in stopped)

    @cached_property
    def own_cell_count(self) -> int:
        return sum(not planned.imported for planned in self.planned)

    @cached_property
    def labels(self) -> dict[str, str]:
        return trial.labels(self.cells)


class SweepSpec(BaseModel):
    """One sweep file: a name and a set of trials. Its cells and trials are made once, when they are first asked for."""

    model_config = STRICT

    name: Annotated[str, StringConstraints(pattern=NAME)]
    base: dict[str, Any] = Field(default_factory=dict)
    """Fields that all cells share."""
    grid: dict[str, _Values] | None = None
    """Fields with lists of values: every combination is a cell."""
    zip: dict[str, _Values] | None = None
    """Fields with lists of equal length that vary together; crossed with the grid."""
    include: list[dict[str, Any]] = Field(default_factory=list)
    """Further cells, each over `base`."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Cells of grid and zip that match every field of an entry are left out."""
    search: Search | None = None
    """How cells are proposed. Replaces grid, zip, include and exclude."""
    seeds: Seeds = 1
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=3)] = DEFAULT_OBJECTIVES
    resources: Resources = Resources()
    storage: Annotated[str, StringConstraints(min_length=1)] = "runs"
    """Folder or URI of the ledger, shared by sweeps."""
    keep: Literal["last", "front"] = "last"
    """Checkpoints that stay when the sweep is complete: the last of every trial, or those of the cells on the front only."""
    _resolved: _Resolved | None = PrivateAttr(None)
    _document: Document | None = PrivateAttr(None)
    """The file that the sweep was read from."""
    _own_datasets: frozenset[str] = PrivateAttr(frozenset())
    _left_out: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="after")
    def _grid_and_zip_have_fields(self) -> "SweepSpec":
        for field in ("grid", "zip"):
            if field in self.model_fields_set and not getattr(self, field):
                raise ValueError(f"{field}: is empty; give it fields with lists of values, or leave it out")
        return self

    @model_validator(mode="after")
    def _fields_agree(self) -> "SweepSpec":
        if self.search is None:
            self._check_written_out()
        else:
            self._check_searched(self.search)
        return self

    def _check_written_out(self) -> None:
        if isinstance(self.seeds, Replicates):
            raise ValueError("seeds: only a search spends further seeds; write a number, or a search with the sampler grid")
        if len(self.objectives) < 2:
            raise ValueError("objectives: a list has too few entries; at least 2 outside a search")

    def _check_searched(self, search: Search) -> None:
        for field in ("grid", "zip", "include", "exclude"):
            if getattr(self, field):
                raise ValueError(f"{field}: a search finds its own cells; put what varies into search.space, or leave out search")
        if search.stop.no_gain and any(objective.reference is None for objective in self.objectives):
            raise ValueError("search.stop.no_gain: needs a hypervolume; give every objective a reference")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell: (grid x zip - exclude) + include, or those a search has proposed so far. Raises SpecError with every mistake."""
        return self._resolve().cells

    @property
    def seeds_by_cell(self) -> dict[str, tuple[int, ...]]:
        """The seeds of each cell, by its id, in ascending order."""
        return self._resolve().seeds_by_cell

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, cell by cell, seeds in ascending order."""
        return self._resolve().trials

    @property
    def wanted(self) -> tuple[Trial, ...]:
        """The trials that are to be completed: all but those of the cells that a search stopped."""
        return self._resolve().wanted

    @property
    def own_cell_count(self) -> int:
        """The number of cells that do not come from a sweep of `warm_start`."""
        return self._resolve().own_cell_count

    @property
    def labels(self) -> dict[str, str]:
        """A label for each cell, by its id: its model, its beta, and the fields in which the model's cells differ."""
        return self._resolve().labels

    def with_cells(self, planned: Iterable[PlannedCell]) -> "SweepSpec":
        """Returns the search with the cells that it has proposed so far. All readers can treat it like a sweep without a search."""
        return self._with(_resolved=_Resolved(tuple(planned)))

    def cell_of(self, fields: dict[str, Any]) -> Cell:
        """Returns the cell of a search whose fields are these, and else those of `base`. Raises SpecError."""
        return expansion.searched_cell(self.base, fields)

    def _resolve(self) -> _Resolved:
        if self._resolved is None:
            seeds = tuple(self.seed_list)
            self._resolved = _Resolved(tuple(PlannedCell(cell, seeds) for cell in self._written_cells()))
        return self._resolved

    def _written_cells(self) -> tuple[Cell, ...]:
        if self.search is not None:
            return ()
        sections = expansion.Sections(self.base, self.grid, self.zip, tuple(self.include), tuple(self.exclude), self.left_out)
        return expansion.expand(sections, len(self.seed_list))

    @property
    def seed_list(self) -> list[int]:
        """The seeds that every cell has, in ascending order."""
        if isinstance(self.seeds, Replicates):
            return list(range(self.seeds.start))
        return list(range(self.seeds)) if isinstance(self.seeds, int) else sorted(self.seeds)

    @property
    def adaptive(self) -> bool:
        """Whether cells whose place on or off the front is undecided get further seeds."""
        return isinstance(self.seeds, Replicates)

    @property
    def source(self) -> str:
        """The text of the file that the sweep was read from; empty if it was not read from a file."""
        return self._document.text if self._document else ""

    @property
    def own_datasets(self) -> frozenset[str]:
        """The user's own datasets that the sweep names."""
        return self._own_datasets

    @property
    def left_out(self) -> frozenset[str]:
        """The user's own datasets whose cells are left out, because their code may not run; see `sweep_file.parse`."""
        return self._left_out

    def pointed(self, error: SpecError) -> SpecError:
        """Returns the error with file and line, if the sweep was read from a file."""
        return self._document.pointed(error.mistakes) if self._document else error

    def with_own_datasets(self, own: frozenset[str], left_out: frozenset[str]) -> "SweepSpec":
        """Returns the sweep with the user's own datasets that it names, and with those whose cells are left out."""
        return self._with(_own_datasets=own, _left_out=left_out)

    def read_from(self, document: Document) -> "SweepSpec":
        """Returns the sweep with the file that it was read from."""
        return self._with(_document=document)

    def _with(self, **private: Any) -> "SweepSpec":
        copy = self.model_copy()
        for name, value in private.items():
            setattr(copy, name, value)
        return copy
