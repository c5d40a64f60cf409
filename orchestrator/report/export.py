"""Writes a sweep as one tidy table, with a row for each trial and metric, for other programs. `docs/analysis.py` reads it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mopoe_core.errors import UserError
from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.aggregation import METRIC_COLUMNS, trial_table
from orchestrator.analysis.comparable_groups import trial_labels
from orchestrator.ledger.layout import local_sweep_folder
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render.table_files import parts_of, write_parquet
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial, labels

ALWAYS = ("dataset", "source", "scale", "networks", "model", "beta", "epochs")
"""Fields of the configuration that always have a column."""


def default_path(spec: SweepSpec, storage: AnyPath) -> Path:
    """Returns the path of the export beside the report, on this machine."""
    return local_sweep_folder(storage, spec.name) / "export.parquet"


def tidy(trials: Sequence[Trial], statuses: Mapping[str, str], results: Sequence[TrialResult]) -> Iterator[pd.DataFrame]:
    """Yields the table in parts, in the sweep's order. `statuses` has each trial's status, by its id. Columns:

    trial_id, cell_id, label, seed, status    the trial; a trial that has not completed has one row without a metric
    dataset ... beta, epochs, and more        the configuration: `ALWAYS`, and every field that varies between the cells
    name ... unit                             the metric, as in `aggregation.TRIAL_COLUMNS`: `value` is computed from `n` examples, and
                                              its standard error is `mc_error`
    epochs_trained                            how many epochs the trial was trained for; missing without a result
    train_seconds, evaluate_seconds, commit   as the result has them
    group                                     only if not all cells may be compared: a label that differs for trials whose numbers may
                                              not be compared (`comparable_groups`)
    """
    results_by_id = {result.trial.id: result for result in results}
    about = _about(trials, statuses, results_by_id)
    group_labels = trial_labels(trials, results)
    if len(set(group_labels.values())) > 1:
        about["group"] = about["trial_id"].map(group_labels)
    for places, part in zip(parts_of(range(len(trials))), parts_of(trials), strict=True):
        part_results = [results_by_id[trial.id] for trial in part if trial.id in results_by_id]
        metrics = trial_table(part_results)[["trial_id", *METRIC_COLUMNS]]
        table = about.iloc[list(places)].merge(metrics, on="trial_id", how="left")
        table["n"] = table["n"].astype("Int64")
        yield table


def _about(trials: Sequence[Trial], statuses: Mapping[str, str], results_by_id: Mapping[str, TrialResult]) -> pd.DataFrame:
    """Returns a row for each trial, with all columns but those of the metric."""
    cells = list({trial.cell.id: trial.cell for trial in trials}.values())
    label_of, fields = labels(cells), _fields(cells)
    about = pd.DataFrame(
        {"trial_id": trial.id, "cell_id": trial.cell.id, "label": label_of[trial.cell.id], "seed": trial.seed}
        | {"status": statuses[trial.id]}
        | {field: getattr(trial.config, field) for field in fields}
        | _of_result(results_by_id.get(trial.id))
        for trial in trials
    )
    for field in fields:
        about[field] = _plain(about[field])
    about["epochs_trained"] = about["epochs_trained"].astype("Int64")
    return about


def write(table: Iterator[pd.DataFrame], path: Path) -> int:
    """Write the table whole or not at all, and return the number of its rows. Raises UserError if the file cannot be written."""
    if path.suffix != ".parquet":
        raise UserError(f"--to: {path} does not end with .parquet; name such a file")
    rows = 0

    def counted() -> Iterator[pd.DataFrame]:
        nonlocal rows
        for part in table:
            rows += len(part)
            yield part

    try:
        write_parquet(counted(), path)
    except OSError as error:
        raise UserError(f"--to: {path} cannot be written ({error.strerror}); name another file") from None
    return rows


def _fields(cells: Sequence[Cell]) -> list[str]:
    """Returns the fields of the configuration that have a column in a table of these cells."""
    configs = [cell.config.model_dump() for cell in cells]
    varying = [field for field in configs[0] if any(config[field] != configs[0][field] for config in configs)]
    return list(dict.fromkeys([*ALWAYS, *(field for field in varying if field != "data_hash")]))


def _of_result(result: TrialResult | None) -> dict[str, Any]:
    """Returns the columns that come from the result; missing values if there is none."""
    if result is None:
        return dict.fromkeys(("epochs_trained", "train_seconds", "evaluate_seconds", "commit"))
    return {
        "epochs_trained": len(result.history),
        "train_seconds": result.train_seconds,
        "evaluate_seconds": result.evaluate_seconds,
        "commit": str(result.provenance.get("commit", "")),
    }


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Returns the column with values of one type, as parquet needs it.

    A missing text becomes empty, as in the report's tables. If a value is a list, or texts and numbers are mixed, all values become JSON.
    """
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {str}:
        return column.fillna("").astype(str)
    if kinds <= {bool} or kinds <= {int, float}:
        return column
    return column.map(json.dumps)
