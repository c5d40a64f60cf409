"""`make bench`: every benchmark, into `docs/performance.json` and `docs/performance.md`.

    python -m benchmarks --only step evaluation     # measures these sections anew, and keeps the others
    python -m benchmarks --again                    # writes the page from the JSON that is there

The JSON has a record of each section: when it was measured, at which commit, and its rows.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.arguments import add_data
from benchmarks.scale import growth
from benchmarks.speed import evaluation, kernels, stacks, step, sweeps, where_time_goes
from benchmarks.speed.measure import as_in_a_worker
from benchmarks.speed.page import page
from orchestrator.execution import provenance

Measured = dict[str, Any]

EVALUATION_ROUNDS = 2
"""Fewer than of the others, because one evaluation takes up to a minute."""


@dataclass(frozen=True)
class Setup:
    """What the benchmarks are given."""

    data: Path
    """Folder of datasets."""
    scratch: Path
    """A folder for whatever is written on the way."""
    rounds: int
    """Of each comparison of steps and stacks."""

    @property
    def classifiers(self) -> Path:
        """Folder of the classifiers that all sections share."""
        return self.scratch / "classifiers"


SECTIONS: dict[str, Callable[[Setup], Iterable[Any]]] = {
    "sweeps": lambda setup: sweeps.rows(setup.data, setup.scratch / "sweeps"),
    "step": lambda setup: step.rows(setup.data, setup.rounds),
    "evaluation": lambda setup: evaluation.rows(setup.data, setup.classifiers, EVALUATION_ROUNDS),
    "where_time_goes": lambda setup: where_time_goes.rows(setup.data, setup.classifiers),
    "stacks": lambda setup: stacks.rows(setup.data, setup.rounds),
    "kernels": lambda setup: kernels.rows(setup.data),
    "growth": lambda setup: growth.rows(setup.data, setup.classifiers),
}
"""The rows of each section, in the order in which they are measured."""


def measure(name: str, setup: Setup) -> Measured:
    """Returns a section's record as plain values."""
    started, rows = time.monotonic(), []
    for row in SECTIONS[name](setup):
        rows.append(asdict(row))
        print(f"{time.monotonic() - started:5.0f} s  {name}: {rows[-1]}", flush=True)
    return {"date": date.today().isoformat(), "commit": provenance.commit(), "rows": rows}


def kept_sections(path: Path, measured: Collection[str], machine: Measured) -> Measured:
    """Returns the sections of the file that are not to be measured again.

    Raises `SystemExit` if they were measured on another machine.
    """
    if not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: section for name, section in before["sections"].items() if name not in measured}
    if kept and _hardware(before["machine"]) != _hardware(machine):
        raise SystemExit(f"error: --only: {path} is of another machine ({_hardware(before['machine'])}); leave --only out")
    return kept


def _hardware(machine: Measured) -> str:
    return f"{machine['processor']}, {machine['cpus']} CPUs, torch {machine['packages']['torch']}"


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description="Every benchmark, into docs/performance.json and docs/performance.md.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison, at least 2; the evaluation has 2")
    add_data(parser)
    parser.add_argument("--into", type=Path, default=Path("docs"), help="where the files go")
    parser.add_argument(
        "--only", nargs="+", choices=[*SECTIONS], default=[*SECTIONS], help="sections to measure; all when left out"
    )
    parser.add_argument("--again", action="store_true", help="write the page from the JSON that is there, measuring nothing")
    asked = parser.parse_args()
    as_in_a_worker()
    path = asked.into / "performance.json"
    if not asked.again:
        machine = provenance.machine()
        sections = kept_sections(path, asked.only, machine)  # refuses before anything is measured
        with tempfile.TemporaryDirectory() as scratch:
            setup = Setup(asked.data, Path(scratch), asked.rounds)
            sections |= {name: measure(name, setup) for name in SECTIONS if name in asked.only}
        path.write_text(json.dumps({"machine": machine, "sections": sections}, indent=1) + "\n", encoding="utf-8")
    (asked.into / "performance.md").write_text(page(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"{path}, {asked.into / 'performance.md'}")


if __name__ == "__main__":
    main()
