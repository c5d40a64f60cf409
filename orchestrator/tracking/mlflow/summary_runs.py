"""Writes the runs of cells and of the whole sweep into MLflow: what the trials' results say together."""

from collections.abc import Mapping, Sequence
from functools import partial

from mlflow.entities import Param

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Cell, Trial
from orchestrator.tracking.ledger_marks import digest, is_stamp
from orchestrator.tracking.mlflow import points, run_files
from orchestrator.tracking.mlflow.run_times import RunTimes
from orchestrator.tracking.mlflow.runs import Run, Runs, copy_files
from orchestrator.tracking.summaries import CellSummary, SweepSummary

FORM = 2
"""Version of the runs of cells and sweeps. With a new number, these runs are written anew from the same results."""


class SummaryRuns:
    """The runs of a sweep's cells, and of the sweep itself.

    `trials` has the trials of each cell by its id; a search adds to it.
    """

    def __init__(self, runs: Runs, trials: Mapping[str, Sequence[Trial]], ledger: Ledger) -> None:
        self._runs, self._trials, self._ledger = runs, trials, ledger
        self._times = RunTimes(ledger)

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """Write the run of a cell, with the times of its trials.

        MLflow keeps all points and shows those of the highest step. So a cell whose numbers have changed gets a new run: otherwise a cell
        that loses a seed would still show the mean of more seeds.
        """
        cell, trials = summary.cell, self._trials.get(summary.cell.id, [])
        existing = self._runs.get(cell.id)
        if not (summary.n or existing is not None or cell.id in self._runs.orphaned):
            return
        if existing is not None and not summary.n and not any(self._runs.get(trial.id) for trial in trials):
            self._runs.delete(cell.id)  # all of its trials were reset
            return
        content = digest(FORM, summary.n, summary.plain_values, self._stamps(trials, marks), *summary.tags.values())
        count = f"{summary.n}/{summary.n_planned}"
        mark = f"{content} {count}"
        status, run_status = _status_of_summary(is_done=summary.n == summary.n_planned)
        if existing is not None and existing.mark.partition(" ")[0] not in ("", content):
            self._runs.delete(cell.id)
            self._runs.orphaned.add(cell.id)
        run = self.run_of_cell(cell)
        if run.is_complete(mark, (run_status,)):
            return
        self._runs.put_artifacts(run, partial(run_files.put_cell, summary=summary))
        ended_ms = self._times.cell_ended_ms(trials)
        tags = {"kind": "cell", "projected": mark, "n": count, "status": status, **summary.tags}
        self._runs.log(run, lambda: points.parameters(cell, {}), points.cell_points(summary, ended_ms), tags)
        self._runs.end(run, run_status, ended_ms)
        run.mark, run.kind, run.has_lost_artifacts = mark, "cell", False

    def _stamps(self, trials: Sequence[Trial], marks: Mapping[str, str] | None) -> list[str]:
        """Returns the stamps of the trials that have a result, sorted; from `marks` if these are known."""
        all_marks = [marks.get(trial.id, "") if marks else self._ledger.stamp(trial) for trial in trials]
        return sorted(mark for mark in all_marks if is_stamp(mark))

    def sweep(self, summary: SweepSummary) -> None:
        """Write the run of the sweep, with the times of its trials. If anything in it has changed, it is a new run, as for cells."""
        mark, existing = digest(FORM, summary.content), self._runs.get(summary.name)
        status, run_status = _status_of_summary(is_done=not summary.counts.get("open"))
        if existing is not None and existing.is_complete(mark, (run_status,)):
            return
        if existing is not None and existing.mark != mark:
            self._runs.delete(summary.name)
        run = self._runs.get(summary.name) or self._create_sweep(summary)
        ends_ms = [self._times.cell_ended_ms(self._trials.get(cell_id, [])) for cell_id in summary.ended_cell_ids]
        self._runs.put_artifacts(run, partial(copy_files, [*summary.files, *([summary.page] if summary.page else [])]))
        tags = {"projected": mark, "status": status, **{f"cells_{name}": str(count) for name, count in summary.counts.items()}}
        parameters = [Param(name, value) for name, value in summary.parameters.items()]
        self._runs.log(run, lambda: parameters, points.sweep_points(summary, ends_ms), tags)
        self._runs.end(run, run_status, max(ends_ms, default=None))
        run.mark, run.has_lost_artifacts = mark, False

    def _create_sweep(self, summary: SweepSummary) -> Run:
        tags = {"kind": "sweep", "sweep_id": summary.name, "status": "pending", "mlflow.runName": summary.name}
        all_trials = [trial for trials in self._trials.values() for trial in trials]
        return self._runs.create("sweep", summary.name, tags, self._times.first_start_ms(all_trials))

    def run_of_cell(self, cell: Cell) -> Run:
        """Returns the run of a cell; creates it if there is none, and makes it the parent of its trials' runs."""
        run = self._runs.get(cell.id)
        if run is None:
            tags = {"kind": "cell", "status": "pending", "mlflow.runName": cell.label, **points.cell_tags(cell)}
            run = self._runs.create("cell", cell.id, tags, self._times.first_start_ms(self._trials.get(cell.id, [])))
        if cell.id in self._runs.orphaned:
            self._runs.set_parent(cell.id, run)
        return run


def _status_of_summary(is_done: bool) -> tuple[str, str]:
    """Returns the tag `status` and MLflow's status for the run of a cell or sweep."""
    return ("completed", "FINISHED") if is_done else ("pending", "KILLED")
