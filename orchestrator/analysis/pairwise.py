"""Series and cells against one another, seed by seed: paired differences, exact p-values, and what they say in a sentence. Pure.

Each pair is compared on the seeds that both have complete, and only if these are all that either has: seeds that are missing, because
they diverged or have not run, are no random sample, and a mean without them is another number. The p-value is that of the sign-flip
test: if the two did not differ, each seed's difference would as likely have the other sign. It assumes nothing else; the t interval
assumes that differences are normal. Both speak of seeds alone, on one test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from orchestrator.analysis.aggregation import completed_of_each, summary
from orchestrator.analysis.attainment import Attainment
from orchestrator.analysis.exact_tests import gaps, holm, sign_flip_p, smallest_p
from orchestrator.analysis.model_groups import Sample
from orchestrator.analysis.paired_difference import Difference, NotRanked
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, labels


@dataclass(frozen=True)
class Volume:
    """A series' hypervolume over its complete seeds, in the product of the objectives' units."""

    series: str
    by_seed: Sample
    n: int
    n_planned: int
    mean: float
    sd: float
    """With n - 1; NaN for fewer than two seeds."""
    low: float
    """Of the 95 % t interval of the mean; NaN for fewer than two seeds."""
    high: float


def hypervolumes(found: Sequence[Attainment]) -> tuple[Volume, ...] | None:
    """Of each series, in their order; None if an objective states no reference."""
    volumes = []
    for one in found:
        sample = one.hypervolumes
        if sample is None:
            return None
        volumes.append(Volume(one.series, sample, one.n, one.n_planned, **summary(list(sample.values()))))
    return tuple(volumes)


def hypervolume_differences(found: Sequence[Attainment], *, unequal: bool = False) -> tuple[Difference | NotRanked, ...] | None:
    """Between each pair of series; None if an objective states no reference. `unequal` as in `differences`."""
    volumes = hypervolumes(found)
    if volumes is None:
        return None
    cells = {one.series: one.cells for one in found}
    planned = max((volume.n_planned for volume in volumes), default=0)
    compared = differences({volume.series: volume.by_seed for volume in volumes}, "hypervolume", planned, unequal=unequal)
    return tuple(replace(one, caveat=_cells_said(one, cells)) if isinstance(one, Difference) else one for one in compared)


def cell_differences(
    metric: str, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult], *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """Between each pair of cells in one metric. `unequal` as in `differences`."""
    short = labels(cells)
    samples = {
        short[cell_id]: {one.trial.seed: value for one in found if (value := one.value(metric)) is not None}
        for cell_id, found in completed_of_each(cells, seeds, results).items()
    }
    return differences(samples, metric, len(seeds), unequal=unequal)


def differences(
    samples: Mapping[str, Sample], quantity: str, planned: int, *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """Between each pair of samples, of one number a complete seed each, in their order; Holm's correction is over all that are made.

    Two samples of different seeds are not ranked. With `unequal` they are compared on the seeds that both have, if there are any.
    """
    made = {(a, b): _compared(a, b, samples, quantity, planned, unequal) for a, b in combinations(samples, 2)}
    tested = {pair: one for pair, one in made.items() if isinstance(one, Difference)}
    corrected = holm([one.p for one in tested.values()])
    least = holm([smallest_p(one.n) for one in tested.values()])
    for (pair, one), p_holm, smallest in zip(tested.items(), corrected, least, strict=True):
        made[pair] = replace(one, p_holm=p_holm, least=smallest, pairs=len(tested))
    return tuple(made.values())


def _compared(
    first: str, second: str, samples: Mapping[str, Sample], quantity: str, planned: int, unequal: bool
) -> Difference | NotRanked:
    """The pair by itself, where no p-value needs a correction."""
    reason = _reason((first, second), samples, planned, unequal)
    if reason:
        return NotRanked(first, second, reason)
    seeds = sorted(samples[first].keys() & samples[second].keys())
    pairs = [(samples[first][seed], samples[second][seed]) for seed in seeds]
    of = summary(gaps(pairs))
    p = sign_flip_p(pairs)
    return Difference(
        first=first,
        second=second,
        quantity=quantity,
        seeds=tuple(seeds),
        n_planned=planned,
        mean=of["mean"],
        sd=of["sd"],
        low=of["low"],
        high=of["high"],
        p=p,
        p_holm=p,
        pairs=1,
        least=smallest_p(len(seeds)),
    )


def _reason(pair: tuple[str, str], samples: Mapping[str, Sample], planned: int, unequal: bool) -> str:
    """Why the two are not ranked; empty if they are."""
    first, second = (samples[name] for name in pair)
    counts = f"{pair[0]} has {len(first)} of {planned} seeds complete and {pair[1]} {len(second)}"
    if not first.keys() & second.keys():
        return f"no seed is complete for both ({counts})"
    if first.keys() == second.keys() or unequal:
        return ""
    only = ", ".join(map(str, sorted(first.keys() ^ second.keys())))
    return f"their complete seeds differ ({counts}; for one of them alone: {only})"


def _cells_said(compared: Difference, cells: Mapping[str, int]) -> str:
    first, second = cells[compared.first], cells[compared.second]
    if first == second:
        return ""
    cells_of_first = f"{first} cell{'s' if first > 1 else ''}"
    return (
        f"{compared.first} has {cells_of_first} and {compared.second} {second}, and each cell more can only raise a hypervolume"
    )
