"""Measures how time and memory grow with modalities, subsets and stacked trials: `python -m benchmarks.scale.growth`.

Each row is measured in a separate process, because peak memory can only be read for a whole process. PolyMNIST, small networks, batches
of 256, one thread, core seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.arguments import add_classifiers, add_data
from benchmarks.speed.measure import as_in_a_worker, timed
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.metrics.classifiers import trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack

CPU = torch.device("cpu")
STEPS = 10
TESTED = 200
MODALITIES = (2, 3, 4, 5)
STACKED = (2, 8)


@dataclass(frozen=True)
class Row:
    """The measurements of one process."""

    modalities: int
    subsets: int
    stacked: int
    model: str
    step_s: float
    """Core seconds of a step of all stacked trials."""
    evaluation_s: float
    """Core seconds of the evaluation of one trial."""
    peak_bytes: int
    """Peak memory of the process, with torch and data."""


def row(modalities: int, stacked: int, model: str, data: Path, classifiers: Path) -> Row:
    """Measures one row in this process."""
    fields = {"dataset": "polymnist", "networks": "small", "model": model, "epochs": 1, "kl": "sum"}
    config = TrainingConfig.model_validate(fields | {"modality_count": modalities, "test_examples": TESTED})
    dataset = load(config.data_key, data)
    runs = [Run(config, seed, dataset, CPU) for seed in range(stacked)]
    rows_TB = torch.arange(config.batch_size).expand(stacked, -1)
    stack = Stack(runs) if stacked > 1 else None
    step = (lambda: stack.step(rows_TB)) if stack else (lambda: runs[0].step(rows_TB[0]))
    step()
    step_s = timed(step, STEPS)
    judges = trained_classifiers(dataset, classifiers, CPU)
    evaluation_s = timed(lambda: evaluate(runs[0].model.eval(), 0, dataset, judges, CPU))
    return Row(modalities, 2**modalities - 1, stacked, model, step_s, evaluation_s, _peak_bytes())


def _peak_bytes() -> int:
    """Returns the peak memory of this program. `ru_maxrss` would include the memory of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def rows(data: Path, classifiers: Path) -> Iterator[Row]:
    """Yields the rows of MoPoE by modalities, of MMVAE with all modalities, and of MoPoE by stacked trials."""
    cases = [(count, 1, "mopoe") for count in MODALITIES] + [(MODALITIES[-1], 1, "mmvae")]
    cases += [(MODALITIES[0], stacked, "mopoe") for stacked in STACKED]
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.scale.growth", "--one", json.dumps(case), "--data", str(data.absolute())]
        command += ["--classifiers", str(classifiers.absolute())]
        completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        yield Row(**json.loads(completed.stdout))


def main() -> None:
    """Prints the rows, or one row as JSON."""
    parser = argparse.ArgumentParser(description="Growth of time and memory.")
    parser.add_argument("--one", type=json.loads, help="modalities, stacked trials and model of one row, as a JSON list")
    add_data(parser)
    add_classifiers(parser)
    arguments = parser.parse_args()
    as_in_a_worker()
    if arguments.one:
        modalities, stacked, model = arguments.one
        print(json.dumps(asdict(row(modalities, stacked, model, arguments.data, arguments.classifiers))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for measured in rows(arguments.data, arguments.classifiers or Path(scratch)):
            print(measured, flush=True)


if __name__ == "__main__":
    main()
