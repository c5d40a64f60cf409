"""Simulated sweeps around the numbers that the paper printed, for `benchmarks.quality.claims`.

For each seed, every printed number is drawn independently of all others from a normal distribution with the printed mean and standard
deviation. Means over subsets are computed from the drawn numbers, as in an evaluation. Numbers are not bounded: a coherence of
0.99 ± 0.01 may be drawn above 1.

The paper prints no spread for Eq. (5) in Table 7, so Eq. (5) gets MoPoE's spread of the same column.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mopoe_core import metric_names
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.model_groups import ModelGroup, groups
from orchestrator.report.paper.claim_margins import chance, joint_chance
from orchestrator.report.paper.published import published
from orchestrator.spec.trial import Cell

MST, POLY = "mnist_svhn_text", "polymnist"
BETAS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """The normal distribution from which one metric of one model is drawn for each seed."""

    model: str
    beta: float
    metric: str
    mean: float
    sd: float

    @property
    def family(self) -> str:
        """The kind of the metric; joint coherence counts as a separate kind."""
        return self.metric if self.metric == metric_names.JOINT_COHERENCE else self.metric.partition("/")[0]


Distributions = tuple[Normal, ...]
Scenario = Callable[[Distributions, TrainingConfig], Distributions]


def printed(tables: Sequence[str]) -> Distributions:
    """Returns the distributions of the numbers in these tables."""
    numbers = [number for table in tables for number in published(table)]
    mopoe_sd = {number.metric: number.sd for number in numbers if number.model == "mopoe"}
    distributions = []
    for number in numbers:
        sd = mopoe_sd[number.metric] if math.isnan(number.sd) else number.sd
        distributions.append(Normal(number.model, number.beta, number.metric, number.mean, sd))
    return tuple(distributions)


def over_betas(distributions: Distributions) -> Distributions:
    """Returns the joint numbers of each model repeated at every beta of Figure 1: a grid on which beta changes nothing."""
    families = (metric_names.JOINT_COHERENCE, metric_names.LOG_LIKELIHOOD)
    joint = [normal for normal in distributions if normal.family in families]
    return tuple(replace(normal, beta=beta) for beta in BETAS for normal in joint)


def noise(distributions: Distributions, _: TrainingConfig) -> Distributions:
    """Returns the distributions with one mean for each kind of metric, for every model and subset. Keeps the printed spreads."""
    means = {normal.family: [other.mean for other in distributions if other.family == normal.family] for normal in distributions}
    return tuple(replace(normal, mean=float(np.mean(means[normal.family]))) for normal in distributions)


def at_chance(distributions: Distributions, config: TrainingConfig) -> Distributions:
    """Returns the distributions with probe and coherences at chance level. Log-likelihoods, which have none, get one mean.

    Keeps the printed spreads.
    """
    means = {
        metric_names.PROBE: chance(config),
        metric_names.COHERENCE: chance(config),
        metric_names.JOINT_COHERENCE: joint_chance(config),
    }
    return tuple(replace(normal, mean=means.get(normal.family, normal.mean)) for normal in noise(distributions, config))


def mirrored(distributions: Distributions, config: TrainingConfig) -> Distributions:
    """Returns the distributions with every mean mirrored at the mean of its kind of metric."""
    pairs = zip(distributions, noise(distributions, config), strict=True)
    return tuple(replace(normal, mean=2 * centre.mean - normal.mean) for normal, centre in pairs)


def exchanged(first: str, second: str) -> Scenario:
    """Returns the scenario in which two models have exchanged their numbers."""
    names = {first: second, second: first}
    return lambda distributions, _: tuple(replace(n, model=names.get(n.model, n.model)) for n in distributions)


def drawn(
    dataset: str, distributions: Distributions, scenario: Scenario, seeds: int, repetitions: int, rng: np.random.Generator
) -> Iterator[ModelGroup]:
    """Yields one group of cells repeatedly, each time with fresh numbers for every seed.

    It is the same object every time, so that its lines of cells are computed once.
    """
    cells = _cells(dataset, distributions)
    (group,) = groups(cells, range(seeds), [])
    changed = scenario(distributions, group.config)
    samplers = {}
    for cell in cells:
        key = cell.config.published_model, cell.config.beta
        normals = [normal for normal in changed if (normal.model, normal.beta) == key]
        samplers[cell.id] = _Sampler(normals, group.config.modalities)
    values: dict[str, Mapping[int, Mapping[str, float]]] = {}
    group = replace(group, values=values)
    for _ in range(repetitions):
        values.update({cell_id: sampler.draw(seeds, rng) for cell_id, sampler in samplers.items()})
        yield group


class _Sampler:
    """Draws the metrics of one cell: the printed ones, and the means over subsets that follow from them.

    Shape suffixes: S seed, P printed metric, X mean over subsets.
    """

    def __init__(self, normals: Sequence[Normal], modalities: Sequence[str]) -> None:
        self._mean_P = np.array([normal.mean for normal in normals])
        self._sd_P = np.array([normal.sd for normal in normals])
        printed_names = [normal.metric for normal in normals]
        sums = {name: parts for name, parts in _means(modalities).items() if set(parts) <= set(printed_names)}
        self._names = [*printed_names, *sums]
        self._weights_XP = np.array([[(name in parts) / len(parts) for name in printed_names] for parts in sums.values()])
        self._weights_XP = self._weights_XP.reshape(len(sums), len(printed_names))

    def draw(self, seeds: int, rng: np.random.Generator) -> dict[int, Mapping[str, float]]:
        """Returns every metric by seed."""
        values_SP = rng.normal(self._mean_P, self._sd_P, (seeds, len(self._mean_P)))
        rows = np.hstack([values_SP, values_SP @ self._weights_XP.T]).tolist()
        return {seed: dict(zip(self._names, row, strict=True)) for seed, row in enumerate(rows)}


def _means(modalities: Sequence[str]) -> dict[str, list[str]]:
    """Returns the names of the metrics that enter each mean over subsets of one size."""
    means: dict[str, list[str]] = {}
    for subset in metric_names.subsets(modalities):
        size, name = metric_names.given(len(subset)), metric_names.subset_name(subset)
        likelihood = f"{metric_names.LOG_LIKELIHOOD}/{metric_names.likelihood_subset_name(subset, modalities)}"
        means.setdefault(f"{metric_names.PROBE}/{size}", []).append(f"{metric_names.PROBE}/{name}")
        means.setdefault(f"{metric_names.LOG_LIKELIHOOD}/{size}", []).append(likelihood)
        outside = [f"{metric_names.COHERENCE}/{name}/{target}" for target in modalities if target not in subset]
        means.setdefault(f"{metric_names.COHERENCE}/{size}", []).extend(outside)
    return {name: parts for name, parts in means.items() if parts}


def _cells(dataset: str, distributions: Distributions) -> list[Cell]:
    """Returns a cell for each model and beta that has numbers, in the paper's order of models."""
    order = (*PAPER_MODELS, "eq5")
    pairs = sorted({(normal.model, normal.beta) for normal in distributions}, key=lambda pair: (order.index(pair[0]), pair[1]))
    fields = [{"dataset": dataset, "source": "embedded", "model": model, "beta": beta} for model, beta in pairs]
    return [Cell(TrainingConfig.model_validate(values)) for values in fields]
