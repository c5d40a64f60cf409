"""Which trials generate one class almost alone, so that their joint coherence is no success. Pure, and light enough for `status`.

A trial has *collapsed* in a modality if the classes that it generates from the prior have less than a third of the entropy of the test
examples' classes. In effective numbers of classes, that is less than the cube root. For ten equally common classes it is less than 2.15:
one class in 85 % of draws and the others equally often, or two classes alone. For two equally common classes it is less than 1.26: one
class in 94 % of draws. If 95 % of the test examples belong to one of two classes, generating it in 95 % of draws is right, and in 98.8 %
or more is a collapse. If almost all test examples belong to one class, no trial counts as collapsed.

If labels are attributes, entropies are means over the attributes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mopoe_core import metric_names
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, labels

LEAST_ENTROPY = 1 / 3
"""The least entropy of the generated classes, as a share of that of the test examples' classes."""
NEARLY_ONE = 1.05
"""Effective classes of the test examples below which there is no diversity to lose: one of two classes has 99 % of them."""
MOST_LINES = 5


@dataclass(frozen=True)
class Collapse:
    """The collapse of one trial in one modality."""

    modality: str
    effective: float
    """The effective number of generated classes."""
    of_labels: float
    """The effective number of classes of the test examples."""
    shown: str
    """The class that is generated most; empty if labels are attributes, or too many to be reported one by one."""
    share: float
    """Its share of the draws."""

    @property
    def sentence(self) -> str:
        """What is generated, in words."""
        counted = f"{self.effective:.2f} effective classes; the test examples have {self.of_labels:.2f}"
        if self.shown:
            return f"{self.modality} shows class {self.shown} in {self.share:.1%} of draws from the prior ({counted})"
        return f"{self.modality} shows nearly the same in all draws from the prior ({counted})"


def is_collapsed(effective: float, of_labels: float) -> bool:
    """Whether this number of effective classes is a collapse. The test examples have `of_labels` effective classes."""
    return of_labels >= NEARLY_ONE and effective < of_labels**LEAST_ENTROPY


def collapses(result: TrialResult) -> list[Collapse]:
    """The modalities in which a trial has collapsed. None for a trial of an earlier version, which did not report its classes."""
    effective = _of_kind(result, metric_names.EFFECTIVE_CLASSES)
    of_labels = effective.pop(metric_names.LABELS, math.nan)
    return [
        Collapse(modality, value, of_labels, *_most_shown(result, modality))
        for modality, value in effective.items()
        if is_collapsed(value, of_labels)
    ]


def evidence(result: TrialResult) -> set[str]:
    """Names of the metrics of a result that `collapses` and `lines` need; none if it has not collapsed."""
    kinds = (metric_names.EFFECTIVE_CLASSES, metric_names.GENERATED)
    needed = {metric.name for metric in result.metrics if metric.name.partition("/")[0] in kinds}
    return needed | {metric_names.JOINT_COHERENCE} if collapses(result) else set()


def by_cell(results: Sequence[TrialResult]) -> dict[str, str]:
    """By cell id, a sentence on the collapse of each cell that has a collapsed seed."""
    completed: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "completed":
            completed.setdefault(result.trial.cell.id, []).append(result)
    return {cell_id: sentence for cell_id, of_cell in completed.items() if (sentence := _sentence(of_cell))}


def lines(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    """A line for each collapsed cell, and a line that counts those beyond the first few."""
    return lines_of(spec.cells, by_cell(results))


def lines_of(cells: Sequence[Cell], sentences: Mapping[str, str]) -> list[str]:
    """`lines` from the sentences of `by_cell`."""
    if not sentences:
        return []
    short = labels(cells)
    named = [f"{short[cell_id]}: {sentence}" for cell_id, sentence in sentences.items() if cell_id in short]
    more = [f"and {len(named) - MOST_LINES} more cells"] if len(named) > MOST_LINES else []
    return [*named[:MOST_LINES], *more]


def _sentence(results: Sequence[TrialResult]) -> str:
    """A sentence on the completed trials of a cell, with the trial and modality of the fewest classes; empty if none has collapsed."""
    worst_of = [(result, min(in_trial, key=_effective)) for result in results if (in_trial := collapses(result))]
    if not worst_of:
        return ""
    result, worst = min(worst_of, key=lambda pair: _effective(pair[1]))
    seeds = f"collapsed in {len(worst_of)} of {len(results)} seeds"
    return f"{seeds}; with seed {result.trial.seed} {worst.sentence}{_joint(result)}"


def _effective(collapse: Collapse) -> float:
    return collapse.effective


def _joint(result: TrialResult) -> str:
    """What the collapse says of the joint coherence, as the end of a sentence. If every modality has collapsed, it explains all of it."""
    coherence = result.value(metric_names.JOINT_COHERENCE)
    if coherence is None:
        return ""
    if len(collapses(result)) == len(_of_kind(result, metric_names.EFFECTIVE_CLASSES)) - 1:
        return f", so that its {metric_names.JOINT_COHERENCE} of {coherence:.3f} is a collapse and no agreement"
    return f"; its {metric_names.JOINT_COHERENCE} is {coherence:.3f}"


def _of_kind(result: TrialResult, kind: str) -> dict[str, float]:
    """The values of the metrics of one kind, by the rest of their names."""
    return {m.name.removeprefix(f"{kind}/"): m.value for m in result.metrics if m.name.startswith(f"{kind}/")}


def _most_shown(result: TrialResult, modality: str) -> tuple[str, float]:
    shares: Mapping[str, float] = _of_kind(result, f"{metric_names.GENERATED}/{modality}")
    if not shares or result.trial.config.attributes:
        return "", math.nan
    shown = max(shares, key=lambda name: shares[name])
    return shown, shares[shown]
