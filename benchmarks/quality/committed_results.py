"""Writes the results of a finished sweep as the files of `docs/results/<name>/`.

    python -m benchmarks.quality.committed_results sweeps/mst.yaml --scale small --storage runs --into docs/results/mst-small

Copies tables, claims, figures and the table of cells from the sweep's report. Writes `run.md`: the command, the trials, their hours and
the commits at which they ran. Keeps the folder's `README.md`, which describes the results in words and is written by hand.
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

COPIED = ("cells.csv", "cells.md", "front.svg", "seeds/learning-*.svg")
"""Files to copy from a report's folder. Left out are the page, a megabyte that repeats them, and the files for LaTeX."""
OF_THE_PAPER = ("paper/*.md", "paper/*.csv", "paper/*.svg")
"""More of them: the paper's tables, figures and claims."""
OF_A_STUDY = ("paper/claims.md", "paper/claims.csv", "paper/figure1*.svg")
"""What a study needs of those."""
PICTURES = "paper/*.png"
"""Figures of samples, some megabytes each. They are converted to WebP."""
WIDTH = 1400
"""Largest width of such a figure in pixels."""
BY_HAND = "README.md"
"""The file that is written by hand and is kept."""


def write(spec: SweepSpec, storage: str, command: str, into: Path, study: bool = False) -> None:
    """Replaces the folder's files by those of the sweep's current report; of a study, without the paper's tables and pictures."""
    into.mkdir(parents=True, exist_ok=True)
    for path in into.iterdir():
        if path.name != BY_HAND:
            path.unlink()
    ledger = Ledger(storage_path(storage))
    sweep_snapshot = snapshot.read(spec, ledger)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report"
        material = report_step.gather(sweep_snapshot, ledger)
        report_step.draw(material, ledger, Options(command, against_paper=True), report)
        for pattern in (*COPIED, *(OF_A_STUDY if study else OF_THE_PAPER)):
            for path in report.glob(pattern):
                shutil.copyfile(path, into / path.name)
        for path in () if study else report.glob(PICTURES):
            _write_smaller(path, into / f"{path.stem}.webp")
    text = _run_page(spec, sweep_snapshot.results, Counter(sweep_snapshot.statuses.values()), command)
    (into / "run.md").write_text(text, encoding="utf-8")


def _write_smaller(picture: Path, into: Path) -> None:
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, image.height))
        image.convert("RGB").save(into, quality=80)


def _run_page(spec: SweepSpec, results: Sequence[TrialResult], statuses: Counter[str], command: str) -> str:
    """Returns the page that says how the trials were run."""
    train = sum(result.train_seconds for result in results) / 3600
    evaluate = sum(result.evaluate_seconds for result in results) / 3600
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
    """Returns each value of a provenance field, cut to `letters`, with the number of trials that have it."""
    counts = Counter(str(result.provenance.get(field))[:letters] for result in results)
    return ", ".join(f"{value} ({count} trials)" for value, count in counts.most_common())


def main() -> None:
    """Writes the folder of one sweep."""
    parser = argparse.ArgumentParser(description="Writes the results of a finished sweep as files to commit.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--scale")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--study", action="store_true", help="leave out the paper's tables and pictures")
    arguments = parser.parse_args()
    spec = sweep_file.load(arguments.file, arguments.scale)
    scale = f" --scale {arguments.scale}" if arguments.scale else ""
    write(spec, arguments.storage, f"mopoe sweep {arguments.file}{scale}", arguments.into, arguments.study)


if __name__ == "__main__":
    main()
