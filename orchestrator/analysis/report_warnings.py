"""Writes the report's warnings to its reader: too few seeds, coherence at chance, too little training, a weak classifier. Pure.

Collapsed trials have their own sentences in `collapse`.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mopoe_core import metric_names
from mopoe_core.spelling import first_of
from orchestrator.analysis import chance
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.intervals import mean
from orchestrator.analysis.sweep_analysis import GroupAnalysis, SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, labels, spelled

FEWEST_SEEDS = 3
"""Seeds of a cell below which its spread is hardly known: the 95 % interval of two seeds is 18 standard deviations wide."""
LAST_PART = 0.1
"""Share of the epochs at the end of training in which the loss should hardly fall."""
STILL_FALLING = 0.05
"""A loss still falls if it falls in `LAST_PART` by more than this share of its whole fall since the first epoch. A loss that falls evenly
falls by a share of 0.1 in its last tenth. One that halves its distance to the end twenty times falls by less than 0.001."""
ERRORS = 2.0
"""Monte-Carlo standard errors by which a coherence must be above chance."""
MOST_NAMED = 4


def sentences(analysis: SweepAnalysis) -> list[str]:
    """Returns a sentence for each kind of warning that the sweep needs, the widest first."""
    warnings, names = [_few_seeds(analysis)], labels(analysis.cells)
    for part in analysis.groups:
        completed = [result for result in part.group.results if result.status == "completed"]
        warnings += [
            _weak_classifiers(completed),
            _undertrained(part.group.cells, completed, names),
            _joint_at_chance(part, completed, names),
            _conditional_at_chance(part, completed, names),
            _below_reference(part.front),
        ]
    return list(dict.fromkeys(sentence for sentence in warnings if sentence))


def is_undertrained(losses: Sequence[float]) -> bool:
    """Whether a loss, given for each epoch, still falls steeply at the end. Also true for a single epoch, which cannot show a fall."""
    if len(losses) < 2:
        return True
    last_epochs = max(1, round(LAST_PART * len(losses)))
    whole_fall = losses[0] - losses[-1]
    last_fall = losses[-1 - last_epochs] - losses[-1]
    return whole_fall > 0 and last_fall > STILL_FALLING * whole_fall


def _few_seeds(analysis: SweepAnalysis) -> str:
    counts = {len(analysis.seeds[cell.id]) for cell in analysis.cells}
    if not counts or min(counts) >= FEWEST_SEEDS:
        return ""
    fewest = min(counts)
    which = "Cells" if len(counts) == 1 else "Some cells"
    return (
        f"{which} have {fewest} seed{'' if fewest == 1 else 's'}, fewer than {FEWEST_SEEDS}: their spread over seeds is hardly known. "
        f"Set `seeds` to {FEWEST_SEEDS} or more before you rely on an order of models."
    )


def _weak_classifiers(results: Iterable[TrialResult]) -> str:
    weak: dict[str, None] = {}  # an ordered set
    for result in results:
        classifiers = _mapping(result.provenance.get("classifiers"))
        accuracies, majorities = _mapping(classifiers.get("accuracy")), _mapping(classifiers.get("majority_share"))
        for modality, accuracy in accuracies.items():
            majority = majorities.get(modality)
            if not result.trial.config.attributes and majority is not None and accuracy <= majority:
                weak[f"{modality} ({accuracy:.1%} right, the commonest class alone gives {majority:.1%})"] = None
    if not weak:
        return ""
    return f"A classifier is no better than the commonest class, so that coherence with it means little: {', '.join(weak)}."


def _mapping(recorded: Any) -> Mapping[str, Any]:
    """Returns a part of a provenance if it is a mapping; empty if it is missing."""
    return recorded if isinstance(recorded, Mapping) else {}


def _undertrained(cells: Sequence[Cell], results: Iterable[TrialResult], names: Mapping[str, str]) -> str:
    ids = set()
    for result in results:
        if is_undertrained([epoch.values["train/loss"] for epoch in result.history if "train/loss" in epoch.values]):
            ids.add(result.trial.cell.id)
    if not ids:
        return ""
    return (
        f"Undertrained: the loss still falls steeply at the end of training in {_named(cells, ids, names)}: by more than "
        f"{STILL_FALLING:.0%} of its whole fall in the last tenth of the epochs."
    )


def _joint_at_chance(part: GroupAnalysis, results: Sequence[TrialResult], names: Mapping[str, str]) -> str:
    levels: dict[str, list[float]] = {}
    for result in results:
        if (level := chance.joint_coherence(result)) is not None:
            levels.setdefault(result.trial.cell.id, []).append(level)
    rows = part.table[(part.table["name"] == metric_names.JOINT_COHERENCE) & (part.table["n"] > 0)]
    ids = {row.cell_id for row in _rows(rows) if row.cell_id in levels and _is_at_chance(row, mean(levels[row.cell_id]))}
    if not ids:
        return ""
    level = mean([value for cell_id in ids for value in levels[cell_id]])
    return (
        f"{metric_names.JOINT_COHERENCE} is no better than chance ({level:.3f}, independent modalities) in "
        f"{_named(part.group.cells, ids, names)}."
    )


def _conditional_at_chance(part: GroupAnalysis, results: Sequence[TrialResult], names: Mapping[str, str]) -> str:
    """Names an attribute only if the mean over all attributes is above chance."""
    result_of = {result.trial.cell.id: result for result in results if chance.label_shares(result)}
    at_chance = list(_rows_at_chance(part, result_of))
    if not at_chance:
        return ""
    levels = {(f"{row.subset} → {row.target}", row.attribute): level for row, level in at_chance}
    named = {
        f"{arrow} {attribute}".rstrip(): level
        for (arrow, attribute), level in levels.items()
        if not attribute or (arrow, "") not in levels
    }
    has_attributes = any(result.trial.config.attributes for result in result_of.values())
    share = "the attributes' shares" if has_attributes else "the share of the commonest class"
    return (
        f"Conditional coherence is no better than {share} ({_span(named.values())}) in "
        f"{_named(part.group.cells, [row.cell_id for row, _ in at_chance], names)}, for {first_of(list(named), MOST_NAMED)}."
    )


def _rows_at_chance(part: GroupAnalysis, result_of: Mapping[str, TrialResult]) -> Iterator[tuple[Any, float]]:
    """Yields each conditional coherence at chance, with the level of chance, for targets that are not in the given subset.

    `result_of` has a trial that reports the test examples' classes, by the id of its cell.
    """
    table = part.table
    is_conditional = (table["kind"] == metric_names.COHERENCE) & (table["target"] != "")
    for row in _rows(table[is_conditional & (table["n"] > 0) & table["cell_id"].isin(result_of)]):
        level = chance.conditional_coherence(result_of[row.cell_id], row.attribute)
        if level is not None and row.target not in row.subset.split(".") and _is_at_chance(row, level):
            yield row, level


def _span(levels: Collection[float]) -> str:
    """Returns the lowest and the highest level; one number if these are equal."""
    return " to ".join(dict.fromkeys(f"{level:.3f}" for level in (min(levels), max(levels))))


def _rows(table: pd.DataFrame) -> Iterable[Any]:
    return table[["cell_id", "subset", "target", "attribute", "mean", "mc_error"]].itertuples(index=False)


def _is_at_chance(row: Any, level: float) -> bool:
    """Whether the row's mean is below the level of chance, or above it by at most `ERRORS` Monte-Carlo errors."""
    error = 0.0 if math.isnan(row.mc_error) else float(row.mc_error)
    return bool(row.mean <= level + ERRORS * error)


def _below_reference(front: Front) -> str:
    cell_labels = [
        point.label
        for point in front.points
        if any(_misses(value, objective) for value, objective in zip(point.means, front.objectives, strict=True))
    ]
    if not cell_labels:
        return ""
    references = ", ".join(
        f"{objective.metric} = {spelled(objective.reference)}"
        for objective in front.objectives
        if objective.reference is not None
    )
    named = first_of(cell_labels, MOST_NAMED)
    return f"Not better than the reference ({references}), so that they add nothing to the hypervolume: {named}."


def _misses(value: float, objective: Objective) -> bool:
    """Whether a value is not better than the objective's reference; false if there is none."""
    if objective.reference is None:
        return False
    return value <= objective.reference if objective.goal == "max" else value >= objective.reference


def _named(cells: Sequence[Cell], ids: Iterable[str], names: Mapping[str, str]) -> str:
    """Returns the names of the cells with these ids: all of them if they are few, else the first few."""
    chosen = set(ids)
    if len(chosen) == len(cells) > 1:
        return f"all {len(cells)} cells"
    return first_of([names[cell.id] for cell in cells if cell.id in chosen], MOST_NAMED)
