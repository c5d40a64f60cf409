"""A running search: it proposes cells, tells Optuna their outcomes, stops cells early and gives cells further seeds.

A cell is proposed, recorded and trained with all its seeds. Optuna is then told the means over the seeds if all seeds completed, and
otherwise no number. When Optuna has all outcomes, cells get further seeds if it is undecided whether they are on the front.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from orchestrator.errors import Mistake
from orchestrator.execution.events import MetricsAtEpoch, Observer, TrialEnded, TrialStopped
from orchestrator.execution.queue.job import EarlyStopping
from orchestrator.ledger.layout import local_sweep_folder
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, Stopped, cell_of, seeds, with_cells
from orchestrator.ledger.result import TrialResult
from orchestrator.search import early_stopping
from orchestrator.search.comparable_results import ComparableResults
from orchestrator.search.distributions import of_fields
from orchestrator.search.draws import possible_draw
from orchestrator.search.further_seeds import undecided_cells
from orchestrator.search.outcomes import CellOutcome, ProposedCell, of_cell, of_results
from orchestrator.search.study import Study
from orchestrator.search.warm_start import trained_cells
from orchestrator.spec.search_limits import Means, own_cells, why_exhausted, why_stopped
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial


class SearchEngine(Observer):
    """Proposes the trials of a search.

    `results` has the results so far by trial id; the caller keeps it up to date. `widen` is called with the sweep and all its cells when
    there are new cells or seeds, before their trials are handed out. `say` shows a line to the user. `check` is called before each
    proposal; it raises LeaseLost if another driver may have taken over.
    """

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        results: Mapping[str, TrialResult],
        widen: Callable[[SweepSpec], None],
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        assert spec.search is not None
        self.spec, self._search, self._space = spec, spec.search, Space(spec.search)
        self._ledger, self._results = ledger, results
        self._widen, self._say, self._check = widen, say, check
        self._records = Proposals(ledger.storage, spec.name)
        self._stopped = self._records.stopped()
        self._seed_counts = self._records.seed_counts()
        self._given_up: set[str] = set()
        """Trials for whose results this command does not wait: those that have failed for good, and those of `_reset_since`."""
        self._reset_since: set[str] = set()
        """Trials that have ended, and that were reset before their result was read."""
        self._comparable_results = ComparableResults()
        self._stopping_rule = early_stopping.stopping_rule(spec, self._search.early) if self._search.early else None
        self._proposals = self._records.every()
        self._cells = {p.number: cell_of(p, spec) for p in self._proposals if p.cell_id}
        """By the number of the proposal; without impossible draws."""
        self._cell_by_trial: dict[str, Cell] = {}
        self._halted = {t.id for cell in self._cells.values() if cell.id in self._stopped for t in self._trials(cell)}
        """Trials of stopped cells that no worker trains any more."""
        self._note_recorded_epochs()
        path = local_sweep_folder(ledger.storage, spec.name) / "study.journal"
        history = [(proposal, self.outcome(proposal)) for proposal in self._proposals]
        self._study = Study(path, spec.name, self._search, self._space, spec.objectives, history)
        self._open = {proposal.number: proposal for proposal, outcome in history if outcome.kind == "open"}
        self._why_no_more = ""
        """Why no further cell is proposed; empty while the search goes on."""
        self._further_trials: set[str] = set()
        """Trials of further seeds that have not ended."""
        self._front_decided = False

    @property
    def is_over(self) -> bool:
        """Whether there will be no more trials."""
        return bool(self._why_no_more) and not self._open and not self._further_trials and self._front_decided

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """What workers need to know to stop cells early; None if the search stops none."""
        return EarlyStopping(self._search.early, self._records.stopped_folder) if self._search.early else None

    def start(self) -> list[Trial]:
        """Returns the first trials: those that an earlier command left, or those of the first cell. Empty if the search is over.

        A search that has not proposed a cell itself first takes over the cells of the sweeps in `warm_start`.
        """
        if all(proposal.source for proposal in self._proposals):
            for name in self._search.warm_start:
                self._take_from(name)
        self._update_spec()
        trials = [trial for trial in self.spec.wanted if trial.id not in self._results]
        self._further_trials = {trial.id for trial in trials if trial.seed not in self.spec.seed_list}
        while not trials and not self.is_over:
            trials = self.next({}, 1)
        return trials

    def next(self, failed: Mapping[str, str], at_once: int) -> list[Trial]:
        """Returns the trials of the next cell, or of further seeds. Empty if the search has to wait for running cells.

        `failed` has the trials that were given up. `at_once` is how many cells train at a time if the sweep file does not set it.
        """
        self._check()
        self._given_up = {*failed, *self._reset_since}
        self._tell_ended()
        while not self._why_no_more and len(self._open) < (self._search.concurrent or at_once):
            self._why_no_more = self._limit_reached()
            if not self._why_no_more and (trials := self._propose()):
                return trials
        if self._why_no_more and not self._open and not self._further_trials and not self._front_decided:
            return self._further_seeds()
        return []

    def on_metrics_at_epoch(self, event: MetricsAtEpoch) -> None:
        """Note the metrics of a trial after an epoch, and stop its cell if the rule says so."""
        cell = self._cell_by_trial.get(event.trial_id)
        if cell is None or self._stopping_rule is None:
            return
        self._stopping_rule.note(cell, event.trial_id, event.epoch, event.values)
        if cell.id in self._stopped or event.trial_id in self._further_trials:
            return  # a cell that is given further seeds has completed
        why = self._stopping_rule.why_stop(cell, event.epoch, self._feasible_means())
        if why:
            self._records.stop(cell.id, event.epoch, why)
            self._stopped = {cell.id: Stopped(event.epoch, why)} | self._records.stopped()  # storage may list the record late
            self._say(f"stopped    {cell.label} at epoch {event.epoch}: {why}")

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """Note that a trial of a stopped cell has stopped. Another driver may have stopped the cell, before this one took over."""
        if (cell := self._cell_by_trial.get(event.trial_id)) is not None:
            self._stopped.setdefault(cell.id, Stopped(event.epoch, ""))
        self._halted.add(event.trial_id)
        self._further_trials.discard(event.trial_id)

    def on_trial_ended(self, event: TrialEnded) -> None:
        """Do not wait for a trial that was reset before its result was read. The next command trains it."""
        if event.trial_id not in self._results:
            self._reset_since.add(event.trial_id)

    def proposed_cells(self) -> list[ProposedCell]:
        """Returns every proposed cell with its outcome, in the order of the proposals."""
        return [ProposedCell(p, self._cells[p.number], self.outcome(p)) for p in self._proposals if p.same_as is None]

    def outcome(self, proposal: Proposal) -> CellOutcome:
        """Returns the outcome of a proposal, by the seeds that all cells have; a repeated cell or an impossible draw has failed."""
        if proposal.same_as is not None:
            return CellOutcome("failed")
        cell = self._cells[proposal.number]
        is_stopped = cell.id in self._stopped and all(t.id in self._halted for t in self._without_result(cell))
        comparable, incomparable_ids = self._comparable(cell)
        outcome = of_cell(cell, self.spec, comparable, is_stopped, {*self._given_up, *incomparable_ids})
        if self._stopping_rule and outcome.kind == "stopped":
            return replace(outcome, epochs=self._stopping_rule.course(cell))
        return outcome

    def _comparable(self, cell: Cell) -> tuple[dict[str, TrialResult], list[str]]:
        """Returns the results of a cell that are comparable with the search's first result, and the ids of the other results' trials."""
        results = {trial.id: self._results[trial.id] for trial in self._trials(cell) if trial.id in self._results}
        return self._comparable_results.split(results)

    def _tell_ended(self) -> None:
        """Tell Optuna the outcomes of cells that have ended since the last call."""
        for number, proposal in list(self._open.items()):
            outcome = self.outcome(proposal)
            if outcome.kind == "open":
                continue
            self._study.tell(proposal, outcome)
            del self._open[number]
            _, incomparable_ids = self._comparable(self._cells[number])
            for trial_id in incomparable_ids:
                self._say(f"ignored: trial {trial_id} was measured on other data, or judged by other classifiers, than the first")
        self._further_trials -= {*self._results, *self._given_up}

    def _limit_reached(self) -> str:
        """Returns why no further cell may be proposed; empty if one may."""
        own = own_cells(self._proposals)
        if own >= self._search.cells:
            return f"{own} cells have been proposed"
        stop = self._search.stop
        ended = self._means_of_ended() if stop.no_gain else ()
        reached = why_stopped(stop, self.spec.objectives, self._trial_hours(), ended)
        return reached or why_exhausted(self._proposals)

    def _trial_hours(self) -> float:
        return math.fsum(result.seconds for result in self._results_of_spec()) / 3600

    def _means_of_ended(self) -> list[Means]:
        """Returns the means of the objectives of each cell that has ended; empty for a cell without feasible means."""
        outcomes = [proposed.outcome for proposed in self.proposed_cells()]
        return [outcome.values if outcome.is_feasible else () for outcome in outcomes if outcome.kind != "open"]

    def _propose(self) -> list[Trial]:
        """Propose a cell; returns its trials that have to be trained. Empty if the cell was known, or has all its results."""
        possible = possible_draw(self._study, self._check_is_next, self.spec.cell_of, self._refuse)
        if possible is None:
            self._why_no_more = "the grid has no more cells"
            return []
        drawn, cell = possible
        same_as = next((p.number for p in self._proposals if p.cell_id == cell.id), None)
        proposal = replace(drawn, cell_id=cell.id, same_as=same_as)
        self._add(proposal, cell)
        self._open[proposal.number] = proposal
        if same_as is None:
            self._update_spec()
        self._tell_ended()
        return self._without_result(cell) if proposal.number in self._open else []

    def _check_is_next(self, drawn: Proposal) -> None:
        """Raises LeaseLost if another driver uses the study: it may have taken over while the sampler drew."""
        self._check()
        if drawn.number != len(self._proposals):
            raise LeaseLost(f"{self.spec.name}: another driver has added a trial to the study")

    def _refuse(self, drawn: Proposal, mistake: Mistake) -> None:
        """Record an impossible draw, and tell Optuna that it has failed: the same draw would otherwise be made again for ever.

        It has no cell, and counts as a repeat of itself. Readers skip it like a repeated cell.
        """
        proposal = replace(drawn, same_as=drawn.number)
        self._records.add(proposal)
        self._proposals.append(proposal)
        self._study.tell(proposal, self.outcome(proposal))
        self._say(f"not possible, left out: {mistake.text}")

    def _add(self, proposal: Proposal, cell: Cell) -> None:
        self._records.add(proposal)
        self._proposals.append(proposal)
        self._cells[proposal.number] = cell

    def _take_from(self, source: str) -> None:
        """Tell Optuna the completed cells of another sweep that this search could have proposed."""
        taken = incomparable = 0
        known_ids = {proposal.cell_id for proposal in self._proposals}
        for trained in trained_cells(source, self.spec, self._space, self._ledger, known_ids):
            if not self._comparable_results.measured_alike(trained.results):
                incomparable += 1
                continue
            drawn, distributions = of_fields(self._space, trained.fields)
            number = self._study.next_number()
            proposal = Proposal(number, trained.cell.id, trained.fields, drawn, distributions, {}, source=source)
            self._add(proposal, trained.cell)
            self._study.add(proposal, of_results(trained.results, self.spec))
            taken += 1
        rest = (
            f"; {incomparable} were measured on other data or judged by other classifiers, and are ignored"
            if incomparable
            else ""
        )
        self._say(f"{taken} cells of {source} were given to Optuna, and are not trained again{rest}")

    def _further_seeds(self) -> list[Trial]:
        """Give one more seed to each cell that may or may not be on the front; returns the new trials.

        Empty if there is no such cell, or all have the most seeds. A cell that completed before its workers saw that it was stopped gets
        none, because they would see it now.
        """
        undecided = [cell_id for cell_id in undecided_cells(self.spec, self._results_of_spec()) if cell_id not in self._stopped]
        self._front_decided = not undecided
        if self._front_decided:
            return []
        known_ids = {trial.id for trial in self.spec.trials}
        seeds_by_cell = self.spec.seeds_by_cell
        for cell_id in undecided:
            self._check()  # to find the undecided cells takes long
            self._seed_counts[cell_id] = len(seeds_by_cell[cell_id]) + 1
            self._records.give_seeds(cell_id, self._seed_counts[cell_id])
        self._update_spec()
        new_trials = [trial for trial in self.spec.trials if trial.id not in known_ids]
        self._further_trials = {trial.id for trial in new_trials}
        self._say(f"one more seed for each of {len(new_trials)} cells that may be on the front or not")
        return new_trials

    def _without_result(self, cell: Cell) -> list[Trial]:
        return [trial for trial in self._trials(cell) if trial.id not in self._results]

    def _trials(self, cell: Cell) -> list[Trial]:
        return [Trial(cell, seed) for seed in seeds(self.spec, self._seed_counts.get(cell.id, 0))]

    def _results_of_spec(self) -> list[TrialResult]:
        return [self._results[t.id] for t in self.spec.trials if t.id in self._results]

    def _feasible_means(self) -> dict[str, tuple[float, ...]]:
        """Returns the means of the objectives of each completed cell that keeps to the constraints, by cell id."""
        return {p.cell.id: p.outcome.values for p in self.proposed_cells() if p.outcome.is_feasible}

    def _note_recorded_epochs(self) -> None:
        """Give the stopping rule the metrics after epochs that the ledger has recorded."""
        if self._stopping_rule is None:
            return
        for cell in self._cells.values():
            for trial_id, epoch, values in self._recorded_epochs(cell):
                self._stopping_rule.note(cell, trial_id, epoch, values)

    def _recorded_epochs(self, cell: Cell) -> Iterator[tuple[str, int, Mapping[str, float]]]:
        """Yields the trial's id, the epoch and the metrics of each epoch of a cell that the ledger has recorded for early stopping."""
        epochs = self._search.early.epochs(cell.config) if self._search.early else ()
        for trial in self._trials(cell):
            for epoch in epochs:
                values = self._ledger.at_epoch(trial, epoch)
                if values is not None:
                    yield trial.id, epoch, values

    def _update_spec(self) -> None:
        """Make the sweep anew with all its cells and seeds, and hand it to the caller."""
        proposed = [(proposal, self._cells[proposal.number]) for proposal in self._proposals if proposal.same_as is None]
        self.spec = with_cells(self.spec, proposed, self._stopped, self._seed_counts)
        self._cell_by_trial = {trial.id: trial.cell for trial in self.spec.trials}
        self._widen(self.spec)
