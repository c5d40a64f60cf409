"""What a search has proposed, as files: the truth of it, from which Optuna's study and the sweep's cells are made.

    <storage>/sweeps/<name>/search/
        0007.json           a proposal: the fields of its cell, and what Optuna needs to know it again
        seeds/<cell>.json   how many seeds a cell has, where that is more than it began with
        stopped/<cell>.json that a cell was stopped early, when and why

A proposal is written before anything is done with it, and never changed. What came of it is not here: that is in the ledger, with the
trials of its cell.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mopoe_core.storage.files import AnyPath, listed
from orchestrator.errors import DamagedError, SpecError
from orchestrator.ledger import records
from orchestrator.ledger.leases.leases import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.spec.sections import Replicates
from orchestrator.spec.sweep_spec import PlannedCell, SweepSpec
from orchestrator.spec.trial import Cell


@dataclass(frozen=True)
class Proposal:
    """One answer of the sampler to the question what to try next."""

    number: int
    """From 0; Optuna's number of it."""
    cell_id: str
    fields: dict[str, Any]
    """The cell, over the search's base."""
    drawn: dict[str, Any]
    """The same as Optuna drew it, before it was rounded."""
    distributions: dict[str, str]
    """What it was drawn from, as Optuna spells it."""
    notes: dict[str, Any]
    """What the sampler remembers of it."""
    same_as: int | None = None
    """An earlier proposal of the same cell: this one is not told, and costs nothing."""
    source: str = ""
    """The sweep whose cell it is, where it was there before the search."""


@dataclass(frozen=True)
class Stopped:
    """That a cell was stopped early."""

    epoch: int
    """At which it was judged; its trials may have trained a little longer."""
    why: str


class Proposals:
    """The proposals of one search. Reading creates nothing."""

    def __init__(self, storage: AnyPath, name: str) -> None:
        self._ledger, self._name = Ledger(storage), name
        self.folder = self._ledger.storage / "sweeps" / name / "search"
        self.stopped_folder = self.folder / "stopped"

    def every(self) -> list[Proposal]:
        """In the order in which they were made."""
        found = self._ledger.each(self._read, listed(self.folder, "[0-9]*.json"))
        return sorted(found, key=lambda proposal: proposal.number)

    def add(self, proposal: Proposal) -> None:
        """Keep a new one. Raises LeaseLost where another driver has made one of that number."""
        identity = Identity("proposal", sweep=self._name, proposal=proposal.number)
        if not records.first(self.folder / f"{proposal.number:04d}.json", identity, asdict(proposal)):
            raise LeaseLost(f"{self.folder}: another driver has made proposal {proposal.number}")

    def stopped(self) -> dict[str, Stopped]:
        """Cells that were stopped early, by id."""
        found = (
            (path.stem, self._content(path, self._of_cell("stopped", path.stem)))
            for path in listed(self.stopped_folder, "*.json")
        )
        return {cell_id: Stopped(note["epoch"], note["why"]) for cell_id, note in found}

    def stop(self, cell_id: str, epoch: int, why: str) -> None:
        """Stop a cell, unless it is stopped: its workers look for this after each epoch."""
        records.first(self.stopped_folder / f"{cell_id}.json", self._of_cell("stopped", cell_id), {"epoch": epoch, "why": why})

    def seed_counts(self) -> dict[str, int]:
        """Cells with more seeds than they began with, by id."""
        paths = listed(self.folder / "seeds", "*.json")
        return {path.stem: self._content(path, self._of_cell("seeds", path.stem))["seeds"] for path in paths}

    def give_seeds(self, cell_id: str, count: int) -> None:
        """Let a cell have so many seeds in all."""
        records.write(self.folder / "seeds" / f"{cell_id}.json", self._of_cell("seeds", cell_id), {"seeds": count})

    def _of_cell(self, kind: str, cell_id: str) -> Identity:
        return Identity(kind, sweep=self._name, cell=cell_id)

    def _read(self, path: AnyPath) -> Proposal:
        number = int(path.stem) if path.stem.isdecimal() else -1
        content = self._content(path, Identity("proposal", sweep=self._name, proposal=number))
        try:
            proposal = Proposal(**content)
        except TypeError as error:
            raise self._beyond_repair(records.damaged(path, str(error))) from None
        if not isinstance(proposal.fields, dict):
            raise self._beyond_repair(records.damaged(path, "its fields are no mapping"))
        return proposal

    def _content(self, path: AnyPath, identity: Identity) -> dict[str, Any]:
        try:
            return records.read(path, identity)
        except DamagedError as error:
            raise self._beyond_repair(error) from None

    def _beyond_repair(self, error: DamagedError) -> SpecError:
        """No trial is damaged by it, so that training again mends nothing."""
        return SpecError(
            f"{error}; restore it, or move {self.folder} away: the search then begins again, and trains nothing twice"
        )


def resolve(spec: SweepSpec, storage: AnyPath) -> SweepSpec:
    """A search with the cells that it has found so far; any other sweep as it is.

    Raises SpecError where they were found for something else than what the file says now.
    """
    if spec.search is None:
        return spec
    kept = Proposals(storage, spec.name)
    every = [cell_of(proposal, spec) for proposal in kept.every() if proposal.same_as is None]
    return with_cells(spec, every, kept.stopped(), kept.seed_counts())


def cell_of(proposal: Proposal, spec: SweepSpec) -> Cell:
    """The cell of a proposal. Raises SpecError where the search makes another of it now than when it was proposed, and where the proposal
    says a field that the search does not look for: what the others are, the sweep file says, and no file in storage.
    """
    space = spec.search.space if spec.search else {}
    for field in proposal.fields:
        if field not in space:
            place = f"sweeps/{spec.name}/search/{proposal.number:04d}.json"
            raise SpecError(
                f"{place}: proposes {field}: {proposal.fields[field]!r}, and search.space has no such field; allowed: "
                f"{', '.join(space)}; put it back into the space, or give the search another name"
            )
    cell = spec.cell_of(proposal.fields)
    if cell.id != proposal.cell_id:
        raise SpecError(
            f"base: is not what it was when {spec.name} proposed its cells ({cell.label} is another trial now); "
            "restore it, or give the search another name"
        )
    return cell


def with_cells(spec: SweepSpec, every: Sequence[Cell], stopped: Collection[str], seed_counts: Mapping[str, int]) -> SweepSpec:
    """A search with these cells; `stopped` has the ids of those that were stopped early."""
    found = [PlannedCell(cell, seeds(spec, seed_counts.get(cell.id, 0)), cell.id in stopped) for cell in every]
    return spec.with_cells(found)


def seeds(spec: SweepSpec, count: int) -> tuple[int, ...]:
    """Those of a cell that was given so many in all; 0 where it was given none beyond those that every cell has."""
    if isinstance(spec.seeds, Replicates):
        return tuple(range(max(spec.seeds.start, min(count, spec.seeds.max))))
    return tuple(spec.seed_list)
