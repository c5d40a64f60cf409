"""Writes the artifacts of a trial's or cell's run into a folder. Does not import MLflow."""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mopoe_core.metric_names import Metric
from mopoe_core.storage.durability import make_folder, sync
from mopoe_core.storage.paths import AnyPath
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.tracking.summaries import CellSummary

TABLE = "evaluation.csv"
CELL_COLUMNS = ("name", "mean", "sd", "low", "high", "n")


def put(into: Path, ledger: Ledger, result: TrialResult) -> None:
    """Write checkpoint, pictures, evaluation table, provenance and configuration of a trial. Replaces existing files.

    Files on the same file system are linked instead of copied, because 10,000 checkpoints would take their space twice. The ledger
    replaces files and never writes into them, so that a link keeps its content. Everything is synced on return, before MLflow's database
    says that it exists. Raises DamagedError if checkpoint or pictures are missing, or are not those that the result names. Then the run
    is not complete, and the next `track` tries again.
    """
    trial = result.trial
    checkpoint, pictures = ledger.checkpoint(trial), ledger.samples(trial)
    has_checkpoint = artifact_check.check_checkpoint(ledger.folder(trial), checkpoint, result)
    artifact_check.check_pictures(ledger.folder(trial), pictures, result)
    make_folder(into)
    if has_checkpoint:
        _put_file(checkpoint, into / "checkpoint.pt")
    for name, picture in pictures.items():
        (into / "samples").mkdir(exist_ok=True)
        _put_file(picture, into / "samples" / f"{name}.png")
    if pictures:
        sync(into / "samples")
    _put_table(into, [field.name for field in fields(Metric)], [vars(metric) for metric in result.metrics])
    _put_text(into / "provenance.json", json.dumps(result.provenance, indent=1))
    _put_text(into / "config.json", trial.config.model_dump_json(indent=1))
    sync(into)


def put_cell(into: Path, summary: CellSummary) -> None:
    """Write a cell's evaluation table: mean, standard deviation, 95 % interval and number of seeds of each metric. Synced on return."""
    make_folder(into)
    rows = [{"name": name, "n": summary.counts.get(name, summary.n), **parts} for name, parts in summary.plain_values.items()]
    _put_table(into, CELL_COLUMNS, rows)
    sync(into)


def _put_table(into: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write and sync an evaluation table."""
    with (into / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    sync(into / TABLE)


def _put_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    sync(path)


def _put_file(source: AnyPath, target: Path) -> None:
    """Link a local file, or copy it if that fails; copy a remote file. The content is synced on return, the name is not."""
    target.unlink(missing_ok=True)
    if not isinstance(source, Path):
        target.write_bytes(source.read_bytes())
        sync(target)
        return
    try:
        os.link(source, target)  # needs no sync: the ledger has synced the file
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        sync(target)
