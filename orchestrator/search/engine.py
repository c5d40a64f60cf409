"""A search while it runs: which cell comes next, what the study is told, which cells are stopped, who gets further seeds.

A cell is proposed, written down, trained with all its seeds, and told: the means over its seeds if all of them completed, and no number
if one did not. When enough cells have been told, further seeds go to those whose place on the front is undecided.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mopoe_core.storage.paths import local_counterpart
from orchestrator.analysis import fronts
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.errors import SpecError
from orchestrator.execution.events import MetricsAtEpoch, Observer, TrialStopped
from orchestrator.execution.queue.job import EarlyStopping
from orchestrator.ledger import sweep_records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, cell_of, seeds, with_cells
from orchestrator.ledger.result import TrialResult
from orchestrator.search import early_stopping
from orchestrator.search.outcomes import Telling, Told, feasible, hypervolumes, of_cell, of_results
from orchestrator.search.study import Study, of_fields
from orchestrator.spec.comparison_key import MeasuredWith, measured_with
from orchestrator.spec.search_space import Space
from orchestrator.spec.sections import Replicates
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial, spelled

MOST_REPEATS = 100
"""Proposals of known cells, one after another, after which a space is taken to be spent."""


class Searching(Observer):
    """What a search wants trained. `found` has the results so far by trial id, and is kept up to date by the caller.

    `widen` is told of the search with its cells whenever it has new ones, or new seeds, before their trials are handed out. `check`
    raises LeaseLost where another driver may have taken over; it is called before anything is proposed.
    """

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        found: Mapping[str, TrialResult],
        widen: Callable[[SweepSpec], None],
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        assert spec.search is not None
        self.spec, self._search, self._space = spec, spec.search, Space(spec.search)
        self._ledger, self._found, self._widen, self._say = ledger, found, widen, say
        self._check = check
        self._kept = Proposals(ledger.storage, spec.name)
        self._stopped = self._kept.stopped()
        self._seed_counts = self._kept.seed_counts()
        self._failed: set[str] = set()
        self._measured: MeasuredWith | None = None
        """What the first result of the search was measured with."""
        self._judge = early_stopping.judge(spec, self._search.early) if self._search.early else None
        self._proposals = self._kept.every()
        self._cells = {p.number: cell_of(p, spec) for p in self._proposals}
        self._cell_of: dict[str, Cell] = {}
        """Trial id to its cell."""
        self._halted = {t.id for cell in self._cells.values() if cell.id in self._stopped for t in self._trials(cell)}
        """Trials of stopped cells that no worker is at."""
        self._note_epochs()
        path = local_counterpart(ledger.storage) / "sweeps" / spec.name / "study.journal"
        told = [(proposal, self.telling(proposal)) for proposal in self._proposals]
        self._study = Study(path, spec.name, self._search, self._space, spec.objectives, told)
        self._open = {p.number: p for p, telling in told if telling.kind == "open"}
        self._spent = ""
        """Why no further cell is proposed, once that is so."""
        self._extra: set[str] = set()
        """Trials of further seeds that have not ended."""
        self._decided = False

    @property
    def over(self) -> bool:
        """Whether there will be no more."""
        return bool(self._spent) and not self._open and not self._extra and self._decided

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """What the workers have to do for it."""
        return EarlyStopping(self._search.early, self._kept.stopped_folder) if self._search.early else None

    def start(self) -> list[Trial]:
        """What to begin with: the trials that a search before left, or those of the first cell; none where it is over.

        A search that has no cell yet is first told those of the sweeps that it starts from.
        """
        if all(proposal.source for proposal in self._proposals):
            for name in self._search.warm_start:
                self._take_from(name)
        self._changed()
        left = [trial for trial in self.spec.wanted if trial.id not in self._found]
        self._extra = {trial.id for trial in left if trial.seed not in self.spec.seed_list}
        while not left and not self.over:
            left = self.next({}, 1)
        return left

    def next(self, failed: Mapping[str, str], at_once: int) -> list[Trial]:
        """The trials of the next cell, or further seeds; none where cells that train have to be waited for.

        `failed` has the trials that were given up; `at_once` is how many cells train at a time, where the search does not say.
        """
        self._check()
        self._failed = set(failed)
        self._settle()
        while not self._spent and len(self._open) < (self._search.concurrent or at_once):
            self._spent = self._why_no_more()
            if not self._spent and (trials := self._propose()):
                return trials
        if self._spent and not self._open and not self._extra and not self._decided:
            return self._further_seeds()
        return []

    def on_metrics_at_epoch(self, event: MetricsAtEpoch) -> None:
        """What a trial has after an epoch; may stop its cell."""
        cell = self._cell_of.get(event.trial_id)
        if cell is None or self._judge is None:
            return
        self._judge.note(cell, event.trial_id, event.epoch, event.values)
        why = self._judge.why_stop(cell, event.epoch, self._means_of_completed()) if cell.id not in self._stopped else ""
        if why:
            self._kept.stop(cell.id, event.epoch, why)
            self._stopped = self._kept.stopped()
            self._say(f"stopped    {cell.label} at epoch {event.epoch}: {why}")

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """A trial of a stopped cell has stopped."""
        self._halted.add(event.trial_id)

    def told(self) -> list[Told]:
        """Every cell that was proposed, in order, with what has come of it."""
        return [Told(p, self._cells[p.number], self.telling(p)) for p in self._proposals if p.same_as is None]

    def telling(self, proposal: Proposal) -> Telling:
        """What the ledger says of a proposal: of the seeds that all cells have, and of nothing but all of them."""
        if proposal.same_as is not None:
            return Telling("failed")
        cell = self._cells[proposal.number]
        stopped = cell.id in self._stopped and all(t.id in self._halted for t in self._left(cell))
        alike, others = self._comparable(cell)
        telling = of_cell(cell, self.spec, alike, stopped, {*self._failed, *others})
        return replace(telling, epochs=self._judge.course(cell)) if self._judge and telling.kind == "stopped" else telling

    def _comparable(self, cell: Cell) -> tuple[dict[str, TrialResult], list[str]]:
        """The results of a cell that may be compared with the first of the search, and the ids of trials with others: a worker may have
        other data than the one before it. The next command refuses to go on from those (`front_groups.check_search`).
        """
        own = {trial.id: self._found[trial.id] for trial in self._trials(cell) if trial.id in self._found}
        alike = {trial_id: result for trial_id, result in own.items() if self._can_be_told([result])}
        return alike, [trial_id for trial_id in own if trial_id not in alike]

    def _can_be_told(self, results: Sequence[TrialResult]) -> bool:
        """Whether those of them that completed were measured as the first that was told."""
        measured = [measured_with(result.provenance) for result in results if result.status == "completed"]
        self._measured = self._measured or next(iter(measured), None)
        return all(one == self._measured for one in measured)

    def _settle(self) -> None:
        """Tell what has ended."""
        for number, proposal in list(self._open.items()):
            telling = self.telling(proposal)
            if telling.kind != "open":
                self._study.tell(proposal, telling)
                del self._open[number]
                for trial_id in self._comparable(self._cells[number])[1]:
                    self._say(
                        f"not told: trial {trial_id} was measured on other data or judged by other classifiers than the first"
                    )
        self._extra -= {*self._found, *self._failed}

    def _why_no_more(self) -> str:
        stop, mine = self._search.stop, [p for p in self._proposals if p.same_as is None and not p.source]
        if len(mine) >= self._search.cells:
            return f"{len(mine)} cells have been proposed"
        if stop.trial_hours is not None and (spent := self._trial_hours()) >= stop.trial_hours:
            return f"{spent:.3g} of {spelled(stop.trial_hours)} trial hours are used"
        if stop.no_gain and (since := self._cells_without_gain()) >= stop.no_gain:
            return f"{since} cells have not raised the hypervolume"
        repeats = 0
        for proposal in reversed(self._proposals):
            if proposal.same_as is None:
                break
            repeats += 1
        return f"{repeats} proposals were known cells" if repeats >= MOST_REPEATS else ""

    def _trial_hours(self) -> float:
        seconds = (result.train_seconds + result.evaluate_seconds for result in self._results())
        return math.fsum(seconds) / 3600

    def _cells_without_gain(self) -> int:
        """Cells told since the hypervolume last rose. Cells that did not complete have not raised it."""
        ended = [one for one in self.told() if one.telling.kind != "open"]
        volumes = hypervolumes(ended, self.spec)
        best = max(volumes, default=0.0)
        return len(volumes) - 1 - volumes.index(best) if best > 0 else 0

    def _propose(self) -> list[Trial]:
        """A new cell's trials that are to be trained; none if it was known, or has all its results."""
        asked = self._study.ask()
        if asked is None:
            self._spent = "the grid has no more cells"
            return []
        cell = self.spec.cell_of(asked.fields)
        same = next((p.number for p in self._proposals if p.cell_id == cell.id), None)
        proposal = replace(asked, cell_id=cell.id, same_as=same)
        self._add(proposal, cell)
        self._open[proposal.number] = proposal
        if same is None:
            self._changed()
        self._settle()
        return self._left(cell) if proposal.number in self._open else []

    def _add(self, proposal: Proposal, cell: Cell) -> None:
        self._kept.add(proposal)
        self._proposals.append(proposal)
        self._cells[proposal.number] = cell

    def _take_from(self, name: str) -> None:
        """The completed cells of another sweep that could have been proposed here."""
        taken = passed_over = 0
        for cell in _other(self._ledger, name, self.spec.own_datasets).cells:
            fields = _within(self._space, self.spec, cell)
            if fields is None or any(p.cell_id == cell.id for p in self._proposals):
                continue
            results = [self._ledger.result(Trial(cell, seed)) for seed in self.spec.seed_list]
            if any(result is None or result.status != "completed" for result in results):
                continue
            complete = [result for result in results if result is not None]
            if not self._can_be_told(complete):
                passed_over += 1
                continue
            telling = of_results(complete, self.spec)
            drawn, distributions = of_fields(self._space, fields)
            proposal = Proposal(self._study.next_number(), cell.id, fields, drawn, distributions, {}, source=name)
            self._add(proposal, cell)
            self._study.add(proposal, telling)
            taken += 1
        other = f"; {passed_over} were measured on other data or judged by other classifiers, and are not" if passed_over else ""
        self._say(f"{taken} cells of {name} are told, and not trained again{other}")

    def _further_seeds(self) -> list[Trial]:
        """One more seed for each cell whose place on the front is undecided; none when all are decided or have the most."""
        limits, self._decided = self.spec.seeds, True
        if not isinstance(limits, Replicates):
            return []
        before = {trial.id for trial in self.spec.trials}
        counts, results = self.spec.seeds_by_cell, groups_of(self.spec, self._results()).results
        front = fronts.front(self.spec.objectives, feasible(self.spec, results), counts, results, pooled=True)
        for point in front.points:
            undecided = point.probability is not None and 1 - limits.until < point.probability < limits.until
            if undecided and len(counts[point.cell_id]) < limits.max:
                self._seed_counts[point.cell_id] = len(counts[point.cell_id]) + 1
                self._kept.give_seeds(point.cell_id, self._seed_counts[point.cell_id])
                self._decided = False
        if not self._decided:
            self._changed()
        new = [trial for trial in self.spec.trials if trial.id not in before]
        self._extra = {trial.id for trial in new}
        if new:
            self._say(f"one more seed for each of {len(new)} cells of which it is not sure whether they are on the front")
        return new

    def _left(self, cell: Cell) -> list[Trial]:
        """The trials of a cell that have no result yet."""
        return [trial for trial in self._trials(cell) if trial.id not in self._found]

    def _trials(self, cell: Cell) -> list[Trial]:
        return [Trial(cell, seed) for seed in seeds(self.spec, self._seed_counts.get(cell.id, 0))]

    def _results(self) -> list[TrialResult]:
        return [self._found[t.id] for t in self.spec.trials if t.id in self._found]

    def _means_of_completed(self) -> dict[str, tuple[float, ...]]:
        """Cell id to the means of its objectives, of completed cells that keep to the constraints."""
        return {one.cell.id: one.telling.values for one in self.told() if one.telling.is_feasible}

    def _note_epochs(self) -> None:
        """What the ledger has of metrics at epochs."""
        if self._judge is None or self._search.early is None:
            return
        for cell in self._cells.values():
            for trial in self._trials(cell):
                for epoch in self._search.early.epochs(cell.config):
                    values = self._ledger.at_epoch(trial, epoch)
                    if values is not None:
                        self._judge.note(cell, trial.id, epoch, values)

    def _changed(self) -> None:
        every = [self._cells[proposal.number] for proposal in self._proposals if proposal.same_as is None]
        self.spec = with_cells(self.spec, every, self._stopped, self._seed_counts)
        self._cell_of = {trial.id: trial.cell for trial in self.spec.trials}
        self._widen(self.spec)


def _other(ledger: Ledger, name: str, code_of: frozenset[str]) -> SweepSpec:
    try:
        return sweep_records.recorded(ledger.storage, name, code_of)
    except FileNotFoundError:
        raise SpecError(
            f"search.warm_start: {ledger.storage} has no sweep {name!r}; run it there first, or leave it out"
        ) from None


def _within(space: Space, spec: SweepSpec, cell: Cell) -> dict[str, object] | None:
    """The fields of the space at which this search would have that cell; None where it cannot have it."""
    config = cell.config.model_dump()
    fields: dict[str, object] = {}
    for name in space.order:
        if space.active(name, fields):
            value = config[name]
            fields[name] = list(value) if isinstance(value, tuple) else value
    if not space.holds(fields):
        return None
    return fields if spec.cell_of(fields).id == cell.id else None
