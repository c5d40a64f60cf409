"""`make bench`: every benchmark, into `docs/performance.json` and `docs/performance.md`."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.scale import growth
from benchmarks.speed import evaluation, kernels, stacks, step, sweeps
from benchmarks.speed.measure import as_in_a_worker
from benchmarks.speed.page import page
from orchestrator.execution import provenance

Found = dict[str, Any]


def run(data: Path, scratch: Path, rounds: int) -> Found:
    """Every section's rows, as plain values."""
    classifiers = scratch / "classifiers"
    found: Found = {
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "date": date.today().isoformat(),
        "rounds": rounds,
    }
    found["sweeps"] = _section("sweeps", lambda: sweeps.rows(data, scratch / "sweeps"))
    found["step"] = _section("step", lambda: step.rows(data, rounds))
    found["evaluation"] = _section("evaluation", lambda: evaluation.rows(data, classifiers, 2))
    found["stacks"] = _section("stacks", lambda: stacks.rows(data, rounds))
    found["kernels"] = _section("kernels", lambda: kernels.rows(data))
    found["growth"] = _section("growth", lambda: growth.rows(data, classifiers))
    return found


def _section(name: str, rows: Callable[[], Iterable[Any]]) -> list[Found]:
    started, found = time.monotonic(), []
    for row in rows():
        found.append(asdict(row))
        print(f"{time.monotonic() - started:5.0f} s  {name}: {found[-1]}", flush=True)
    return found


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description="Every benchmark, into docs/performance.json and docs/performance.md.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison, at least 2")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    parser.add_argument("--into", type=Path, default=Path("docs"), help="where the files go")
    parser.add_argument("--again", action="store_true", help="write the page from the JSON that is there, measuring nothing")
    asked = parser.parse_args()
    as_in_a_worker()
    path = asked.into / "performance.json"
    if not asked.again:
        with tempfile.TemporaryDirectory() as scratch:
            found = run(asked.data, Path(scratch), asked.rounds)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (asked.into / "performance.md").write_text(page(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"{path}, {asked.into / 'performance.md'}")


if __name__ == "__main__":
    main()
