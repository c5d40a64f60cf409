"""Running a plan on Ray Tune. With `worker`, the only importer of Ray.

Ray is a queue here, not a memory: each call makes a fresh Tuner over the jobs it is given, without Tune checkpoints, loggers or
restore. Workers are reused between trials, because a new process that imports torch costs seconds.

Order: the canaries first, one stack of each dataset and model. The others are held back until every canary has rehearsed a few steps
of training, checkpoint and evaluation; if one fails, nothing else starts.
"""

import logging
import os
import tempfile
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints its tables whatever the verbosity
# Workers inherit these. By default glibc gives every tensor above 128 kB back to the system and faults its pages in again; a step of 256
# examples of MNIST-SVHN-Text with small networks took a third longer so.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from mopoe_core.config import DataKey
from mopoe_core.errors import UserError
from orchestrator import stacks, worker
from orchestrator.events import Event, Outcome
from orchestrator.ledger import Ledger
from orchestrator.spec import Resources
from orchestrator.trial import Trial


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """Seed by seed, so that the whole picture is there early, and is made surer by every further seed."""
    return sorted(trials, key=lambda trial: trial.seed)


def jobs(stacks_: Sequence[tuple[Trial, ...]], storage: str, resources: Resources, commit: str) -> list[worker.Job]:
    """Jobs in the order in which they should start: the first stack with each dataset, networks and model is a canary."""
    seen: set[tuple[DataKey, str, str]] = set()
    canaries: list[worker.Job] = []
    others: list[worker.Job] = []
    for stack in stacks_:
        kinds = {(trial.config.data_key, trial.config.networks, trial.config.model) for trial in stack}
        job = worker.Job(
            members=[(trial.config.model_dump(), trial.seed) for trial in stack],
            storage=storage,
            data=os.path.abspath(resources.data),
            root=os.getcwd(),
            threads=resources.cpu,
            gpu=resources.gpu,
            commit=commit,
            rehearse=not kinds <= seen,
        )
        (canaries if job.rehearse else others).append(job)
        seen |= kinds
    return canaries + others


def run(
    todo: Sequence[Trial],
    every: Sequence[Trial],
    ledger: Ledger,
    resources: Resources,
    commit: str,
    listen: Callable[[Event], None],
) -> Outcome:
    """Run what is to do of a sweep's trials until all have ended, failed for good, or the user interrupts. `listen` is called in this
    thread.
    """
    with _ray(), tempfile.TemporaryDirectory(prefix="mopoe-tune-") as scratch:
        gpu = _gpu(resources)
        place = _Place(os.path.abspath(resources.data), os.getcwd(), str(ledger.storage))
        _prepare(todo, place, listen)
        slots = _slots(resources, gpu)
        sizes = _sizes(todo, every, place, resources, gpu, slots, listen)
        formed = stacks.form(in_order(todo), in_order(every), sizes, slots, ledger)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # else Tune starts one worker at a time
        all_up = ledger.storage / f".workers-{uuid.uuid4().hex}"
        queue = _Queue(jobs(formed, place.storage, resources, commit), resources.at_once, min(slots, len(formed)), all_up)
        tuner = tune.Tuner(
            tune.with_resources(worker.Worker, {"cpu": resources.cpu, "gpu": gpu}),
            tune_config=tune.TuneConfig(search_alg=queue, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                callbacks=[_Forward(queue, listen)],
                verbose=0,
            ),
        )
        errors: dict[str, str] = {}
        try:
            for result in tuner.fit():
                if result.error is not None and result.config:
                    errors |= dict.fromkeys(_ids(result.config), str(result.error))
        finally:
            all_up.unlink(missing_ok=True)
        return Outcome(errors)


@dataclass(frozen=True)
class _Place:
    """Where workers find things."""

    data: str
    root: str
    storage: str


@contextmanager
def _ray() -> Iterator[None]:
    """A Ray to run on: the one of this process, that of RAY_ADDRESS, or a local one that is stopped afterwards."""
    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own start-up; nothing of ours runs in here
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _gpu(resources: Resources) -> float:
    """GPUs to ask for a trial. Raises UserError where a trial would wait for ever for what no node has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    gpu = 0.0 if resources.cpu_will_do and most["GPU"] == 0 else resources.gpu
    for name, wanted in (("CPU", resources.cpu), ("GPU", gpu)):
        if wanted > most[name]:
            raise UserError(f"resources.{name.lower()}: {wanted:g} is more than any node has ({most[name]:g}); lower it")
    return gpu


def _slots(resources: Resources, gpu: float) -> int:
    """How many stacks train at once."""
    have = ray.cluster_resources()
    fit = int(have.get("CPU", 0) // resources.cpu)
    if gpu:
        fit = min(fit, int(have.get("GPU", 0) / gpu + 1e-9))
    return max(1, min(fit, resources.at_once or fit))


def _prepare(trials: Sequence[Trial], place: _Place, listen: Callable[[Event], None]) -> None:
    """Data and classifiers, before any trial starts, a task a modality: what is wrong with them is said once."""
    listen(Event("", "preparing", {}))
    prepare = ray.remote(worker.prepare).options(num_cpus=1, max_retries=0)
    needed = {(c.data_key, c.modalities, c.data_hash) for c in (trial.config for trial in trials)}
    for key, modalities, data_hash in sorted(needed, key=str):
        tasks = {m: prepare.remote(key, m, place.data, place.root, place.storage, data_hash) for m in modalities}
        try:
            accuracy = {modality: ray.get(task) for modality, task in tasks.items()}
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        listen(Event("", "prepared", {"dataset": key.dataset, "source": key.source, "accuracy": accuracy}))


def _sizes(
    todo: Sequence[Trial],
    every: Sequence[Trial],
    place: _Place,
    resources: Resources,
    gpu: float,
    slots: int,
    listen: Callable[[Event], None],
) -> dict[str, int]:
    """The largest stack by shape, for the shapes that are to do and stack."""
    if resources.stack == 1:
        return {}
    count = Counter(trial.config.shape for trial in every)
    first = {trial.config.shape: trial for trial in reversed(in_order(every))}
    sizes = {}
    for shape in dict.fromkeys(trial.config.shape for trial in todo):
        most = -(-count[shape] // slots)
        if most > 1:
            sizes[shape] = _size(first[shape], most, place, resources, gpu, listen)
    return sizes


def _size(trial: Trial, most: int, place: _Place, resources: Resources, gpu: float, listen: Callable[[Event], None]) -> int:
    """The largest stack of trials like this one: as asked, or as measured."""
    config = trial.config.model_dump()
    if resources.stack != "auto":
        why_not = ray.get(ray.remote(worker.unstackable).remote(config, place.data, place.root))
        listen(Event("", "stacks", {"label": trial.label, "size": 1 if why_not else resources.stack, "why_not": why_not}))
        return 1 if why_not else resources.stack
    measure = ray.remote(worker.stack_size).options(num_cpus=resources.cpu, num_gpus=gpu)
    threads = resources.cpu
    measured = ray.get(measure.remote(config, most, place.data, place.root, place.storage, threads, gpu))
    listen(Event("", "stacks", {"label": trial.label, "size": measured.size, "gain": measured.gain, "why_not": ""}))
    return int(measured.size)


class _Queue(Searcher):
    """Hands the jobs to Tune in order; holds back all but the canaries until these have rehearsed.

    First it has every worker started, with nothing to do but to wait for the others. Tune gives a job that waits for a worker of its own
    to one that has become free, and stops the one that was starting: with trials of a second there would be one worker for ever.
    """

    def __init__(self, jobs_: Sequence[worker.Job], at_once: int | None, workers: int = 0, all_up: Path = Path()) -> None:
        super().__init__()
        self._to_start = self._starting = workers
        self._all_up = all_up
        """A file in storage, which every worker sees: there when all have started."""
        self._waiting = list(jobs_)
        self._canaries: dict[str, str] = {}
        """Tune's trial id to `started`, `rehearsed` or `failed`, of the canaries that have been handed out."""
        self._live: set[str] = set()
        self._at_once = at_once

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._to_start:
            self._to_start -= 1
            return {"job": None, "all_up": str(self._all_up)}
        if not self._waiting or "failed" in self._canaries.values():
            finished: str = Searcher.FINISHED
            return finished
        if self._at_once and len(self._live) >= self._at_once:
            return None
        job = self._waiting[0]
        if not job.rehearse and "started" in self._canaries.values():
            return None
        self._waiting.pop(0)
        self._live.add(trial_id)
        if job.rehearse:
            self._canaries[trial_id] = "started"
        return {"job": asdict(job)}

    def started(self) -> None:
        """A worker has started."""
        self._starting -= 1
        if self._starting == 0:
            self._all_up.touch()

    def rehearsed(self, trial_id: str) -> None:
        """A canary has come through its rehearsal."""
        if trial_id in self._canaries:
            self._canaries[trial_id] = "rehearsed"

    def failed(self, trial_id: str) -> None:
        """A trial has failed for good; a canary that had not come through its rehearsal stops the sweep."""
        if self._canaries.get(trial_id) == "started":
            self._canaries[trial_id] = "failed"

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the ledger remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a sweep is resumed from the ledger."""


class _Forward(tune.Callback):
    """Tells the listener, and the queue, what happens."""

    def __init__(self, queue: _Queue, listen: Callable[[Event], None]) -> None:
        self._queue = queue
        self._listen = listen

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never made, and a listener holds threads and locks."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["kind"] == "up":
            self._queue.started()
        if result["kind"] in ("up", "over"):
            return
        if result["kind"] == "begun":
            self._queue.rehearsed(trial.trial_id)
        for event in _events(result):
            self._listen(event)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        for trial_id in _ids(trial.config):
            self._listen(Event(trial_id, "retried", {}))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._queue.failed(trial.trial_id)
        for trial_id in _ids(trial.config):
            self._listen(Event(trial_id, "failed", {}))


def _events(report: dict[str, Any]) -> list[Event]:
    """What a worker's report says, trial by trial."""
    if report["kind"] == "begun":
        return [Event(trial_id, "begun", {"attempt": number}) for trial_id, number in report["attempts"].items()]
    if report["kind"] == "epochs":
        return [Event(trial_id, "epoch", epoch) for trial_id, epoch in report["epochs"].items()]
    return [Event(report.get("id", ""), report["kind"], report)]


def _ids(config: dict[str, Any]) -> list[str]:
    return [trial.id for trial in worker.Job(**config["job"]).trials] if config["job"] else []
