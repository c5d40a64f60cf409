"""Which trials generate (nearly) one class, so that their joint coherence is no success. Pure, and light enough for `status`.

A trial has *collapsed* in a modality where the entropy of the classes that are generated from the prior is less than a third of the
entropy of the test examples' classes; in effective numbers of classes, below the cube root. Of ten equally common classes that is below
2.15: one class in 85 % of draws and the others equally often, or two classes alone; of two classes below 1.26: one in 94 % of draws.
Where 95 % of the test examples are of one of two classes, 95 % of it is right, and 98.8 % or more is a collapse. Where the examples
themselves are of nearly one class, nothing is said.

Where labels are attributes, entropies are means over the attributes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mopoe_core import metric_names
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec

LEAST_ENTROPY = 1 / 3
"""Of what is generated, relative to the test examples'."""
NEARLY_ONE = 1.05
"""Effective classes of the test examples below which there is no diversity to lose: of two classes, one has 99 %."""
MOST_SAID = 5


@dataclass(frozen=True)
class Collapse:
    """Of one trial in one modality."""

    modality: str
    effective: float
    """Classes that are generated, effectively."""
    of_labels: float
    """Classes of the test examples, effectively."""
    shown: str
    """The class that is generated most; empty where labels are attributes, or are too many to be reported one by one."""
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
    """Whether so many effective classes are a collapse, where the test examples have `of_labels`."""
    return of_labels >= NEARLY_ONE and effective < of_labels**LEAST_ENTROPY


def collapses(result: TrialResult) -> list[Collapse]:
    """The modalities in which a trial has collapsed; none where it does not report its classes, as those of earlier versions do not."""
    effective = _of_kind(result, metric_names.EFFECTIVE_CLASSES)
    of_labels = effective.pop(metric_names.LABELS, math.nan)
    return [
        Collapse(modality, value, of_labels, *_most_shown(result, modality))
        for modality, value in effective.items()
        if is_collapsed(value, of_labels)
    ]


def evidence(result: TrialResult) -> set[str]:
    """Names of the metrics that `collapses` and `lines` need of a result: none of one that has not collapsed."""
    kinds = (metric_names.EFFECTIVE_CLASSES, metric_names.GENERATED)
    needed = {metric.name for metric in result.metrics if metric.name.partition("/")[0] in kinds}
    return needed | {metric_names.JOINT_COHERENCE} if collapses(result) else set()


def by_cell(results: Sequence[TrialResult]) -> dict[str, str]:
    """Cell id to a sentence on its collapse, of the cells of which a seed has collapsed."""
    own: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "completed":
            own.setdefault(result.trial.cell.id, []).append(result)
    return {cell_id: said for cell_id, found in own.items() if (said := _sentence(found))}


def lines(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    """A line a cell that has collapsed, and how many more there are."""
    found = by_cell(results)
    if not found:
        return []
    short = spec.labels
    said = [f"{short[cell_id]}: {sentence}" for cell_id, sentence in found.items() if cell_id in short]
    return [*said[:MOST_SAID], *([f"and {len(said) - MOST_SAID} more cells"] if len(said) > MOST_SAID else [])]


def _sentence(results: Sequence[TrialResult]) -> str:
    """Of the completed trials of one cell; empty if none has collapsed. The modality with the fewest classes stands for the others."""
    found = [(result, min(of, key=lambda one: one.effective)) for result in results if (of := collapses(result))]
    if not found:
        return ""
    result, worst = min(found, key=lambda one: one[1].effective)
    seeds = f"collapsed in {len(found)} of {len(results)} seeds"
    return f"{seeds}; with seed {result.trial.seed} {worst.sentence}{_joint(result)}"


def _joint(result: TrialResult) -> str:
    """What the collapse makes of the joint coherence: all of it where every modality has collapsed."""
    coherence = result.value(metric_names.JOINT_COHERENCE)
    if coherence is None:
        return ""
    if len(collapses(result)) == len(_of_kind(result, metric_names.EFFECTIVE_CLASSES)) - 1:
        return f", so that its {metric_names.JOINT_COHERENCE} of {coherence:.3f} is a collapse and no agreement"
    return f"; its {metric_names.JOINT_COHERENCE} is {coherence:.3f}"


def _of_kind(result: TrialResult, kind: str) -> dict[str, float]:
    """The metrics of one kind, by the rest of their names."""
    return {m.name.removeprefix(f"{kind}/"): m.value for m in result.metrics if m.name.startswith(f"{kind}/")}


def _most_shown(result: TrialResult, modality: str) -> tuple[str, float]:
    shares: Mapping[str, float] = _of_kind(result, f"{metric_names.GENERATED}/{modality}")
    if not shares or result.trial.config.attributes:
        return "", math.nan
    shown = max(shares, key=lambda name: shares[name])
    return shown, shares[shown]
