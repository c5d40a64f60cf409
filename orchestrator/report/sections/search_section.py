"""The report of a search: its figures, the table of all proposed cells, and notes on how to read them.

<report>/front.{svg,png,pdf}           the cells in the order of the search, in place of a sweep's front
<report>/search/history.svg            and `parallel`, `slices`, `importances`
<report>/search/search.{csv,parquet}   `orchestrator.report.render.search_table`
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.data.cards import find
from mopoe_core.storage.whole_files import write_whole
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import search_course_figure, search_front_figure, search_space_figures
from orchestrator.report.figures.plot_style import FORMATS, save
from orchestrator.report.render import search_table
from orchestrator.report.render.search_table import Row, Searched
from orchestrator.search.outcomes import broken
from orchestrator.spec.search_block import Early
from orchestrator.spec.sections import Replicates
from orchestrator.spec.sweep_spec import SweepSpec

FEWEST = 10
"""Completed cells that fANOVA needs. With fewer, its regression trees fit noise."""
SHOWN = ("history", "importances", "parallel", "slices")
"""Figures of the section, in the order of the page."""


@dataclass(frozen=True)
class SearchReport:
    """The files of a search's report, and what the page says about it."""

    figures: tuple[Path, ...]
    """Files of all figures, with those of the front."""
    shown: tuple[Path, ...]
    """The SVGs of the section."""
    csv: Path
    parquet: Path
    fields: tuple[str, ...]
    objectives: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """Notes on how to read the numbers."""
    left_out: tuple[str, ...]
    """Cells that are on no front because they break a constraint; with the constraint and by how much."""
    counts: Mapping[str, int]
    """The number of cells by outcome."""
    courses: Mapping[str, Sequence[float]]
    """What the search had reached after each cell that has an outcome (`outcomes.courses`)."""
    told: tuple[str, ...]
    """Ids of these cells."""
    line: str
    """The search in one line, for a terminal."""


def write(searched: Searched, results: Sequence[TrialResult], folder: Path) -> SearchReport:
    """Write everything into `folder`, the report's, in place of what stood there."""
    into = folder / "search"
    shutil.rmtree(into, ignore_errors=True)  # what can no longer be drawn must not stay
    into.mkdir(parents=True)
    numbers = field_importances(searched)
    drawn = {"history": search_course_figure.history(searched), "slices": search_space_figures.slices(searched)}
    drawn["parallel"] = search_space_figures.parallel(searched)
    if numbers:
        drawn["importances"] = search_space_figures.importances(searched, numbers)
    written = save(search_front_figure.front(searched), folder / "front", FORMATS)
    for name, figure in drawn.items():
        written += save(figure, into / name)
    table = search_table.frame(searched, results)
    csv, parquet = into / "search.csv", into / "search.parquet"
    write_whole(csv, lambda path: table.to_csv(path, index=False))
    write_whole(parquet, lambda path: table.to_parquet(path, index=False))
    return SearchReport(
        figures=tuple(written),
        shown=tuple(into / f"{name}.svg" for name in SHOWN if name in drawn),
        csv=csv,
        parquet=parquet,
        fields=searched.space.order,
        objectives=tuple(objective.metric for objective in searched.spec.objectives),
        rows=tuple(search_table.rows(searched, table)),
        notes=tuple(section_notes(searched, bool(numbers))),
        left_out=tuple(_left_out(searched.spec, results)),
        counts=searched.counts,
        courses=searched.courses,
        told=tuple(one.cell.id for one in searched.ended),
        line=search_table.line(searched),
    )


def field_importances(searched: Searched) -> dict[str, dict[str, float]]:
    """The importance of each field, by metric and field; empty if there are too few cells, or no field that they all have."""
    if _completed(searched) < FEWEST:
        return {}
    from orchestrator.search.study import importances  # optuna, which no other report need wait for

    found = importances([(one.proposal, one.outcome) for one in searched.proposed], searched.spec.objectives)
    return {metric: shares for metric, shares in found.items() if shares}


def _completed(searched: Searched) -> int:
    return sum(one.outcome.kind == "completed" for one in searched.proposed)


def section_notes(searched: Searched, has_importances: bool) -> list[str]:
    """Notes on how to read the numbers of a search; `has_importances` says whether the importances of fields are shown."""
    search, seeds = searched.search, len(searched.spec.seed_list)
    notes = [
        f"The search was told the mean of each cell over the {seeds} seeds that all cells have, or how the cell ended: a cell that lost "
        "a seed has no number here."
        if seeds > 1
        else "The search was told the value of each cell at the one seed that all cells have: a single draw, with no spread."
    ]
    if isinstance(searched.spec.seeds, Replicates):
        notes.append(
            f"Cells whose place on the front was undecided were given further seeds, up to {searched.spec.seeds.max}. The front and the "
            "table of cells are over all seeds; the table of the search and its course are not."
        )
    notes.append(_optimism(searched.spec))
    if search.early:
        notes.append(_assumption(search.early))
    if not has_importances:
        notes.append(_no_importances(searched))
    return notes


def _optimism(spec: SweepSpec) -> str:
    """A note on choosing the best cells by the same numbers that are then reported."""
    every = spec.cells
    of = sorted({cell.config.evaluate_on for cell in every})
    where = f"the {' and '.join(of)} examples" if of else "the examples they are judged on"
    could = any(card.validation_examples for cell in every if (card := find(cell.config.dataset)))
    advice = " With evaluate_on: validation, the test examples are left for the chosen cells." if could and "test" in of else ""
    return (
        f"Cells were chosen by the same numbers that are shown, from {where}. The best of many cells are also lucky, so their values are "
        f"optimistic, the more so the more cells were tried.{advice}"
    )


def _assumption(early: Early) -> str:
    if early.rule == "halving":
        return (
            f"Cells were stopped early if they were not among the best {early.keep:.0%} of the cells that had come as far. This assumes "
            "that the order of cells does not change much later; a slow starter is lost."
        )
    return (
        "Cells were stopped early if a completed cell dominated even their bound: their values plus the largest gain that a completed "
        f"cell made from there. This assumes that no cell gains more than those did. The first {early.after} cells were all completed."
    )


def _no_importances(searched: Searched) -> str:
    completed = _completed(searched)
    if completed < FEWEST:
        return f"How much each field matters (fANOVA) is not shown: {completed} cells have completed, and below {FEWEST} it is noise."
    return "How much each field matters (fANOVA) is not shown: no field is in every cell, or no objective varies."


def _left_out(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    names, out = spec.labels, broken(spec, results)
    assert spec.search is not None
    return [f"{names[key]} ({search_table.broken_text(excess, spec.search)})" for key, excess in out.items()]
