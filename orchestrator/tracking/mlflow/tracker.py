"""MLflow as a copy of the ledger: the tracker that the driver uses.

A sweep is an experiment. A trial is a run with the tag `trial_id`. A cell is a run with the tag `cell_id`, the parent of its trials'
runs. It has the mean over seeds under the metric's name, and the spread in the artifact `evaluation.csv`. The sweep also has a run, with
the tag `sweep_id`, the report, and the hypervolume (for a search, after each cell). A metric with one value is at step 0.

Everything in a run comes from the ledger, also its times. So apart from its id a run is the same whether it was written while its trial
trained, later, or anew. MLflow stores identical points once, so that writing again does no harm. A run with points that the ledger does
not have is marked as deleted and written anew.

    begin     create_run with all tags
    epochs    log_batch of points, with the parameters the first time
    project   artifacts; log_batch of points and tags; set_terminated

The tag `kind` of a trial or cell that the sweep no longer has begins with `former`. Nothing else of such a run changes.

The status is written last. A run that is FINISHED or FAILED and has the ledger's mark in its tag `projected` is complete. When all runs
are complete, the experiment's tag `projected.<storage id>` says so, and a command that finds nothing new reads no run.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mlflow.entities import Metric as Point
from mlflow.entities import Param

from mopoe_core.metric_names import Epoch
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage.identity import StorageIdentity
from orchestrator.spec.trial import Trial
from orchestrator.tracking.guarded import Guarded
from orchestrator.tracking.ledger_marks import is_stamp
from orchestrator.tracking.mlflow import points, run_files
from orchestrator.tracking.mlflow.client import open_client
from orchestrator.tracking.mlflow.experiment import Experiment
from orchestrator.tracking.mlflow.run_ownership import Owner
from orchestrator.tracking.mlflow.run_status import RUN_STATUS, run_statuses
from orchestrator.tracking.mlflow.run_times import RunTimes
from orchestrator.tracking.mlflow.runs import PARENT, Run, Runs
from orchestrator.tracking.mlflow.summary_runs import SummaryRuns
from orchestrator.tracking.summaries import CellSummary, SweepSummary


class MlflowTracker:
    """The runs of one sweep in one MLflow store; see `orchestrator.tracking.tracker` for the contract of each method.

    `trials` has the trials of each cell by its id; a search adds to it. `check` is called before each request, and raises LeaseLost if
    another driver may have taken over.
    """

    def __init__(
        self,
        sweep: str,
        trials: Mapping[str, Sequence[Trial]],
        ledger: Ledger,
        identity: StorageIdentity,
        uri: str,
        commit: str,
        show_progress: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        self._client = Guarded(open_client(uri), check)
        self._ledger, self._trials, self._commit = ledger, trials, commit
        owner = Owner(identity.id, sweep, trials, ledger)
        self._experiment = Experiment(self._client, uri, ledger.storage, identity, owner, show_progress)
        self._runs = Runs(self._client, self._experiment)
        self._summary_runs = SummaryRuns(self._runs, trials, ledger)
        self._times = RunTimes(ledger)
        self.opened = self._experiment.is_new

    @property
    def complete_digest(self) -> str:
        """The last digest given to `set_complete_digest`, if nothing was written since; else empty."""
        return self._experiment.complete_digest

    def reachable(self) -> bool:
        """Returns whether the store answers."""
        try:
            self._client.get_experiment(self._experiment.id)
        except Exception:  # whatever a store raises
            return False
        return True

    def open(self, anew: bool) -> None:
        """Look up the existing runs; with `anew`, mark them as deleted."""
        if self.complete_digest:
            self.set_complete_digest("")
        if anew:
            self._experiment.delete([run.info.run_id for run in self._experiment.runs()])
        else:
            self._runs.find()
            self._experiment.follow_storage()  # for runs that have just been adopted
            self._experiment.make_bars(self._metrics())
        self.opened = True

    def set_complete_digest(self, digest: str) -> None:
        """Store with the experiment that all its runs are complete."""
        self._experiment.set_complete_digest(digest)

    def begin(self, trial: Trial) -> None:
        """Set the trial's run to RUNNING."""
        run = self._runs.get(trial.id)
        if run is None:
            self._create_trial(trial, self._trial_tags(trial, "running", "", self._commit))
        elif run.status != "RUNNING":
            self._runs.mark_running(run)

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Write points of the learning curve."""
        self.begin(trial)
        run = self._run_of_trial(trial)
        self._runs.log(run, partial(_trial_parameters, trial), points.curve_points(epochs, run.written or set()))
        if run.written is not None:
            run.written |= points.times(epochs)

    def project(self, trial: Trial, mark: str) -> None:
        """Write everything that the ledger has of a trial that is not running, unless its run has it already."""
        run = self._runs.get(trial.id)
        if run is not None and run.is_complete(mark, run_statuses(mark)):
            self._runs.complete_parameters(run, partial(_trial_parameters, trial))
            return
        result = self._ledger.result(trial) if is_stamp(mark) else None
        status = result.status if result else mark.partition(" ")[0]
        history = result.history if result else self._history_of_unfinished(trial)
        final_points = points.final_points(result) if result else []
        tags = self._trial_tags(trial, status, mark, str(result.provenance.get("commit", "")) if result else "")
        if run is not None and self._has_other_points(run, mark, history, final_points):
            self._runs.delete(trial.id)
            run = None
        if run is None:
            run = self._create_trial(trial, tags)
            tags = {} if run.is_new else tags
        if result:
            self._runs.put_artifacts(run, lambda folder: run_files.put(folder, self._ledger, result))
        new_points = points.curve_points(history, run.written or set()) + final_points
        self._runs.log(run, partial(_trial_parameters, trial), new_points, tags)
        self._runs.end(run, RUN_STATUS[status], self._times.ended_ms(result) if result else self._times.stopped_ms(trial, status))
        run.mark, run.kind, run.has_lost_artifacts = mark, "trial", False
        run.written, run.artifacts = None, ""  # no longer needed; saves memory

    def withdraw(self, trial: Trial) -> None:
        """Mark the run of a trial without attempts as deleted: it shows what the trial had before it was reset."""
        if self._runs.get(trial.id) is not None:
            self._runs.delete(trial.id)

    def _run_of_trial(self, trial: Trial) -> Run:
        run = self._runs.get(trial.id)
        assert run is not None  # `begin` has made it
        return run

    def _history_of_unfinished(self, trial: Trial) -> tuple[Epoch, ...]:
        """Returns the epochs of a trial without a result, from its checkpoint."""
        checkpoint = self._ledger.checkpoint(trial)
        if not checkpoint.exists():
            return ()
        from mopoe_core.training.checkpoint import history_in  # imports torch, for seconds, only if a trial has not ended

        return history_in(checkpoint, trial.config, trial.seed, trial.id)

    def _has_other_points(self, run: Run, mark: str, history: Sequence[Epoch], final: Sequence[Point]) -> bool:
        """Returns whether a run has points that the ledger does not have.

        These are points of another result, of epochs that were trained again, or of final metrics at the step of earlier versions.
        """
        if is_stamp(run.mark) and run.mark != mark:
            return True
        if run.written is None and final:
            expected = {(final[0].step, final[0].timestamp)}
            if not self._runs.points_of(run, final[0].key) <= expected:
                return True
        if not is_stamp(mark) or not history:
            return False
        written = run.written
        if written is None:
            written = self._runs.points_of(run, next(iter(history[0].values)))
        return not written <= points.times(history)

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """Write the run of a cell."""
        self._summary_runs.summarise(summary, marks)

    def sweep(self, summary: SweepSummary) -> None:
        """Write the run of the sweep."""
        self._summary_runs.sweep(summary)

    def close(self) -> None:
        """End the runs that are still RUNNING, and mark those of trials and cells that the sweep no longer has."""
        trial_ids = {trial.id for trials in self._trials.values() for trial in trials}
        self._runs.close(int(time.time() * 1000), trial_ids | self._trials.keys())

    def _metrics(self) -> set[str]:
        """Returns the names of the final metrics of all trials. All trials of a cell have the same metrics."""
        return {name for trials in list(self._trials.values()) for trial in trials[:1] for name in trial.config.metrics}

    def _trial_tags(self, trial: Trial, status: str, mark: str, commit: str) -> dict[str, str]:
        commit = commit or self._commit
        return {
            "kind": "trial",
            "trial_id": trial.id,
            "seed": str(trial.seed),
            "status": status,
            "projected": mark,
            "mlflow.runName": trial.label,
            **points.cell_tags(trial.cell),
            "git_commit": commit,
            "mlflow.source.git.commit": commit,
            PARENT: self._summary_runs.run_of_cell(trial.cell).id,
        }

    def _create_trial(self, trial: Trial, tags: Mapping[str, str]) -> Run:
        return self._runs.create("trial", trial.id, tags, self._ledger.started_ms(trial))


def _trial_parameters(trial: Trial) -> list[Param]:
    return points.parameters(trial.cell, {"seed": trial.seed})
