"""The overview of a sweep at the top of the page and in `report --json`: sentences, warnings, and the front of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis import collapse, report_warnings
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.report.sections import origin_section, summary_section
from orchestrator.report.sections.seed_section import SeedReport
from orchestrator.spec.proper_names import proper


@dataclass(frozen=True)
class Overview:
    """The most important facts about a sweep."""

    sentences: tuple[str, ...] = ()
    """The cells on the front, the differences that the seeds show, and the missing trials."""
    warnings: tuple[str, ...] = ()
    """Reasons not to rely on some numbers."""
    fronts: tuple[tuple[str, Front], ...] = ()
    """The label and the front of each group of cells that may be compared. The label of the only group is empty."""


def of_sweep(
    analysis: SweepAnalysis,
    fronts: Sequence[tuple[str, Front]],
    seeds: SeedReport,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    collapsed: Mapping[str, str],
) -> Overview:
    """Returns the overview.

    `states` has each planned trial's status by its id, and `collapsed` a sentence on each collapsed cell by its id.
    """
    warnings = [
        *origin_section.warnings(results, analysis.set_aside),
        *report_warnings.sentences(analysis),
        *collapse.lines_of(analysis.cells, collapsed),
    ]
    return Overview(tuple(summary_section.sentences(fronts, seeds, states)), tuple(map(proper, warnings)), tuple(fronts))
