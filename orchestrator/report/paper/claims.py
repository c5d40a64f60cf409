"""The paper's claims C1 to C11, each checked on a sweep's trials and their seeds. Pure.

`claim_rules` has the rules and `claim_margins` their margins. `analysis.significance.hypotheses` decides, `claim_power` knows how often a
rule finds the paper right on the paper's own numbers, and `claim_tables` writes the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import DECIDES, Comparison, judge, verdict
from orchestrator.report.paper.claim_measurements import Measurement
from orchestrator.report.paper.claim_rules import RULES, Rule

NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, on the trials of one group of cells."""

    rule: Rule
    dataset: str
    group: str
    """Label of the cells: dataset, source, scale, networks."""
    planned: int
    """Seeds that were planned."""
    comparisons: tuple[Comparison, ...]
    """Those that count for the verdict first, then those that are only shown."""
    verdict: str
    """`supported`, `contradicted`, `undecided`, or `not tested`."""
    note: str
    """Which beta, and which seeds are missing; or what would be needed."""

    @property
    def id(self) -> str:
        """`C1` to `C11`."""
        return self.rule.id

    @property
    def where(self) -> str:
        """The paper's table or figure."""
        return self.rule.where[self.dataset]

    @property
    def decides(self) -> Comparison | None:
        """The comparison that is least favourable: its effect, interval and n stand for the claim. None if not tested.

        Its outcome is the claim's verdict.
        """
        counting = [comparison for comparison in self.comparisons if comparison.counts]
        return min(counting, key=lambda comparison: comparison.favour, default=None)


def evaluate(groups: Sequence[ModelGroup]) -> list[Claim]:
    """Every claim that the paper makes about the sweep's datasets, for each group of cells, in the order of groups and ids.

    A claim whose models, betas or metrics are absent has the verdict `not tested` and a note that says what it needs.
    """
    return [check(rule, group) for group in groups for rule in RULES if group.config.dataset in rule.where]


def check(rule: Rule, group: ModelGroup) -> Claim:
    """One claim on one group of cells."""
    measurement = rule.measure(group)
    among = sum(measured.role == DECIDES for measured in measurement.measured)
    in_order = sorted(measurement.measured, key=lambda measured: not measured.counts)
    comparisons = tuple(judge(measured, len(group.seeds), among) for measured in in_order)
    decided = NOT_TESTED if measurement.missing else verdict(comparisons)
    note = measurement.missing or _note(measurement, comparisons)
    return Claim(rule, group.config.dataset, group.label, len(group.seeds), comparisons, decided, note)


def _note(measurement: Measurement, comparisons: Sequence[Comparison]) -> str:
    """What was measured where, and which seeds are missing."""
    counting = [comparison for comparison in comparisons if comparison.counts]
    lacking = [comparison for comparison in counting if comparison.lacks_seeds]
    if not lacking:
        return measurement.note
    least = min(lacking, key=lambda comparison: comparison.n)
    seeds = f"the least has {least.n} of {least.n_planned} seeds"
    return f"{measurement.note}; comparisons not decided for want of seeds: {len(lacking)} of {len(counting)} ({seeds})"
