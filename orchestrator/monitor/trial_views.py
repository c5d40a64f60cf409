"""The shown state of all trials of a sweep, and their results so far. Prints nothing."""

from collections.abc import Sequence

from orchestrator.ledger.result import TrialResult
from orchestrator.monitor.eta import TrialView
from orchestrator.monitor.live_state import LiveTrial
from orchestrator.spec.trial import Trial, labels


class TrialViews:
    """The shown state of each trial by its id."""

    def __init__(self) -> None:
        self.results: dict[str, TrialResult] = {}
        """The results so far, by trial id."""
        self._views: dict[str, TrialView] = {}
        self._kinds: dict[str, str] = {}
        """The kind of each cell's trials, by cell id."""

    def __getitem__(self, trial_id: str) -> TrialView:
        """Returns the shown state of a trial. Raises KeyError if it was not added."""
        return self._views[trial_id]

    def as_list(self) -> list[TrialView]:
        """Returns the shown state of each trial, in the order in which they were added."""
        return list(self._views.values())

    def add(self, trials: Sequence[Trial]) -> None:
        """Add the trials that are new, as pending. All names are made again, because a name distinguishes a cell from all others."""
        new_trials = [trial for trial in trials if trial.id not in self._views]
        if not new_trials:
            return
        for trial in new_trials:
            kind = self._kinds.setdefault(trial.cell.id, f"{trial.config.model} {trial.config.shape}")
            self._views[trial.id] = TrialView(trial, "", kind, "pending")
        cells = {trial_view.trial.cell.id: trial_view.trial.cell for trial_view in self._views.values()}
        names = labels(list(cells.values()))
        for trial_view in self._views.values():
            trial_view.name = f"{names[trial_view.trial.cell.id]} seed={trial_view.trial.seed}"

    def take(self, trial_id: str, live: LiveTrial) -> None:
        """Take over the state of a trial that was read from storage."""
        trial_view = self._views[trial_id]
        trial_view.status, trial_view.reason = live.state.status, live.reason
        trial_view.stopped = live.state.stopped_at_epoch is not None
        trial_view.worker = live.holder.token if live.holder else ""
        if live.progress:
            trial_view.epoch, trial_view.epoch_seconds = live.progress.epoch, live.progress.seconds
            trial_view.loss = live.progress.loss
        if live.result:
            self.keep(live.result)

    def keep(self, result: TrialResult) -> None:
        """Keep a result for the front, and its times for the remaining time."""
        trial_view = self._views[result.trial.id]
        epochs = result.trial.config.epochs
        self.results[result.trial.id] = result
        if result.status == "completed":
            trial_view.epoch, trial_view.epoch_seconds = epochs, result.train_seconds / epochs
            trial_view.evaluate_seconds = result.evaluate_seconds

    def set_status(self, trial_id: str, status: str, reason: str) -> TrialView:
        """Set the status of a trial; returns its shown state."""
        trial_view = self._views[trial_id]
        trial_view.status, trial_view.reason = status, reason
        return trial_view
