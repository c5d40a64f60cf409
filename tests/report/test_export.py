"""`export`: one tidy table, which forgets no trial, and the script that reads it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from orchestrator.analysis.aggregation import trial_table
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, grid_results, result
from tests.support.naming import names, names_in_order

ROOT = Path(__file__).parents[2]


@pytest.fixture
def swept(tmp_path):
    """Two models, two betas and a cell with weights of its own, two seeds: some completed, one diverged, one failed, one pending."""
    raw = {
        "name": "t",
        "base": {"dataset": "mnist_svhn_text", "networks": "small"},
        "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2]},
        "include": [{"model": "mopoe", "reconstruction_weights": [1, 2, 3], "train_examples": 1000}],
        "seeds": 2,
        "storage": str(tmp_path / "runs"),
    }
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    ledger, every = Ledger(tmp_path / "runs"), parse(raw).trials
    diverged, failed, _ = every[-3:]
    for trial in every[:-1]:
        ledger.begin(trial)
    for found in grid_results(parse(raw).cells, 2):
        if found.trial in every[:-3]:
            ledger.record(found)
    ledger.record(result(diverged.cell, diverged.seed, {}, "diverged"))
    ledger.fail(failed, "ValueError: no")
    return path, ledger, every


def test_the_table_has_every_number_and_every_trial(swept, types_here):
    """A row a completed trial and metric, with the values of the report's own table; one row for each other trial, with its status and
    no metric; in the sweep's order.
    """
    path, ledger, every = swept
    code, out, err = types_here("export", path)
    assert (code, err) == (0, "")
    file = ledger.storage / "sweeps" / "t" / "export.parquet"
    assert names_in_order(out.splitlines()[0], 59, 10)
    assert names(out.splitlines()[1], file)
    table = pd.read_parquet(file)
    assert list(dict.fromkeys(table.trial_id)) == [trial.id for trial in every]
    complete = table[table.status == "completed"].reset_index(drop=True)
    own = trial_table(ledger.results_of(every))
    for column in ("trial_id", "name", "kind", "subset", "target", "value", "mc_error", "n", "unit", "model", "beta", "seed"):
        assert complete[column].tolist() == own[column].tolist()
    others = table[table.status != "completed"]
    assert others.status.tolist() == ["diverged", "failed", "pending"]
    assert others[["name", "value", "n"]].isna().all(axis=None)
    assert others.epochs_trained.tolist() == [1, pd.NA, pd.NA]


def test_the_table_has_a_column_for_what_varies_and_none_for_what_does_not(swept, types_here):
    """Values that are lists or words are spelled as JSON; a field that all cells share, but for those that always stand there, is left
    out; commit and times are the result's.
    """
    path, ledger, _ = swept
    types_here("export", path, "--to", path.parent / "deep" / "er.parquet")
    table = pd.read_parquet(path.parent / "deep" / "er.parquet")
    assert set(table.reconstruction_weights) == {'"size"', "[1.0, 2.0, 3.0]"}
    assert set(table.train_examples.dropna()) == {1000}
    assert "latent_dim" not in table
    assert set(table.networks) == {"small"}
    assert set(table.scale) == {""}
    assert set(table.epochs) == {150}
    complete = table[table.status == "completed"]
    assert {(row.commit, row.train_seconds, row.evaluate_seconds) for row in complete.itertuples()} == {("abc", 2.0, 1.0)}


@pytest.mark.parametrize("to", ["t.csv", "t.yaml/t.parquet"])
def test_a_place_where_no_table_can_be_is_refused_in_one_line(swept, types_here, to):
    """Another ending, and a folder that is a file."""
    path, _, _ = swept
    code, out, err = types_here("export", path, "--to", path.parent / to)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: --to: ")
    assert names(err, path.parent / to)
    assert to != "t.csv" or ".parquet" in err


def test_the_script_of_the_docs_reads_the_table_and_draws(swept, types_here):
    """docs/analysis.py prints each cell's mean over its seeds and leaves a picture beside the table."""
    path, ledger, _ = swept
    types_here("export", path)
    file = ledger.storage / "sweeps" / "t" / "export.parquet"
    command = [sys.executable, "-W", "error", "docs/analysis.py", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert COHERENCE in done.stdout
    assert "mvae" in done.stdout
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
