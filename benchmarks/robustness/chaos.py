"""Compares a sweep under random kills with the same sweep undisturbed: `python -m benchmarks.robustness.chaos --kills 12`.

The kinds of kills are

    worker       SIGKILL of a worker at any moment
    checkpoint   SIGKILL of a worker while it writes a checkpoint
    evaluation   SIGKILL of a worker after training and before it records its result
    driver       SIGKILL of the driver; then the same command again
    interrupt    SIGINT of the driver; then the same command again
    power        SIGKILL of driver and workers, and the newest files cut short; then the same command again

The seed determines their order, and their moments up to the machine's clock. Afterwards both sweeps must agree in every table, weight and
curve, and MLflow must have each run and each point once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from mlflow import MlflowClient

from benchmarks.arguments import add_data
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow.store_address import default_uri

ROOT = Path(__file__).parents[2]
KINDS = ("worker", "checkpoint", "evaluation", "driver", "interrupt", "power")
LONGEST_WAIT = 1200.0
"""Seconds to wait for the moment of a kill. An evaluation comes after a whole training, on a machine that may have other work."""
LONGEST_SWEEP = 1800.0
"""Seconds to wait for a sweep to end."""


@dataclass
class Victim:
    """A sweep with a separate storage, and the driver that runs it now."""

    file: Path
    storage: Path
    log: Path
    kills: list[str] = field(default_factory=list)
    """The kinds of kills so far, in order."""
    commands: int = 0
    """How often the command was started."""
    driver: subprocess.Popen[bytes] | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The sweep's trials."""
        return parse(yaml.safe_load(self.file.read_text(encoding="utf-8"))).trials

    @property
    def ledger(self) -> Ledger:
        """The sweep's ledger."""
        return Ledger(self.storage)

    def start(self) -> None:
        """Starts the command."""
        self.commands += 1
        command = [sys.executable, "-m", "orchestrator", "sweep", str(self.file), "--storage", str(self.storage)]
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def running(self) -> bool:
        """Returns whether the driver runs."""
        return self.driver is not None and self.driver.poll() is None

    def wait(self) -> int:
        """Waits until the driver has ended; returns its exit code."""
        assert self.driver is not None
        return self.driver.wait(LONGEST_SWEEP)

    def workers(self) -> dict[int, list[Path]]:
        """Returns the processes that hold trials now, with the folders of these trials."""
        folders: dict[int, list[Path]] = {}
        for trial in self.trials:
            holder = self.ledger.holder(trial)
            if holder is not None and holder.process != os.getpid():
                folders.setdefault(holder.process, []).append(Path(str(self.ledger.folder(trial))))
        return folders


def spec(name: str, data: str, seeds: int, epochs: int, stack: int) -> dict[str, Any]:
    """Returns the sweep file of two cells of small networks, in stacks."""
    return {
        "name": name,
        "base": {
            "dataset": "mnist_svhn_text", "networks": "small", "epochs": epochs, "batch_size": 64, "train_examples": 640,
            "test_examples": 100,
        },
        "grid": {"model": ["mopoe", "mvae"]},
        "seeds": seeds,
        "resources": {"data": data, "retries": 50, "stack": stack},
    }  # fmt: skip


def torment(victim: Victim, kinds: Sequence[str], rng: random.Random, longest_pause: float = 1.5) -> None:
    """Runs a sweep to its end, with these kills on the way.

    Each kill comes at most `longest_pause` seconds after training has begun or resumed.
    """
    try:
        victim.start()
        for kind in kinds:
            if not _strike(victim, kind, rng.uniform(0.2, longest_pause)):
                break
        if victim.wait() != 0:
            victim.start()
            assert victim.wait() == 0, victim.log.read_text(encoding="utf-8")[-3000:]
    finally:
        if victim.driver is not None:
            victim.driver.kill()
            victim.driver.wait()


def schedule(kills: int, rng: random.Random) -> list[str]:
    """Returns the kinds of the kills: each kind once, then mostly kills of workers, because each new command costs half a minute.

    Kills in an evaluation come last: training is over by then, and the others might find no process to kill.
    """
    repeated = ("worker", "checkpoint", "evaluation", "worker", "checkpoint", "driver")
    kinds = [*KINDS, *(repeated[i % len(repeated)] for i in range(max(0, kills - len(KINDS))))][:kills]
    rng.shuffle(kinds)
    return sorted(kinds, key=lambda kind: kind == "evaluation")


def _strike(victim: Victim, kind: str, pause: float) -> bool:
    """Waits for the moment and kills; returns False if the sweep ended before."""
    process = _await(victim, lambda: _any_worker(victim))
    if process is None:
        return False
    time.sleep(pause)
    moments: dict[str, Callable[[], int | None]] = {
        "checkpoint": lambda: _checkpoint_writer(victim),
        "evaluation": lambda: _evaluating_worker(victim),
    }
    process = _await(victim, moments.get(kind, lambda: _any_worker(victim)))
    if process is None:
        return False
    victim.kills.append(kind)
    if kind in moments or kind == "worker":
        _kill(process)
    else:
        _kill_driver(victim, kind)
        victim.start()
    return True


def _kill_driver(victim: Victim, kind: str) -> None:
    """Ends the driver; for `power`, ends its workers too and cuts the newest files."""
    assert victim.driver is not None
    workers = list(victim.workers())
    victim.driver.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGKILL)
    victim.wait()
    if kind == "power":
        for worker in workers:
            _kill(worker)
        _cut_newest(victim)


def _await(victim: Victim, moment: Callable[[], int | None]) -> int | None:
    """Waits until `moment` returns a process, and returns that process; None if the sweep ends before."""
    deadline = time.monotonic() + LONGEST_WAIT
    while victim.running():
        process = moment()
        if process is not None:
            return process
        assert time.monotonic() < deadline, victim.log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.002)
    return None


def _any_worker(victim: Victim) -> int | None:
    return next(iter(victim.workers()), None)


def _checkpoint_writer(victim: Victim) -> int | None:
    """Returns a worker that writes a checkpoint at this moment."""
    for process, folders in victim.workers().items():
        for _ in range(500):
            if any(name.startswith(".checkpoint.") for folder in folders for name in _names_of_attempts(folder)):
                return process
            time.sleep(0.001)
    return None


def _evaluating_worker(victim: Victim) -> int | None:
    """Returns a worker with a trial that has finished training and has no result yet."""
    for process, folders in victim.workers().items():
        for folder in folders:
            if any(name.endswith(".png") for name in _names_of_attempts(folder)) and "result.json" not in _names(folder):
                return process
    return None


def _names_of_attempts(folder: Path) -> list[str]:
    """Returns the names of the files of a trial's attempts."""
    attempts = folder / "attempts"
    return [name for attempt in _names(attempts) if not attempt.endswith(".json") for name in _names(attempts / attempt)]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _cut_newest(victim: Victim) -> None:
    """Cuts the two newest checkpoints and the newest record to half their size, as a power loss may do."""
    time.sleep(0.5)
    open_trials = [folder for folder in victim.storage.glob("trials/*") if not (folder / "result.json").exists()]
    for pattern, count in (("attempts/*/checkpoint.pt", 2), ("attempts/*.json", 1)):
        paths = [path for folder in open_trials for path in folder.glob(pattern)]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime)[-count:]:
            os.truncate(path, path.stat().st_size // 2)


@dataclass(frozen=True)
class Verdict:
    """The comparison of the disturbed sweep with the quiet one."""

    trials: int
    completed: int
    attempts: int
    differences: tuple[str, ...]
    """One line for each difference between the sweeps, and for each fault of the disturbed one in MLflow."""


def compare(quiet: Victim, disturbed: Victim) -> Verdict:
    """Compares every table, weight, metric and curve of two sweeps, and checks the second one's runs and points in MLflow."""
    differences = [*_table_differences(quiet, disturbed)]
    for trial in quiet.trials:
        trial_differences = _trial_differences(trial, quiet.ledger, disturbed.ledger)
        differences += (f"{trial.label}: {difference}" for difference in trial_differences)
    differences += tracked(disturbed)
    states = [disturbed.ledger.state(trial) for trial in disturbed.trials]
    completed = sum(state.status == "completed" for state in states)
    return Verdict(len(states), completed, sum(state.attempts for state in states), tuple(differences))


def _table_differences(quiet: Victim, disturbed: Victim) -> Iterator[str]:
    for name in ("cells.csv", "cells.md"):
        contents = {(v.storage / "sweeps" / v.file.stem / "report" / name).read_bytes() for v in (quiet, disturbed)}
        if len(contents) > 1:
            yield f"{name} differs"


def _trial_differences(trial: Trial, quiet: Ledger, disturbed: Ledger) -> Iterator[str]:
    first, second = quiet.result(trial), disturbed.result(trial)
    if first is None or second is None:
        yield "has no result"
        return
    if first.metrics != second.metrics:
        yield "metrics differ"
    if [_curve(epoch.values) for epoch in first.history] != [_curve(epoch.values) for epoch in second.history]:
        yield "curves differ"
    weights = [torch.load(str(ledger.checkpoint(trial)), weights_only=True)["model"] for ledger in (quiet, disturbed)]
    if not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0]):
        yield "weights differ"


def _curve(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name != "train/seconds"}


def tracked(victim: Victim) -> Iterator[str]:
    """Yields the faults of the sweep's runs in MLflow: each trial must have one finished run with each epoch of each curve once."""
    client = MlflowClient(default_uri(victim.storage))
    experiment = client.get_experiment_by_name(victim.file.stem)
    runs = list(client.search_runs([experiment.experiment_id], max_results=10_000))
    trial_runs = [run for run in runs if run.data.tags["kind"] == "trial"]
    count = Counter(run.data.tags["trial_id"] for run in trial_runs)
    for trial in victim.trials:
        if count[trial.id] != 1:
            yield f"{trial.label}: {count[trial.id]} runs in MLflow"
    for run in runs:
        if run.info.status != "FINISHED":
            yield f"{run.info.run_name}: is {run.info.status} in MLflow"
    for run in trial_runs:
        epochs = int(run.data.params["epochs"])
        for name in (name for name in run.data.metrics if name.startswith("train/")):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            if sorted(steps) != list(range(1, epochs + 1)):
                yield f"{run.info.run_name}: {name} has the steps {steps} in MLflow"


@dataclass(frozen=True)
class Plan:
    """The kills, and the size of the sweep."""

    data: str
    classifiers: Path | None
    """A folder of trained classifiers, so that they need no training; None to train them."""
    kinds: tuple[str, ...]
    seeds: int
    epochs: int
    longest_pause: float = 1.5


def rehearse(plan: Plan, folder: Path, rng: random.Random) -> tuple[Victim, Verdict]:
    """Runs both sweeps in a new folder; returns the disturbed one and the comparison."""
    victims = []
    for name in ("quiet", "disturbed"):
        storage = folder / name
        storage.mkdir(parents=True)
        if plan.classifiers is not None:
            (storage / "classifiers").symlink_to(plan.classifiers)
        file = storage / "chaos.yaml"
        file.write_text(yaml.safe_dump(spec("chaos", plan.data, plan.seeds, plan.epochs, stack=2)), encoding="utf-8")
        victims.append(Victim(file, storage, folder / f"{name}.log"))
    quiet, disturbed = victims
    torment(quiet, (), rng)
    torment(disturbed, plan.kinds, rng, plan.longest_pause)
    return disturbed, compare(quiet, disturbed)


def main() -> None:
    """Runs both sweeps and prints the comparison; exits with 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--only", choices=KINDS, help="one kind, in place of all")
    parser.add_argument("--longest-pause", type=float, default=1.5, help="seconds of training before a kill, at most")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seeds", type=int, default=3, help="trials of each of the two cells")
    parser.add_argument("--epochs", type=int, default=60)
    add_data(parser)
    parser.add_argument("--classifiers", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    rng = random.Random(arguments.seed)
    kinds = [arguments.only] * arguments.kills if arguments.only else schedule(arguments.kills, rng)
    plan = Plan(
        os.path.abspath(arguments.data),
        arguments.classifiers,
        tuple(kinds),
        arguments.seeds,
        arguments.epochs,
        arguments.longest_pause,
    )
    victim, verdict = rehearse(plan, arguments.into, rng)
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(victim.kills).items()))
    print(f"{len(victim.kills)} kills ({kills}); {victim.commands} commands")
    print(f"{verdict.completed} of {verdict.trials} trials completed in {verdict.attempts} attempts")
    print("\n".join(verdict.differences) or "no difference to the quiet run")
    sys.exit(bool(verdict.differences))


if __name__ == "__main__":
    main()
