"""Lets one storage call of a sweep fail, for each call in turn: `python -m benchmarks.robustness.storage_errors --every call`.

The whole command runs in this process, without Ray. Queue, leases, ledger, workers, report and training are the real ones. The
evaluation is a stand-in that computes its metrics from the weights. After each failure the same command runs again. Then all trials must
be completed with the results of an undisturbed run, and no command may have ended with a traceback.
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
"""A sweep with a stack of two trials and a single trial."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    error: str
    """The text on standard error."""
    crash: str = ""
    """The traceback of an exception that ended the command; empty for none."""


@dataclass(frozen=True)
class Outcome:
    """The consequences of one failure."""

    number: str
    call: Call
    first: Ended
    again: Ended
    lost: str
    """Results that are missing or differ after the second command; empty for none."""


class Sweep:
    """A sweep whose commands run in this process. `home` has its file and dataset, `storage` its ledger."""

    def __init__(self, home: Path, storage: Path) -> None:
        self.home, self.storage = home, storage

    def copy(self, storage: Path) -> "Sweep":
        """Returns the same sweep with a copy of its storage."""
        shutil.rmtree(storage, ignore_errors=True)
        shutil.copytree(self.storage, storage)
        return Sweep(self.home, storage)

    def make(self) -> None:
        """Writes the dataset and the sweep file, and trains the classifiers with which every run begins."""
        self.home.mkdir(parents=True)
        (self.home / "mine.py").write_text(SOURCE.read_text(encoding="utf-8").replace(", encoder=Touchy", ""), encoding="utf-8")
        (self.home / "own.yaml").write_text(yaml.safe_dump(RAW), encoding="utf-8")
        with in_folder(self.home):
            config = parse(RAW).trials[0].config
            context = WorkerContext(self.storage, "data", str(self.home), 1, 0.0, "commit", driver="")
            for modality in config.modalities:
                preparation.train_classifier(config.data_key, modality, context, config.data_hash)

    def types(self, *words: str) -> Ended:
        """Runs a command on the sweep, `sweep` by default."""
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
        """Returns by trial id what must be the same after every failure: result, losses, checkpoint and pictures."""
        ledger = Ledger(self.storage)
        with in_folder(self.home):
            return {trial.id: self._state_of(trial, ledger) for trial in parse(RAW).trials}

    @staticmethod
    def _state_of(trial: Trial, ledger: Ledger) -> Any:
        result = ledger.result(trial)
        if result is None:
            return ledger.state(trial).status
        losses = [{name: value for name, value in e.values.items() if name != "train/seconds"} for e in result.history]
        checkpoint_matches = result.checkpoint == Digest.of_file(ledger.checkpoint(trial))
        return result.status, result.metrics, losses, checkpoint_matches, sorted(ledger.samples(trial))


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Changes the working folder, and the folder in which user data is looked up, while the context is active."""
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
    """Runs trials in this process, one after another, with an evaluation that takes no time; report and MLflow are optional."""
    replaced: list[tuple[Any, str, Any]] = [
        (sweep, "on_ray_tune", in_process.run),
        (materials, "evaluate", _metrics),
        (attempt, "write_pictures", _pictures),
        (attempt, "rehearse", lambda *_: None),
        (provenance, "machine", dict),
        (retries, "PAUSES", (0.0, 0.0, 0.0)),
        (job_queue, "FIRST_PAUSE", 0.01),
    ]
    if not with_report:
        replaced.append((report, "write", _small_report))
    if not with_mlflow:
        replaced.append((connection, "start_writer", _NoTracker))
    patches = [mock.patch.object(*arguments) for arguments in replaced]
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
    kinds = ("coherence", "log_likelihood")  # the default objectives of a sweep
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
    """Which storage calls fail, and how."""

    errors: tuple[str, ...] = ERRORS
    every_call: bool = False
    """Whether every call fails in turn, or only the first of each site."""
    after: bool = False
    """Whether the failing call does its work first."""
    in_turns: bool = False
    """Whether each call fails with one of the errors, which take turns, or with each error in turn."""
    first: int = 0
    step: int = 1
    """Every `step`-th failure is tried, from number `first` on."""


def tried(template: Sweep, plan: Plan, scratch: Path) -> Iterator[Outcome]:
    """Yields the outcome of each failure of a plan."""
    quiet, counter = template.copy(scratch / "quiet"), Injection(scratch / "quiet")
    with counter.active():
        ended = quiet.types()
    assert ended == Ended(0, ended.error), ended
    expected = quiet.state()
    targets = _targets(counter.calls, plan.every_call)[plan.first :: plan.step]
    for number, (title, strikes) in enumerate(targets):
        errors = (plan.errors[number % len(plan.errors)],) if plan.in_turns else plan.errors
        for error in errors:
            victim = template.copy(scratch / "victim")
            injection = Injection(victim.storage, getattr(errno, error), strikes, plan.after)
            outcome = _outcome(f"{error} {title}", victim, injection, expected)
            if outcome is not None:
                yield outcome


def _outcome(number: str, victim: Sweep, injection: Injection, expected: dict[str, Any]) -> Outcome | None:
    """Returns the outcome of a command in which one call fails and of the same command again; None if no call failed.

    Threads do not make the same calls in every run, so a call that should fail may not come.
    """
    with injection.active():
        first = victim.types()
    if injection.struck is None:
        return None
    again = victim.types()
    state = victim.state()
    lost = "; ".join(f"{key}: {state[key]} and not {expected[key]}" for key in expected if state[key] != expected[key])
    return Outcome(number, injection.struck, first, again, lost)


Strikes = Callable[[int, Call], bool]


def _targets(calls: Sequence[Call], every_call: bool) -> list[tuple[str, Strikes]]:
    """Returns a title and a condition for each call, or for each site, that is to fail."""
    if every_call:
        return [(f"call {number}", partial(_has_number, number)) for number in range(len(calls))]
    sites = dict.fromkeys((call.function, call.site) for call in calls)
    return [(f"{function} at {site}", partial(_is_at, function, site)) for function, site in sites]


def _has_number(target: int, number: int, call: Call) -> bool:
    return number == target


def _is_at(function: str, site: str, number: int, call: Call) -> bool:
    return (call.function, call.site) == (function, site)


def is_well(outcome: Outcome) -> bool:
    """Returns whether nothing was lost, no command had a traceback, and the second one succeeded."""
    crashed = bool(outcome.first.crash or outcome.again.crash)
    printed_traceback = "Traceback" in outcome.first.error + outcome.again.error
    return not (crashed or printed_traceback or outcome.lost or outcome.again.code)


def _kinds(outcome: Outcome) -> list[str]:
    """Returns the counts to which an outcome belongs."""
    kinds = {
        "tried": True,
        "exit 0 at once": outcome.first.code == 0 and not outcome.first.crash,
        "tracebacks": bool(outcome.first.crash or outcome.again.crash),
        "lost": bool(outcome.lost or outcome.again.code),
    }
    return [kind for kind, applies in kinds.items() if applies]


def main() -> None:
    """Tries every failure; prints those that did harm, and a count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", nargs="+", default=list(ERRORS), help="names of error numbers")
    parser.add_argument("--every", choices=("site", "call"), default="site", help="the first call of each line, or every call")
    parser.add_argument("--after", action="store_true", help="the failing call does its work first")
    parser.add_argument("--report", action="store_true", help="with the real report")
    parser.add_argument("--mlflow", action="store_true", help="with MLflow")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="e-") as folder, quick_sweeps(arguments.report, arguments.mlflow):
        template = Sweep(Path(folder) / "home", Path(folder) / "template")
        template.make()
        count, bad = Counter[str](), 0
        for outcome in tried(template, Plan(tuple(arguments.errors), arguments.every == "call", arguments.after), Path(folder)):
            count.update(_kinds(outcome))
            if not is_well(outcome):
                bad += 1
                crash = (outcome.first.crash or outcome.again.crash).strip().rpartition("\n")[2]
                print(f"{outcome.number}: {outcome.call.path}: {crash} {outcome.lost} {outcome.again.error[-300:]}", flush=True)
    print(", ".join(f"{count[kind]} {kind}" for kind in ("tried", "exit 0 at once", "tracebacks", "lost")))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
