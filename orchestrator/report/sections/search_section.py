"""Writes the report of a search: its figures, the table of all proposed cells, and notes on how to read them.

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
"""The fewest completed cells for fANOVA. With fewer, its regression trees fit noise."""
SHOWN = ("history", "importances", "parallel", "slices")
"""Figures of the section, in the order of the page."""


@dataclass(frozen=True)
class SearchReport:
    """The files of a search's report, and its contents on the page."""

    figures: tuple[Path, ...]
    """The files of all figures, including the front's."""
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
    """Cells that are on no front because they break a constraint, with the constraint and the excess."""
    counts: Mapping[str, int]
    """The number of cells by outcome."""
    courses: Mapping[str, Sequence[float]]
    """The best values after each cell with an outcome (`outcomes.courses`)."""
    ended_cell_ids: tuple[str, ...]
    """The ids of the cells with an outcome, in the order of `courses`."""
    line: str
    """The search in one line, for a terminal."""


def write(searched: Searched, results: Sequence[TrialResult], folder: Path) -> SearchReport:
    """Write the report of a search into the report's folder, and return its contents. Earlier files in `search` are removed."""
    search_folder = folder / "search"
    shutil.rmtree(search_folder, ignore_errors=True)  # figures that can no longer be drawn must not stay
    search_folder.mkdir(parents=True)
    importances_of_fields = field_importances(searched)
    figures = {
        "history": search_course_figure.history(searched),
        "slices": search_space_figures.slices(searched),
        "parallel": search_space_figures.parallel(searched),
    }
    if importances_of_fields:
        figures["importances"] = search_space_figures.importances(searched, importances_of_fields)
    written = save(search_front_figure.front(searched), folder / "front", FORMATS)
    for name, figure in figures.items():
        written += save(figure, search_folder / name)
    table = search_table.frame(searched, results)
    csv, parquet = search_folder / "search.csv", search_folder / "search.parquet"
    write_whole(csv, lambda path: table.to_csv(path, index=False))
    write_whole(parquet, lambda path: table.to_parquet(path, index=False))
    return SearchReport(
        figures=tuple(written),
        shown=tuple(search_folder / f"{name}.svg" for name in SHOWN if name in figures),
        csv=csv,
        parquet=parquet,
        fields=searched.space.order,
        objectives=tuple(objective.metric for objective in searched.spec.objectives),
        rows=tuple(search_table.rows(searched, table)),
        notes=tuple(section_notes(searched, bool(importances_of_fields))),
        left_out=tuple(_left_out(searched.spec, results)),
        counts=searched.counts,
        courses=searched.courses,
        ended_cell_ids=tuple(proposed.cell.id for proposed in searched.ended),
        line=search_table.line(searched),
    )


def field_importances(searched: Searched) -> dict[str, dict[str, float]]:
    """Returns the importance of each field, by metric and field; empty if there are too few cells, or no field that all cells have."""
    if _completed(searched) < FEWEST:
        return {}
    from orchestrator.search.study import importances  # imports optuna, which other reports do not need

    proposals = [(proposed.proposal, proposed.outcome) for proposed in searched.proposed]
    by_metric = importances(proposals, searched.spec.objectives)
    return {metric: shares for metric, shares in by_metric.items() if shares}


def _completed(searched: Searched) -> int:
    return sum(proposed.outcome.kind == "completed" for proposed in searched.proposed)


def section_notes(searched: Searched, has_importances: bool) -> list[str]:
    """Returns notes on how to read the numbers of a search. `has_importances` says whether the importances of fields are shown."""
    search = searched.search
    notes = [_seeds_note(len(searched.spec.seed_list))]
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


def _seeds_note(seeds: int) -> str:
    if seeds == 1:
        return "The search was told the value of each cell at the one seed that all cells have: a single draw, with no spread."
    return (
        f"The search was told the mean of each cell over the {seeds} seeds that all cells have, or how the cell ended: a cell that lost "
        "a seed has no number here."
    )


def _optimism(spec: SweepSpec) -> str:
    """Returns a note on reporting the best cells with the numbers by which they were chosen."""
    partitions = sorted({cell.config.evaluate_on for cell in spec.cells})
    examples = f"the {' and '.join(partitions)} examples" if partitions else "the examples they are judged on"
    has_validation = any(card.validation_examples for cell in spec.cells if (card := find(cell.config.dataset)))
    advice = ""
    if has_validation and "test" in partitions:
        advice = " With evaluate_on: validation, the test examples are left for the chosen cells."
    return (
        f"Cells were chosen by the same numbers that are shown, from {examples}. The best of many cells are also lucky, so their values "
        f"are optimistic, the more so the more cells were tried.{advice}"
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
    assert spec.search is not None
    return [
        f"{spec.labels[cell_id]} ({search_table.broken_text(excess, spec.search)})"
        for cell_id, excess in broken(spec, results).items()
    ]
