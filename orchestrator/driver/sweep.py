"""The driver of a sweep: plan, run what is missing, write the projection and the report."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopoe_core.storage.files import AnyPath, near, write_bytes, write_text
from mopoe_core.storage.remote_path import RemotePath, masked
from mopoe_core.terminal import say
from orchestrator.analysis import aggregation, failure_causes
from orchestrator.analysis.comparable_groups import check_search, groups_of
from orchestrator.driver import replaced_folder, reset_trials, retention
from orchestrator.errors import LedgerError, SweepHeldError
from orchestrator.execution import plan, provenance
from orchestrator.execution.events import Event, Observer, Observers, TrialEnded
from orchestrator.execution.executor import Executor, Outcome, Work
from orchestrator.execution.queue.search_jobs import Proposer
from orchestrator.ledger import artifact_check, sweep_records
from orchestrator.ledger.leases import leases, overlaps
from orchestrator.ledger.leases.leases import Holder, Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger, State
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import ENDED, TrialResult
from orchestrator.ledger.storage_identity import current_id, identify
from orchestrator.monitor.progress import Progress
from orchestrator.monitor.snapshot import Watch, slim
from orchestrator.report import report
from orchestrator.search import outcomes
from orchestrator.spec.sweep_spec import SweepSpec, cells, seeds_of, trials, wanted
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow import projection
from orchestrator.tracking.mlflow.run_links import run_links
from orchestrator.tracking.mlflow.store_address import check_folder

SPREAD = ("mean", "sd", "low", "high")
"""What MLflow shows of each metric of a cell."""
MANY_BEHIND = 200
HASTY_SECONDS = 5.0
"""What MLflow is given where the user does not want to wait; the next command writes the rest."""


@dataclass(frozen=True)
class Ended:
    """How a sweep command ended."""

    statuses: dict[str, str]
    """Trial id to status."""
    ran: int
    """Trials that this command ran."""
    unfinished: int
    """Trials that neither completed nor diverged, and that no search stopped."""
    stopped: str
    """Why the sweep stopped before its end, if it did so by itself."""
    paths: report.ReportPaths
    tracking_uri: str
    tracking_problems: tuple[str, ...]
    seconds: float


def run(
    spec: SweepSpec,
    source: str,
    storage: AnyPath,
    command: str,
    retrain_damaged: bool = False,
    execute: Executor | None = None,
) -> Ended:
    """Bring the ledger to where the spec wants it, then MLflow and the report to where the ledger is.

    `source` is the YAML's text, kept beside the report; `execute` runs the trials, on Ray Tune if it is left out. Raises SweepHeldError
    where another driver runs the sweep, and LedgerError where records are damaged and are not to be set aside.
    """
    started = time.monotonic()
    ledger = Ledger(storage)
    uri = projection.default_uri(ledger.storage)
    check_folder(uri, ledger.storage)
    with _driving(spec, ledger) as lease:
        identify(ledger.storage)  # before anything else is written: a damaged record is refused
        spec = resolve(spec, ledger.storage)  # here, where no other driver adds to it
        made = plan.make(wanted(spec), ledger, thorough=retrain_damaged)
        if made.damaged and retrain_damaged:
            for moved in reset_trials.put_back([*made.damaged], ledger, lease, "damaged"):
                say(f"{moved.trial.label}: set aside as {moved.aside}, to be trained again")
            made = plan.make(wanted(spec), ledger)
        if made.damaged:
            raise LedgerError(plan.damage(made, ledger.storage))
        if spec.search:
            check_search(spec, ledger.results_of(made.done))
        write_text(folder(ledger.storage, spec) / "sweep.yaml", _without_secrets(source, spec))
        sweep_records.remember(spec, ledger.storage)
        for trial in made.unpublished:
            ledger.publish(trial)
        stopped, problems, paths, statuses = _bring_on(spec, made, ledger, uri, lease, command, execute or on_ray_tune)
        spec = resolve(spec, ledger.storage)
        there = {trial.id for trial in made.done}
        ended = sum(status in ENDED and key not in there for key, status in statuses.items())
        unfinished = sum(statuses[trial.id] not in ENDED for trial in wanted(spec))
        lease.check()
        if spec.keep == "front":
            retention.delete(retention.surplus(spec, ledger.storage), ledger.storage)
    return Ended(statuses, ended, unfinished, stopped, paths, uri, problems, time.monotonic() - started)


@contextmanager
def _driving(spec: SweepSpec, ledger: Ledger) -> Iterator[Lease]:
    """Be the sweep's only driver. Raises SweepHeldError where another is, or where another has taken over."""
    place = folder(ledger.storage, spec)
    with Lease(ledger.storage) as lease:
        _take(lease, spec, place)
        try:
            yield lease
        except LeaseLost:
            with suppress(OSError):
                overlaps.note(place, lease.holder, "one that took over")
            raise SweepHeldError(
                f"{spec.name}: this command stood still for so long that another may drive the sweep now; this one has stopped, and "
                "nothing is lost; type it again when the other has ended"
            ) from None


def _take(lease: Lease, spec: SweepSpec, place: AnyPath) -> None:
    """Be the sweep's only driver. Where the one before is not surely dead, watch for a while whether it lives."""
    watched: list[str] = []

    def tell(holder: Holder) -> None:
        watched.append(str(holder))
        say(f"{spec.name}: was being run by {holder}; waiting to see whether that is still alive")

    if (holder := lease.claim_patiently(place, tell)) is not None:
        stopped = ", which is stopped (`fg` lets it go on)" if leases.is_stopped(holder) else ""
        raise SweepHeldError(
            f"{spec.name}: is being run by {holder}{stopped}; wait for it, or stop that process and type the same command again"
        )
    if watched:  # it may only have stood still
        overlaps.note(place, lease.holder, watched[0])


def _bring_on(
    spec: SweepSpec, made: plan.Plan, ledger: Ledger, uri: str, lease: Lease, command: str, execute: Executor
) -> tuple[str, tuple[str, ...], report.ReportPaths, dict[str, str]]:
    """Run what is missing, with MLflow beside it, and write the report, which the sweep's run in MLflow has; returns why the
    sweep stopped before its end, what MLflow did not take, where the report is, and each trial's status by its id.
    """
    commit, doubts = provenance.commit(), overlaps.noted(folder(ledger.storage, spec))
    tracker = projection.Tracker(spec, trials(spec), ledger, uri, commit, lease.check, look=bool(doubts))
    stopped, patience, whole = "", float("inf"), None
    try:
        if made.to_run or spec.search:
            stopped = _run_missing(spec, made, ledger, tracker, commit, lease, execute)
        found = resolve(spec, ledger.storage)
        read = _read(found, ledger)
        lease.check()
        paths = _write_report(found, ledger, read, command)
        whole = sweep_summary(found, paths, read.statuses)
    except KeyboardInterrupt:  # the second one
        patience = HASTY_SECONDS
        raise
    finally:
        if tracker.behind > MANY_BEHIND and not lease.is_lost:
            say(f"MLflow is {tracker.behind} messages behind; writing them (Ctrl-C leaves that to the next command)")
        tracker.close(summaries(resolve(spec, ledger.storage), ledger), patience, whole)
    problems = (*tracker.problems, *_compare(found, ledger, uri, lease, doubts, tracker.problems, whole))
    return stopped, problems, paths, read.statuses


def _compare(
    spec: SweepSpec,
    ledger: Ledger,
    uri: str,
    lease: Lease,
    doubts: Sequence[AnyPath],
    problems: Sequence[str],
    whole: projection.SweepSummary,
) -> tuple[str, ...]:
    """Compare MLflow with the ledger once more where another driver woke while this one ran. Returns what could not be written.

    `doubts` are the notes of overlaps that MLflow was compared for; they are removed if that went well.
    """
    new = [path for path in overlaps.noted(folder(ledger.storage, spec)) if path not in doubts]
    if new:
        problems = projection.catch_up(
            spec, trials(spec), ledger, uri, provenance.commit(), summaries(spec, ledger), whole, lease.check
        )
    if not problems:
        for path in (*doubts, *new):
            path.unlink(missing_ok=True)
    return tuple(problems) if new else ()


def _without_secrets(source: str, spec: SweepSpec) -> str:
    """The sweep's file without key and secret of its storage; where they are spelled so that they are not found, what it says instead."""
    if masked(spec.storage) == spec.storage:
        return source
    if spec.storage in source:
        return source.replace(spec.storage, masked(spec.storage))
    return sweep_records.record(spec)


def track(spec: SweepSpec, storage: AnyPath, command: str, rebuild: bool) -> tuple[str, tuple[str, ...]]:
    """Bring report and MLflow to where the ledger is, or write every run anew; returns MLflow's address, and what could not be written.

    `command` is the one that runs the sweep, for the report to say.
    Raises SweepHeldError where a driver runs the sweep: MLflow has one writer.
    """
    ledger = Ledger(storage)
    uri = projection.default_uri(ledger.storage)
    check_folder(uri, ledger.storage)
    with _driving(spec, ledger) as lease:
        identify(ledger.storage)
        spec = resolve(spec, ledger.storage)
        doubts = overlaps.noted(folder(ledger.storage, spec))
        write = projection.rebuild if rebuild else projection.catch_up
        read = _read(spec, ledger)
        whole = sweep_summary(spec, _write_report(spec, ledger, read, command), read.statuses)
        problems = write(spec, trials(spec), ledger, uri, provenance.commit(), summaries(spec, ledger), whole, lease.check)
        again = _compare(spec, ledger, uri, lease, doubts, problems, whole)
        return uri, (*problems, *again)


def folder(storage: AnyPath, spec: SweepSpec) -> AnyPath:
    """Where a sweep keeps its spec and report."""
    return storage / "sweeps" / spec.name


@dataclass(frozen=True)
class _Read:
    """What the ledger says of a sweep, of one reading: of thousands of trials each takes seconds."""

    states: Mapping[str, State]
    """By trial id."""
    results: Sequence[TrialResult]

    @property
    def statuses(self) -> dict[str, str]:
        """By trial id."""
        return {trial_id: state.status for trial_id, state in self.states.items()}


def _read(spec: SweepSpec, ledger: Ledger) -> _Read:
    every = trials(spec)
    known = ledger.each(ledger.known, every)
    states = {trial.id: one.state for trial, one in zip(every, known, strict=True)}
    return _Read(states, [one.result for one in known if one.result is not None])


def write_report(
    spec: SweepSpec,
    storage: AnyPath,
    command: str,
    against_paper: bool = False,
    unequal: bool = False,
    to: Path | None = None,
) -> report.ReportPaths:
    """Write the sweep's report from the ledger, to a local folder; for remote storage, there as well. With `to`, only into that."""
    ledger = Ledger(storage)
    return _write_report(spec, ledger, _read(spec, ledger), command, against_paper, unequal, to)


def _write_report(
    spec: SweepSpec,
    ledger: Ledger,
    read: _Read,
    command: str,
    against_paper: bool = False,
    unequal: bool = False,
    to: Path | None = None,
) -> report.ReportPaths:
    every, now = trials(spec), read.statuses
    samples: dict[str, Mapping[str, AnyPath]] = {
        trial.id: found for trial, found in zip(every, ledger.each(ledger.samples, every), strict=True)
    }
    samples |= {r.trial.id: artifact_check.CheckedPictures(samples[r.trial.id], r) for r in read.results}
    told = _told(spec, ledger, read.results, now) if spec.search else ()
    kept = folder(ledger.storage, spec) / "sweep.yaml"
    beside = report.Beside(
        tuple(failure_causes.find(every, read.states, ledger)),
        run_links(projection.default_uri(ledger.storage), spec.name, current_id(ledger.storage)),
        kept.read_bytes().decode(errors="replace") if kept.exists() else "",
        unequal,
    )

    def build(into: Path) -> report.ReportPaths:
        paths = report.write(spec, read.results, now, samples, command, into, against_paper, told, beside)
        if to is None and isinstance(ledger.storage, RemotePath):
            upload_report(into, ledger.storage / "sweeps" / spec.name / "report")
        return paths

    return replaced_folder.replaced(to or near(ledger.storage) / "sweeps" / spec.name / "report", build, report.is_part)


def upload_report(built: Path, there: RemotePath) -> None:
    """Put a report into remote storage, file by file, the page last; files of a report that was there before go."""
    names = [path.relative_to(built).as_posix() for path in built.rglob("*.*")]
    for name in sorted(names, key=lambda name: name == report.PAGE):
        write_bytes(there / name, (built / name).read_bytes())
    for old in (*there.glob("*"), *there.glob("*/*")):
        name = old.path.removeprefix(f"{there.path}/")
        if name not in names and report.is_part(name.partition("/")[0]):
            old.unlink(missing_ok=True)


def _told(spec: SweepSpec, ledger: Ledger, results: Sequence[TrialResult], now: Mapping[str, str]) -> list[outcomes.Told]:
    given_up = {trial_id for trial_id, status in now.items() if status == "failed"}
    return outcomes.of_search(spec, ledger.storage, groups_of(spec, results).results, given_up)


def on_ray_tune(work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
    """The executor of users' sweeps."""
    from orchestrator.execution.ray_tune import tuner  # ray and torch: seconds that a sweep with nothing to run need not wait

    return tuner.run(work, observer, search)


def _run_missing(
    spec: SweepSpec,
    made: plan.Plan,
    ledger: Ledger,
    tracker: projection.Tracker,
    commit: str,
    lease: Lease,
    execute: Executor,
) -> str:
    """Run what the plan says, and what a search finds; returns why the sweep stopped before its end, if it did so by itself."""
    outcome = Outcome({})
    seen = Watch(spec, ledger.storage).look()
    results = {result.trial.id: result for result in seen.results}
    with Progress(seen) as progress:
        ended = _EndedTrials(spec, ledger, tracker, progress, results)
        search, todo = None, made.to_run
        if spec.search is not None:
            from orchestrator.search.engine import Searching  # optuna, which no other sweep need wait for

            search = Searching(spec, ledger, results, ended.widen, progress.say, lease.check)
            todo = tuple(search.start())
        if not todo:
            return ""
        observers = [_LeaseCheck(lease), tracker, ended, *([search] if search else []), progress]
        work = Work(
            todo,
            trials(ended.spec),
            ledger,
            spec.resources,
            commit,
            lease.holder.token,
            made.estimate.seconds,
        )
        try:
            outcome = execute(work, Observers(*observers), search)
        finally:
            lease.check()  # where another driver goes on, there is nothing to settle
            _settle(wanted(resolve(ended.spec, ledger.storage)), ledger, outcome, lease.holder.token)
    return outcome.stopped


class _LeaseCheck(Observer):
    """Raises LeaseLost where another driver may have taken over, before any other observer receives an event."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def notify(self, event: Event) -> None:
        """Check, whatever the event."""
        self._lease.check()


class _EndedTrials(Observer):
    """Keeps the results of trials that have ended, for the search, and shows them. `spec` is the sweep with the cells that it has now."""

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        tracker: projection.Tracker,
        progress: Progress,
        results: dict[str, TrialResult],
    ) -> None:
        self.spec = spec
        self._by_id = {trial.id: trial for trial in trials(spec)}
        self._ledger, self._tracker, self._progress, self._results = ledger, tracker, progress, results

    def widen(self, spec: SweepSpec) -> None:
        """A search has found cells, or given them seeds."""
        self.spec = spec
        new = [trial for trial in trials(spec) if trial.id not in self._by_id]
        self._by_id |= {trial.id: trial for trial in new}
        self._tracker.add(new)
        self._progress.add(spec, new)
        for trial in new:
            self._take(trial)

    def on_trial_ended(self, event: TrialEnded) -> None:
        """Read its result."""
        self._take(self._by_id[event.trial_id])

    def _take(self, trial: Trial) -> None:
        result = self._ledger.result(trial)
        if result is not None:
            self._results[trial.id] = slim(result, self.spec)
            self._progress.ended(self._results[trial.id])


def _settle(todo: Sequence[Trial], ledger: Ledger, outcome: Outcome, driver: str) -> None:
    """Mark trials that neither completed nor diverged: failed if they were given up, cancelled if they had begun.

    Those that another sweep is at, and those of a sweep that stopped by itself, are left as they are.
    """
    for trial in todo:
        state = ledger.state(trial)
        if state.status in ENDED:
            continue
        leases.release(ledger.storage, ledger.folder(trial), driver)
        if trial.id in outcome.errors:
            ledger.fail(trial, ledger.last_error(trial) or outcome.errors[trial.id])
        elif state.attempts and not outcome.stopped and ledger.holder(trial) is None:
            ledger.cancel(trial)


def summaries(spec: SweepSpec, ledger: Ledger) -> list[projection.CellSummary]:
    """What MLflow shows of each cell, by the results that may be compared."""
    seeds = seeds_of(spec)
    grouped = groups_of(spec, ledger.results_of(trials(spec)))
    found = {}
    for group in grouped.groups:
        table = aggregation.cell_table(group.cells, {cell.id: seeds[cell.id] for cell in group.cells}, group.results)
        rows: dict[str, list[tuple[Any, ...]]] = {cell.id: [] for cell in group.cells}
        for cell_id, *row in zip(*(table[name].tolist() for name in ("cell_id", "n", "name", *SPREAD)), strict=True):
            rows[cell_id].append(tuple(row))
        for cell in group.cells:
            n = max((row[0] for row in rows[cell.id]), default=0)
            values = {name: dict(zip(SPREAD, numbers, strict=True)) for _, name, *numbers in rows[cell.id]}
            found[cell.id] = projection.CellSummary(cell, n, len(seeds[cell.id]), values if n else {}, group.label)
    return [found[cell.id] for cell in cells(spec)]


def sweep_summary(spec: SweepSpec, paths: report.ReportPaths, statuses: Mapping[str, str]) -> projection.SweepSummary:
    """What MLflow shows of the whole sweep: the report, and of a search its course. `statuses` has each trial's by its id."""
    parameters = {"seeds": json.dumps(spec.seed_list), "objectives": ", ".join(f"{o.goal} {o.metric}" for o in spec.objectives)}
    figures = [path for front in paths.fronts for path in (front.png, front.svg, front.pdf)]
    files = [*figures, paths.markdown, paths.cells_csv, paths.trials_parquet]
    if paths.search is not None and spec.search is not None:
        said = spec.search.model_dump(mode="json", exclude_defaults=True)
        said |= {"sampler": spec.search.sampler, "seed": spec.search.seed}
        parameters |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
        found = paths.search
        return projection.SweepSummary(
            spec.name, parameters, found.told, found.courses, found.counts, sorted({*files, *found.figures}), paths.page
        )
    ends = {cell.id: {statuses[Trial(cell, seed).id] for seed in spec.seed_list} for cell in cells(spec)}
    kinds = {key: next((kind for kind in ("diverged", "failed") if kind in found), "completed") for key, found in ends.items()}
    kinds |= {key: "open" for key, found in ends.items() if found - {*ENDED, "failed"}}
    complete = [key for key, kind in kinds.items() if kind == "completed"]
    parameters |= {f"group {front.slug}": front.label for front in paths.fronts if front.slug}
    courses = {
        f"hypervolume/{front.slug}" if front.slug else "hypervolume": [*[math.nan] * (len(complete) - 1), front.hypervolume]
        for front in paths.fronts
        if front.hypervolume is not None and complete
    }
    return projection.SweepSummary(spec.name, parameters, complete, courses, Counter(kinds.values()), files, paths.page)
