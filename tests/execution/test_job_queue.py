"""The queue: which job is next, and which trials are tried again. Without Ray, with a clock that the test sets."""

import pytest

from orchestrator.execution.queue.job import Job, in_order, jobs
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.lost_nodes import MOST_LOST_NODES, VERDICT_SECONDS
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse


def planned(models=("mvae", "mopoe"), seeds=3, **base):
    """Returns trials of some models, seed by seed."""
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", **base}, "grid": {"model": list(models)}, "seeds": seeds}
    return in_order(parse(raw).trials)


class Clock:
    """A clock that the test sets, in seconds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """Returns the time."""
        return self.now


def queue_of(stacks, retries=2, is_held_elsewhere=lambda trial_id: False, lost=set, **resources):
    """Returns a queue and its clock; the pause before try n + 1 is 10 n seconds."""
    clock = Clock()
    queue = Queue(
        jobs(stacks, {}), Resources(retries=retries, **resources), is_held_elsewhere, lost, clock, lambda tries: 10.0 * tries
    )
    return queue, clock


def one_by_one(trials):
    """Returns a stack for each trial."""
    return [(trial,) for trial in trials]


def ids(job: Job) -> list[str]:
    """Returns the ids of a job's trials."""
    return [trial.id for trial in job.trials]


@pytest.mark.parametrize("second_fails", [False, True])
def test_the_canary_gate_holds_the_rest_back(second_fails):
    """Only canaries are handed out until each has rehearsed; if one fails for good before that, nothing else starts."""
    queue, clock = queue_of(one_by_one(planned()), retries=0)
    assert queue.next("a").rehearse
    assert queue.next("b").rehearse
    assert queue.next("c") is None
    queue.rehearsal_passed("a")
    assert queue.next("c") is None
    if second_fails:
        queue.job_failed("b", "no")
        assert queue.next("c") is None
        queue.job_finished("a")
        assert queue.is_over
        assert len(queue.failed) == 1
    else:
        queue.rehearsal_passed("b")
        assert not queue.next("c").rehearse


def test_a_canary_that_is_tried_again_goes_on_holding_the_rest_back():
    """After the pause, its second try rehearses again; until then no other job starts."""
    queue, clock = queue_of(one_by_one(planned(["mopoe"])))
    queue.next("a")
    queue.job_failed("a", "no")
    assert queue.next("b") is None
    clock.now = 10.0
    assert queue.next("b").rehearse
    assert queue.next("c") is None


def test_of_one_seed_the_longest_comes_first_and_seeds_come_in_order():
    """This holds after the canaries. So no long trial that was begun last keeps the sweep waiting."""
    trials = planned(["mvae", "mopoe", "mmvae"], seeds=2)
    seconds = {trial.id: {"mvae": 5.0, "mopoe": 9.0, "mmvae": 7.0}[trial.config.model] for trial in trials}
    order = [(job.trials[0].config.model, job.trials[0].seed, job.rehearse) for job in jobs(one_by_one(trials), seconds)]
    assert order == [(model, seed, seed == 0) for seed in (0, 1) for model in ("mopoe", "mmvae", "mvae")]


def test_what_failed_before_comes_last_and_is_no_canary():
    """No failed trial is a canary, also if no other trial of its kind is left: it would stop the sweep in every command."""
    trials = planned(["mvae", "mopoe"], seeds=2)
    failed = {trial.id for trial in trials if trial.config.model == "mvae" or trial.seed == 0}
    in_order_of_start = jobs(one_by_one(trials), dict.fromkeys(failed, 100.0), failed)
    order = [(job.trials[0].config.model, job.trials[0].seed, job.rehearse) for job in in_order_of_start]
    assert order == [("mopoe", 1, True), ("mvae", 0, False), ("mopoe", 0, False), ("mvae", 1, False)]


def test_at_once_bounds_what_runs():
    """With at_once 1, a second job is handed out only after the first has ended."""
    queue, _ = queue_of(one_by_one(planned(["mopoe"])), at_once=1)
    first = queue.next("a")
    queue.rehearsal_passed("a")
    assert queue.next("b") is None
    queue.trial_ended("a", ids(first)[0])
    queue.job_finished("a")
    assert queue.next("b").trials[0].seed == 1


def test_a_failed_trial_is_tried_again_after_a_growing_pause_as_often_as_allowed():
    """With two retries there are three tries, 10 and 20 seconds apart. Then the trial has failed, with the last error."""
    trials = planned(["mopoe"], seeds=1)
    queue, clock = queue_of(one_by_one(trials))
    times = []
    for attempt in range(3):
        while (job := queue.next(f"a{attempt}")) is None:
            clock.now += 1.0
        assert ids(job) == [trials[0].id]
        queue.rehearsal_passed(f"a{attempt}")
        times.append(clock.now)
        queue.job_failed(f"a{attempt}", f"error {attempt}")
    assert times == [0.0, 10.0, 30.0]
    assert queue.failed == {trials[0].id: "error 2"}
    assert queue.is_over


@pytest.mark.parametrize("known_after", [0.0, 20.0])
def test_a_lost_node_is_nobodys_failure(known_after):
    """Five nodes are lost with no retries allowed, which becomes known at once or some time after the worker's death: the trial comes
    again each time, and then completes.
    """
    trials, lost = planned(["mopoe"], seeds=1), set()
    queue, clock = queue_of(one_by_one(trials), retries=0, lost=lambda: lost)
    for node in "abcde":
        assert ids(queue.next(node)) == [trials[0].id]
        queue.job_failed(node, "killed", node)
        assert not queue.is_over
        clock.now += known_after
        assert known_after == 0.0 or queue.next("too early") is None
        lost.add(node)
    assert queue.next("f") is not None
    queue.trial_ended("f", trials[0].id)
    queue.job_finished("f")
    assert queue.is_over
    assert queue.failed == {}


def test_a_killed_worker_of_a_node_that_lives_has_failed():
    """The trial fails after the time that a verdict on the node takes, and not before."""
    (trial,) = trials = planned(["mopoe"], seeds=1)
    queue, clock = queue_of(one_by_one(trials), retries=0)
    queue.next("a")
    queue.job_failed("a", "killed", "node")
    clock.now = VERDICT_SECONDS - 1
    assert queue.next("b") is None
    assert not queue.is_over
    clock.now = VERDICT_SECONDS + 1
    assert queue.next("b") is None
    assert queue.is_over
    assert queue.failed == {trial.id: "killed"}


def test_a_trial_that_kills_every_node_fails_in_the_end():
    """The loss of a hundred nodes is forgiven, and the next loss is not."""
    (trial,) = trials = planned(["mopoe"], seeds=1)
    lost = set()
    queue, _ = queue_of(one_by_one(trials), retries=0, lost=lambda: lost)
    for node in range(MOST_LOST_NODES + 1):
        assert queue.next(str(node)) is not None
        queue.job_failed(str(node), "killed", str(node))
        lost.add(str(node))
    assert queue.next("more") is None
    assert queue.failed == {trial.id: "killed"}


def test_of_a_stack_that_always_fails_each_trial_has_a_try_of_its_own():
    """If one of three trials kills every worker, only that trial has failed in the end."""
    trials = planned(["mopoe"], seeds=3)
    queue, clock = queue_of([tuple(trials)], retries=1)
    bad, ended, tries = trials[1].id, set(), 0
    while not queue.is_over:
        job = queue.next("k")
        if job is None:
            clock.now += 1.0
            continue
        tries += 1
        queue.rehearsal_passed("k")
        if bad in ids(job):
            queue.job_failed("k", "killed")
        else:
            ended |= set(ids(job))
            for trial_id in ids(job):
                queue.trial_ended("k", trial_id)
            queue.job_finished("k")
    assert ended == {trials[0].id, trials[2].id}
    assert queue.failed == {bad: "killed"}
    assert tries == 2 + 3


def test_what_ended_before_a_worker_broke_is_not_run_again():
    """In a stack of three, one trial has ended and one has raised when the worker is killed: two trials are tried again."""
    trials = planned(["mopoe"], seeds=3)
    queue, clock = queue_of([tuple(trials)])
    queue.next("a")
    queue.rehearsal_passed("a")
    queue.trial_ended("a", trials[0].id)
    queue.trial_raised("a", trials[1].id)
    queue.job_failed("a", "killed")
    clock.now = 10.0
    assert sorted(ids(queue.next("b"))) == sorted([trials[1].id, trials[2].id])


def test_a_trial_that_falls_does_not_take_its_stack_along():
    """If a stack finishes, only the trial that raised is tried again, alone; it has failed after its last try."""
    trials = planned(["mopoe"], seeds=2)
    queue, clock = queue_of([tuple(trials)], retries=1)
    for key in ("a", "b"):
        assert trials[0].id in ids(queue.next(key))
        queue.rehearsal_passed(key)
        queue.trial_raised(key, trials[0].id)
        queue.trial_ended(key, trials[1].id)
        queue.job_finished(key, "ValueError")
        clock.now += 20.0
    assert queue.is_over
    assert queue.failed == {trials[0].id: "ValueError"}


def test_what_another_sweep_trains_comes_again_when_that_has_ended():
    """Such a trial waits without counting as a try, is not handed out while another sweep holds it, and lets the others go first."""
    trials = planned(["mopoe"], seeds=2)
    held = {trials[0].id}
    queue, clock = queue_of(one_by_one(trials), 0, lambda trial_id: trial_id in held)
    queue.next("a")
    queue.trials_busy("a", [trials[0].id])
    queue.job_finished("a")
    assert ids(queue.next("b")) == [trials[1].id]
    queue.trial_ended("b", trials[1].id)
    queue.job_finished("b")
    for _ in range(50):
        clock.now += 10.0
        assert queue.next("c") is None
        assert not queue.is_over
    held.clear()
    clock.now += 10.0
    assert ids(queue.next("c")) == [trials[0].id]


def test_a_full_disk_stops_everything_and_fails_nothing():
    """Nothing more is handed out, and no trial has failed."""
    queue, _ = queue_of(one_by_one(planned(["mopoe"])))
    queue.next("a")
    queue.rehearsal_passed("a")
    queue.stop("no space left")
    assert queue.next("b") is None
    queue.job_finished("a")
    assert queue.is_over
    assert (queue.failed, queue.stopped) == ({}, "no space left")
