"""The output of `plan`, `status`, `failures` and `report` as JSON, for programs. Pure."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.failure_causes import FailureGroup
from orchestrator.execution.plan import Plan
from orchestrator.monitor.eta import TrialView
from orchestrator.monitor.shown_front import FrontCell, ShownFront
from orchestrator.spec.sweep_file import example_configs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

if TYPE_CHECKING:  # these import pandas, and `plan` and `status` would have to wait for it
    from orchestrator.analysis.fronts import Front, LeftOut, Point
    from orchestrator.report.overview import Overview


def plan_json(spec: SweepSpec, plan: Plan, storage: AnyPath, wall_seconds: float) -> str:
    """Returns a plan as JSON: the ids of its trials by what has to be done for them, and how many seconds they will take.

    `wall_seconds` is the time on the CPUs of this process. In the JSON, `differing` has the fields that alone distinguish new trials from
    finished ones, and `to_propose` the trials that a search has still to propose.
    """
    estimate = plan.estimate
    datasets = dict.fromkeys(map(_data_of, example_configs(spec)))
    content = {
        "sweep": spec.name,
        "storage": str(storage),
        "data": [{"dataset": dataset, "source": source, "scale": scale} for dataset, source, scale in datasets],
        "cells": len(spec.cells),
        "trials": len(spec.trials),
        "done": _ids(plan.done),
        "resume": _ids(plan.resume),
        "new": _ids(plan.fresh),
        "damaged": {trial.id: why for trial, why in plan.damaged.items()},
        "differing": [asdict(difference) for difference in plan.differing],
        "to_propose": asdict(plan.to_come) if spec.search else None,
        "seconds": wall_seconds,
        "trial_seconds": estimate.trial_hours * 3600,
        "evaluation_seconds": estimate.evaluation_hours * 3600,
        "guessed_trials": estimate.guessed,
    }
    return _text(content)


def status_json(
    spec: SweepSpec,
    views: Sequence[TrialView],
    fronts: Sequence[ShownFront],
    driver: str | None,
    seconds_left: float | None,
) -> str:
    """Returns the state of a sweep as JSON: its driver, the remaining time, the front so far of each group of comparable cells, and each
    trial. `driver` and `seconds_left` are null if there is no driver, or the time is not known.
    """
    names = spec.labels
    trials = [
        {
            "id": view.trial.id,
            "cell": names[view.trial.cell.id],
            "seed": view.trial.seed,
            "status": view.status,
            "epoch": view.epoch,
            "epochs": view.trial.config.epochs,
            "loss": view.loss,
            "reason": view.reason,
        }
        for view in views
    ]
    counts = Counter(view.status for view in views)
    content = {
        "sweep": spec.name,
        "driver": driver,
        "counts": counts,
        "seconds_left": seconds_left,
        "fronts": [_front(front) for front in fronts],
        "trials": trials,
    }
    return _text(content)


def _front(front: ShownFront) -> dict[str, Any]:
    cells = [{**_named(cell), "means": dict(cell.means)} for cell in front.cells]
    return {"group": front.group, "hypervolume": front.hypervolume, "cells": cells}


def failures_json(spec: SweepSpec, groups: Sequence[FailureGroup], commands: Mapping[str, str]) -> str:
    """Returns failed and diverged trials by cause, as JSON.

    `commands` has the command that runs a trial here, by trial id, for the first trial of each group.
    """
    rows = [
        {
            "cause": group.cause,
            "trials": [{"id": trial.id, "note": note} for trial, note in zip(group.trials, group.notes, strict=True)],
            "command": commands[group.trials[0].id],
            "traceback": group.traceback,
        }
        for group in groups
    ]
    return _text({"sweep": spec.name, "groups": rows})


def report_json(spec: SweepSpec, overview: "Overview", page: Path) -> str:
    """Returns a report in short as JSON: its sentences and warnings, and each front with its complete and its incomplete cells.

    `probability` is null for cells with too few seeds to compute it, and `sds` for cells with one seed.
    """
    content = {
        "sweep": spec.name,
        "page": str(page),
        "sentences": overview.sentences,
        "warnings": overview.warnings,
        "fronts": [
            {"group": label, "hypervolume": front.hypervolume, "cells": _cells(front), "incomplete": _incomplete(front)}
            for label, front in overview.fronts
        ],
    }
    return _text(content)


def _cells(front: "Front") -> list[dict[str, Any]]:
    metrics = [objective.metric for objective in front.objectives]
    return [
        {
            **_named(point),
            "on_front": point.on_front,
            "probability": point.shown_probability,
            "means": dict(zip(metrics, point.means, strict=True)),
            "sds": dict(zip(metrics, point.sds, strict=True)) if point.n > 1 else None,
        }
        for point in front.points
    ]


def _incomplete(front: "Front") -> list[dict[str, Any]]:
    metrics = [objective.metric for objective in front.objectives]
    return [
        {**_named(cell), "seeds_planned": cell.n_planned, "means": dict(zip(metrics, cell.means, strict=False))}
        for cell in front.left_out
    ]


def _named(cell: "FrontCell | Point | LeftOut") -> dict[str, Any]:
    return {"cell_id": cell.cell_id, "cell": cell.label, "seeds": cell.n}


def _data_of(config: TrainingConfig) -> tuple[str, str, str | None]:
    return config.dataset, config.source, config.scale


def _ids(trials: Sequence[Trial]) -> list[str]:
    return [trial.id for trial in trials]


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1)
