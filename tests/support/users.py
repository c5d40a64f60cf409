"""Somebody with a storage folder and a terminal: real commands, in processes of their own."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml
from mlflow import MlflowClient

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.support.commands import typed_here

ROOT = Path(__file__).parents[2]


class User:
    """Types commands and looks at what came of them."""

    def __init__(self, home: Path, storage: Path, data: Path) -> None:
        self.home, self.storage, self.data = home, storage, data

    @classmethod
    def with_classifiers(cls, home: Path, classifiers: Path, data: Path) -> "User":
        """Returns a user whose storage holds nothing but trained classifiers."""
        storage = home / "storage"
        storage.mkdir()
        (storage / "classifiers").symlink_to(classifiers)
        return cls(home, storage, data)

    def spec(self, name="tiny", **changes) -> Path:
        """A sweep file of three small trials, changed as asked; None takes a field out."""
        base = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 3, "batch_size": 64}
        raw = {
            "name": name,
            "base": base | {"train_examples": 640, "test_examples": 100} | changes.pop("base", {}),
            "grid": {"model": ["mvae", "mmvae", "mopoe"]},
            "resources": {"data": str(self.data), "retries": 1} | changes.pop("resources", {}),
            "storage": str(self.storage),
        } | changes
        path = self.home / f"{name}.yaml"
        path.write_text(yaml.safe_dump({field: value for field, value in raw.items() if value is not None}))
        return path

    def command(self, *words) -> list[str]:
        """`python -m orchestrator ...`."""
        return [sys.executable, "-m", "orchestrator", *map(str, words)]

    def types(self, *words, code=0, **environment) -> subprocess.CompletedProcess:
        """Run a command to its end and expect an exit code."""
        done = subprocess.run(
            self.command(*words), cwd=ROOT, capture_output=True, text=True, timeout=400, env=os.environ | environment
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def types_here(self, *words, code=0, **environment) -> subprocess.CompletedProcess:
        """Run a command in this process, which is quicker, and expect an exit code."""
        done = typed_here(*words, **environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def starts(self, *words, **environment) -> subprocess.Popen:
        """Start a command, its output in pipes."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command(*words), cwd=ROOT, env=os.environ | environment, **pipes)

    def trials(self, path: Path) -> list:
        """Of a sweep file."""
        return parse(yaml.safe_load(path.read_text())).trials

    def states(self, path: Path) -> list:
        """Of its trials, by the ledger."""
        return [Ledger(self.storage).state(trial) for trial in self.trials(path)]

    def results(self, path: Path) -> dict:
        """Trial id to result, by the ledger."""
        return {trial.id: Ledger(self.storage).result(trial) for trial in self.trials(path)}

    def runs(self, name="tiny") -> list:
        """The MLflow runs of a sweep's trials and cells."""
        return [run for run in self.all_runs(name) if run.data.tags["kind"] != "sweep"]

    def all_runs(self, name="tiny") -> list:
        """These, and the run of the sweep itself."""
        client = MlflowClient(default_uri(self.storage))
        return list(client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000))

    def kinds(self, name="tiny") -> Counter:
        """How many runs of which kind and status."""
        return Counter((run.data.tags["kind"], run.info.status) for run in self.runs(name))

    def points(self, name="tiny") -> dict:
        """Every stored point of every metric of every run."""
        client = MlflowClient(default_uri(self.storage))
        return {
            (run.info.run_id, key): [(p.step, p.value, p.timestamp) for p in client.get_metric_history(run.info.run_id, key)]
            for run in self.runs(name)
            for key in run.data.metrics
        }


def wait_for(happened, seconds=180):
    """Until something is so."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
