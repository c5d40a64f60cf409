"""Sweeps of random seeds around numbers that the paper printed, for `benchmarks.quality.claims`.

Every printed number is drawn for each seed, independently of all others, from a normal distribution with the printed mean and standard
deviation. Means over subsets are computed from what was drawn, as an evaluation does. No number is bounded: a coherence of 0.99 ± 0.01
may be drawn above 1.

The paper prints no spread for Eq. (5) in Table 7. It is given MoPoE's of the same column.
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
    """Where one metric of one model is drawn from, for each seed."""

    model: str
    beta: float
    metric: str
    mean: float
    sd: float

    @property
    def family(self) -> str:
        """Its kind of metric; joint coherence is a kind of its own."""
        return self.metric if self.metric == metric_names.JOINT_COHERENCE else self.metric.partition("/")[0]


Distributions = tuple[Normal, ...]
Scenario = Callable[[Distributions, TrainingConfig], Distributions]


def printed(tables: Sequence[str]) -> Distributions:
    """The distributions of the numbers in these tables."""
    numbers = [number for table in tables for number in published(table)]
    mopoe = {number.metric: number.sd for number in numbers if number.model == "mopoe"}
    return tuple(
        Normal(
            number.model, number.beta, number.metric, number.mean, mopoe[number.metric] if math.isnan(number.sd) else number.sd
        )
        for number in numbers
    )


def over_betas(distributions: Distributions) -> Distributions:
    """The joint numbers of each model again at every beta of Figure 1, all alike: a grid on which beta changes nothing."""
    needed = (metric_names.JOINT_COHERENCE, metric_names.LOG_LIKELIHOOD)
    kept = [normal for normal in distributions if normal.family in needed]
    return tuple(replace(normal, beta=beta) for beta in BETAS for normal in kept)


def noise(distributions: Distributions, _: TrainingConfig) -> Distributions:
    """All numbers of a kind have one mean, whatever the model and the subset. The spreads are as printed."""
    means = {normal.family: [other.mean for other in distributions if other.family == normal.family] for normal in distributions}
    return tuple(replace(normal, mean=float(np.mean(means[normal.family]))) for normal in distributions)


def at_chance(distributions: Distributions, config: TrainingConfig) -> Distributions:
    """Probe and coherences are those of a guess; log-likelihoods, which have no such level, all have one mean. Spreads as printed."""
    means = {
        metric_names.PROBE: chance(config),
        metric_names.COHERENCE: chance(config),
        metric_names.JOINT_COHERENCE: joint_chance(config),
    }
    return tuple(replace(normal, mean=means.get(normal.family, normal.mean)) for normal in noise(distributions, config))


def mirrored(distributions: Distributions, config: TrainingConfig) -> Distributions:
    """Every number is as far on the other side of the mean of its kind."""
    pairs = zip(distributions, noise(distributions, config), strict=True)
    return tuple(replace(normal, mean=2 * centre.mean - normal.mean) for normal, centre in pairs)


def exchanged(first: str, second: str) -> Scenario:
    """The printed numbers with two models' names exchanged."""
    names = {first: second, second: first}
    return lambda distributions, _: tuple(replace(n, model=names.get(n.model, n.model)) for n in distributions)


def drawn(
    dataset: str, distributions: Distributions, scenario: Scenario, seeds: int, repetitions: int, rng: np.random.Generator
) -> Iterator[ModelGroup]:
    """The same group of cells again and again, with fresh numbers for every seed each time."""
    cells = _cells(dataset, distributions)
    (group,) = groups(cells, range(seeds), [])
    changed = scenario(distributions, group.config)
    by_cell = {
        cell: [n for n in changed if (n.model, n.beta) == (cell.config.published_model, cell.config.beta)] for cell in cells
    }
    samplers = {cell.id: _Sampler(normals, group.config.modalities) for cell, normals in by_cell.items()}
    values: dict[str, Mapping[int, Mapping[str, float]]] = {}
    refilled = replace(group, values=values)  # one object, whose lines of cells are found once
    for _ in range(repetitions):
        values.update({name: sampler.draw(seeds, rng) for name, sampler in samplers.items()})
        yield refilled


class _Sampler:
    """The metrics of one cell: those that were printed, and the means over subsets that follow from them."""

    def __init__(self, normals: Sequence[Normal], modalities: Sequence[str]) -> None:
        self._mean_P, self._sd_P = (np.array([getattr(normal, field) for normal in normals]) for field in ("mean", "sd"))
        printed_names = [normal.metric for normal in normals]
        sums = {name: parts for name, parts in _means(modalities).items() if set(parts) <= set(printed_names)}
        self._names = [*printed_names, *sums]
        self._weights_XP = np.array([[(name in parts) / len(parts) for name in printed_names] for parts in sums.values()])
        self._weights_XP = self._weights_XP.reshape(len(sums), len(printed_names))

    def draw(self, seeds: int, rng: np.random.Generator) -> dict[int, Mapping[str, float]]:
        """Every metric for every seed."""
        values_SP = rng.normal(self._mean_P, self._sd_P, (seeds, len(self._mean_P)))
        rows = np.hstack([values_SP, values_SP @ self._weights_XP.T]).tolist()
        return {seed: dict(zip(self._names, row, strict=True)) for seed, row in enumerate(rows)}


def _means(modalities: Sequence[str]) -> dict[str, list[str]]:
    """Each mean over the subsets of a size, and the metrics that it is a mean of."""
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
    order = {model: place for place, model in enumerate((*PAPER_MODELS, "eq5"))}
    wanted = sorted({(normal.model, normal.beta) for normal in distributions}, key=lambda pair: (order[pair[0]], pair[1]))
    fields = [{"dataset": dataset, "source": "embedded", "model": model, "beta": beta} for model, beta in wanted]
    return [Cell(TrainingConfig.model_validate(values)) for values in fields]
