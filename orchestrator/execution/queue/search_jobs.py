"""Jobs out of what a search proposes while a sweep runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from orchestrator.execution import stacks
from orchestrator.execution.queue.job import EarlyStopping, Job, jobs
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


class Proposer(Protocol):
    """What finds the cells of a search."""

    def next(self, failed: Mapping[str, str], at_once: int) -> Sequence[Trial]:
        """Returns trials to be trained now, of one cell or several; none where those that train have to be waited for.

        `failed` has the trials that were given up, and why; `at_once` is how many cells keep all workers busy.
        """

    @property
    def over(self) -> bool:
        """Whether there will be no more."""

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """What the workers have to do for it."""


class SearchJobs:
    """Makes jobs of what a search proposes: the seeds of a cell are one stack, as far as they stack.

    `size` is the largest stack, `slots` how many workers there are. `by_id` is given each trial that is proposed.
    """

    def __init__(self, search: Proposer, ledger: Ledger, size: int, slots: int, by_id: dict[str, Trial]) -> None:
        self._search, self._ledger, self._size, self._slots, self._by_id = search, ledger, size, slots, by_id
        self._jobs_a_cell = 1

    @property
    def over(self) -> bool:
        """Whether there will be no more."""
        return self._search.over

    def first(self, trials: Sequence[Trial]) -> list[Job]:
        """Returns the jobs to begin with. The first rehearses for all: a later cell that fails says nothing of the others."""
        return [replace(job, rehearse=place == 0) for place, job in enumerate(self._jobs_of(trials))]

    def more(self, failed: Mapping[str, str]) -> list[Job]:
        """Returns the jobs of the next cells."""
        at_once = max(1, -(-self._slots // self._jobs_a_cell))
        return [replace(job, rehearse=False) for job in self._jobs_of(self._search.next(failed, at_once))]

    def _jobs_of(self, trials: Sequence[Trial]) -> list[Job]:
        self._by_id |= {trial.id: trial for trial in trials}
        formed: list[Job] = []
        for cell in dict.fromkeys(trial.cell for trial in trials):
            members = [trial for trial in trials if trial.cell == cell]
            formed += jobs(stacks.form(members, members, {cell.config.shape: self._size}, 1, self._ledger), {})
            self._jobs_a_cell = max(self._jobs_a_cell, -(-len(members) // self._size))
        return formed
