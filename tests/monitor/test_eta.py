"""Estimates of how long the rest of a sweep takes."""

import pytest

from orchestrator.execution import costs
from orchestrator.monitor.eta import Capacity, TrialView, seconds_left, stack_seconds_left
from orchestrator.spec.trial import Trial
from tests.support.builders import cell

CELL = cell(epochs=10)


def shown(status, seed=0, kind="a", **known):
    """Returns the view of a trial of ten epochs."""
    return TrialView(Trial(CELL, seed), "", kind, status, **known)


DONE = shown("completed", epoch=10, epoch_seconds=3.0, evaluate_seconds=20.0)


def test_what_is_left_is_trained_and_evaluated_at_the_measured_speed():
    """Three trials of ten epochs of 3 s and 20 s of evaluation take 75 s on two workers; one trial alone takes 50 s."""
    left = [shown("pending", seed) for seed in (1, 2, 3)]
    assert seconds_left([DONE, *left], 2) == pytest.approx(75)
    assert seconds_left([DONE, left[0]], 2) == pytest.approx(50)


def test_a_running_trial_counts_with_its_own_speed_and_what_it_has_left():
    """Four of ten epochs are left, of 5 s each, and the evaluation."""
    assert seconds_left([DONE, shown("running", 1, epoch=6, epoch_seconds=5.0)], 1) == pytest.approx(4 * 5 + 20)


def test_trials_of_one_stack_end_together():
    """Two trials of one worker end after the sum of their 4 and 6 epochs of 5 s and two evaluations of 20 s; a single one ends alone."""
    shares = [shown("running", seed, epoch=epoch, epoch_seconds=5.0, worker="a") for seed, epoch in ((1, 6), (2, 4))]
    alone = shown("running", 3, epoch=6, epoch_seconds=5.0, worker="b")
    left = stack_seconds_left([DONE, *shares, alone, shown("pending", 4)])
    assert left == pytest.approx({shares[0].trial.id: 90, shares[1].trial.id: 90, alone.trial.id: 40})


def test_a_kind_of_its_own_has_its_own_speed():
    """A trial of a slow kind is not estimated by the times of a fast kind."""
    slow = shown("completed", 1, "b", epoch=10, epoch_seconds=30.0, evaluate_seconds=0.0)
    assert seconds_left([DONE, slow, shown("pending", 2, "b")], 1) == pytest.approx(300)


def test_nothing_is_claimed_before_anything_is_measured():
    """Before the first epoch there is no estimate."""
    assert seconds_left([shown("pending")], 1) is None
    assert seconds_left([DONE], 1) == 0


def test_evaluation_is_counted_before_one_was_measured():
    """Its time is the expected one, scaled as the epochs are: a machine that trains half as fast also evaluates half as fast."""
    ratio = costs.evaluation_seconds(CELL.config) / costs.training_seconds(CELL.config, 1)
    for pace in (1.0, 2.0):
        left = seconds_left([shown("running", epoch=4, epoch_seconds=pace)], 1)
        assert left == pytest.approx(pace * (6 + ratio))


def test_trials_that_a_search_has_still_to_propose_are_counted():
    """Each counts as an average trial of 50 s. They are spread over the workers, and the total is at least the longest trial."""
    assert seconds_left([DONE, shown("pending", 1)], 1, to_be_proposed=3) == pytest.approx(200)
    assert seconds_left([DONE, shown("pending", 1)], 4, to_be_proposed=3) == pytest.approx(50)


def test_a_search_that_has_ended_takes_no_time():
    """This holds also if it ended before it had proposed all the cells that it may propose."""
    assert seconds_left([DONE], 1, to_be_proposed=3) == 0


def test_what_was_given_up_or_stopped_takes_no_time():
    """No time is counted for a failed trial, or for one that a search stopped."""
    assert seconds_left([DONE, shown("failed", 1), shown("cancelled", 2, stopped=True)], 1) == 0


def test_room_is_counted_in_workers():
    """Three workers of two cores fit on seven cores, unless the sweep limits them; on a cluster, the running ones are counted."""
    assert Capacity(2, 0.5, 7, None).workers(1) == 3
    assert Capacity(2, 0.5, 7, 2).workers(0) == 2
    assert Capacity(2, 0.5, None, None).workers(5) == 5
    assert Capacity(2, 0.5, 7, None).in_use(3) == "6 of 7 cores, 1.5 GPUs"
