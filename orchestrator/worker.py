"""What runs in a Ray worker: one stack of trials after another, each trial seeded anew, each leaving its result in the ledger.

The worker finds a trial's checkpoint by its id and writes its result, so that neither depends on the driver staying alive. What it
reports to Ray is for watching only.
"""

import gc
import math
import os
import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from mopoe_core import throughput
from mopoe_core.classifiers import Judges, judge, judges
from mopoe_core.config import LEAST_PROBED, LEAST_TESTED, DataKey, TrainingConfig
from mopoe_core.data import loading, own
from mopoe_core.data.types import Dataset
from mopoe_core.evaluation import evaluate
from mopoe_core.names import Epoch, Metric
from mopoe_core.pictures import write_pictures
from mopoe_core.stack import Member, train_stack
from mopoe_core.stacking import NotStackable, check_stackable
from mopoe_core.training import Trained, new_model, train
from orchestrator import provenance, stacks
from orchestrator.ledger import Ledger
from orchestrator.stacks import Measured
from orchestrator.trial import Cell, Trial, TrialResult

LONGEST_START = 60.0
"""Seconds that a worker waits for the others to start."""


@dataclass(frozen=True)
class Job:
    """A stack of trials on its way to a worker: plain values, because Ray carries it."""

    members: list[tuple[dict[str, Any], int]]
    """Each trial's configuration and seed; a trial that is trained alone is a stack of one."""
    storage: str
    data: str
    root: str
    """Folder that a user's own dataset is looked for in."""
    threads: int
    gpu: float
    commit: str
    rehearse: bool
    """Try a few steps of everything first: this stack is the canary of its dataset and model."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials themselves."""
        return tuple(Trial(Cell(TrainingConfig.model_validate(config)), seed) for config, seed in self.members)


Report = Callable[[dict[str, Any]], None]
"""Tells the driver something, through Ray."""


class Worker(tune.Trainable):
    """The Tune trainable: one attempt at the stack that `config["job"]` describes, then the next, in one process.

    A class, because Tune asks a function every 0.2 s whether it has ended: of trials of a fraction of a second, that is most of the time.
    The attempt runs in a thread of its own, and `step` hands on what it reports.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """The first job of this process."""
        gc.freeze()  # what was imported stays for ever: to look through it after every trial takes a quarter of a second
        self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        self._reports: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        target = self._attempt if config["job"] else self._wait_for_all
        what = config["job"] or Path(config["all_up"])
        threading.Thread(target=target, args=(what, self._reports), daemon=True, name="attempt").start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next job."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The attempt's next report; raises what ended it, if that was no success."""
        report = self._reports.get()
        if isinstance(report, BaseException):
            raise report
        return report

    @staticmethod
    def _wait_for_all(all_up: Path, reports: "queue.SimpleQueue[dict[str, Any] | BaseException]") -> None:
        """Until every worker has started, or some cannot."""
        reports.put({"kind": "up"})
        deadline = time.monotonic() + LONGEST_START
        while not all_up.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        reports.put({"kind": "over", "done": True})

    @staticmethod
    def _attempt(job: dict[str, Any], reports: "queue.SimpleQueue[dict[str, Any] | BaseException]") -> None:
        try:
            run(Job(**job), reports.put)
            reports.put({"kind": "over", "done": True})
        except BaseException as error:
            reports.put(error)


def run(job: Job, report: Report) -> None:
    """One attempt at a stack."""
    own.search_from(Path(job.root))  # before the configuration, which asks a user's dataset for its modalities
    ledger = Ledger(Path(job.storage))
    left = [trial for trial in job.trials if ledger.result(trial) is None]
    if not left:
        return  # an earlier attempt recorded them all, and its worker went down before it could say so
    attempts = {trial: ledger.begin(trial) for trial in left}
    with ledger.heartbeat(*left):
        try:
            _attempt(job, attempts, ledger, report)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            for trial, number in attempts.items():
                if ledger.result(trial) is None and not ledger.last_error(trial):
                    ledger.end_attempt(trial, number, "failed", text)
            raise
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def prepare(key: DataKey, modality: str, data: str, root: str, storage: str, data_hash: str) -> float:
    """Build the dataset and train one modality's classifier where that has not been done; returns the classifier's accuracy.

    With one thread, so that the classifier does not depend on how many cores the machine has. `data_hash` is the configuration's:
    raises DataError where a user's own dataset is another one here.
    """
    torch.set_num_threads(1)
    own.search_from(Path(root))
    if data_hash:
        own.check_repeats(key.dataset, data_hash)
    loaded = _dataset(key, data)
    wanted = next(m for m in loaded.modalities if m.name == modality)
    return judge(loaded, wanted, Path(storage) / "classifiers")


def stack_size(config: dict[str, Any], most: int, data: str, root: str, storage: str, threads: int, gpu: float) -> Measured:
    """The best size of a stack of such trials on this machine, up to `most`: from storage, or measured here."""
    own.search_from(Path(root))
    settings, device = TrainingConfig.model_validate(config), _device(threads, gpu)
    machine = _machine(threads, device)
    known = stacks.remembered(Path(storage), settings, machine)
    if known is not None and known.answers(most):
        return known
    found = throughput.measure(settings, most, _dataset(settings.data_key, data), device)
    gain = {str(size): value for size, value in found.gain.items()}
    measured = Measured(found.size, gain, most, found.limit, machine)
    stacks.remember(Path(storage), settings, measured)
    return measured


def unstackable(config: dict[str, Any], data: str, root: str) -> str:
    """The layer of a configuration's networks that does not stack; empty where all do."""
    own.search_from(Path(root))
    settings = TrainingConfig.model_validate(config)
    try:
        model = new_model(settings, 0, _dataset(settings.data_key, data), torch.device("cpu"))
        for network in (*model.encoders.values(), *model.decoders.values()):
            check_stackable(network)
    except NotStackable as error:
        return str(error)
    return ""


def _attempt(job: Job, attempts: dict[Trial, int], ledger: Ledger, report: Report) -> None:
    device = _device(job.threads, job.gpu)
    trials = list(attempts)
    key = trials[0].config.data_key
    dataset = _dataset(key, job.data)
    jury = _judges(key, job.data, job.storage, str(device))
    if job.rehearse:
        _rehearse(trials, dataset, jury, device)
    report({"kind": "begun", "attempts": {trial.id: number for trial, number in attempts.items()}})
    did_not_fit: list[int] = []
    errors: list[Exception] = []

    def tell(epochs: dict[str, Epoch]) -> None:
        report({"kind": "epochs", "epochs": {trial_id: asdict(epoch) for trial_id, epoch in epochs.items()}})

    halved = _Halved(job, trials, device, did_not_fit, report)
    for trial, trained in _train(trials, dataset, device, ledger, tell, halved):
        stack = {"trials": len(trials), "did_not_fit": list(did_not_fit)}
        where = _provenance(job, dataset, jury, device) | {"stack": stack}
        try:
            result = _evaluated(trial, trained, dataset, jury, device, ledger, attempts[trial], where)
        except Exception as error:  # of one trial; the others of its stack go on
            errors.append(error)
            ledger.end_attempt(trial, attempts[trial], "failed", "".join(traceback.format_exception(error)))
            continue
        report({"kind": "ended", "id": trial.id, "status": result.status})
    if errors:
        raise errors[0]


def _evaluated(
    trial: Trial,
    trained: Trained,
    dataset: Dataset,
    jury: Judges,
    device: torch.device,
    ledger: Ledger,
    attempt: int,
    where: dict[str, Any],
) -> TrialResult:
    """Evaluate a trained model and record the trial's result."""
    started = time.perf_counter()
    metrics = () if trained.diverged_at_step else finite_metrics(trained, trial.seed, dataset, jury, device)
    if metrics:
        write_pictures(trained.model, trial.seed, dataset, device, ledger.folder(trial) / "samples")
    result = _result(trial, trained, metrics, time.perf_counter() - started, attempt, where)
    ledger.record(result)
    ledger.end_attempt(trial, attempt, result.status)
    return result


def _train(
    trials: Sequence[Trial],
    dataset: Dataset,
    device: torch.device,
    ledger: Ledger,
    tell: Callable[[dict[str, Epoch]], None] = lambda epochs: None,
    halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[Trial, Trained]]:
    """Train a stack, or one trial alone; yields each trial as it ends."""
    if len(trials) == 1:
        (trial,) = trials
        path = ledger.checkpoint(trial)
        yield trial, train(trial.config, trial.seed, dataset, device, path, lambda epoch: tell({trial.id: epoch}))
        return
    ledger.note_stack(trials)
    members = [Member(trial.config, trial.seed, ledger.checkpoint(trial)) for trial in trials]

    def tell_by_id(epochs: dict[int, Epoch]) -> None:
        tell({trials[place].id: epoch for place, epoch in epochs.items()})

    for place, trained in train_stack(members, dataset, device, tell_by_id, halved):
        yield trials[place], trained


def finite_metrics(trained: Trained, seed: int, dataset: Dataset, jury: Judges, device: torch.device) -> tuple[Metric, ...]:
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
    trial: Trial, trained: Trained, metrics: tuple[Metric, ...], seconds: float, attempts: int, where: dict[str, Any]
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
    )


@dataclass(frozen=True)
class _Halved:
    """What is done where a stack did not fit into memory: it is said, kept for the results, and remembered for later stacks."""

    job: Job
    trials: list[Trial]
    device: torch.device
    sizes: list[int]
    report: Report

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        self.report({"kind": "halved", "size": size})
        storage, settings = Path(self.job.storage), self.trials[0].config
        known = stacks.remembered(storage, settings, _machine(self.job.threads, self.device))
        if known is not None:
            stacks.remember(storage, settings, replace(known, size=min(known.size, (size + 1) // 2), limit="memory"))


def _rehearse(trials: Sequence[Trial], dataset: Dataset, jury: Judges, device: torch.device) -> None:
    """A few steps of training, a checkpoint, a small evaluation of each model: what fails for every seed fails here, within seconds."""
    small = [Trial(Cell(_rehearsal(trial.config, len(dataset.test))), trial.seed) for trial in trials]
    evaluated = set()
    with tempfile.TemporaryDirectory() as folder:
        for trial, trained in _train(small, dataset, device, Ledger(Path(folder))):
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
def _dataset(key: DataKey, data: str) -> Dataset:
    """Kept between the trials of a reused worker."""
    return loading.load(key, Path(data))


@lru_cache(maxsize=2)
def _judges(key: DataKey, data: str, storage: str, device: str) -> Judges:
    return judges(_dataset(key, data), Path(storage) / "classifiers", torch.device(device))


def _provenance(job: Job, dataset: Dataset, jury: Judges, device: torch.device) -> dict[str, Any]:
    accuracy: Mapping[str, float] = jury.accuracy
    return {
        "commit": job.commit,
        "dataset": dataset.name,
        "source": dataset.source,
        "data_hash": dataset.hash,
        "classifiers": {"hash": jury.hash, "accuracy": dict(accuracy)},
        "device": _name(device) if device.type == "cuda" else "cpu",
        "threads": job.threads,
        **provenance.machine(),
    }
