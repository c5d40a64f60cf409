"""Processes that take one another for those of other machines, and stop themselves where they are told to.

python -m tests.support.standing_still worker HOME MACHINE [checkpoint|result|publish]
python -m tests.support.standing_still driver HOME MACHINE [ray]
"""

import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml

from mopoe_core.data.own import user_data
from mopoe_core.training import run
from orchestrator.cli import app
from orchestrator.execution.attempt import attempt, preparation
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.ledger import attempts, records
from orchestrator.ledger.leases import heartbeat, holder
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.commands import without_ray

RAW: dict[str, Any] = {
    "name": "own",
    "base": {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 3},
    "seeds": 3,
    "resources": {"cpu": 1, "stack": 1},
    "storage": "runs",
}


STALE = 3.0
"""Seconds without a heartbeat after which a process of another machine is taken for dead."""
STALE_ON_RAY = 12.0
"""The same on Ray, whose workers beat every five seconds: they are processes of their own, which nothing here makes quicker."""


def prepare(home: Path, **base: Any) -> Path:
    """A folder with a dataset and a sweep file; returns that."""
    (home / "mine.py").write_text((Path(__file__).parent / "own_data.py").read_text())
    file = home / "own.yaml"
    file.write_text(yaml.safe_dump(RAW | {"base": RAW["base"] | base}))
    return file


def quick(machine: str, beat: float, stale: float) -> None:
    """Be a process of a machine of that name, which gives others up sooner."""
    heartbeat.BEAT_SECONDS, heartbeat.STALE_SECONDS = beat, stale
    holder.machine = lambda: machine


def stop_before(module: Any, name: str, number: int) -> None:
    """Stop this process, as Ctrl-Z does, before the call of that number."""
    real, calls = getattr(module, name), [0]

    def stopping(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            print("stopped", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*args, **named)

    setattr(module, name, stopping)


def work(home: Path, machine: str, stop: str = "") -> None:
    """Train the first trial of the sweep; come again while another is at it."""
    quick(machine, 0.5, STALE)
    os.chdir(home)
    user_data.search_from(home)
    trial = parse(RAW).trials[0]
    context = WorkerContext(home / "runs", "data", str(home), 1, 0.0, "commit", driver="")
    for modality in trial.config.modalities:
        preparation.train_classifier(trial.config.data_key, modality, context, trial.config.data_hash)
    if stop == "checkpoint":
        stop_before(run, "write_bytes", 2)
    if stop == "result":
        stop_before(records, "create", 2)  # after that of the attempt
    if stop == "publish":
        stop_before(attempts, "publish", 1)
    print("ready", flush=True)
    ledger = Ledger(context.storage)
    while ledger.result(trial) is None:
        job = Job([(trial.config.model_dump(), trial.seed)], False)
        attempt.run(job, context, lambda event: print(type(event).__name__, flush=True))
        time.sleep(0.1)


def drive(home: Path, machine: str, on_ray: bool) -> None:
    """Run the sweep's command; without Ray, its trials are trained in this process and stand still with it."""
    quick(machine, *((2.0, STALE_ON_RAY) if on_ray else (0.5, STALE)))
    os.chdir(home)
    sys.argv = ["orchestrator", "sweep", "own.yaml"]
    with nullcontext() if on_ray else without_ray():
        app.main()


if __name__ == "__main__":
    role, where, name, *more = sys.argv[1:]
    if role == "worker":
        work(Path(where), name, *more)
    else:
        drive(Path(where), name, on_ray=bool(more))
