"""Writes the sentences at the top of the page: the cells on the front, the differences between models, the missing trials. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from mopoe_core.spelling import first_of
from orchestrator.analysis.fronts import Front, Point
from orchestrator.analysis.significance.exact_tests import smallest_p
from orchestrator.analysis.significance.hypotheses import ERROR
from orchestrator.analysis.significance.paired_difference import Difference
from orchestrator.report.render.numbers import to_spread
from orchestrator.report.sections.seed_section import Block, SeedReport
from orchestrator.spec.proper_names import proper, proper_group

MOST_NAMED = 6


def sentences(fronts: Sequence[tuple[str, Front]], seeds: SeedReport, states: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each front, one on the differences between models in each block, and one on the trials that have completed.

    `fronts` has the label of each front's group, which is empty for the only group.
    """
    on_fronts = [f"{label}: {_on_front(front)}" if label else _on_front(front) for label, front in fronts]
    return [*on_fronts, *_differences(seeds), _complete(fronts, states)]


def _on_front(front: Front) -> str:
    members = front.members
    if not members:
        return "No cell is complete yet, so there is no front."
    if len(members) > MOST_NAMED:
        best = [_best(front, place) for place in range(len(front.objectives))]
        named = ", ".join(dict.fromkeys(_standing(front, point) for point in best))
        text = f"{len(members)} of {len(front.points)} cells are on the front; its ends are {named}"
    else:
        named = ", ".join(_standing(front, point) for point in members)
        text = f"On the front {'is' if len(members) == 1 else 'are'} {named}"
    absent = [line for line in front.series if line not in {point.series for point in members}]
    complete = {point.series for point in front.points}
    beaten = [proper(line) for line in absent if line in complete]
    return f"{text}. No cell of {_or(beaten)} is on it." if beaten else f"{text}."


def _best(front: Front, place: int) -> Point:
    sign = 1 if front.objectives[place].goal == "max" else -1
    return max(front.members, key=lambda point: sign * point.means[place])


def _standing(front: Front, point: Point) -> str:
    """Returns a cell's label, and the objectives in which it is the best."""
    best = []
    for place, objective in enumerate(front.objectives):
        if _best(front, place) is point:
            best.append(f"best {objective.metric}, {to_spread(point.sds[place], point.means[place])[0]}")
    return proper(point.label) + (f" ({'; '.join(best)})" if best else "")


def _differences(seeds: SeedReport) -> list[str]:
    """Returns a sentence for each block that has pairs of series. If there are several blocks, it begins with the block's label."""
    compared = [block for block in seeds.blocks if block.differences]
    if not compared:
        return [seeds.why_not or "No two models are compared over seeds: there is only one, or an objective states no reference."]
    if len(seeds.blocks) == 1:
        return [_told_apart(compared[0])]
    return [f"{proper_group(block.label)}: {_told_apart(block)}" for block in compared]


def _told_apart(block: Block) -> str:
    """Returns a sentence on the pairs of series that the tests on hypervolumes tell apart."""
    pairs = block.differences
    tested = [pair for pair in pairs if isinstance(pair, Difference)]
    if not tested:
        return f"No two models have the same complete seeds, so none of {_pairs(len(pairs))} can be compared."
    significant = [pair for pair in tested if pair.shown]
    if significant:
        named = "; ".join(f"{proper(_better(pair))} is better than {proper(_worse(pair))}" for pair in significant[:MOST_NAMED])
        rest = len(pairs) - len(significant)
        others = f"; of the other {_pairs(rest)} they cannot tell which is better" if rest else ""
        return f"By the hypervolume of their fronts, the seeds show that {named}{others}."
    most_seeds = max(pair.n for pair in tested)
    needed = next(n for n in count(2) if smallest_p(n) * len(tested) <= ERROR)
    if most_seeds < needed:
        return (
            "The seeds cannot tell any two models apart by the hypervolume of their fronts: a test of "
            f"{_pairs(len(tested))} at 5 % needs at least {needed} seeds, and there are {most_seeds}."
        )
    return f"By the hypervolume of their fronts, the seeds do not tell apart any of {_pairs(len(tested))} of models."


def _better(pair: Difference) -> str:
    return pair.first if pair.over_seeds.mean > 0 else pair.second


def _worse(pair: Difference) -> str:
    return pair.second if pair.over_seeds.mean > 0 else pair.first


def _complete(fronts: Sequence[tuple[str, Front]], states: Mapping[str, str]) -> str:
    counts = Counter(states.values())
    total, completed = len(states), counts.pop("completed", 0)
    if completed == total:
        return f"All {total} trials have completed."
    others = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    left_out = [proper(cell.label) for _, front in fronts for cell in front.left_out]
    without = f"; without all their seeds, and so on no front: {first_of(left_out, MOST_NAMED)}" if left_out else ""
    return f"{completed} of {total} trials have completed ({others}){without}."


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
