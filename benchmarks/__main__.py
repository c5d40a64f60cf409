"""`make bench`: every benchmark, into `docs/performance.json` and `docs/performance.md`.

    python -m benchmarks --only step evaluation     # measures these sections anew, and keeps the others
    python -m benchmarks --again                    # writes the page from the JSON that is there

The JSON has a record of each section: when it was measured, at which commit, and its rows.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.scale import growth
from benchmarks.speed import evaluation, kernels, stacks, step, sweeps, where_time_goes
from benchmarks.speed.measure import as_in_a_worker
from benchmarks.speed.page import page
from orchestrator.execution import provenance

Measured = dict[str, Any]
SECTIONS = ("sweeps", "step", "evaluation", "where_time_goes", "stacks", "kernels", "growth")


def measure(sections: Sequence[str], data: Path, scratch: Path, rounds: int) -> Measured:
    """Returns these sections' records as plain values."""
    classifiers = scratch / "classifiers"
    rows: dict[str, Callable[[], Iterable[Any]]] = {
        "sweeps": lambda: sweeps.rows(data, scratch / "sweeps"),
        "step": lambda: step.rows(data, rounds),
        "evaluation": lambda: evaluation.rows(data, classifiers, 2),
        "where_time_goes": lambda: where_time_goes.rows(data, classifiers),
        "stacks": lambda: stacks.rows(data, rounds),
        "kernels": lambda: kernels.rows(data),
        "growth": lambda: growth.rows(data, classifiers),
    }
    return {name: _section(name, rows[name], rounds) for name in SECTIONS if name in sections}


def _section(name: str, rows: Callable[[], Iterable[Any]], rounds: int) -> Measured:
    started, measured = time.monotonic(), []
    for row in rows():
        measured.append(asdict(row))
        print(f"{time.monotonic() - started:5.0f} s  {name}: {measured[-1]}", flush=True)
    return {"date": date.today().isoformat(), "commit": provenance.commit(), "rounds": rounds, "rows": measured}


def _with_others(machine: Measured, sections: Measured, path: Path) -> Measured:
    """Returns the new sections, and those of the file that were not measured again.

    Raises `SystemExit` if the file's were measured on another machine.
    """
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"machine": machine, "sections": {}}
    kept = {name: section for name, section in before["sections"].items() if name not in sections}
    if kept and _hardware(before["machine"]) != _hardware(machine):
        raise SystemExit(f"error: --only: {path} is of another machine ({_hardware(before['machine'])}); leave --only out")
    return {"machine": machine, "sections": kept | sections}


def _hardware(machine: Measured) -> str:
    return f"{machine['processor']}, {machine['cpus']} CPUs, torch {machine['packages']['torch']}"


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description="Every benchmark, into docs/performance.json and docs/performance.md.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison, at least 2")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    parser.add_argument("--into", type=Path, default=Path("docs"), help="where the files go")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to measure; all when left out")
    parser.add_argument("--again", action="store_true", help="write the page from the JSON that is there, measuring nothing")
    asked = parser.parse_args()
    as_in_a_worker()
    path = asked.into / "performance.json"
    if not asked.again:
        with tempfile.TemporaryDirectory() as scratch:
            sections = measure(asked.only, asked.data, Path(scratch), asked.rounds)
        performance = _with_others(provenance.machine(), sections, path)
        path.write_text(json.dumps(performance, indent=1) + "\n", encoding="utf-8")
    (asked.into / "performance.md").write_text(page(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"{path}, {asked.into / 'performance.md'}")


if __name__ == "__main__":
    main()
