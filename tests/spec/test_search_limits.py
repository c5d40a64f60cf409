"""When a search proposes no further cell."""

import random

import pytest

from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.ledger.proposals import Proposal
from orchestrator.spec import search_limits
from orchestrator.spec.search_limits import MOST_REPEATS
from orchestrator.spec.sections import Objective
from tests.support.builders import COHERENCE, LIKELIHOOD


def proposal(number, same_as=None, source="", cell_id="cell"):
    """Returns a proposal without fields."""
    return Proposal(number, cell_id, {}, {}, {}, {}, same_as, source)


@pytest.mark.parametrize("goals", [("max", "max"), ("max", "min"), ("min",)])
@pytest.mark.parametrize("seed", range(20))
def test_cells_without_gain_are_those_since_the_hypervolume_rose(goals, seed):
    """Checked for random cells on a coarse grid, with ties and with cells that did not complete, by the hypervolume of each prefix."""
    chance = random.Random(seed)
    objectives = [
        Objective(metric=metric, goal=goal, reference=3) for metric, goal in zip((COHERENCE, LIKELIHOOD), goals, strict=False)
    ]
    ended = [tuple(float(chance.randint(0, 8)) for _ in goals) if chance.random() < 0.8 else () for _ in range(12)]
    volumes = [hypervolume([means for means in ended[:count] if means], objectives) for count in range(len(ended) + 1)]
    for count in range(len(ended) + 1):
        rises = [place for place in range(1, count + 1) if volumes[place] > volumes[place - 1] + 1e-9]
        expected = count - rises[-1] if rises else 0
        assert search_limits.cells_without_gain(ended[:count], objectives) == expected


def test_only_new_cells_of_the_search_itself_are_its_own():
    """A cell of a warm start, a repeated cell and an impossible draw are not counted."""
    made = [proposal(0, source="old"), proposal(1), proposal(2, same_as=1), proposal(3, same_as=3, cell_id=""), proposal(4)]
    assert search_limits.own_cells(made) == 2


def test_known_cells_in_a_row_exhaust_a_space_and_impossible_draws_do_not():
    """The row may have impossible draws in it, and begins anew after a new cell."""
    repeats = [proposal(number, same_as=0) for number in range(1, MOST_REPEATS + 1)]
    impossible = [proposal(number, same_as=number, cell_id="") for number in range(101, 301)]
    assert search_limits.why_exhausted([proposal(0), *impossible, *repeats, *impossible])
    assert not search_limits.why_exhausted([proposal(0), *repeats[1:], *impossible])
    assert not search_limits.why_exhausted([proposal(0), *repeats, proposal(400)])
