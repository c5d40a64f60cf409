"""Pairs of series and pairs of cells, compared seed by seed: paired differences with exact p-values. Pure.

A pair is compared if both have the same complete seeds. Seeds that diverged or have not run are no random sample, so a mean without them
is the mean of something else. The p-value comes from the sign-flip test: if the two did not differ, each seed's difference would be as
likely to have the other sign. The test assumes nothing else. The t interval assumes that differences are normal. Test and interval
describe the spread over seeds on one test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.attainment import Attainment
from orchestrator.analysis.intervals import Summary, summary
from orchestrator.analysis.model_groups import Sample
from orchestrator.analysis.significance.exact_tests import gaps, holm, sign_flip_p, smallest_p
from orchestrator.analysis.significance.paired_difference import Difference, NotRanked
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, labels


@dataclass(frozen=True)
class Volume:
    """A series' hypervolume over its complete seeds, in the product of the objectives' units."""

    series: str
    by_seed: Sample
    n: int
    n_planned: int
    cells: int
    """The number of cells of the series."""
    over_seeds: Summary


def hypervolumes(attainments: Sequence[Attainment]) -> tuple[Volume, ...]:
    """Returns the hypervolume of each series, in their order; empty if an objective states no reference."""
    volumes = []
    for attained in attainments:
        sample = attained.hypervolumes
        if sample is not None:
            over_seeds = summary(list(sample.values()))
            volumes.append(Volume(attained.series, sample, attained.n, attained.n_planned, attained.cells, over_seeds))
    return tuple(volumes)


def hypervolume_differences(volumes: Sequence[Volume], *, unequal: bool = False) -> tuple[Difference | NotRanked, ...]:
    """Returns the difference between each pair of series. `unequal` as in `differences`."""
    cells = {volume.series: volume.cells for volume in volumes}
    planned = max((volume.n_planned for volume in volumes), default=0)
    pairs = differences({volume.series: volume.by_seed for volume in volumes}, "hypervolume", planned, unequal=unequal)
    return tuple(replace(pair, caveat=_unequal_cells(pair, cells)) if isinstance(pair, Difference) else pair for pair in pairs)


def cell_differences(
    metric: str, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult], *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """Returns the difference between each pair of cells in one metric. `unequal` as in `differences`."""
    label_of = labels(cells)
    samples = {
        label_of[cell_id]: {result.trial.seed: value for result in completed if (value := result.value(metric)) is not None}
        for cell_id, completed in completed_of_each(cells, seeds, results).items()
    }
    return differences(samples, metric, len(seeds), unequal=unequal)


def differences(
    samples: Mapping[str, Sample], quantity: str, planned: int, *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """Returns the difference between each pair of samples, in their order. Holm's correction is over all pairs that are compared.

    A sample has a number for each complete seed. Two samples with different seeds are not ranked. With `unequal` they are compared on the
    seeds that both have, if there are any.
    """
    pairs = {(a, b): _compared(a, b, samples, quantity, planned, unequal) for a, b in combinations(samples, 2)}
    tested = {names: difference for names, difference in pairs.items() if isinstance(difference, Difference)}
    corrected = holm([difference.p for difference in tested.values()])
    least = holm([smallest_p(difference.n) for difference in tested.values()])
    for (names, difference), p_holm, smallest in zip(tested.items(), corrected, least, strict=True):
        pairs[names] = replace(difference, p_holm=p_holm, least=smallest, pairs=len(tested))
    return tuple(pairs.values())


def _compared(
    first: str, second: str, samples: Mapping[str, Sample], quantity: str, planned: int, unequal: bool
) -> Difference | NotRanked:
    """Returns the comparison of one pair, without a correction of its p-value."""
    reason = _reason((first, second), samples, planned, unequal)
    if reason:
        return NotRanked(first, second, reason)
    seeds = sorted(samples[first].keys() & samples[second].keys())
    pairs = [(samples[first][seed], samples[second][seed]) for seed in seeds]
    p = sign_flip_p(pairs)
    return Difference(
        first=first,
        second=second,
        quantity=quantity,
        seeds=tuple(seeds),
        n_planned=planned,
        over_seeds=summary(gaps(pairs)),
        p=p,
        p_holm=p,
        pairs=1,
        least=smallest_p(len(seeds)),
    )


def _reason(pair: tuple[str, str], samples: Mapping[str, Sample], planned: int, unequal: bool) -> str:
    """Returns why the two are not ranked; empty if they are."""
    first, second = (samples[name] for name in pair)
    counts = f"{pair[0]} has {len(first)} of {planned} seeds complete and {pair[1]} {len(second)}"
    if not first.keys() & second.keys():
        return f"no seed is complete for both ({counts})"
    if first.keys() == second.keys() or unequal:
        return ""
    only = ", ".join(map(str, sorted(first.keys() ^ second.keys())))
    return f"their complete seeds differ ({counts}; for one of them alone: {only})"


def _unequal_cells(compared: Difference, cells: Mapping[str, int]) -> str:
    """Returns a caveat for a difference between series with different numbers of cells; empty if the numbers are equal."""
    first, second = cells[compared.first], cells[compared.second]
    if first == second:
        return ""
    first_count = f"{first} cell{'s' if first > 1 else ''}"
    return f"{compared.first} has {first_count} and {compared.second} {second}, and each cell more can only raise a hypervolume"
