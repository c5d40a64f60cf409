"""Makes jobs of the cells that a search proposes while a sweep runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from orchestrator.execution import stacks
from orchestrator.execution.queue.job import EarlyStopping, Job, jobs
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


class Proposer(Protocol):
    """Proposes the cells of a search."""

    def next(self, failed: Mapping[str, str], at_once: int) -> Sequence[Trial]:
        """Returns trials to train now, of one cell or several; none if running trials have to end first.

        `failed` has the error of each trial that was given up, by id; `at_once` is how many cells keep all workers busy.
        """

    @property
    def is_over(self) -> bool:
        """Whether there will be no more trials."""

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """What workers need to know to stop cells early; None if the search stops none."""


class SearchJobs:
    """Makes jobs of the cells that a search proposes. The seeds of a cell are one stack if they fit into one.

    `size` is the largest stack, `slots` how many workers there are. Each proposed trial is added to `by_id`.
    """

    def __init__(self, search: Proposer, ledger: Ledger, size: int, slots: int, by_id: dict[str, Trial]) -> None:
        self._search, self._ledger, self._size, self._slots, self._by_id = search, ledger, size, slots, by_id
        self._jobs_a_cell = 1

    @property
    def is_over(self) -> bool:
        """Whether there will be no more jobs."""
        return self._search.is_over

    def first(self, trials: Sequence[Trial]) -> list[Job]:
        """Returns the first jobs of a sweep. Only the first one rehearses: if a later cell fails, the others may still succeed."""
        return [replace(job, rehearse=place == 0) for place, job in enumerate(self._jobs_of(trials))]

    def more(self, failed: Mapping[str, str]) -> list[Job]:
        """Returns the jobs of the next cells."""
        at_once = max(1, -(-self._slots // self._jobs_a_cell))  # rounded up
        return [replace(job, rehearse=False) for job in self._jobs_of(self._search.next(failed, at_once))]

    def _jobs_of(self, trials: Sequence[Trial]) -> list[Job]:
        self._by_id |= {trial.id: trial for trial in trials}
        all_jobs: list[Job] = []
        for cell in dict.fromkeys(trial.cell for trial in trials):
            members = [trial for trial in trials if trial.cell == cell]
            all_jobs += jobs(stacks.form(members, members, {cell.config.shape: self._size}, 1, self._ledger), {})
            self._jobs_a_cell = max(self._jobs_a_cell, -(-len(members) // self._size))
        return all_jobs
