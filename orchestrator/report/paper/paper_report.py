"""The paper's tables, figures and claims from a sweep's trials, as files: what of them the sweep has cells for.

<report>/paper/table2-....{md,csv,tex}     in the paper's layout (`orchestrator.report.paper.paper_tables`)
<report>/paper/figure1.{svg,png}           `orchestrator.report.paper.paper_figures`
<report>/paper/claims.{md,csv,tex}         C1 to C11 (`orchestrator.report.paper.claims`)
<report>/paper/against-table2-....         beside the published numbers, on demand (`orchestrator.report.paper.beside_published`)
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mopoe_core.storage.files import AnyPath, write_text, write_whole
from orchestrator.ledger.result import TrialResult
from orchestrator.report.paper import beside_published, claim_tables, claims, paper_figures, paper_tables
from orchestrator.report.paper.beside_published import Comparison
from orchestrator.report.paper.claims import Claim
from orchestrator.report.paper.paper_tables import PaperTable
from orchestrator.spec.trial import Cell


@dataclass(frozen=True)
class PaperReport:
    """What was written."""

    tables: tuple[PaperTable, ...]
    claims: tuple[Claim, ...]
    figures: Mapping[str, Path]
    """By file name, SVG and PNG."""
    comparisons: tuple[Comparison, ...]
    """Beside the published numbers; empty where that was not asked for."""


def write(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    results: Sequence[TrialResult],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    folder: Path,
    against_paper: bool,
) -> PaperReport:
    """Write everything of the paper that the sweep has cells for into `folder`, in place of what stood there.

    `samples` maps a trial's id to its pictures by name.
    """
    shutil.rmtree(folder, ignore_errors=True)  # a sweep that has lost a cell must not keep its table
    folder.mkdir(parents=True)
    made = paper_tables.paper_tables(cells, seeds, results)
    for table in made:
        texts = (paper_tables.markdown(table), paper_tables.latex(table, command))
        _write(folder / table.name, *texts, paper_tables.frame(table))
    found = claims.evaluate(cells, seeds, results)
    if found:
        _write(folder / "claims", claim_tables.markdown(found), claim_tables.latex(found, command), claim_tables.frame(found))
    compared = beside_published.against_paper(cells, seeds, results) if against_paper else []
    for comparison in compared:
        texts = (beside_published.markdown(comparison), beside_published.latex(comparison, command))
        _write(folder / f"against-{comparison.table.name}", *texts, beside_published.frame(comparison))
    figures = paper_figures.write(cells, seeds, results, samples, folder)
    return PaperReport(tuple(made), tuple(found), figures, tuple(compared))


def _write(stem: Path, markdown: str, latex: str, frame: pd.DataFrame) -> None:
    write_text(stem.parent / f"{stem.name}.md", markdown)
    write_text(stem.parent / f"{stem.name}.tex", latex)
    write_whole(stem.parent / f"{stem.name}.csv", lambda path: frame.to_csv(path, index=False))
