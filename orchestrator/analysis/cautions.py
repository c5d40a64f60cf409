"""Sentences on what the numbers of a sweep cannot show: too few seeds, coherence at chance, too little training, a weak classifier. Pure.

What `collapse` finds has sentences of its own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mopoe_core import metric_names
from mopoe_core.spelling import first_of
from orchestrator.analysis import chance
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.intervals import mean
from orchestrator.analysis.sweep_analysis import GroupAnalysis, SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, labels, spelled

FEWEST_SEEDS = 3
"""Seeds of a cell below which its spread is hardly known: the 95 % interval of two seeds is 18 standard deviations wide."""
LAST_PART = 0.1
"""The last part of training, in which the loss should hardly fall."""
STILL_FALLING = 0.05
"""Share of the loss's whole fall since the first epoch. A loss that falls evenly falls by 0.1 in its last tenth, one that halves its
distance to the end twenty times by less than 0.001."""
ERRORS = 2.0
"""Monte-Carlo standard errors by which a coherence must be above chance."""
MOST_NAMED = 4
SHARE = metric_names.UNITS[metric_names.COHERENCE]


def sentences(analysis: SweepAnalysis) -> list[str]:
    """Returns a sentence for each kind of caution that the sweep needs, the widest first."""
    found, names = [_few_seeds(analysis)], labels(analysis.cells)
    for part in analysis.groups:
        completed = [result for result in part.group.results if result.status == "completed"]
        found += [
            _weak_classifiers(completed),
            _undertrained(part.group.cells, completed, names),
            _joint_at_chance(part, completed, names),
            _conditional_at_chance(part, completed, names),
            _below_reference(part.front),
        ]
    return list(dict.fromkeys(sentence for sentence in found if sentence))


def is_undertrained(losses: Sequence[float]) -> bool:
    """Whether a loss, epoch by epoch, still falls steeply at the end. One epoch cannot show that it does not."""
    if len(losses) < 2:
        return True
    whole = losses[0] - losses[-1]
    last = losses[-1 - max(1, round(LAST_PART * len(losses)))] - losses[-1]
    return whole > 0 and last > STILL_FALLING * whole


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
    weak: dict[str, None] = {}
    for result in results:
        recorded = result.provenance.get("classifiers", {})
        measures = recorded if isinstance(recorded, Mapping) else {}
        for modality, accuracy in _numbers(measures.get("accuracy")).items():
            majority = _numbers(measures.get("majority_share")).get(modality)
            if not result.trial.config.attributes and majority is not None and accuracy <= majority:
                weak[f"{modality} ({accuracy:.1%} right, the commonest class alone gives {majority:.1%})"] = None
    if not weak:
        return ""
    return f"A classifier is no better than the commonest class, so that coherence with it means little: {', '.join(weak)}."


def _numbers(of_modalities: Any) -> Mapping[str, float]:
    return of_modalities if isinstance(of_modalities, Mapping) else {}


def _undertrained(cells: Sequence[Cell], results: Iterable[TrialResult], names: Mapping[str, str]) -> str:
    ids = {
        result.trial.cell.id
        for result in results
        if is_undertrained([epoch.values["train/loss"] for epoch in result.history if "train/loss" in epoch.values])
    }
    if not ids:
        return ""
    return (
        f"Undertrained: the loss still falls steeply at the end of training in {_named(cells, ids, names)}: by more than "
        f"{STILL_FALLING:.0%} of its whole fall in the last tenth of the epochs."
    )


def _joint_at_chance(part: GroupAnalysis, results: Sequence[TrialResult], names: Mapping[str, str]) -> str:
    by_cell: dict[str, list[float]] = {}
    for result in results:
        if (level := chance.joint_coherence(result)) is not None:
            by_cell.setdefault(result.trial.cell.id, []).append(level)
    rows = part.table[(part.table["name"] == metric_names.JOINT_COHERENCE) & (part.table["n"] > 0)]
    ids = {row.cell_id for row in _rows(rows) if row.cell_id in by_cell and _is_at(row, mean(by_cell[row.cell_id]))}
    if not ids:
        return ""
    level = mean([value for cell_id in ids for value in by_cell[cell_id]])
    return (
        f"{metric_names.JOINT_COHERENCE} is no better than chance ({level:.3f}, modalities that know nothing of each other) in "
        f"{_named(part.group.cells, ids, names)}."
    )


def _conditional_at_chance(part: GroupAnalysis, results: Sequence[TrialResult], names: Mapping[str, str]) -> str:
    """Of targets that are not given: their level is the share of the commonest class."""
    levels = {result.trial.cell.id: max(shares) for result in results if (shares := chance.label_shares(result))}
    table = part.table
    rows = table[
        (table["kind"] == metric_names.COHERENCE) & (table["unit"] == SHARE) & (table["target"] != "") & (table["n"] > 0)
    ]
    at_chance: dict[str, list[str]] = {}
    for row in _rows(rows):
        is_given = row.target in row.subset.split(".")
        if row.cell_id in levels and not is_given and _is_at(row, levels[row.cell_id]):
            at_chance.setdefault(row.cell_id, []).append(f"{row.subset} → {row.target}")
    if not at_chance:
        return ""
    arrows = list(dict.fromkeys(arrow for of_cell in at_chance.values() for arrow in of_cell))
    level = max(levels[cell_id] for cell_id in at_chance)
    return (
        f"Conditional coherence is no better than the share of the commonest class ({level:.3f}) in "
        f"{_named(part.group.cells, at_chance, names)}, for {first_of(arrows, MOST_NAMED)}."
    )


def _rows(table: pd.DataFrame) -> Iterable[Any]:
    return table[["cell_id", "subset", "target", "mean", "mc_error"]].itertuples(index=False)


def _is_at(row: Any, level: float) -> bool:
    """Whether a mean is not above a level by more than its Monte-Carlo error explains."""
    error = 0.0 if math.isnan(row.mc_error) else float(row.mc_error)
    return bool(row.mean <= level + ERRORS * error)


def _below_reference(front: Front) -> str:
    short = [
        point.label
        for point in front.points
        if any(
            objective.reference is not None
            and (mean_ <= objective.reference if objective.goal == "max" else mean_ >= objective.reference)
            for mean_, objective in zip(point.means, front.objectives, strict=True)
        )
    ]
    if not short:
        return ""
    references = ", ".join(
        f"{objective.metric} = {spelled(objective.reference)}"
        for objective in front.objectives
        if objective.reference is not None
    )
    return f"Not better than the reference ({references}), so that they add nothing to the hypervolume: {first_of(short, MOST_NAMED)}."


def _named(cells: Sequence[Cell], ids: Iterable[str], names: Mapping[str, str]) -> str:
    wanted = set(ids)
    if len(wanted) == len(cells) > 1:
        return f"all {len(cells)} cells"
    return first_of([names[cell.id] for cell in cells if cell.id in wanted], MOST_NAMED)
