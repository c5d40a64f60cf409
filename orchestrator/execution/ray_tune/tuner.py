"""Running a plan on Ray Tune. With `worker`, the only importer of Ray.

Ray is a queue here, not a memory: each call makes a fresh Tuner over the jobs it is given, without Tune checkpoints, loggers or
restore. Workers are reused between trials, because a new process that imports torch costs seconds.

Which job is next, and what is tried again, is for `jobs.Queue` to say.
"""

import logging
import os
import signal
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
if os.environ.get("RAY_ADDRESS", "local") == "local":
    # Whatever its name says: with it Ray takes 127.0.0.1 for this machine's address, and what it starts listens there alone. The argument
    # `_node_ip_address` cannot say so: ray.init turns loopback into the machine's outer address.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints its tables whatever the verbosity
# Workers inherit these. By default glibc gives every tensor above 128 kB back to the system and faults its pages in again; a step of 256
# examples of MNIST-SVHN-Text with small networks took a third longer so.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(10**9))  # no snapshots: they grow with the trials, and none is ever read
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from mopoe_core.errors import UserError
from mopoe_core.storage import files
from mopoe_core.storage.files import AnyPath, write_text
from orchestrator.execution import cpus, stacks, worker
from orchestrator.execution.events import Event, Outcome
from orchestrator.execution.job_queue import Job, Place, Proposer, Queue, in_order, jobs
from orchestrator.execution.ray_tune import node_slots, ray_address
from orchestrator.ledger.leases import claims
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial

LONGEST_JOIN = 120.0
"""Seconds to wait for a first worker."""
MOST_JOBS = 2_000
"""Jobs before the workers are started anew, which costs some ten seconds."""
DIED = "its worker was killed, or crashed, or its node was lost"
MOST_SAID = 200  # characters of an error in a line of progress

for noisy in ("ray.tune", "ray.air"):  # a traceback for every killed worker; what matters of it is said, and in the ledger
    logging.getLogger(noisy).setLevel(logging.CRITICAL)


def run(
    todo: Sequence[Trial],
    every: Sequence[Trial],
    ledger: Ledger,
    resources: Resources,
    commit: str,
    driver: str,
    seconds: Mapping[str, float],
    listen: Callable[[Event], None],
    search: Proposer | None = None,
) -> Outcome:
    """Run what is to do of a sweep's trials until all have ended, failed for good, or the user interrupts.

    `driver` is the token of the driver's lease, `seconds` what each trial should take, by id. `listen` is called in this thread, and so
    is `search`, which finds further trials.
    """
    with running_ray(), files.scratch("tune") as scratch:
        there = _there()
        place = Place(
            storage=ledger.storage,
            data=resources.data_folder,
            root=os.getcwd(),
            threads=resources.cpu,
            gpu=node_slots.gpus(resources, _in_the_end(there)),
            commit=commit,
            driver=driver,
            watch=search.watch if search else None,
        )
        _prepare(todo, place, listen)
        there = _there()  # anew: while data were prepared, more may have joined
        slots = node_slots.slots(resources, place.gpu, _in_the_end(there))
        sizes = _sizes(todo, every, place, resources, slots if search is None else 1, listen)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # else Tune starts one worker at a time
        by_id = {trial.id: trial for trial in todo}

        def elsewhere(trial_id: str) -> bool:
            trial = by_id[trial_id]
            return ledger.result(trial) is None and claims.held_by(ledger.storage, ledger.folder(trial)) is not None

        if search is None:
            first = jobs(stacks.form(in_order(todo), in_order(every), sizes, slots, ledger), seconds)
            source, busy = None, len(first)
        else:
            source, busy = _Cells(search, ledger, max(sizes.values(), default=1), slots, by_id), slots
            first = source.first(todo)
        queue = Queue(first, resources, elsewhere, _Lost(listen), source=source)
        workers = min(node_slots.slots(resources, place.gpu, there), resources.at_once or busy, busy)
        while not queue.over:
            with AllUp(ledger.storage, workers) as all_up:
                search = JobSearch(queue, all_up)
                _tune(search, _Forward(queue, all_up, listen), place, resources, scratch)
            if not search.spent:
                break  # the user interrupted
        return Outcome(queue.failed, queue.stopped)


def _tune(search: "JobSearch", forward: "_Forward", place: Place, resources: Resources, scratch: str) -> None:
    """Hand jobs to Tune until the search has no more or the user interrupts.

    Without Tune's own retries: it would start again at once, and take a lost node for a failure.
    """
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(worker.Worker, place=place), {"cpu": resources.cpu, "gpu": place.gpu}),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"sweep-{uuid.uuid4().hex}",
            storage_path=scratch,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[forward],
            verbose=0,
        ),
    )
    tuner.fit()


@contextmanager
def running_ray() -> Iterator[None]:
    """A Ray to run on: the one of this process, that of RAY_ADDRESS, or a local one that is stopped afterwards."""
    if ray.is_initialized():
        yield
        return
    with ray_address.short_folder() as folder:
        _start(folder)
        with suppress(OSError):  # whoever has it may run code here; Ray writes it for all to read
            (Path.home() / ".ray" / "auth_token").chmod(0o600)
        with suppress(ValueError):  # not the main thread: then whoever has that minds its signals
            signal.signal(signal.SIGTERM, _like_ctrl_c)  # what schedulers and `ray job stop` send; Ray would exit on the spot
        try:
            yield
        finally:
            ray.shutdown()


def _start(folder: str | None) -> None:
    """Start Ray, or connect to it. `folder` is for its temporary files, where they must not be in the usual one. Raises UserError where
    that cannot be: Ray raises many classes, and exits where a cluster does not answer.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own start-up; nothing of ours runs in here
            ray.init(
                address=os.environ.get("RAY_ADDRESS", "local"),
                num_cpus=cpus.usable() if "RAY_ADDRESS" not in os.environ else None,  # Ray itself does not see an affinity
                include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
    except (Exception, SystemExit) as error:
        with suppress(Exception):
            ray.shutdown()
        raise ray_address.no_ray(error) from None


def _like_ctrl_c(number: int, frame: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _there() -> list[node_slots.Node]:
    """What the nodes have that are there. Waits for a first worker where there is a head alone and no autoscaler to bring others:
    `ray up` returns before machines of one's own have joined.
    """
    deadline = time.monotonic() + LONGEST_JOIN
    while True:
        there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        some = any(node.get("CPU", 0) for node in (*there, *node_slots.may_come()))
        if some or "RAY_ADDRESS" not in os.environ or time.monotonic() > deadline:
            return there
        time.sleep(1)


def _in_the_end(there: Sequence[node_slots.Node]) -> list[node_slots.Node]:
    """The nodes with those that an autoscaler may bring."""
    heads = [node for node in there if "node:__internal_head__" in node]
    return max([*there], [*heads, *node_slots.may_come()], key=len)


def _prepare(trials: Sequence[Trial], place: Place, listen: Callable[[Event], None]) -> None:
    """Data and classifiers, before any trial starts, a task for each that has to be trained: what is wrong with them is said once."""
    listen(Event("", "preparing", {}))
    prepare = ray.remote(worker.prepare).options(num_cpus=1, max_retries=0)
    needed = {(c.data_key, c.modalities, c.data_hash) for c in (trial.config for trial in trials)}
    for key, modalities, data_hash in sorted(needed, key=str):
        there = {} if "RAY_ADDRESS" in os.environ else worker.prepared(key, modalities, place, data_hash)
        tasks = {m: prepare.remote(key, m, place, data_hash) for m in modalities if m not in there}
        made = {modality: _got(task) for modality, task in tasks.items()}
        listen(Event("", "prepared", {"dataset": key.dataset, "source": key.source, "quality": there | made}))


def _got(task: Any) -> Any:
    """What a task returns. What the user can mend, and errors of files, are raised as they were raised in the task."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (UserError, OSError)):
            raise error.cause from None
        raise


def _sizes(
    todo: Sequence[Trial],
    every: Sequence[Trial],
    place: Place,
    resources: Resources,
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
            sizes[shape] = _size(first[shape], most, place, resources, listen)
    return sizes


def _size(trial: Trial, most: int, place: Place, resources: Resources, listen: Callable[[Event], None]) -> int:
    """The largest stack of trials like this one: as asked, or as measured."""
    config = trial.config.model_dump()
    if resources.stack != "auto":
        why_not = _got(ray.remote(worker.unstackable).remote(config, place))
        listen(Event("", "stacks", {"label": trial.label, "size": 1 if why_not else resources.stack, "why_not": why_not}))
        return 1 if why_not else resources.stack
    measure = ray.remote(worker.stack_size).options(num_cpus=place.threads, num_gpus=place.gpu)
    measured = _got(measure.remote(config, most, place))
    listen(Event("", "stacks", {"label": trial.label, "size": measured.size, "gain": measured.gain, "why_not": ""}))
    return int(measured.size)


class _Cells:
    """Makes jobs of what a search proposes: the seeds of a cell are one stack, as far as they stack."""

    def __init__(self, search: Proposer, ledger: Ledger, size: int, slots: int, by_id: dict[str, Trial]) -> None:
        self._search, self._ledger, self._size, self._slots, self._by_id = search, ledger, size, slots, by_id
        self._jobs_a_cell = 1

    @property
    def over(self) -> bool:
        return self._search.over

    def first(self, trials: Sequence[Trial]) -> list[Job]:
        """The jobs that the search begins with. One of them rehearses for all: a later cell that fails says nothing of the others."""
        formed = self._formed(trials)
        return [replace(job, rehearse=place == 0) for place, job in enumerate(formed)]

    def more(self, failed: Mapping[str, str]) -> list[Job]:
        at_once = max(1, -(-self._slots // self._jobs_a_cell))
        return [replace(job, rehearse=False) for job in self._formed(self._search.next(failed, at_once))]

    def _formed(self, trials: Sequence[Trial]) -> list[Job]:
        self._by_id |= {trial.id: trial for trial in trials}
        made: list[Job] = []
        for cell in dict.fromkeys(trial.cell for trial in trials):
            own = [trial for trial in trials if trial.cell == cell]
            made += jobs(stacks.form(own, own, {cell.config.shape: self._size}, 1, self._ledger), {})
            self._jobs_a_cell = max(self._jobs_a_cell, -(-len(own) // self._size))
        return made


class AllUp:
    """Lets every worker start before the first job is handed out, with nothing to do but to wait for the others.

    Tune gives a job that waits for a worker of its own to one that has become free, and stops the one that was starting: with trials of a
    second there would be one worker for ever. The sign is a file in storage, which every worker sees.
    """

    def __init__(self, storage: AnyPath, workers: int) -> None:
        self._to_start = self._starting = workers
        self.name = f"alive/workers-{uuid.uuid4().hex}"  # there `gc` removes what a killed driver leaves
        self._sign = storage / self.name

    def __enter__(self) -> "AllUp":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._sign.unlink(missing_ok=True)

    def one_more(self) -> bool:
        """Whether another worker is to be started."""
        self._to_start -= 1
        return self._to_start >= 0

    def started(self) -> None:
        """A worker has started."""
        self._starting -= 1
        if self._starting == 0:
            write_text(self._sign, "")


class JobSearch(Searcher):
    """Hands the queue's jobs to Tune, `MOST_JOBS` at most: Tune keeps all that it ran in memory to its end, so that a long sweep is run
    as several.
    """

    def __init__(self, queue: Queue, all_up: AllUp) -> None:
        super().__init__()
        self._queue, self._all_up = queue, all_up
        self._jobs = MOST_JOBS

    @property
    def spent(self) -> bool:
        """Whether it has handed out all that it will, and that has ended."""
        return self._queue.over or (self._jobs <= 0 and not self._queue.in_hand)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: as of `_Forward`."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next job, None where there is none for now, and `FINISHED` where there will be none."""
        if self._all_up.one_more():
            return {"job": None, "all_up": self._all_up.name}
        if self.spent:
            finished: str = Searcher.FINISHED
            return finished
        job = self._queue.next(trial_id) if self._jobs > 0 else None
        if job is None:
            return None
        self._jobs -= 1
        return {"job": asdict(job)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The queue has it from `_Forward`, which is told more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the ledger remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a sweep is resumed from the ledger."""


class _Forward(tune.Callback):
    """Tells the listener, and the queue, what happens."""

    def __init__(self, queue: Queue, all_up: AllUp, listen: Callable[[Event], None]) -> None:
        self._queue, self._all_up, self._listen = queue, all_up, listen
        self._nodes: dict[str, str] = {}
        """Tune's trial id to the node that it runs on."""
        self._errors: dict[str, str] = {}
        """Tune's trial id to the traceback of what was raised in it."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never made, and a listener holds threads and locks."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        (report,) = result["said"]
        key, kind = trial.trial_id, report["kind"]
        if kind == "up":
            self._all_up.started()
        elif kind == "taken":
            self._nodes[key] = report["node"]
        elif kind == "over":
            self._queue.done(key, self._errors.pop(key, ""))
            self._nodes.pop(key, None)
        elif kind == "begun":
            self._queue.rehearsed(key)
        elif kind in ("ended", "stopped"):
            self._queue.ended(key, report["id"])
        elif kind == "busy":
            self._queue.busy(key, report["ids"])
        elif kind == "fell":
            self._errors[key] = report["error"]
            self._queue.fell(key, report["id"])
        elif kind == "raised":
            self._errors[key] = report["error"]
        elif kind == "full":
            self._queue.stop(report["error"])
        for event in _events(report):
            self._listen(event)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Where the worker has not said what it raised, its process has died."""
        key = trial.trial_id
        node, raised = self._nodes.pop(key, ""), self._errors.pop(key, "")
        self._queue.broke(key, raised or DIED, "" if raised else node)
        for trial_id in _ids(trial.config):
            kind = "failed" if trial_id in self._queue.failed else "retried"
            self._listen(Event(trial_id, kind, {"why": _last_line(raised or DIED)}))


class _Lost:
    """The nodes that are gone, asked for not more than once a second."""

    def __init__(self, listen: Callable[[Event], None]) -> None:
        self._listen, self._asked, self._known = listen, 0.0, set[str]()

    def __call__(self) -> set[str]:
        if time.monotonic() - self._asked > 1.0:
            self._asked = time.monotonic()
            found = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
            for node in found - self._known:
                self._listen(Event("", "node", {"node": node}))
            self._known = found
        return self._known


def _last_line(error: str) -> str:
    """What a traceback ends with; the ledger has the whole of it."""
    return error.strip().rpartition("\n")[2][:MOST_SAID]


def _events(report: dict[str, Any]) -> list[Event]:
    """What a worker's report says, trial by trial."""
    kind = report["kind"]
    if kind == "begun":
        token = report["worker"]
        return [Event(trial_id, "begun", {"attempt": n, "worker": token}) for trial_id, n in report["attempts"].items()]
    if kind == "epochs":
        return [Event(trial_id, "epoch", epoch) for trial_id, epoch in report["epochs"].items()]
    if kind == "busy":
        return [Event(trial_id, "elsewhere", report) for trial_id in report["ids"]]
    if kind == "fell":
        return [Event(report["id"], "retried", {"why": _last_line(report["error"])})]
    return [Event(report.get("id", ""), kind, report)] if kind in ("ended", "halved", "full", "judged", "stopped") else []


def _ids(config: dict[str, Any]) -> list[str]:
    return [trial.id for trial in Job(**config["job"]).trials] if config["job"] else []
