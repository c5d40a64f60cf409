"""What runs in a Ray worker: one trial after another, each seeded anew, each leaving its result in the ledger.

The worker finds its own checkpoint by trial id and writes its own result, so that neither depends on the driver staying alive. What it
reports to Ray is for watching only.
"""

import gc
import math
import os
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from mopoe_core.classifiers import Judges, judge, judges
from mopoe_core.config import LEAST_PROBED, LEAST_TESTED, DataKey, TrainingConfig
from mopoe_core.data import loading, own
from mopoe_core.data.types import Dataset
from mopoe_core.evaluation import evaluate
from mopoe_core.names import Epoch, Metric
from mopoe_core.pictures import write_pictures
from mopoe_core.training import Trained, train
from orchestrator import provenance
from orchestrator.ledger import Ledger
from orchestrator.trial import Cell, Trial, TrialResult


@dataclass(frozen=True)
class Job:
    """A trial on its way to a worker: plain values, because Ray carries it."""

    config: dict[str, Any]
    seed: int
    storage: str
    data: str
    root: str
    """Folder that a user's own dataset is looked for in."""
    threads: int
    gpu: float
    commit: str
    rehearse: bool
    """Try a few steps of everything first: this trial is the canary of its dataset and model."""

    @property
    def trial(self) -> Trial:
        """The trial itself."""
        return Trial(Cell(TrainingConfig.model_validate(self.config)), self.seed)


def run(config: dict[str, Any]) -> None:
    """The Tune trainable: one attempt at the trial that `config["job"]` describes."""
    job = Job(**config["job"])
    own.search_from(Path(job.root))  # before the configuration, which asks a user's dataset for its modalities
    ledger, trial = Ledger(Path(job.storage)), job.trial
    number = ledger.begin(trial)
    with ledger.heartbeat(trial):
        try:
            _attempt(job, trial, ledger, number)
        except BaseException as error:
            ledger.end_attempt(trial, number, "failed", "".join(traceback.format_exception(error)))
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


def _attempt(job: Job, trial: Trial, ledger: Ledger, number: int) -> None:
    device = _device(job)
    dataset = _dataset(trial.config.data_key, job.data)
    jury = _judges(trial.config.data_key, job.data, job.storage, str(device))
    if job.rehearse:
        _rehearse(trial, dataset, jury, device)
    tune.report({"kind": "begun", "attempt": number})
    trained = train(trial.config, trial.seed, dataset, device, ledger.checkpoint(trial), _tell)
    started = time.perf_counter()
    metrics = () if trained.diverged_at_step else finite_metrics(trained, trial.seed, dataset, jury, device)
    if metrics:
        write_pictures(trained.model, trial.seed, dataset, device, ledger.folder(trial) / "samples")
    where = _provenance(job, dataset, jury, device)
    result = _result(trial, trained, metrics, time.perf_counter() - started, number, where)
    ledger.record(result)
    ledger.end_attempt(trial, number, result.status)
    tune.report({"kind": "ended", "status": result.status})


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


def _tell(epoch: Epoch) -> None:
    tune.report({"kind": "epoch", **asdict(epoch)})


def _rehearse(trial: Trial, dataset: Dataset, jury: Judges, device: torch.device) -> None:
    """A few steps of training, a checkpoint, a small evaluation: what fails for every seed fails here, within seconds."""
    config = trial.config
    few = min(max(LEAST_PROBED, config.batch_size), config.examples_per_epoch)
    small = {"scale": None, "epochs": 1, "train_examples": few, "test_examples": min(LEAST_TESTED, len(dataset.test))}
    rehearsal = TrainingConfig.model_validate(config.model_dump() | small)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(rehearsal, trial.seed, dataset, device, Path(folder) / "checkpoint.pt")
        if trained.diverged_at_step is None:  # divergence is a result, and the trial's own
            finite_metrics(trained, trial.seed, dataset, jury, device)
            write_pictures(trained.model, trial.seed, dataset, device, Path(folder))


def _device(job: Job) -> torch.device:
    """The job's device, with everything that could differ between two runs of one trial made the same."""
    torch.set_num_threads(job.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda" if job.gpu and torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=2)
def _dataset(key: DataKey, data: str) -> Dataset:
    """Kept between the trials of a reused worker."""
    return loading.load(key, Path(data))


@lru_cache(maxsize=2)
def _judges(key: DataKey, data: str, storage: str, device: str) -> Judges:
    return judges(_dataset(key, data), Path(storage) / "classifiers", torch.device(device))


def _provenance(job: Job, dataset: Dataset, jury: Judges, device: torch.device) -> dict[str, Any]:
    accuracy: Mapping[str, float] = jury.accuracy
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "commit": job.commit,
        "dataset": dataset.name,
        "source": dataset.source,
        "data_hash": dataset.hash,
        "classifiers": {"hash": jury.hash, "accuracy": dict(accuracy)},
        "device": name,
        "threads": job.threads,
        **provenance.machine(),
    }
