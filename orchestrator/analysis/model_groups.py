"""Puts cells into groups for comparing models as the paper does. Pure.

The cells of a group differ only in model, beta and the fields that belong to a model. All of them are in one
`comparable_groups.FrontGroup`, whose cells may also differ in size and training.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mopoe_core import metric_names
from mopoe_core.config.deviations import deviations
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.comparable_groups import FrontGroups, front_groups
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell

Sample = dict[int, float]
"""A number for each seed."""


@dataclass(frozen=True)
class ModelGroup:
    """Cells of one dataset, source and scale, and what their completed trials reported."""

    label: str
    """Dataset, source, scale and networks. If several groups agree in these, the label also has the fields in which they differ."""
    slug: str
    """A part of file names; different for every group of a sweep."""
    cells: tuple[Cell, ...]
    """In the sweep's order; never empty."""
    seeds: tuple[int, ...]
    """The planned seeds."""
    results: tuple[TrialResult, ...]
    """The completed trials of its cells and seeds."""
    values: Mapping[str, Mapping[int, Mapping[str, float]]]
    """The values of completed trials, by the cell's id, the seed and the metric's full name."""

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the first cell. All cells share it, except for the fields in `fields_with(Role.OBJECTIVE)`."""
        return self.cells[0].config

    @cached_property
    def lines(self) -> Mapping[str, Mapping[float, Cell]]:
        """The `model_line` of each of its models."""
        models = dict.fromkeys(cell.config.published_model for cell in self.cells)
        return {model: model_line(self.cells, model) for model in models}

    def line(self, model: str) -> Mapping[float, Cell]:
        """Returns a model's cells by beta, ascending. `model` is the published name. Empty if there are none."""
        return self.lines.get(model, {})

    def sample(self, cell: Cell, metric: str) -> Sample:
        """Returns the metric's value with each completed seed that reports it."""
        return {seed: values[metric] for seed, values in self.values[cell.id].items() if metric in values}

    def reported(self, cell: Cell) -> int:
        """Returns how many of a cell's planned seeds completed."""
        return len(self.values[cell.id])

    def beta(self, paper: float, needed: Sequence[str] = (), among: Sequence[str] = PAPER_MODELS) -> float | None:
        """Returns the `common_beta` of the group's models in `among`; None if it has none of these, or the needed ones share no beta."""
        return common_beta(paper, {model: self.line(model) for model in (*among, *needed)}, needed)

    def unit(self, metric: str) -> str:
        """Returns the metric's unit as the group's trials report it, or else the unit in `metric_names.UNITS`."""
        units = (reported.unit for result in self.results for reported in result.metrics if reported.name == metric)
        return next(units, metric_names.UNITS[metric.partition("/")[0]])


def model_line(cells: Sequence[Cell], model: str) -> dict[float, Cell]:
    """Returns a model's cells by beta, ascending. `model` is the published name. Empty if there are none.

    If the model has several settings (KL, estimator, size of the latent), the cells are those of the setting nearest to the paper's. If
    several are equally near, it is the first.
    """
    by_setting: dict[tuple[object, ...], dict[float, Cell]] = {}
    for cell in cells:
        if cell.config.published_model == model:
            setting = tuple(value for field, value in cell.config if field != "beta")
            by_setting.setdefault(setting, {})[cell.config.beta] = cell
    lines = sorted(by_setting.values(), key=lambda line: min(len(deviations(cell.config)) for cell in line.values()))
    return dict(sorted(lines[0].items())) if lines else {}


def common_beta(paper: float, having: Mapping[str, Collection[float]], needed: Sequence[str] = ()) -> float | None:
    """Returns the beta at which models are compared in tables, claims and figures; None if the needed models share no beta.

    `having` has the betas of each model. All models in `needed` must have the beta. Of such betas, the one that most models have is
    chosen. A tie goes to the beta nearest to the paper's by ratio, and then to the lower one.
    """
    betas = {beta for of_model in having.values() for beta in of_model}
    allowed = [beta for beta in betas if all(beta in having[model] for model in needed)]

    def rank(beta: float) -> tuple[int, float, float]:
        models = sum(beta in of_model for of_model in having.values())
        return -models, _ratio(beta, paper), beta

    return min(allowed, key=rank, default=None)


def groups(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[ModelGroup]:
    """Returns the groups of these cells, in the order of their first cells, with the results of `seeds`."""
    return groups_within(front_groups(cells, results), cells, seeds)


def groups_within(comparable: FrontGroups, cells: Sequence[Cell], seeds: Sequence[int]) -> list[ModelGroup]:
    """Returns the groups of these cells, in the order of their first cells, with the results of `seeds`.

    `comparable` has the cells in the groups in which they may be compared, and may have more cells.
    """
    order = {cell.id: place for place, cell in enumerate(cells)}
    cells_by_key: dict[tuple[object, ...], list[Cell]] = {}
    for comparable_group in comparable.groups:
        for cell in comparable_group.cells:
            if cell.id in order:
                cells_by_key.setdefault((comparable_group.key, _shared(cell.config)), []).append(cell)
    parts = sorted(cells_by_key.values(), key=lambda part: order[part[0].id])
    varying = _varying([part[0].config for part in parts])
    completed = completed_of_each(cells, seeds, comparable.results)
    slugs = _slugs([part[0].config for part in parts])
    labels = [_label(part[0], varying, comparable) for part in parts]
    return [_group(label, slug, part, seeds, completed) for label, slug, part in zip(labels, slugs, parts, strict=True)]


def _group(
    label: str, slug: str, cells: Sequence[Cell], seeds: Sequence[int], completed: Mapping[str, Sequence[TrialResult]]
) -> ModelGroup:
    results = tuple(result for cell in cells for result in completed[cell.id])
    values = {cell.id: _by_seed(completed[cell.id]) for cell in cells}
    return ModelGroup(label, slug, tuple(cells), tuple(seeds), results, values)


def _slugs(configs: Sequence[TrainingConfig]) -> list[str]:
    """Returns a slug for each group. If several have the same slug, all but the first get a number."""
    slugs, counts = [], Counter[str]()
    for config in configs:
        slug = _slug(config)
        counts[slug] += 1
        slugs.append(f"{slug}-{counts[slug]}" if counts[slug] > 1 else slug)
    return slugs


def _by_seed(results: Sequence[TrialResult]) -> dict[int, Mapping[str, float]]:
    return {result.trial.seed: result.values for result in results}


def _shared(config: TrainingConfig) -> tuple[object, ...]:
    """Returns the values of the fields that all cells of a group share."""
    return tuple(getattr(config, field) for field in type(config).model_fields if field not in fields_with(Role.OBJECTIVE))


def _ratio(a: float, b: float) -> float:
    """Returns how far two betas are apart on a logarithmic scale; infinite if the first is 0."""
    return abs(math.log(a / b)) if a > 0 else math.inf


def _slug(config: TrainingConfig) -> str:
    return re.sub(r"\W+", "-", f"{config.dataset}-{config.source}-{config.scale or 'own'}")


def setting(config: TrainingConfig) -> str:
    """Returns source, scale and networks in words: `embedded data, small scale, small networks`."""
    networks = "the paper's" if config.networks == "paper" else config.networks
    return f"{config.source} data, {scale_name(config)}, {networks} networks"


def scale_name(config: TrainingConfig) -> str:
    """Returns `small scale`, or `own sizes` if the user set the sizes."""
    return f"{config.scale} scale" if config.scale else "own sizes"


def _varying(configs: Sequence[TrainingConfig]) -> dict[tuple[object, ...], list[str]]:
    """Returns, by the values of the fields in every label, the other fields in which groups with these values differ."""
    values: dict[tuple[object, ...], dict[str, set[object]]] = {}
    for config in configs:
        by_field = values.setdefault(_named(config), {})
        for field, value in config:
            if field not in fields_with(Role.OBJECTIVE):
                by_field.setdefault(field, set()).add(value)
    return {named: [field for field, distinct in by_field.items() if len(distinct) > 1] for named, by_field in values.items()}


def _named(config: TrainingConfig) -> tuple[object, ...]:
    """Returns the values of the fields that every label names."""
    return tuple(getattr(config, field) for field in fields_with(Role.GROUP_LABELLED))


def _label(cell: Cell, varying: Mapping[tuple[object, ...], Sequence[str]], comparable: FrontGroups) -> str:
    config = cell.config
    more = [f"{field}={getattr(config, field)}" for field in varying[_named(config)]]
    return ", ".join([config.dataset, setting(config), *more, *comparable.measured_label(cell)])
