"""Cells that are compared as the paper compares models: alike in everything but model, beta and what belongs to a model. Pure.

All of them are in one `front_groups.FrontGroup`, the cells whose metrics mean the same, which may differ in size and training, too.
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
"""One number a seed."""


@dataclass(frozen=True)
class Group:
    """One dataset, source and scale, with all its cells and what their completed trials reported."""

    label: str
    """Dataset, source, scale and networks, and the fields in which groups differ that agree in those."""
    slug: str
    """Short and different for every group of a sweep, for names of files."""
    cells: tuple[Cell, ...]
    """In the sweep's order; never empty."""
    seeds: tuple[int, ...]
    """As planned."""
    results: tuple[TrialResult, ...]
    """Of its cells and seeds; completed trials only."""
    values: Mapping[str, Mapping[int, Mapping[str, float]]]
    """By cell's id, seed and metric's full name; completed trials only."""

    @property
    def config(self) -> TrainingConfig:
        """Of the first cell: right for every field but those with `Role.OBJECTIVE`."""
        return self.cells[0].config

    @cached_property
    def lines(self) -> Mapping[str, Mapping[float, Cell]]:
        """`model_line` of each model that it has."""
        return {
            model: model_line(self.cells, model) for model in dict.fromkeys(cell.config.published_model for cell in self.cells)
        }

    def line(self, model: str) -> Mapping[float, Cell]:
        """A model's cells by beta, ascending, under its published name; empty if there are none."""
        return self.lines.get(model, {})

    def sample(self, cell: Cell, metric: str) -> Sample:
        """The metric of each completed seed that reports it."""
        return {seed: found[metric] for seed, found in self.values[cell.id].items() if metric in found}

    def reported(self, cell: Cell) -> int:
        """How many of the planned seeds completed."""
        return len(self.values[cell.id])

    def beta(self, paper: float, needed: Sequence[str] = (), among: Sequence[str] = PAPER_MODELS) -> float | None:
        """`common_beta` of its lines; None if those that are needed share none, or it has none of `among`."""
        return common_beta(paper, {model: self.line(model) for model in (*among, *needed)}, needed)

    def unit(self, metric: str) -> str:
        """As its trials report it; as `names.UNITS` has it where none does."""
        found = (one.unit for result in self.results for one in result.metrics if one.name == metric)
        return next(found, metric_names.UNITS[metric.partition("/")[0]])


def model_line(cells: Sequence[Cell], model: str) -> dict[float, Cell]:
    """A model's cells by beta, ascending, under its published name; empty if there are none.

    Of several settings of one model (KL, estimator, size of the latent), that which is nearest to the paper's own, or was named first.
    """
    by_setting: dict[tuple[object, ...], dict[float, Cell]] = {}
    for cell in cells:
        if cell.config.published_model == model:
            setting = tuple(value for field, value in cell.config if field != "beta")
            by_setting.setdefault(setting, {})[cell.config.beta] = cell
    lines = sorted(by_setting.values(), key=lambda line: min(len(deviations(cell.config)) for cell in line.values()))
    return dict(sorted(lines[0].items())) if lines else {}


def common_beta(paper: float, having: Mapping[str, Collection[float]], needed: Sequence[str] = ()) -> float | None:
    """The beta at which models are compared, in tables, claims and figures alike; None if those that are needed share none.

    Of the betas that all of `needed` have, those that most of the models have; of these the nearest to the paper's by ratio, and the
    lower of two as near. `having` has the betas of each model.
    """
    every = {beta for own in having.values() for beta in own}
    allowed = [beta for beta in every if all(beta in having[model] for model in needed)]

    def rank(beta: float) -> tuple[int, float, float]:
        return -sum(beta in own for own in having.values()), _ratio(beta, paper), beta

    return min(allowed, key=rank, default=None)


def groups(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[Group]:
    """The sweep's groups, in the order of `cells`, with the results of `seeds`."""
    alike: dict[tuple[object, ...], list[Cell]] = {}
    comparable = front_groups(cells, results)
    for group in comparable.groups:
        for cell in group.cells:
            alike.setdefault((group.key, _shared(cell.config)), []).append(cell)
    order = {cell.id: place for place, cell in enumerate(cells)}
    parts = sorted(alike.values(), key=lambda found: order[found[0].id])
    firsts = [found[0].config for found in parts]
    slugs, varying = Counter[str](), _varying(firsts)
    completed = completed_of_each(cells, seeds, comparable.results)
    made = []
    for found in parts:
        slug = _slug(found[0].config)
        slugs[slug] += 1
        slug += f"-{slugs[slug]}" if slugs[slug] > 1 else ""
        own = {cell.id: completed[cell.id] for cell in found}
        values = {key: _by_seed(ended) for key, ended in own.items()}
        every = tuple(result for ended in own.values() for result in ended)
        made.append(Group(_label(found[0], varying, comparable), slug, tuple(found), tuple(seeds), every, values))
    return made


def _by_seed(results: Sequence[TrialResult]) -> dict[int, Mapping[str, float]]:
    return {result.trial.seed: result.values for result in results}


def _shared(config: TrainingConfig) -> tuple[object, ...]:
    of_the_objective = fields_with(Role.OBJECTIVE)
    return tuple(getattr(config, field) for field in type(config).model_fields if field not in of_the_objective)


def _ratio(a: float, b: float) -> float:
    return abs(math.log(a / b)) if a > 0 else math.inf


def _slug(config: TrainingConfig) -> str:
    return re.sub(r"\W+", "-", f"{config.dataset}-{config.source}-{config.scale or 'own'}")


def setting(config: TrainingConfig) -> str:
    """Source, scale and networks in words: `embedded data, small scale, small networks`."""
    networks = "the paper's" if config.networks == "paper" else config.networks
    return f"{config.source} data, {scale_name(config)}, {networks} networks"


def scale_name(config: TrainingConfig) -> str:
    """`small scale`, or `own sizes` where the user set them."""
    return f"{config.scale} scale" if config.scale else "own sizes"


def _varying(configs: Sequence[TrainingConfig]) -> dict[tuple[object, ...], list[str]]:
    """By what every label says: the other fields in which the groups differ that agree in those."""
    of_the_objective = fields_with(Role.OBJECTIVE)
    values: dict[tuple[object, ...], dict[str, set[object]]] = {}
    for config in configs:
        own = values.setdefault(_named(config), {})
        for field, value in config:
            if field not in of_the_objective:
                own.setdefault(field, set()).add(value)
    return {named: [field for field, found in own.items() if len(found) > 1] for named, own in values.items()}


def _named(config: TrainingConfig) -> tuple[object, ...]:
    return tuple(getattr(config, field) for field in fields_with(Role.NAMED))


def _label(cell: Cell, varying: Mapping[tuple[object, ...], Sequence[str]], comparable: FrontGroups) -> str:
    config = cell.config
    more = [f"{field}={getattr(config, field)}" for field in varying[_named(config)]]
    return ", ".join([config.dataset, setting(config), *more, *comparable.measured_label(cell)])
