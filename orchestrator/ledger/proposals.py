"""The proposals of a search, as files. Optuna's study and the sweep's cells are made from them.

A proposal is written before it is used, and never changed. Its outcome is in the ledger, with the trials of its cell.
docs/ledger-format.md describes the files.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError, SpecError
from orchestrator.ledger import records
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.ledger.trial_records import record_number
from orchestrator.spec.sections import Replicates
from orchestrator.spec.sweep_spec import PlannedCell, SweepSpec
from orchestrator.spec.trial import Cell


@dataclass(frozen=True)
class Proposal:
    """A cell that the sampler proposed."""

    number: int
    """From 0; Optuna's number of the trial."""
    cell_id: str
    fields: dict[str, Any]
    """The cell's fields that the search varies; the others come from the search's base."""
    drawn: dict[str, Any]
    """The same values as Optuna drew them, before rounding."""
    distributions: dict[str, str]
    """Optuna's text of the distribution of each value."""
    notes: dict[str, Any]
    """Data that the sampler stores with the proposal."""
    same_as: int | None = None
    """The number of an earlier proposal of the same cell. A repeated proposal trains nothing, and Optuna gets no outcome for it."""
    source: str = ""
    """The sweep that had the cell before the search; empty if none had it."""


@dataclass(frozen=True)
class Stopped:
    """When and why a search stopped a cell early."""

    epoch: int
    """The epoch at which the search judged the cell. Its trials may have trained a little longer."""
    why: str


class Proposals:
    """The proposals of one search. Reading creates nothing."""

    def __init__(self, storage: AnyPath, name: str) -> None:
        self._ledger, self._name = Ledger(storage), name
        self._paths = self._ledger.layout.sweep(name)

    @property
    def stopped_folder(self) -> AnyPath:
        """The folder in which a record appears when a cell is stopped."""
        return self._paths.stopped_folder

    def every(self) -> list[Proposal]:
        """Returns all proposals, in the order in which they were made."""
        return sorted(self._ledger.each(self._read, self._paths.proposals()), key=lambda proposal: proposal.number)

    def add(self, proposal: Proposal) -> None:
        """Record a new proposal. Raises LeaseLost if another driver has recorded one with the same number."""
        identity = Identity("proposal", sweep=self._name, proposal=proposal.number)
        if not records.create(self._paths.proposal(proposal.number), identity, asdict(proposal)):
            raise LeaseLost(f"{self._paths.search}: another driver has made proposal {proposal.number}")

    def stopped(self) -> dict[str, Stopped]:
        """Returns the cells that were stopped early, by id."""
        contents = {
            path.stem: self._content(path, self._cell_identity("stopped", path.stem)) for path in self._paths.all_stopped()
        }
        return {cell_id: Stopped(content["epoch"], content["why"]) for cell_id, content in contents.items()}

    def stop(self, cell_id: str, epoch: int, why: str) -> None:
        """Stop a cell, unless it is stopped already. Its workers look for this record after each epoch."""
        records.create(self._paths.stopped(cell_id), self._cell_identity("stopped", cell_id), {"epoch": epoch, "why": why})

    def seed_counts(self) -> dict[str, int]:
        """Returns how many seeds each cell has, by id; only cells with more seeds than they began with."""
        return {path.stem: self._seeds_in(path) for path in self._paths.all_seeds()}

    def give_seeds(self, cell_id: str, count: int) -> None:
        """Give a cell `count` seeds in all. Raises LeaseLost if another driver has given it as many."""
        path = self._paths.seeds(cell_id)
        if path.exists() and count <= self._seeds_in(path):
            raise LeaseLost(f"{self._paths.search}: another driver has given cell {cell_id} further seeds")
        records.write(path, self._cell_identity("seeds", cell_id), {"seeds": count})

    def _seeds_in(self, path: AnyPath) -> int:
        seed_count: int = self._content(path, self._cell_identity("seeds", path.stem))["seeds"]
        return seed_count

    def _cell_identity(self, kind: str, cell_id: str) -> Identity:
        return Identity(kind, sweep=self._name, cell=cell_id)

    def _read(self, path: AnyPath) -> Proposal:
        content = self._content(path, Identity("proposal", sweep=self._name, proposal=record_number(path)))
        try:
            proposal = Proposal(**content)
        except TypeError as error:
            raise self._as_spec_error(records.damaged(path, str(error))) from None
        if not isinstance(proposal.fields, dict):
            raise self._as_spec_error(records.damaged(path, "its fields are no mapping"))
        return proposal

    def _content(self, path: AnyPath, identity: Identity) -> dict[str, Any]:
        try:
            return records.read(path, identity)
        except DamagedError as error:
            raise self._as_spec_error(error) from None

    def _as_spec_error(self, error: DamagedError) -> SpecError:
        """Returns another type of error, because `--retrain-damaged` handles DamagedError and cannot repair a proposal."""
        return SpecError(
            f"{error}; restore it, or move {self._paths.search} away: the search then begins again, and trains nothing twice"
        )


def resolve(spec: SweepSpec, storage: AnyPath) -> SweepSpec:
    """Returns a search together with the cells that it has proposed so far. Returns any other sweep unchanged.

    Raises SpecError if the search's fields have changed since it proposed them.
    """
    if spec.search is None:
        return spec
    proposals = Proposals(storage, spec.name)
    proposed = [(proposal, cell_of(proposal, spec)) for proposal in proposals.every() if proposal.same_as is None]
    return with_cells(spec, proposed, proposals.stopped(), proposals.seed_counts())


def cell_of(proposal: Proposal, spec: SweepSpec) -> Cell:
    """Returns the cell of a proposal.

    Raises SpecError if the proposal now gives another cell than when it was made. Raises it also if the proposal has a field that the
    search does not vary: such fields must come from the sweep file, and never from storage.
    """
    space = spec.search.space if spec.search else {}
    for field in proposal.fields:
        if field not in space:
            path = f"sweeps/{spec.name}/search/{proposal.number:04d}.json"
            raise SpecError(
                f"{path}: proposes {field}: {proposal.fields[field]!r}, and search.space has no such field; allowed: "
                f"{', '.join(space)}; put it back into the space, or give the search another name"
            )
    cell = spec.cell_of(proposal.fields)
    if cell.id != proposal.cell_id:
        raise SpecError(
            f"base: is not what it was when {spec.name} proposed its cells ({cell.label} is another trial now); "
            "restore it, or give the search another name"
        )
    return cell


def with_cells(
    spec: SweepSpec, proposed: Iterable[tuple[Proposal, Cell]], stopped: Collection[str], seed_counts: Mapping[str, int]
) -> SweepSpec:
    """Returns a search with these cells. `stopped` has the ids of the cells that were stopped early."""
    return spec.with_cells(
        PlannedCell(cell, seeds(spec, seed_counts.get(cell.id, 0)), stopped=cell.id in stopped, imported=bool(proposal.source))
        for proposal, cell in proposed
    )


def seeds(spec: SweepSpec, count: int) -> tuple[int, ...]:
    """Returns the seeds of a cell that was given `count` in all; if `count` is 0, those that every cell begins with."""
    if isinstance(spec.seeds, Replicates):
        return tuple(range(max(spec.seeds.start, min(count, spec.seeds.max))))
    return tuple(spec.seed_list)
