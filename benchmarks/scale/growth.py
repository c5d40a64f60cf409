"""How time and memory grow with modalities, subsets and stacked trials: `python -m benchmarks.scale.growth`.

Each line is measured in a process of its own, because the peak of memory is a process's. PolyMNIST, small networks, batches of 256, one
thread, core seconds.
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
    """One process."""

    modalities: int
    subsets: int
    stacked: int
    model: str
    step_s: float
    """Of all stacked trials together."""
    evaluation_s: float
    """Of one trial."""
    peak_bytes: int
    """Of the process, with torch and data."""


def row(modalities: int, stacked: int, model: str, data: Path, classifiers: Path) -> Row:
    """Measure in this process."""
    fields = {"dataset": "polymnist", "networks": "small", "model": model, "epochs": 1, "kl": "sum"}
    config = TrainingConfig.model_validate(fields | {"modality_count": modalities, "test_examples": TESTED})
    dataset = load(config.data_key, data)
    runs = [Run(config, seed, dataset, CPU) for seed in range(stacked)]
    rows_TB = torch.arange(config.batch_size).expand(stacked, -1)
    batched = Stack(runs) if stacked > 1 else None
    step = (lambda: batched.step(rows_TB)) if batched else (lambda: runs[0].step(rows_TB[0]))
    step()
    step_s = timed(step, STEPS)
    jury = trained_classifiers(dataset, classifiers, CPU)
    evaluation_s = timed(lambda: evaluate(runs[0].model.eval(), 0, dataset, jury, CPU))
    return Row(modalities, 2**modalities - 1, stacked, model, step_s, evaluation_s, _peak_bytes())


def _peak_bytes() -> int:
    """Of this program: `ru_maxrss` would begin with what the process that started it held."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def rows(data: Path, classifiers: Path) -> Iterator[Row]:
    """Each in a process of its own: MoPoE over modalities, MMVAE with the most, MoPoE over stacked trials."""
    cases = [(count, 1, "mopoe") for count in MODALITIES] + [(MODALITIES[-1], 1, "mmvae")]
    cases += [(MODALITIES[0], stacked, "mopoe") for stacked in STACKED]
    for case in cases:
        words = [sys.executable, "-m", "benchmarks.scale.growth", "--one", json.dumps(case), "--data", str(data.absolute())]
        words += ["--classifiers", str(classifiers.absolute())]
        done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        yield Row(**json.loads(done.stdout))


def main() -> None:
    """Print the lines, or one line's numbers as JSON."""
    parser = argparse.ArgumentParser(description="Growth of time and memory.")
    parser.add_argument("--one", type=json.loads, help="modalities, stacked trials and model of one line, as a JSON list")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    parser.add_argument("--classifiers", type=Path, help="folder of classifiers; a temporary one when left out")
    asked = parser.parse_args()
    as_in_a_worker()
    if asked.one:
        modalities, stacked, model = asked.one
        print(json.dumps(asdict(row(modalities, stacked, model, asked.data, asked.classifiers))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for found in rows(asked.data, asked.classifiers or Path(scratch)):
            print(found, flush=True)


if __name__ == "__main__":
    main()
