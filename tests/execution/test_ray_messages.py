"""How reports of Tune and its workers reach the queue: a job that ended, an error, and a process that died."""

from types import SimpleNamespace

import pytest

from orchestrator.execution.events import Observer, TrialEnded, TrialFailed, TrialRetried, TrialsBegun
from orchestrator.execution.queue.job import jobs
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.ray_tune.callback import DIED, MessageCallback
from orchestrator.execution.ray_tune.job_search import JobSearch, WorkerStart
from orchestrator.execution.ray_tune.worker import MESSAGES, JobEnded, JobRaised, JobTaken
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse

(TRIAL,) = parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "seeds": 1}).trials
RAISED = "Traceback (most recent call last):\nValueError: no"


class Recorder(Observer):
    """Records all events."""

    def __init__(self):
        self.events = []

    def notify(self, event):
        """Record an event."""
        self.events.append(event)


class Tune:
    """Stands for Tune, with one Tune trial that has the queue's only job."""

    def __init__(self, folder, lost=()):
        self.queue = Queue(jobs([(TRIAL,)], {}), Resources(retries=0), lost=lambda: set(lost))
        self.recorder, start = Recorder(), WorkerStart(folder, 0)
        self.callback = MessageCallback(self.queue, start, self.recorder)
        self.trial = SimpleNamespace(trial_id="key", config=JobSearch(self.queue, start).suggest("key"))

    def receives(self, *messages):
        """Hand over messages of the worker, in their order."""
        for message in messages:
            self.callback.on_trial_result(0, [], self.trial, {MESSAGES: [message]})

    def loses_the_worker(self):
        """End Tune's trial with an error."""
        self.callback.on_trial_error(0, [], self.trial)


def test_events_of_a_worker_reach_queue_and_observer(tmp_path):
    """After a job has ended nothing is left to do, and the observer has its events in their order."""
    tune, events = Tune(tmp_path), [TrialsBegun({TRIAL.id: 1}, "worker"), TrialEnded(TRIAL.id, "completed")]
    tune.receives(JobTaken("node"), *events, JobEnded())
    assert tune.recorder.events == events
    assert tune.queue.is_over
    assert tune.queue.failed == {}


@pytest.mark.parametrize("lost", [(), ("node",)], ids=["node lives", "node lost"])
def test_an_error_that_the_worker_has_sent_is_the_trials_own(tmp_path, lost):
    """A trial without tries left fails at once, with the worker's traceback, also if its node is lost."""
    tune = Tune(tmp_path, lost)
    tune.receives(JobTaken("node"), JobRaised(RAISED))
    tune.loses_the_worker()
    assert tune.queue.failed == {TRIAL.id: RAISED}
    assert tune.recorder.events == [TrialFailed(TRIAL.id, "ValueError: no")]


@pytest.mark.parametrize(("lost", "again"), [((), False), (("node",), True)], ids=["node lives", "node lost"])
def test_a_worker_that_died_without_a_word_may_have_lost_its_node(tmp_path, lost, again):
    """The trial waits for the verdict on its node; if the node is lost, it is handed out again."""
    tune = Tune(tmp_path, lost)
    tune.receives(JobTaken("node"))
    tune.loses_the_worker()
    assert tune.recorder.events == [TrialRetried(TRIAL.id, DIED)]
    assert tune.queue.failed == {}
    assert not tune.queue.is_over
    assert (tune.queue.next("again") is not None) == again
