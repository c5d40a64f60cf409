"""A sweep one of whose calls to storage fails, for every such call: `python -m benchmarks.robustness.storage_errors --every call`.

The whole command runs in this process, without Ray: its queue, leases, ledger, workers and report are the real ones, and so is training.
Evaluation is made up, from the weights. After each failure the same command is typed again. Then all trials must be completed, with the
results of a run that nothing happened to; and no command may end with a traceback.
"""

import argparse
import errno
import io
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from benchmarks.robustness.injection import Call, Injection
from mopoe_core.data.own import user_data
from mopoe_core.metric_names import UNITS, Metric
from mopoe_core.storage import retries
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.whole_files import write_text
from orchestrator.cli import app
from orchestrator.driver import sweep
from orchestrator.execution import in_process, provenance
from orchestrator.execution.attempt import attempt, materials, preparation
from orchestrator.execution.queue import job_queue
from orchestrator.execution.queue.job import WorkerContext
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import report
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow import connection

ERRORS = ("EIO", "ESTALE", "EACCES", "ENOSPC")
SOURCE = Path(__file__).parents[2] / "tests" / "support" / "own_data.py"
RAW: dict[str, Any] = {
    "name": "own",
    "base": {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2, "batch_size": 600, "epochs": 2},
    "seeds": 3,
    "resources": {"stack": 2, "retries": 2},
}
"""A stack of two trials and a trial alone."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    error: str
    """What it wrote to standard error."""
    crash: str = ""
    """A traceback, where it ended with one."""


@dataclass(frozen=True)
class Outcome:
    """What came of one failure."""

    number: str
    call: Call
    first: Ended
    again: Ended
    lost: str
    """What is missing or differs after the second command; empty for nothing."""


class Sweep:
    """A sweep with a storage of its own, whose command is typed in this process. `home` has its file and dataset."""

    def __init__(self, home: Path, storage: Path) -> None:
        self.home, self.storage = home, storage

    def copy(self, storage: Path) -> "Sweep":
        """The same with another storage."""
        shutil.rmtree(storage, ignore_errors=True)
        shutil.copytree(self.storage, storage)
        return Sweep(self.home, storage)

    def make(self) -> None:
        """Dataset, sweep file and classifiers: what every run begins with."""
        self.home.mkdir(parents=True)
        (self.home / "mine.py").write_text(SOURCE.read_text(encoding="utf-8").replace(", encoder=Touchy", ""), encoding="utf-8")
        (self.home / "own.yaml").write_text(yaml.safe_dump(RAW), encoding="utf-8")
        with in_folder(self.home):
            config = parse(RAW).trials[0].config
            context = WorkerContext(self.storage, "data", str(self.home), 1, 0.0, "commit", driver="")
            for modality in config.modalities:
                preparation.train_classifier(config.data_key, modality, context, config.data_hash)

    def types(self, *words: str) -> Ended:
        """Type a command on it; `sweep` where none is given."""
        error, crash, code = io.StringIO(), "", 0
        arguments = ["orchestrator", *(words or ("sweep",)), "own.yaml", "--storage", str(self.storage)]
        with (
            in_folder(self.home),
            mock.patch.object(sys, "argv", arguments),
            redirect_stdout(io.StringIO()),
            redirect_stderr(error),
        ):
            try:
                app.main()
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                crash = traceback.format_exc()
        return Ended(code, error.getvalue(), crash)

    def state(self) -> dict[str, Any]:
        """Results and checkpoints by trial."""
        ledger = Ledger(self.storage)
        with in_folder(self.home):
            return {trial.id: self._of(trial, ledger) for trial in parse(RAW).trials}

    @staticmethod
    def _of(trial: Trial, ledger: Ledger) -> Any:
        result = ledger.result(trial)
        if result is None:
            return ledger.state(trial).status
        losses = [{name: value for name, value in e.values.items() if name != "train/seconds"} for e in result.history]
        bound = result.checkpoint == Digest.of_file(ledger.checkpoint(trial))
        return result.status, result.metrics, losses, bound, sorted(ledger.samples(trial))


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """As if the command were typed there."""
    here = Path.cwd()
    os.chdir(folder)
    user_data.search_from(folder)
    try:
        yield
    finally:
        os.chdir(here)
        user_data.search_from(Path())


@contextmanager
def quick_sweeps(with_report: bool, with_mlflow: bool) -> Iterator[None]:
    """Trials run in this process, one after another, and their evaluation takes no time; report and MLflow only where asked for."""
    replaced: list[tuple[Any, str, Any]] = [
        (sweep, "on_ray_tune", in_process.run),
        (materials, "evaluate", _metrics),
        (attempt, "write_pictures", _pictures),
        (attempt, "rehearse", lambda *arguments: None),
        (provenance, "machine", dict),
        (retries, "PAUSES", (0.0, 0.0, 0.0)),
        (job_queue, "FIRST_PAUSE", 0.01),
    ]
    replaced += [] if with_report else [(report, "write", _small_report)]
    replaced += [] if with_mlflow else [(connection, "start_writer", _NoTracker)]
    patches = [mock.patch.object(*one) for one in replaced]
    try:
        for patch in patches:
            patch.start()
        yield
    finally:
        for patch in patches:
            with suppress(RuntimeError):
                patch.stop()


class _NoTracker:
    behind, problems = 0, ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


def _metrics(model: Any, *arguments: Any) -> tuple[Metric, ...]:
    total = float(sum(parameter.detach().double().sum() for parameter in model.parameters()))
    kinds = ("coherence", "log_likelihood")  # what a sweep is ranked by that does not say
    return tuple(Metric(f"{kind}/joint", kind, "joint", "", total, 0.01, 100, UNITS[kind]) for kind in kinds)


def _pictures(model: Any, seed: int, dataset: Any, device: Any, folder: Any) -> dict[str, str]:
    write_text(folder / "random.png", f"{seed}")
    return {"random": Digest.of(f"{seed}".encode()).sha256}


def _small_report(
    spec: Any, results: Any, states: Any, samples: Any, command: str, folder: Path, *more: Any
) -> report.ReportPaths:
    for name in ("index.html", "cells.csv"):
        write_text(folder / name, " ".join(sorted(states.values())))
    page, table = folder / "index.html", folder / "cells.csv"
    return report.ReportPaths(page, (), table, table, table, table, table, table, "")


@dataclass(frozen=True)
class Plan:
    """Which calls fail, and how."""

    errors: tuple[str, ...] = ERRORS
    every_call: bool = False
    """Every call, and not only the first of each site."""
    after: bool = False
    """The call does its work, and fails all the same."""
    in_turns: bool = False
    """Each call fails once, with one error after the other, and not with each of them."""
    first: int = 0
    step: int = 1
    """Of these failures, every `step`-th is tried, from number `first` on."""


def tried(template: Sweep, plan: Plan, scratch: Path) -> Iterator[Outcome]:
    """Each failure of a plan, one after another, with what came of it."""
    quiet, counted = template.copy(scratch / "quiet"), Injection(scratch / "quiet")
    with counted.active():
        ended = quiet.types()
    assert ended == Ended(0, ended.error), ended
    right = quiet.state()
    for number, (place, strikes) in enumerate(_strikes(counted.calls, plan.every_call)[plan.first :: plan.step]):
        for name in plan.errors[number % len(plan.errors) :][:1] if plan.in_turns else plan.errors:
            victim = template.copy(scratch / "victim")
            injection = Injection(victim.storage, getattr(errno, name), strikes, plan.after)
            with injection.active():
                first = victim.types()
            if injection.struck is None:
                continue  # threads do not do the same each time
            again = victim.types()
            state = victim.state()
            lost = "; ".join(f"{key}: {state[key]} and not {right[key]}" for key in right if state[key] != right[key])
            yield Outcome(f"{name} {place}", injection.struck, first, again, lost)


Strikes = Callable[[int, Call], bool]


def _strikes(calls: Sequence[Call], every_call: bool) -> list[tuple[str, Strikes]]:
    if every_call:
        return [(f"call {number}", partial(_is_number, number)) for number in range(len(calls))]
    sites = dict.fromkeys((call.function, call.site) for call in calls)
    return [(f"{function} at {site}", partial(_is_at, function, site)) for function, site in sites]


def _is_number(wanted: int, number: int, call: Call) -> bool:
    return number == wanted


def _is_at(function: str, site: str, number: int, call: Call) -> bool:
    return (call.function, call.site) == (function, site)


def is_well(outcome: Outcome) -> bool:
    """Whether nothing was lost, and nothing ended with a traceback."""
    tells = "Traceback" in outcome.first.error + outcome.again.error
    return not (outcome.first.crash or outcome.again.crash or tells or outcome.lost or outcome.again.code)


def main() -> None:
    """Try all of it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", nargs="+", default=list(ERRORS), help="names of error numbers")
    parser.add_argument("--every", choices=("site", "call"), default="site", help="the first call of each line, or every call")
    parser.add_argument("--after", action="store_true", help="the call does its work, and fails all the same")
    parser.add_argument("--report", action="store_true", help="with the real report")
    parser.add_argument("--mlflow", action="store_true", help="with MLflow")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="e-") as folder, quick_sweeps(asked.report, asked.mlflow):
        template = Sweep(Path(folder) / "home", Path(folder) / "template")
        template.make()
        count, bad = Counter[str](), 0
        for outcome in tried(template, Plan(tuple(asked.errors), asked.every == "call", asked.after), Path(folder)):
            kinds = {
                "tried": True,
                "in the driver": outcome.call.is_main,
                "exit 0 at once": outcome.first.code == 0 and not outcome.first.crash,
                "tracebacks": bool(outcome.first.crash or outcome.again.crash),
                "lost": bool(outcome.lost or outcome.again.code),
            }
            count.update(kind for kind, applies in kinds.items() if applies)
            if not is_well(outcome):
                bad += 1
                crash = (outcome.first.crash or outcome.again.crash).strip().rpartition("\n")[2]
                print(f"{outcome.number}: {outcome.call.path}: {crash} {outcome.lost} {outcome.again.error[-300:]}", flush=True)
    print(", ".join(f"{count[kind]} {kind}" for kind in ("tried", "exit 0 at once", "tracebacks", "lost")))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
