"""What the top of the page says of a sweep, and what `report --json` prints: sentences, warnings, and the front of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis import cautions, collapse
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.report.sections import origin_section, summary_section
from orchestrator.report.sections.seed_section import SeedReport
from orchestrator.spec.proper_names import proper


@dataclass(frozen=True)
class Overview:
    """A sweep in short."""

    sentences: tuple[str, ...] = ()
    """Who is on the front, what the seeds tell apart, and what is missing."""
    warnings: tuple[str, ...] = ()
    """Where numbers mean little."""
    fronts: tuple[tuple[str, Front], ...] = ()
    """The front of each group of cells that may be compared, after the group's label. The label of an only group is empty."""


def of_sweep(
    analysis: SweepAnalysis,
    fronts: Sequence[tuple[str, Front]],
    seeds: SeedReport,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    collapsed: Mapping[str, str],
) -> Overview:
    """Returns the overview. `states` has each planned trial's status, `collapsed` a sentence on each collapsed cell, both by id."""
    warnings = [
        *origin_section.warnings(results, analysis.set_aside),
        *cautions.sentences(analysis),
        *collapse.lines_of(analysis.cells, collapsed),
    ]
    return Overview(tuple(summary_section.sentences(fronts, seeds, states)), tuple(map(proper, warnings)), tuple(fronts))
