"""What runs in a Ray worker: one stack of trials after another, each trial seeded anew, each leaving its result in the ledger.

The worker finds a trial's checkpoint by its id and writes its result, so that neither depends on the driver staying alive. What it
reports to Ray is for watching only.
"""

import gc
import math
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import get_runtime_context, tune

from mopoe_core.config.training_config import LEAST_PROBED, LEAST_TESTED, TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.cards import DataKey
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch, Metric
from mopoe_core.metrics.classifier_quality import Quality
from mopoe_core.metrics.classifiers import Classifiers, checked_classifier, quality_if_trained, trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.metrics.pictures import write_pictures
from mopoe_core.networks.stacked_modules import NotStackable
from mopoe_core.storage.files import AnyPath, is_full, scratch
from mopoe_core.training import throughput
from mopoe_core.training.checkpoint import history_in
from mopoe_core.training.run import Trained, new_model
from mopoe_core.training.stack import check_stackable
from mopoe_core.training.stacked_training import Member, train_stack
from mopoe_core.training.trained_model import load_on
from mopoe_core.training.training import train
from orchestrator.execution import provenance, stacks
from orchestrator.execution.job_queue import Job, Place, Watch
from orchestrator.execution.stacks import Measured
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.leases.leases import Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.training_progress import Noting
from orchestrator.spec.trial import Cell, Trial

LONGEST_START = 60.0
"""Seconds that a worker waits for the others to start."""


Report = Callable[[dict[str, Any]], None]
"""Tells the driver something, through Ray."""


class Worker(tune.Trainable):
    """The Tune trainable: one attempt at the stack that `config["job"]` describes, then the next, in one process.

    A class, because Tune asks a function every 0.2 s whether it has ended: of trials of a fraction of a second, that is most of the time.
    The attempt runs in a thread of its own, and `step` hands on what it reports.
    """

    def setup(self, config: dict[str, Any], place: Place) -> None:
        """The first job of this process."""
        gc.freeze()  # what was imported stays for ever: to look through it after every trial takes a quarter of a second
        self._place = place
        self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        with suppress(OSError):  # another machine may lack the folder, which only datasets of the user's own need
            os.chdir(self._place.root)  # Tune has gone to a temporary folder of its own
        self._reports: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        target = self._attempt if config["job"] else self._wait_for_all
        threading.Thread(target=target, args=(config, self._place, self._reports), daemon=True, name="attempt").start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next job."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The attempt's next report; raises what ended it, if that was no success.

        In a list, because Tune keeps statistics of every number that it finds in a dictionary, of every trial to the end.
        """
        report = self._reports.get()
        if isinstance(report, BaseException):
            raise report
        return {"said": [report], "done": report["kind"] == "over"}

    @staticmethod
    def _wait_for_all(config: dict[str, Any], place: Place, reports: "_Reports") -> None:
        """Until every worker has started, or some cannot."""
        reports.put({"kind": "up"})
        all_up, deadline = place.storage / config["all_up"], time.monotonic() + LONGEST_START
        while not all_up.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        reports.put({"kind": "over"})

    @staticmethod
    def _attempt(config: dict[str, Any], place: Place, reports: "_Reports") -> None:
        try:
            reports.put({"kind": "taken", "node": get_runtime_context().get_node_id()})
            run(Job(**config["job"]), place, reports.put)
            reports.put({"kind": "over"})
        except BaseException as error:
            reports.put({"kind": "raised", "error": "".join(traceback.format_exception(error))})
            reports.put(error)  # so that this process ends: what broke in it (a GPU, say) may stay broken


_Reports = queue.SimpleQueue[dict[str, Any] | BaseException]


class Stopped(Exception):
    """A search has stopped the cell that is being trained."""


def run(job: Job, place: Place, report: Report) -> None:
    """One attempt at those trials of a stack that have not ended and that no other sweep is at."""
    user_data.search_from(Path(place.root))  # before the configuration, which asks a user's dataset for its modalities
    ledger = Ledger(place.storage)
    try:
        with Lease(ledger.storage, place.driver) as lease:
            mine = _claimed(job, ledger, lease, report)
            try:
                if mine:
                    _noted_attempt(job, mine, place, ledger, lease, report)
            except OSError as error:  # of a file that whoever took over has removed
                lease.check()
                raise error
    except LeaseLost as error:
        report({"kind": "busy", "ids": [trial.id for trial in job.trials if ledger.result(trial) is None], "holder": str(error)})
    except OSError as error:
        if not is_full(error):
            raise
        report({"kind": "full", "error": f"{ledger.storage}: {error.strerror}"})
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _claimed(job: Job, ledger: Ledger, lease: Lease, report: Report) -> list[Trial]:
    """The trials of a job that are this worker's now; says of the others who is at them, or how they ended."""
    mine, busy, holder = [], [], ""
    for trial in job.trials:
        other = None if ledger.result(trial) else lease.claim(ledger.folder(trial))
        result = ledger.result(trial)  # once more: whoever held it may have ended just now
        if result is not None:
            report({"kind": "ended", "id": trial.id, "status": result.status})
        elif other is not None:
            busy.append(trial.id)
            holder = str(other)
        else:
            mine.append(trial)
    if busy:
        report({"kind": "busy", "ids": busy, "holder": holder})
    return mine


def _noted_attempt(job: Job, trials: Sequence[Trial], place: Place, ledger: Ledger, lease: Lease, report: Report) -> None:
    """An attempt, noted in the ledger with what ended it."""
    worker = lease.holder.token
    begun = {trial: Attempt.of(ledger.folder(trial), ledger.begin(trial, worker), worker) for trial in trials}
    try:
        with Noting(trials, ledger) as noting:
            _attempt(job, place, begun, ledger, lease, report, noting)
    except Stopped:
        for trial, attempt in begun.items():
            if ledger.result(trial) is None:
                epochs = len(history_in(attempt.checkpoint, trial.config, trial.seed, trial.id))
                ledger.end_attempt(trial, attempt.number, "cancelled")
                ledger.cancel(trial, epochs)
                report({"kind": "stopped", "id": trial.id, "epoch": epochs})
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        for trial, attempt in begun.items():
            with suppress(OSError):  # where there is no room for the result, there may be none for this
                if ledger.result(trial) is None and not ledger.last_error(trial):
                    ledger.end_attempt(trial, attempt.number, "failed", text)
        raise


def prepare(key: DataKey, modality: str, place: Place, data_hash: str) -> Quality:
    """Build the dataset and train one modality's classifier where that has not been done; returns the classifier's quality.

    With one thread, so that the classifier does not depend on how many cores the machine has. `data_hash` is the configuration's:
    raises DataError where a user's own dataset is another one here.
    """
    torch.set_num_threads(1)
    loaded = _checked(key, place, data_hash)
    wanted = next(m for m in loaded.modalities if m.name == modality)
    return checked_classifier(loaded, wanted, place.storage / "classifiers")


def prepared(key: DataKey, modalities: Sequence[str], place: Place, data_hash: str) -> dict[str, Quality]:
    """The quality of the classifiers that storage holds, by modality. As `prepare`, for a driver on the machine that trains: another
    process that imports torch would cost seconds.
    """
    torch.set_num_threads(1)
    loaded = _checked(key, place, data_hash)
    found = {
        m.name: quality_if_trained(loaded, m, place.storage / "classifiers") for m in loaded.modalities if m.name in modalities
    }
    return {name: quality for name, quality in found.items() if quality is not None}


def _checked(key: DataKey, place: Place, data_hash: str) -> Dataset:
    user_data.search_from(Path(place.root))
    if data_hash:
        user_data.check_repeats(key.dataset, data_hash)
    return loading.load(key, Path(place.data))


def stack_size(config: dict[str, Any], most: int, place: Place) -> Measured:
    """The best size of a stack of such trials on this machine, up to `most`: from storage, or measured here."""
    user_data.search_from(Path(place.root))
    settings, device = TrainingConfig.model_validate(config), _device(place.threads, place.gpu)
    machine = _machine(place.threads, device)
    known = stacks.remembered(place.storage, settings, machine)
    if known is not None and known.answers(most):
        return known
    found = throughput.measure(settings, most, _dataset(settings.data_key, place.data, place.root), device)
    gain = {str(size): value for size, value in found.gain.items()}
    measured = Measured(found.size, gain, most, found.limit, machine)
    stacks.remember(place.storage, settings, measured)
    return measured


def unstackable(config: dict[str, Any], place: Place) -> str:
    """Why trials of a configuration do not stack; empty where they do."""
    user_data.search_from(Path(place.root))
    settings = TrainingConfig.model_validate(config)
    try:
        model = new_model(settings, 0, _dataset(settings.data_key, place.data, place.root), torch.device("cpu"))
        check_stackable(model, hides=settings.missing > 0)
    except NotStackable as error:
        return str(error)
    return ""


def _attempt(
    job: Job, place: Place, begun: dict[Trial, Attempt], ledger: Ledger, lease: Lease, report: Report, noting: Noting
) -> None:
    device = _device(place.threads, place.gpu)
    trials = list(begun)
    key = trials[0].config.data_key
    dataset = _dataset(key, place.data, place.root)
    jury = _judges(key, place.data, place.root, place.storage, str(device))
    if job.rehearse:
        _rehearse(trials, dataset, jury, device)
    for trial, attempt in begun.items():
        attempts.adopt(trial, attempt, ledger.folder(trial))
    numbers = {trial.id: attempt.number for trial, attempt in begun.items()}
    report({"kind": "begun", "attempts": numbers, "worker": lease.holder.token})
    did_not_fit: list[int] = []

    checkpoints = {trial.id: attempt.checkpoint for trial, attempt in begun.items()}
    judged_at = _JudgedAt(place.watch, {trial.id: trial for trial in trials}, checkpoints, dataset, jury, device, ledger, report)

    def tell(epochs: dict[str, Epoch]) -> None:
        report({"kind": "epochs", "epochs": {trial_id: asdict(epoch) for trial_id, epoch in epochs.items()}})
        noting(epochs)
        judged_at(epochs)
        lease.check()

    halved = _Halved(place, trials, device, did_not_fit, report)
    if len(trials) > 1:
        ledger.note_stack(trials)
    for trial, trained in _train(trials, checkpoints, dataset, device, tell, halved):
        stack = {"trials": len(trials), "did_not_fit": list(did_not_fit)}
        where = _provenance(place, dataset, jury, device) | {"stack": stack}
        where["parameters"] = sum(parameter.numel() for parameter in trained.model.parameters())
        try:
            result = _evaluated(trial, trained, dataset, jury, device, ledger, lease, begun[trial], where)
        except LeaseLost:
            raise
        except Exception as error:  # of one trial; the others of its stack go on
            if is_full(error):
                raise
            text = "".join(traceback.format_exception(error))
            ledger.end_attempt(trial, begun[trial].number, "failed", text)
            report({"kind": "fell", "id": trial.id, "error": text})
            continue
        report({"kind": "ended", "id": trial.id, "status": result.status})


def _evaluated(
    trial: Trial,
    trained: Trained,
    dataset: Dataset,
    jury: Classifiers,
    device: torch.device,
    ledger: Ledger,
    lease: Lease,
    attempt: Attempt,
    where: dict[str, Any],
) -> TrialResult:
    """Evaluate a trained model and record the trial's result. Returns that of another attempt, if that was faster."""
    started = time.perf_counter()
    metrics = () if trained.diverged_at_step else finite_metrics(trained, trial.seed, dataset, jury, device)
    samples: dict[str, str] = {}
    if metrics:
        samples = write_pictures(trained.model, trial.seed, dataset, device, attempt.folder)
    result = _result(trial, trained, metrics, time.perf_counter() - started, attempt.number, where, samples)
    lease.check()
    is_first = ledger.record(result, attempt)
    ledger.end_attempt(trial, attempt.number, result.status if is_first else "overtaken")
    return result if is_first else ledger.result(trial) or result


def _train(
    trials: Sequence[Trial],
    checkpoints: Mapping[str, AnyPath],
    dataset: Dataset,
    device: torch.device,
    tell: Callable[[dict[str, Epoch]], None] = lambda epochs: None,
    halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[Trial, Trained]]:
    """Train a stack, or one trial alone; yields each trial as it ends. `checkpoints` is where each has its own, by trial id."""
    if len(trials) == 1:
        (trial,) = trials
        path = checkpoints[trial.id]
        yield trial, train(trial.config, trial.seed, dataset, device, path, lambda epoch: tell({trial.id: epoch}), trial.id)
        return
    members = [Member(trial.config, trial.seed, checkpoints[trial.id], trial.id) for trial in trials]

    def tell_by_id(epochs: dict[int, Epoch]) -> None:
        tell({trials[place].id: epoch for place, epoch in epochs.items()})

    for place, trained in train_stack(members, dataset, device, tell_by_id, halved):
        yield trials[place], trained


def finite_metrics(trained: Trained, seed: int, dataset: Dataset, jury: Classifiers, device: torch.device) -> tuple[Metric, ...]:
    """The long table; empty if a number in it is not finite.

    Weights can be finite and so large that what they compute is not. Such a model has diverged as surely as one whose loss says so, and
    a NaN would be beaten by nothing on a front.
    """
    try:
        metrics = evaluate(trained.model, seed, dataset, jury, device)
    except FloatingPointError:
        return ()
    return metrics if all(math.isfinite(metric.value) for metric in metrics) else ()


def _result(
    trial: Trial,
    trained: Trained,
    metrics: tuple[Metric, ...],
    seconds: float,
    attempts: int,
    where: dict[str, Any],
    samples: Mapping[str, str],
) -> TrialResult:
    last_step = trial.config.epochs * trial.config.steps_per_epoch
    return TrialResult(
        trial=trial,
        status="completed" if metrics else "diverged",
        metrics=metrics,
        history=trained.history,
        diverged_at_step=None if metrics else trained.diverged_at_step or last_step,
        train_seconds=trained.seconds,
        evaluate_seconds=seconds,
        attempts=attempts,
        provenance=where,
        checkpoint=trained.checkpoint,
        samples=samples,
    )


@dataclass(frozen=True)
class _Halved:
    """What is done where a stack did not fit into memory: it is said, kept for the results, and remembered for later stacks."""

    place: Place
    trials: list[Trial]
    device: torch.device
    sizes: list[int]
    report: Report

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        self.report({"kind": "halved", "size": size})
        storage, settings = self.place.storage, self.trials[0].config
        known = stacks.remembered(storage, settings, _machine(self.place.threads, self.device))
        if known is not None:
            stacks.remember(storage, settings, replace(known, size=min(known.size, (size + 1) // 2), limit="memory"))


@dataclass(frozen=True)
class _JudgedAt:
    """What a search wants to know while trials train, so that it can stop a cell: their metrics after some epochs."""

    watch: Watch | None
    trials: Mapping[str, Trial]
    checkpoints: Mapping[str, AnyPath]
    """By trial id, as are `trials`."""
    dataset: Dataset
    jury: Classifiers
    device: torch.device
    ledger: Ledger
    report: Report

    def __call__(self, epochs: Mapping[str, Epoch]) -> None:
        """Raises Stopped where the search has stopped a cell."""
        if self.watch is None:
            return
        for trial_id, epoch in epochs.items():
            trial = self.trials[trial_id]
            if epoch.epoch in self.watch.early.epochs(trial.config):
                self._measure(trial, epoch.epoch)
        if any((self.watch.stopped / f"{self.trials[trial_id].cell.id}.json").exists() for trial_id in epochs):
            raise Stopped

    def _measure(self, trial: Trial, epoch: int) -> None:
        """Of the model that the checkpoint holds, and not of the one in training, which must not notice."""
        values = self.ledger.at_epoch(trial, epoch)
        if values is None:
            history = history_in(self.checkpoints[trial.id], trial.config, trial.seed, trial.id)
            if len(history) != epoch:
                return  # trained beyond it before anybody asked
            model = load_on(self.checkpoints[trial.id], self.dataset, self.device)
            metrics = finite_metrics(Trained(model, history, None, 0.0), trial.seed, self.dataset, self.jury, self.device)
            self.ledger.note_epoch(trial, epoch, metrics)
            values = {metric.name: metric.value for metric in metrics}
        self.report({"kind": "judged", "id": trial.id, "epoch": epoch, "values": values})


def _rehearse(trials: Sequence[Trial], dataset: Dataset, jury: Classifiers, device: torch.device) -> None:
    """A few steps of training, a checkpoint, a small evaluation of each model: what fails for every seed fails here, within seconds."""
    small = [Trial(Cell(_rehearsal(trial.config, len(dataset.test))), trial.seed) for trial in trials]
    evaluated = set()
    with scratch("rehearsal") as folder:
        checkpoints: dict[str, AnyPath] = {trial.id: Path(folder) / f"{trial.id}.pt" for trial in small}
        for trial, trained in _train(small, checkpoints, dataset, device):
            # Divergence is a result, and the trial's own.
            if trained.diverged_at_step is None and trial.config.model not in evaluated:
                finite_metrics(trained, trial.seed, dataset, jury, device)
                write_pictures(trained.model, trial.seed, dataset, device, Path(folder))
                evaluated.add(trial.config.model)


def _rehearsal(config: TrainingConfig, test_examples: int) -> TrainingConfig:
    few = min(max(LEAST_PROBED, config.batch_size), config.examples_per_epoch)
    small = {"scale": None, "epochs": 1, "train_examples": few, "test_examples": min(LEAST_TESTED, test_examples)}
    return TrainingConfig.model_validate(config.model_dump() | small)


def _device(threads: int, gpu: float) -> torch.device:
    """The device to use, with everything that could differ between two runs of one trial made the same."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")


def _machine(threads: int, device: torch.device) -> str:
    """What the best size of a stack depends on, beside the stack's shape."""
    return f"{_name(device)}, {threads} threads, torch {torch.__version__}"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.processor()


@lru_cache(maxsize=2)
def _dataset(key: DataKey, data: str, root: str) -> Dataset:
    """Kept between the trials of a reused worker. `root` is where a user's own dataset is looked for."""
    return loading.load(key, Path(data))


@lru_cache(maxsize=2)
def _judges(key: DataKey, data: str, root: str, storage: AnyPath, device: str) -> Classifiers:
    return trained_classifiers(_dataset(key, data, root), storage / "classifiers", torch.device(device))


def _provenance(place: Place, dataset: Dataset, jury: Classifiers, device: torch.device) -> dict[str, Any]:
    return {
        "commit": place.commit,
        "dataset": dataset.name,
        "source": dataset.source,
        "data_hash": dataset.hash,
        "classifiers": {"hash": jury.hash, **jury.measured()},
        "device": _name(device) if device.type == "cuda" else "cpu",
        "threads": place.threads,
        **provenance.machine(),
    }
