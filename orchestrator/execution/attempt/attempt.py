"""One attempt at a job: each trial of the stack is seeded anew, and its result is written to the ledger.

An attempt finds a trial's checkpoint by the trial's id and writes the result itself, so that both survive the death of the driver. Its
reports serve the queue and the display only.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from mopoe_core.data.own import user_data
from mopoe_core.metric_names import Epoch, Metric
from mopoe_core.metrics.pictures import write_pictures
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.retries import is_full
from mopoe_core.training.checkpoint import history_in
from mopoe_core.training.run import Trained
from orchestrator.execution import stack_sizes
from orchestrator.execution.attempt import device as devices
from orchestrator.execution.attempt.epoch_metrics import EpochMetrics, Stopped
from orchestrator.execution.attempt.materials import Materials, finite_metrics
from orchestrator.execution.attempt.rehearsal import rehearse
from orchestrator.execution.attempt.train_stack import train_stack
from orchestrator.execution.events import (
    EpochsEnded,
    Event,
    StackHalved,
    StorageFull,
    TrialEnded,
    TrialRaised,
    TrialsBegun,
    TrialsBusyElsewhere,
    TrialStopped,
)
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.execution.queue.retries import fails_again
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.leases.lease import Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.training_progress import ProgressWriter
from orchestrator.spec.trial import Trial

Report = Callable[[Event], None]
"""Reports an event to the driver."""


class Abandoned(BaseException):
    """Ends an attempt as the death of its process would: the attempt is not noted as failed. `error` is the reason."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def run(job: Job, context: WorkerContext, report: Report) -> None:
    """Train the trials of a stack that have not ended and that no other sweep trains. Raises the error that ended the attempt, if any."""
    user_data.search_from(Path(context.root))  # before the configuration, which asks a user's dataset for its modalities
    ledger = Ledger(context.storage)
    try:
        with Lease(ledger.storage, context.driver) as lease:
            claimed = _claim(job, ledger, lease, report)
            try:
                if claimed:
                    StackAttempt.begin(claimed, context, ledger, lease, report).run(job.rehearse)
            except OSError as error:
                lease.check()  # raises LeaseLost if another worker has taken over: that one may have removed the file
                raise error
    except LeaseLost as error:
        results = {trial.id: ledger.result(trial) for trial in job.trials}
        for trial_id, result in results.items():
            if result is not None:
                report(TrialEnded(trial_id, result.status))
        report(TrialsBusyElsewhere([trial_id for trial_id, result in results.items() if result is None], str(error)))
    except OSError as error:
        if not is_full(error):
            raise
        report(StorageFull(f"{ledger.storage}: {error.strerror}"))
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _claim(job: Job, ledger: Ledger, lease: Lease, report: Report) -> list[Trial]:
    """Claim the trials of a job that are free; returns them. Reports how the other trials ended, or who trains them."""
    claimed: list[Trial] = []
    busy_ids: list[str] = []
    busy_holder = ""
    for trial in job.trials:
        holder = None if ledger.result(trial) else lease.claim(ledger.folder(trial))
        result = ledger.result(trial)  # read again: another worker may have finished it just now
        if result is not None:
            ledger.publish(trial)  # its worker may have died before it moved the files
            report(TrialEnded(trial.id, result.status))
        elif holder is not None:
            busy_ids.append(trial.id)
            busy_holder = str(holder)
        else:
            claimed.append(trial)
    if busy_ids:
        report(TrialsBusyElsewhere(busy_ids, busy_holder))
    return claimed


@dataclass(frozen=True)
class StackAttempt:
    """An attempt at trials that this worker has claimed."""

    attempts: Mapping[Trial, Attempt]
    context: WorkerContext
    ledger: Ledger
    lease: Lease
    report: Report
    did_not_fit: list[int] = field(default_factory=list)
    """Sizes of stacks that did not fit into memory."""

    @classmethod
    def begin(
        cls, trials: Sequence[Trial], context: WorkerContext, ledger: Ledger, lease: Lease, report: Report
    ) -> "StackAttempt":
        """Note in the ledger that an attempt at each trial begins; returns the attempt at the stack."""
        worker = lease.holder.token
        begun = {trial: Attempt.of(ledger.folder(trial), ledger.begin(trial, worker), worker) for trial in trials}
        return cls(begun, context, ledger, lease, report)

    @property
    def trials(self) -> list[Trial]:
        """The trials of the stack."""
        return list(self.attempts)

    @property
    def checkpoints(self) -> dict[str, AnyPath]:
        """The path of each trial's checkpoint, by trial id."""
        return {trial.id: attempt.checkpoint for trial, attempt in self.attempts.items()}

    @cached_property
    def materials(self) -> Materials:
        """The dataset, classifiers and device of the trials."""
        return Materials.of(self.trials[0].config.data_key, self.context)

    def run(self, with_rehearsal: bool) -> None:
        """Train, evaluate and record the trials. An error is noted in the ledger and raised."""
        try:
            self._train(with_rehearsal)
        except Stopped:
            self._cancel()
        except (Abandoned, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._note_failure(error)
            raise

    def _cancel(self) -> None:
        for trial, attempt in self.attempts.items():
            if (result := self.ledger.result(trial)) is not None:
                self.report(TrialEnded(trial.id, result.status))
            else:
                epochs = len(history_in(attempt.checkpoint, trial.config, trial.seed, trial.id))
                self._end(trial, "cancelled")
                self.ledger.cancel(trial, epochs)
                self.report(TrialStopped(trial.id, epochs))

    def _note_failure(self, error: BaseException) -> None:
        for trial in self.trials:
            with suppress(OSError):  # storage that has no room for the result may have none for this note
                if self.ledger.result(trial) is None and not self.ledger.last_failure(trial):
                    self._end(trial, "failed", Failure.of(error, trial.config.dataset))

    def _train(self, with_rehearsal: bool) -> None:
        with ProgressWriter(self.trials, self.ledger) as progress_writer:
            if with_rehearsal:
                rehearse(self.trials, self.materials)
            self._start_training()
            dataset, device, after_epoch = self.materials.dataset, self.materials.device, self._after_epoch(progress_writer)
            for trial, trained in train_stack(self.trials, self.checkpoints, dataset, device, after_epoch, self._halve):
                self._finish(trial, trained)

    def _start_training(self) -> None:
        """Take over the files of earlier attempts, and report that training begins."""
        for trial, attempt in self.attempts.items():
            attempts.adopt(trial, attempt, self.ledger.folder(trial))
        numbers = {trial.id: attempt.number for trial, attempt in self.attempts.items()}
        self.report(TrialsBegun(numbers, self.lease.holder.token))
        if len(self.trials) > 1:
            self.ledger.note_stack(self.trials)

    def _after_epoch(self, progress_writer: ProgressWriter) -> Callable[[dict[str, Epoch]], None]:
        """Returns a function that takes the epochs that have just ended, by trial id; it is called after each epoch of the stack."""
        early = self.context.early_stopping
        by_id = {trial.id: trial for trial in self.trials}
        metrics = EpochMetrics(early, by_id, self.checkpoints, self.materials, self.ledger, self.report) if early else None

        def after(epochs: dict[str, Epoch]) -> None:
            self.report(EpochsEnded(epochs))
            progress_writer(epochs)
            if metrics:
                metrics.after(epochs)
            self.lease.check()

        return after

    def _halve(self, size: int) -> None:
        """Report that a stack of `size` did not fit into memory, keep the size for the results, and store it for later stacks."""
        self.did_not_fit.append(size)
        self.report(StackHalved(size))
        storage, config = self.ledger.storage, self.trials[0].config
        measured = stack_sizes.read(storage, config, devices.machine(self.context.threads, self.materials.device))
        if measured is not None:
            half = (size + 1) // 2
            stack_sizes.write(storage, config, replace(measured, size=min(measured.size, half), limit="memory"))

    def _finish(self, trial: Trial, trained: Trained) -> None:
        """Evaluate a trial and record its result. An error fails this trial alone; the others of its stack go on."""
        try:
            result = self._record(trial, trained)
        except LeaseLost:
            raise
        except Exception as error:
            if is_full(error):
                raise
            if isinstance(error, OSError):
                self.lease.check()  # raises LeaseLost if another process has taken over: that one may have moved the files
            failure = Failure.of(error, trial.config.dataset)
            self._end(trial, "failed", failure)
            self.report(TrialRaised(trial.id, failure.text, fails_again(error)))
        else:
            self.report(TrialEnded(trial.id, result.status))

    def _record(self, trial: Trial, trained: Trained) -> TrialResult:
        """Evaluate a trained model and record the trial's result. Returns the recorded result: another attempt's, if that was faster."""
        attempt = self.attempts[trial]
        started = time.perf_counter()
        metrics = () if trained.diverged_at_step else finite_metrics(trained, trial.seed, self.materials)
        pictures: dict[str, str] = {}
        if metrics:
            pictures = write_pictures(trained.model, trial.seed, self.materials.dataset, self.materials.device, attempt.folder)
        result = self._result(trial, trained, metrics, time.perf_counter() - started, pictures)
        self.lease.confirm()
        is_first = self.ledger.record(result, attempt)
        self._end(trial, result.status if is_first else "overtaken")
        return result if is_first else self.ledger.result(trial) or result

    def _end(self, trial: Trial, status: str, failure: Failure | str = "") -> None:
        """Record how this worker's attempt at a trial ended."""
        self.ledger.end_attempt(trial, self.attempts[trial].number, status, failure, self.lease.holder.token)

    def _result(
        self, trial: Trial, trained: Trained, metrics: tuple[Metric, ...], seconds: float, pictures: Mapping[str, str]
    ) -> TrialResult:
        last_step = trial.config.epochs * trial.config.steps_per_epoch
        provenance = self.materials.provenance(self.context) | {
            "stack": {"trials": len(self.trials), "did_not_fit": list(self.did_not_fit)},
            "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        }
        return TrialResult(
            trial=trial,
            status="completed" if metrics else "diverged",
            metrics=metrics,
            history=trained.history,
            diverged_at_step=None if metrics else trained.diverged_at_step or last_step,
            train_seconds=trained.seconds,
            evaluate_seconds=seconds,
            attempts=self.attempts[trial].number,
            provenance=provenance,
            checkpoint=trained.checkpoint,
            samples=pictures,
        )
