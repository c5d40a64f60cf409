"""The driver of a sweep: plan, run what is missing, write the projection and the report."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.files import write_text
from mopoe_core.names import Epoch
from orchestrator import aggregate, pareto, plan, provenance, report, tracking
from orchestrator.events import Event, Outcome
from orchestrator.ledger import Ledger
from orchestrator.progress import Progress
from orchestrator.spec import SweepSpec, cells, trials
from orchestrator.trial import Trial, TrialResult


@dataclass(frozen=True)
class Ended:
    """How a sweep command ended."""

    statuses: dict[str, str]
    """Trial id to status."""
    ran: int
    """Trials that this command ran."""
    paths: report.ReportPaths
    tracking_uri: str
    tracking_problems: tuple[str, ...]
    seconds: float


def run(spec: SweepSpec, source: str, storage: Path, command: str) -> Ended:
    """Bring the ledger to where the spec wants it, then MLflow and the report to where the ledger is.

    `source` is the YAML's text, kept beside the report.
    """
    started = time.monotonic()
    ledger, every = Ledger(storage), trials(spec)
    todo = plan.make(every, ledger).to_run
    commit = provenance.commit()
    write_text(folder(storage, spec) / "sweep.yaml", source)
    uri = tracking.default_uri(storage)
    tracker = tracking.Tracker(spec, every, ledger, uri, commit)
    try:
        if todo:
            _run_missing(spec, every, todo, ledger, tracker, commit)
    finally:
        tracker.close(_summaries(spec, every, ledger))
    statuses = states(every, ledger)
    ended = sum(statuses[trial.id] in ("completed", "diverged") for trial in todo)
    paths = write_report(spec, storage, command)
    return Ended(statuses, ended, paths, uri, tuple(tracker.problems), time.monotonic() - started)


def folder(storage: Path, spec: SweepSpec) -> Path:
    """Where a sweep keeps its spec and report."""
    return storage.absolute() / "sweeps" / spec.name


def states(every: Sequence[Trial], ledger: Ledger) -> dict[str, str]:
    """Trial id to status."""
    return {trial.id: ledger.state(trial).status for trial in every}


def results(every: Sequence[Trial], ledger: Ledger) -> list[TrialResult]:
    """The results that are there."""
    return [result for trial in every if (result := ledger.result(trial)) is not None]


def write_report(spec: SweepSpec, storage: Path, command: str, against_paper: bool = False) -> report.ReportPaths:
    """Write the sweep's report from the ledger."""
    ledger, every = Ledger(storage), trials(spec)
    samples = {trial.id: ledger.samples(trial) for trial in every}
    into = folder(storage, spec) / "report"
    return report.write(spec, results(every, ledger), states(every, ledger), samples, command, into, against_paper)


def front_lines(spec: SweepSpec, found: Sequence[TrialResult]) -> list[str]:
    """The front so far, a line a cell, over the seeds that are there."""
    front = pareto.front(spec.objectives, cells(spec), spec.seed_list, found)
    lines = []
    for point in front.points:
        if point.on_front:
            values = ", ".join(f"{o.metric} {mean:.4g}" for o, mean in zip(spec.objectives, point.means, strict=True))
            lines.append(f"{point.label}: {values}")
    return lines


def _run_missing(
    spec: SweepSpec, every: list[Trial], todo: tuple[Trial, ...], ledger: Ledger, tracker: tracking.Tracker, commit: str
) -> None:
    from orchestrator import schedule  # ray and torch: seconds that a sweep with nothing to run need not wait

    at_once = max(1, min((os.cpu_count() or 1) // spec.resources.cpu, spec.resources.at_once or len(todo), len(todo)))
    found = {result.trial.id: result for result in results(every, ledger)}
    with Progress(every, states(every, ledger), at_once, lambda: front_lines(spec, list(found.values()))) as progress:
        listener = _Listener(every, ledger, tracker, progress, found)
        outcome = schedule.run(todo, every, ledger, spec.resources, commit, listener)
    _settle(todo, ledger, outcome)


class _Listener:
    """Tells MLflow and the screen what happens in the workers: one method a kind of event."""

    def __init__(
        self, every: list[Trial], ledger: Ledger, tracker: tracking.Tracker, progress: Progress, found: dict[str, TrialResult]
    ) -> None:
        self._by_id = {trial.id: trial for trial in every}
        self._ledger, self._tracker, self._progress, self._found = ledger, tracker, progress, found

    def __call__(self, event: Event) -> None:
        kinds = {
            "preparing": self._preparing,
            "prepared": self._prepared,
            "stacks": self._stacks,
            "halved": self._halved,
            "begun": self._begun,
            "epoch": self._epoch,
            "ended": self._ended,
            "retried": self._retried,
            "failed": self._failed,
        }
        kinds[event.kind](event)

    def _preparing(self, event: Event) -> None:
        self._progress.say("preparing data and classifiers; a minute or two where storage does not hold them yet")

    def _prepared(self, event: Event) -> None:
        right = ", ".join(f"{modality} {share:.1%}" for modality, share in event.report["accuracy"].items())
        which = f"{event.report['source']} {event.report['dataset']}"
        self._progress.say(f"{which}; classifiers right on {right} of the test items")

    def _stacks(self, event: Event) -> None:
        said = event.report
        if said["why_not"]:
            self._progress.say(f"trials like {said['label']} are trained one by one: {said['why_not']}")
        elif said["size"] > 1:
            gain = said.get("gain", {}).get(str(said["size"]))
            measured = f", measured to be {gain:.1f} times as fast as one by one" if gain else ""
            self._progress.say(f"trials like {said['label']} are stacked, up to {said['size']} at once{measured}")

    def _halved(self, event: Event) -> None:
        self._progress.say(f"a stack of {event.report['size']} did not fit into memory; it goes on as two halves")

    def _begun(self, event: Event) -> None:
        self._tracker.begun(event.trial_id)
        self._progress.status(event.trial_id, "running")

    def _epoch(self, event: Event) -> None:
        epoch = Epoch(event.report["epoch"], event.report["timestamp_ms"], event.report["values"])
        self._tracker.epoch(event.trial_id, epoch)
        self._progress.epoch(event.trial_id, epoch)

    def _ended(self, event: Event) -> None:
        self._tracker.changed(event.trial_id)
        result = self._ledger.result(self._by_id[event.trial_id])
        if result is not None:
            self._found[event.trial_id] = result
        self._progress.status(event.trial_id, event.report["status"])

    def _retried(self, event: Event) -> None:
        self._unless_ended(event, "pending")

    def _failed(self, event: Event) -> None:
        self._unless_ended(event, "failed")

    def _unless_ended(self, event: Event, status: str) -> None:
        """What befalls a stack concerns those of its trials that have not ended."""
        if event.trial_id not in self._found:
            self._progress.status(event.trial_id, status)


def _settle(todo: Sequence[Trial], ledger: Ledger, outcome: Outcome) -> None:
    """Mark trials that neither completed nor diverged: failed if Ray gave up on them, cancelled if they had begun."""
    for trial in todo:
        state = ledger.state(trial)
        if state.status in ("completed", "diverged"):
            continue
        if trial.id in outcome.errors:
            ledger.fail(trial, ledger.last_error(trial) or outcome.errors[trial.id])
        elif state.attempts:
            ledger.cancel(trial)


def _summaries(spec: SweepSpec, every: Sequence[Trial], ledger: Ledger) -> list[tracking.CellSummary]:
    table = aggregate.cell_table(cells(spec), spec.seed_list, results(every, ledger))
    summaries = []
    for cell in cells(spec):
        rows = table[table.cell_id == cell.id]
        values = {row["name"]: {part: row[part] for part in ("mean", "sd", "low", "high")} for row in rows.to_dict("records")}
        n = int(rows["n"].max()) if len(rows) else 0
        summaries.append(tracking.CellSummary(cell, n, len(spec.seed_list), values if n else {}))
    return summaries
