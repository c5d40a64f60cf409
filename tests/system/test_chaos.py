"""A sweep under a random schedule of kills ends as the same sweep does when it is left in peace."""

import os
import random

import pytest

from benchmarks.robustness.chaos import KINDS, Plan, rehearse, schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = 10


def test_ten_kills_lose_nothing_double_nothing_and_change_no_bit(classifier_folder, data_folder, jury, tmp_path):
    """Workers killed in training, in mid-checkpoint and in evaluation; the driver killed and interrupted; power lost, with the ends of
    the newest files. Tables, weights, metrics and curves are those of the quiet run, attempts are recorded, and MLflow has each run
    once, finished, with each epoch once. CHAOS_SEED repeats a schedule.
    """
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    kinds = tuple(schedule(KILLS, chance))
    assert set(kinds) == set(KINDS)
    plan = Plan(str(data_folder), classifier_folder, kinds, seeds=2, epochs=100)
    victim, verdict = rehearse(plan, tmp_path / "chaos", chance)
    said = f"CHAOS_SEED={seed}: {victim.kills}\n{victim.log.read_text(encoding='utf-8')[-5000:]}"
    assert verdict.differences == (), said
    assert verdict.completed == verdict.trials == 4, said
    assert tuple(victim.kills) == kinds, said
    assert verdict.attempts > verdict.trials, said
