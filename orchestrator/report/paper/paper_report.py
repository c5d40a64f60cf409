"""Writes the paper's tables, figures and claims that a sweep has cells for.

<report>/paper/table2-....{md,csv,tex}     in the paper's layout (`paper_tables`, `paper_table_text`)
<report>/paper/figure1.{svg,png}           (`paper_figures`)
<report>/paper/claims.{md,csv,tex}         C1 to C11 (`claims`)
<report>/paper/against-table2-....         beside the published numbers, on demand (`beside_published`)
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_text, write_whole
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.paper import beside_published, claim_tables, claims, paper_figures, paper_table_text, paper_tables
from orchestrator.report.paper.beside_published import Comparison
from orchestrator.report.paper.claims import Claim
from orchestrator.report.paper.paper_tables import PaperTable


@dataclass(frozen=True)
class PaperReport:
    """The tables, claims and figures that were written."""

    tables: tuple[PaperTable, ...]
    claims: tuple[Claim, ...]
    figures: Mapping[str, Path]
    """By file name, SVG and PNG."""
    comparisons: tuple[Comparison, ...]
    """The tables beside the published numbers; empty if these were not asked for."""


def write(
    comparable: Sequence[FrontGroup],
    groups: Sequence[ModelGroup],
    seeds: Sequence[int],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    folder: Path,
    against_paper: bool,
) -> PaperReport:
    """Write the paper's tables, claims and figures that the sweep has cells for into `folder`. Earlier files there are removed.

    Tables have the cells of `comparable` groups, claims and figures those of `groups`. `samples` maps a trial's id to its pictures by
    name.
    """
    shutil.rmtree(folder, ignore_errors=True)  # tables of cells that the sweep no longer has must not stay
    folder.mkdir(parents=True)
    tables = paper_tables.paper_tables(comparable, seeds)
    for table in tables:
        texts = (paper_table_text.markdown(table), paper_table_text.latex(table, command))
        _write(folder / table.name, *texts, paper_table_text.frame(table))
    evaluated = claims.evaluate(groups)
    if evaluated:
        texts = (claim_tables.markdown(evaluated), claim_tables.latex(evaluated, command))
        _write(folder / "claims", *texts, claim_tables.frame(evaluated))
    comparisons = beside_published.against_paper(tables) if against_paper else []
    for comparison in comparisons:
        texts = (beside_published.markdown(comparison), beside_published.latex(comparison, command))
        _write(folder / f"against-{comparison.table.name}", *texts, beside_published.frame(comparison))
    figures = paper_figures.write(groups, samples, folder)
    return PaperReport(tuple(tables), tuple(evaluated), figures, tuple(comparisons))


def _write(stem: Path, markdown: str, latex: str, frame: pd.DataFrame) -> None:
    write_text(stem.parent / f"{stem.name}.md", markdown)
    write_text(stem.parent / f"{stem.name}.tex", latex)
    write_whole(stem.parent / f"{stem.name}.csv", lambda path: frame.to_csv(path, index=False))
