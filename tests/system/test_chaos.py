"""A sweep under a random schedule of kills ends as the same sweep does when it is left in peace."""

import os
import random

import pytest

from benchmarks.robustness.chaos import KINDS, Plan, rehearse, schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def chance():
    """The random numbers of a schedule; CHAOS_SEED repeats one."""
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CHAOS_SEED={seed}")
    return random.Random(seed)


def check_nothing_is_lost(plan, folder, chance):
    """Tables, weights, metrics and curves are those of the quiet run, attempts are recorded, and MLflow has each run once, finished, with
    each epoch once.
    """
    victim, verdict = rehearse(plan, folder, chance)
    log = f"{victim.kills}\n{victim.log.read_text(encoding='utf-8')[-5000:]}"
    assert verdict.differences == (), log
    assert verdict.completed == verdict.trials == 4, log
    assert tuple(victim.kills) == plan.kinds, log
    assert verdict.attempts > verdict.trials, log


def test_four_kills_lose_nothing_double_nothing_and_change_no_bit(classifier_folder, data_folder, jury, tmp_path, chance):
    """A worker killed in training, in mid-checkpoint and in evaluation; power lost, with the ends of the newest files. A driver that is
    killed alone is in test_search.py, one that is interrupted in test_faults.py.
    """
    kinds = (*chance.sample(("worker", "checkpoint", "power"), 3), "evaluation")
    check_nothing_is_lost(
        Plan(str(data_folder), classifier_folder, kinds, seeds=2, epochs=60, longest_pause=0.5), tmp_path / "chaos", chance
    )


@pytest.mark.long
def test_ten_kills_of_every_kind_lose_nothing(classifier_folder, data_folder, jury, tmp_path, chance):
    """Also a driver that is killed alone, and one that is interrupted."""
    kinds = tuple(schedule(10, chance))
    assert set(kinds) == set(KINDS)
    check_nothing_is_lost(Plan(str(data_folder), classifier_folder, kinds, seeds=2, epochs=100), tmp_path / "chaos", chance)
