"""What a finished sweep showed, as the files of `docs/results/<name>/`.

    python -m benchmarks.quality.committed_results sweeps/mst.yaml --scale small --storage runs --into docs/results/mst-small

Copies tables, claims, figures and the table of cells from the sweep's report. Writes `run.md`: the command, the trials, how long they
took and at which commits they ran. Leaves the folder's `README.md` alone, which says in words what came out and is written by hand.
"""

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mopoe_core.storage.paths import storage_path
from orchestrator.driver import report_step
from orchestrator.driver.report_step import Options
from orchestrator.ledger import snapshot
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render import markdown
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec

COPIED = ("cells.csv", "cells.md", "front.svg", "paper/*.md", "paper/*.csv", "paper/*.svg", "seeds/learning-*.svg")
"""What is copied from a report's folder: not the page, whose megabyte repeats all of it, and not what LaTeX alone reads."""
PICTURES = "paper/*.png"
"""Figures of samples, of some megabytes. They become WebP of at most this width in pixels."""
WIDTH = 1400
BY_HAND = "README.md"


def write(spec: SweepSpec, storage: str, command: str, into: Path) -> None:
    """Replace the folder's files by those of the sweep's report as it is now."""
    into.mkdir(parents=True, exist_ok=True)
    for path in into.iterdir():
        if path.name != BY_HAND:
            path.unlink()
    ledger = Ledger(storage_path(storage))
    seen = snapshot.read(spec, ledger)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report"
        report_step.draw(report_step.gather(seen, ledger), ledger, Options(command, against_paper=True), report)
        for path in (path for pattern in COPIED for path in report.glob(pattern)):
            shutil.copyfile(path, into / path.name)
        for path in report.glob(PICTURES):
            _write_smaller(path, into / f"{path.stem}.webp")
    (into / "run.md").write_text(_run(spec, seen.results, Counter(seen.statuses.values()), command), encoding="utf-8")


def _write_smaller(picture: Path, into: Path) -> None:
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, image.height))
        image.convert("RGB").save(into, quality=80)


def _run(spec: SweepSpec, results: Sequence[TrialResult], statuses: Counter[str], command: str) -> str:
    """Returns the page that says how the trials were run."""
    train, evaluate = (sum(times) / 3600 for times in ([r.train_seconds for r in results], [r.evaluate_seconds for r in results]))
    rows = {
        "command": f"`{command}`",
        "trials": ", ".join(f"{count} {status}" for status, count in statuses.items()),
        "hours over all trials": f"{train:.2f} training, {evaluate:.2f} evaluation",
        "trained at": _counted(results, "commit", 12),
        "machine": _counted(results, "processor"),
        "device": _counted(results, "device"),
        "torch": ", ".join(sorted({str(dict(r.provenance["packages"])["torch"]) for r in results})),
    }
    return f"# How `{spec.name}` was run\n\n{markdown.table(('', ''), list(rows.items()))}\n"


def _counted(results: Sequence[TrialResult], field: str, letters: int | None = None) -> str:
    """Returns each value of a field of the provenance, with the number of trials that have it."""
    counts = Counter(str(result.provenance.get(field))[:letters] for result in results)
    return ", ".join(f"{value} ({count} trials)" for value, count in counts.most_common())


def main() -> None:
    """Write the folder of one sweep."""
    parser = argparse.ArgumentParser(description="What a finished sweep showed, as files to commit.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--scale")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--into", type=Path, required=True)
    asked = parser.parse_args()
    spec = sweep_file.load(asked.file, asked.scale)
    scale = f" --scale {asked.scale}" if asked.scale else ""
    write(spec, asked.storage, f"mopoe sweep {asked.file}{scale}", asked.into)


if __name__ == "__main__":
    main()
