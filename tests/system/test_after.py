"""The commands for after a sweep, on what a real one left that had an exception and a divergence, on a dataset of the user's own."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.support.commands import typed_here
from tests.support.naming import line_naming, names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder that the commands are typed in; the sweep has run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mine.py").write_text((ROOT / "tests" / "support" / "own_data.py").read_text())
    raw = {
        "name": "own",
        "base": {"dataset": "mine.py:made", "model": "mopoe", "batch_size": 50, "epochs": 2},
        "grid": {"latent_dim": [2, 3, 5]},
        "include": [{"latent_dim": 2, "learning_rate": 1e18}],
        "resources": {"retries": 0},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(raw))
    done = types(folder, "sweep own.yaml", code=1)
    assert names(line_naming(done.stdout, "completed", "failed", "diverged"), "2 completed", "1 failed", "1 diverged", 4)
    assert "mopoe ui own.yaml" in done.stdout
    return folder


def types(folder, words, code=0):
    """Run a command in a folder and a process of its own, and expect an exit code."""
    command = [sys.executable, "-m", "orchestrator", *shlex.split(words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def types_here(folder, words, code=0):
    """Run a command in a folder and in this process, and expect an exit code."""
    done = typed_here(*shlex.split(words), folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_the_failure_is_told_from_the_divergence_and_its_command_reproduces_it(home):
    """Two groups; the printed command, typed as it stands, ends with the very exception that the sweep recorded."""
    told = types_here(home, "failures own.yaml").stdout
    raised, diverged = told.split("\n2. ")
    cause = raised.partition("\n1. ")[2].splitlines()[0]
    assert "ValueError" in cause
    assert "mine.py:" in cause
    assert line_naming(raised, "latent_dim=5", "(0)")
    assert line_naming(diverged, "learning_rate=1e+18", "(0)")
    assert "ValueError" not in diverged
    command = line_naming(raised, "rerun", "--trial", "--here").partition("mopoe ")[2]
    done = types(home, command, code=1)
    assert done.stderr.strip().endswith("ValueError: five is too many")  # raised by the user's own dataset
    assert "in forward" in done.stderr


def test_what_a_worker_trained_is_bit_equal_in_the_foreground(home):
    """History, metrics and weights of a Ray worker are those of a process of its own."""
    lines = [line for line in types_here(home, "audit own.yaml --sample 2").stdout.splitlines() if "bit-equal" in line]
    assert [names(line, "2 epochs", "32 metrics", "weights") for line in lines] == [True, True]


def test_the_table_counts_the_failed_and_the_diverged(home):
    """Every status is there."""
    types_here(home, "export own.yaml --to table.parquet")
    table = pd.read_parquet(home / "table.parquet")
    assert table.groupby("status").trial_id.nunique().to_dict() == {"completed": 2, "diverged": 1, "failed": 1}
    assert set(table.latent_dim) == {2, 3, 5}


def test_a_trial_that_was_put_back_is_trained_again_to_the_same_numbers(home, undrawn):
    """The next sweep runs it beside the failed one, which it tries again by itself, and nothing else."""
    before = pd.read_csv(home / "runs" / "sweeps" / "own" / "report" / "trials.csv")
    chosen = before.trial_id[0]
    types_here(home, f"rerun own.yaml --trial {chosen}")
    assert line_naming(types_here(home, "status own.yaml --trials").stdout, chosen)
    results = {path: path.stat().st_mtime_ns for path in (home / "runs" / "trials").glob("*/result.json")}
    types_here(home, "sweep own.yaml", code=1)
    written = {path for path in (home / "runs" / "trials").glob("*/result.json") if path.stat().st_mtime_ns != results.get(path)}
    assert {path.parent.name for path in written} == {chosen}
    pd.testing.assert_frame_equal(pd.read_csv(home / "runs" / "sweeps" / "own" / "report" / "trials.csv"), before)
