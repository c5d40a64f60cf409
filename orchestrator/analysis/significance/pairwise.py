"""Pairs of series and pairs of cells, compared seed by seed: paired differences with exact p-values. Pure.

A pair is compared if both have the same complete seeds. Seeds that diverged or have not run are no random sample, and a mean without
them is another number. The p-value is that of the sign-flip test: if the two did not differ, each seed's difference would be as likely
to have the other sign. The test assumes nothing else. The t interval assumes that differences are normal. Both describe the spread over
seeds on one test set.
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
    """Cells of the series."""
    over_seeds: Summary


def hypervolumes(attainments: Sequence[Attainment]) -> tuple[Volume, ...]:
    """The hypervolume of each series, in their order; empty if an objective states no reference."""
    return tuple(
        Volume(one.series, sample, one.n, one.n_planned, one.cells, summary(list(sample.values())))
        for one in attainments
        if (sample := one.hypervolumes) is not None
    )


def hypervolume_differences(volumes: Sequence[Volume], *, unequal: bool = False) -> tuple[Difference | NotRanked, ...]:
    """The difference between each pair of series. `unequal` as in `differences`."""
    cells = {volume.series: volume.cells for volume in volumes}
    planned = max((volume.n_planned for volume in volumes), default=0)
    compared = differences({volume.series: volume.by_seed for volume in volumes}, "hypervolume", planned, unequal=unequal)
    return tuple(replace(one, caveat=_unequal_cells(one, cells)) if isinstance(one, Difference) else one for one in compared)


def cell_differences(
    metric: str, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult], *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """The difference between each pair of cells in one metric. `unequal` as in `differences`."""
    short = labels(cells)
    samples = {
        short[cell_id]: {result.trial.seed: value for result in completed if (value := result.value(metric)) is not None}
        for cell_id, completed in completed_of_each(cells, seeds, results).items()
    }
    return differences(samples, metric, len(seeds), unequal=unequal)


def differences(
    samples: Mapping[str, Sample], quantity: str, planned: int, *, unequal: bool = False
) -> tuple[Difference | NotRanked, ...]:
    """The difference between each pair of samples, in their order; Holm's correction is over all pairs that are compared.

    A sample has a number for each complete seed. Two samples of different seeds are not ranked. With `unequal` they are compared on the
    seeds that both have, if there are any.
    """
    pairs = {(a, b): _compared(a, b, samples, quantity, planned, unequal) for a, b in combinations(samples, 2)}
    tested = {pair: one for pair, one in pairs.items() if isinstance(one, Difference)}
    corrected = holm([one.p for one in tested.values()])
    least = holm([smallest_p(one.n) for one in tested.values()])
    for (pair, one), p_holm, smallest in zip(tested.items(), corrected, least, strict=True):
        pairs[pair] = replace(one, p_holm=p_holm, least=smallest, pairs=len(tested))
    return tuple(pairs.values())


def _compared(
    first: str, second: str, samples: Mapping[str, Sample], quantity: str, planned: int, unequal: bool
) -> Difference | NotRanked:
    """The comparison of one pair, without a correction of its p-value."""
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
    """Why the two are not ranked; empty if they are."""
    first, second = (samples[name] for name in pair)
    counts = f"{pair[0]} has {len(first)} of {planned} seeds complete and {pair[1]} {len(second)}"
    if not first.keys() & second.keys():
        return f"no seed is complete for both ({counts})"
    if first.keys() == second.keys() or unequal:
        return ""
    only = ", ".join(map(str, sorted(first.keys() ^ second.keys())))
    return f"their complete seeds differ ({counts}; for one of them alone: {only})"


def _unequal_cells(compared: Difference, cells: Mapping[str, int]) -> str:
    """What to know of a difference between series that have different numbers of cells; empty if they have as many."""
    first, second = cells[compared.first], cells[compared.second]
    if first == second:
        return ""
    cells_of_first = f"{first} cell{'s' if first > 1 else ''}"
    return (
        f"{compared.first} has {cells_of_first} and {compared.second} {second}, and each cell more can only raise a hypervolume"
    )
