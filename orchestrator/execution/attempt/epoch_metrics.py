"""Metrics of trials that are still in training, for a search that stops cells early."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.training.checkpoint import history_in
from mopoe_core.training.run import Trained
from mopoe_core.training.trained_model import load_on
from orchestrator.execution.attempt.materials import Materials, finite_metrics
from orchestrator.execution.events import Event, MetricsAtEpoch
from orchestrator.execution.queue.job import EarlyStopping
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


class Stopped(Exception):
    """A search has stopped the cell that is being trained."""


@dataclass(frozen=True)
class EpochMetrics:
    """Evaluates trials after the epochs that the search asks for, and stops them if the search has stopped their cell."""

    early_stopping: EarlyStopping
    trials: Mapping[str, Trial]
    """By id."""
    checkpoints: Mapping[str, AnyPath]
    """By trial id."""
    materials: Materials
    ledger: Ledger
    report: Callable[[Event], None]

    def after(self, epochs: Mapping[str, Epoch]) -> None:
        """Evaluate trials whose epochs have ended (by trial id) if the search asks for it. Raises Stopped if it has stopped a cell."""
        for trial_id, epoch in epochs.items():
            trial = self.trials[trial_id]
            if epoch.epoch in self.early_stopping.rule.epochs(trial.config):
                self._measure(trial, epoch.epoch)
        if any(self._is_stopped(self.trials[trial_id]) for trial_id in epochs):
            raise Stopped

    def _is_stopped(self, trial: Trial) -> bool:
        return (self.early_stopping.stopped / f"{trial.cell.id}.json").exists()

    def _measure(self, trial: Trial, epoch: int) -> None:
        """Evaluate the model in the checkpoint. The model in training is left alone, so that its training does not change."""
        values = self.ledger.at_epoch(trial, epoch)
        if values is None:
            history = history_in(self.checkpoints[trial.id], trial.config, trial.seed, trial.id)
            if len(history) != epoch:
                return  # the checkpoint is already past this epoch
            model = load_on(self.checkpoints[trial.id], self.materials.dataset, self.materials.device)
            metrics = finite_metrics(Trained(model, history, None, 0.0), trial.seed, self.materials)
            self.ledger.note_epoch(trial, epoch, metrics)
            values = {metric.name: metric.value for metric in metrics}
        self.report(MetricsAtEpoch(trial.id, epoch, values))
