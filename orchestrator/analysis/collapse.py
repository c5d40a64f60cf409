"""Finds trials that generate almost only one class, so that a high joint coherence is no success. Pure, and fast enough for `status`.

A trial has *collapsed* in a modality if the classes that it generates from the prior have less than a third of the entropy of the test
examples' classes. Its effective number of classes is then less than the cube root of theirs. Examples:

- Ten equally common classes: fewer than 2.15 effective classes, as with one class in 85 % of draws and the others equally often, or with
  two classes alone.
- Two equally common classes: fewer than 1.26 effective classes, as with one class in 94 % of draws.
- Two classes, one of which has 95 % of the test examples: to generate this one in 95 % of draws is right, in 98.8 % or more a collapse.

If almost all test examples belong to one class, no trial counts as collapsed. If labels are attributes, entropies are means over the
attributes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mopoe_core import metric_names
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, labels

LEAST_ENTROPY = 1 / 3
"""The least entropy of the generated classes without a collapse, as a share of the entropy of the test examples' classes."""
NEARLY_ONE = 1.05
"""With fewer effective classes in the test examples, there is no diversity to lose: one of two classes has 99 % of the examples."""
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
    """The share of the draws that show this class."""

    @property
    def sentence(self) -> str:
        """A sentence on the class that is generated most, and on the effective classes."""
        counted = f"{self.effective:.2f} effective classes; the test examples have {self.of_labels:.2f}"
        if self.shown:
            return f"{self.modality} shows class {self.shown} in {self.share:.1%} of draws from the prior ({counted})"
        return f"{self.modality} shows nearly the same in all draws from the prior ({counted})"


def is_collapsed(effective: float, of_labels: float) -> bool:
    """Whether this number of effective classes is a collapse. The test examples have `of_labels` effective classes."""
    return of_labels >= NEARLY_ONE and effective < of_labels**LEAST_ENTROPY


def collapses(result: TrialResult) -> list[Collapse]:
    """Returns a trial's collapses, by modality. Empty for a trial of an earlier version, which did not report its classes."""
    effective = _of_kind(result, metric_names.EFFECTIVE_CLASSES)
    of_labels = effective.pop(metric_names.LABELS, math.nan)
    return [
        Collapse(modality, value, of_labels, *_most_shown(result, modality))
        for modality, value in effective.items()
        if is_collapsed(value, of_labels)
    ]


def evidence(result: TrialResult) -> set[str]:
    """Returns the names of the metrics of a result that `collapses` and `lines` need; empty if the trial has not collapsed."""
    kinds = (metric_names.EFFECTIVE_CLASSES, metric_names.GENERATED)
    needed = {metric.name for metric in result.metrics if metric.name.partition("/")[0] in kinds}
    return needed | {metric_names.JOINT_COHERENCE} if collapses(result) else set()


def by_cell(results: Sequence[TrialResult]) -> dict[str, str]:
    """Returns, by cell id, a sentence on the collapse of each cell that has a collapsed seed."""
    completed: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "completed":
            completed.setdefault(result.trial.cell.id, []).append(result)
    return {cell_id: sentence for cell_id, of_cell in completed.items() if (sentence := _sentence(of_cell))}


def lines(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    """Returns a line for each of the first few collapsed cells, and a line with the number of the others."""
    return lines_of(spec.cells, by_cell(results))


def lines_of(cells: Sequence[Cell], sentences: Mapping[str, str]) -> list[str]:
    """Returns the same as `lines`, from the sentences of `by_cell`."""
    if not sentences:
        return []
    label_of = labels(cells)
    named = [f"{label_of[cell_id]}: {sentence}" for cell_id, sentence in sentences.items() if cell_id in label_of]
    more = [f"and {len(named) - MOST_LINES} more cells"] if len(named) > MOST_LINES else []
    return [*named[:MOST_LINES], *more]


def _sentence(results: Sequence[TrialResult]) -> str:
    """Returns a sentence on the completed trials of a cell; empty if none has collapsed.

    The sentence describes the trial and the modality with the fewest effective classes.
    """
    collapsed = [(result, min(in_trial, key=_effective)) for result in results if (in_trial := collapses(result))]
    if not collapsed:
        return ""
    result, worst = min(collapsed, key=lambda pair: _effective(pair[1]))
    seeds = f"collapsed in {len(collapsed)} of {len(results)} seeds"
    return f"{seeds}; with seed {result.trial.seed} {worst.sentence}{_joint(result)}"


def _effective(collapse: Collapse) -> float:
    return collapse.effective


def _joint(result: TrialResult) -> str:
    """Returns the end of a sentence on the joint coherence. If all modalities have collapsed, the collapse explains the coherence."""
    coherence = result.value(metric_names.JOINT_COHERENCE)
    if coherence is None:
        return ""
    modalities = len(_of_kind(result, metric_names.EFFECTIVE_CLASSES)) - 1  # one of the values is that of the labels
    if len(collapses(result)) == modalities:
        return f", so that its {metric_names.JOINT_COHERENCE} of {coherence:.3f} is a collapse and no agreement"
    return f"; its {metric_names.JOINT_COHERENCE} is {coherence:.3f}"


def _of_kind(result: TrialResult, kind: str) -> dict[str, float]:
    """Returns the values of the metrics whose names begin with `kind`, by the rest of their names."""
    prefix = f"{kind}/"
    return {metric.name.removeprefix(prefix): metric.value for metric in result.metrics if metric.name.startswith(prefix)}


def _most_shown(result: TrialResult, modality: str) -> tuple[str, float]:
    """Returns the class that a modality generates most and its share; without a class if labels are attributes or not reported."""
    shares: Mapping[str, float] = _of_kind(result, f"{metric_names.GENERATED}/{modality}")
    if not shares or result.trial.config.attributes:
        return "", math.nan
    name = max(shares, key=lambda name: shares[name])
    return name, shares[name]
