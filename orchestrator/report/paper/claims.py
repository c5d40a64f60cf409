"""Checks the paper's claims C1 to C11 on a sweep's trials. Pure.

`claim_rules` has the rules, and `claim_margins` their margins. `analysis.significance.hypotheses` decides. `claim_power` has how often a
rule supports its claim on the paper's own numbers. `claim_tables` writes the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import DECIDES, Comparison, compare_with_claim, verdict
from orchestrator.report.paper.claim_measurements import Measurement
from orchestrator.report.paper.claim_rules import RULES, Rule

NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, checked on the trials of one group of cells."""

    rule: Rule
    dataset: str
    group: str
    """The group's label: dataset, source, scale, networks."""
    planned: int
    """The number of planned seeds."""
    comparisons: tuple[Comparison, ...]
    """First the comparisons that count for the verdict, then those that are only shown."""
    verdict: str
    """`supported`, `contradicted`, `undecided`, or `not tested`."""
    note: str
    """The beta, and the missing seeds; or the cells and trials that the claim needs."""

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
        """The comparison that is least favourable to the claim; None if the claim was not tested.

        Its outcome is the claim's verdict, and tables show its effect, interval and n.
        """
        counting = [comparison for comparison in self.comparisons if comparison.counts]
        return min(counting, key=lambda comparison: comparison.favour, default=None)


def evaluate(groups: Sequence[ModelGroup]) -> list[Claim]:
    """Checks the claims that the paper makes about the sweep's datasets, on each group of cells, in the order of groups and ids.

    A claim whose models, betas or metrics are absent has the verdict `not tested`, and a note on what it needs.
    """
    return [check(rule, group) for group in groups for rule in RULES if group.config.dataset in rule.where]


def check(rule: Rule, group: ModelGroup) -> Claim:
    """Checks one claim on one group of cells."""
    measurement = rule.measure(group)
    deciding = sum(measured.role == DECIDES for measured in measurement.measured)
    counting_first = sorted(measurement.measured, key=lambda measured: not measured.counts)
    comparisons = tuple(compare_with_claim(measured, len(group.seeds), deciding) for measured in counting_first)
    return Claim(
        rule=rule,
        dataset=group.config.dataset,
        group=group.label,
        planned=len(group.seeds),
        comparisons=comparisons,
        verdict=NOT_TESTED if measurement.missing else verdict(comparisons),
        note=measurement.missing or _note(measurement, comparisons),
    )


def _note(measurement: Measurement, comparisons: Sequence[Comparison]) -> str:
    """Returns the measurement's note, and how many comparisons lack seeds."""
    counting = [comparison for comparison in comparisons if comparison.counts]
    lacking = [comparison for comparison in counting if comparison.lacks_seeds]
    if not lacking:
        return measurement.note
    least = min(lacking, key=lambda comparison: comparison.n)
    seeds = f"the least has {least.n} of {least.n_planned} seeds"
    return f"{measurement.note}; comparisons not decided for want of seeds: {len(lacking)} of {len(counting)} ({seeds})"
