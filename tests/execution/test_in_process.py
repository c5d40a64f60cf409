"""Running jobs one after another in this process, without Ray: whole sweeps, retries, canaries, stacks and stopped cells."""

from dataclasses import dataclass, field

import pytest
import yaml

from orchestrator.driver import sweep
from orchestrator.execution import in_process
from orchestrator.execution.attempt import attempt
from orchestrator.execution.events import (
    EpochsEnded,
    Event,
    Observer,
    StackSizeChosen,
    TrialEnded,
    TrialFailed,
    TrialRaised,
    TrialRetried,
    TrialsBegun,
    TrialStopped,
)
from orchestrator.execution.executor import Work
from orchestrator.execution.queue import job_queue
from orchestrator.execution.queue.job import EarlyStopping
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposals
from orchestrator.spec.search_block import Early
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse

BASE = {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 2}


@pytest.fixture
def home(own_home, monkeypatch):
    """A folder with a dataset whose trials take a second and stack; failed trials are tried again at once."""
    file = own_home / "mine.py"
    file.write_text(file.read_text().replace(", encoder=Touchy", ""))
    monkeypatch.setattr(job_queue, "FIRST_PAUSE", 0.0)
    return own_home


@dataclass
class Recorder(Observer):
    """Records all events."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event):
        """Record an event."""
        self.events.append(event)

    def of(self, kind):
        """Returns the events of one class."""
        return [event for event in self.events if isinstance(event, kind)]


def spec_of(seeds=2, stack=1, retries=1, **base):
    """Returns a sweep over seeds."""
    return parse({"name": "own", "base": BASE | base, "seeds": seeds, "resources": {"stack": stack, "retries": retries}})


def run(home, spec, observer, search=None):
    """Run all trials of a sweep without a driver; returns its outcome and ledger."""
    ledger, trials = Ledger(home / "runs"), spec.trials
    work = Work(trials, trials, ledger, Resources(stack=spec.resources.stack, retries=spec.resources.retries), "commit", "", {})
    return in_process.run(work, observer, search), ledger


def broken(*arguments):
    """Replaces a step, and raises."""
    raise FileExistsError("in the way")


def test_a_sweep_of_the_driver_runs_without_ray(home):
    """All trials complete in one attempt each, with all their epochs."""
    spec = spec_of()
    ended = sweep.run(spec, yaml.safe_dump({}), home / "runs", "command", execute=in_process.run)
    ledger = Ledger(home / "runs")
    assert (ended.ran, ended.unfinished, set(ended.statuses.values())) == (2, 0, {"completed"})
    assert [(ledger.result(t).attempts, len(ledger.result(t).history)) for t in spec.trials] == [(1, 2)] * 2


def test_each_trial_is_reported_from_its_beginning_to_its_end(home):
    """The events of each trial are: begun, each of its epochs in order, ended."""
    recorder, spec = Recorder(), spec_of()
    run(home, spec, recorder)
    for trial in spec.trials:
        events_of_trial = [
            event
            for event in recorder.events
            if (isinstance(event, TrialsBegun) and trial.id in event.attempts)
            or (isinstance(event, EpochsEnded) and trial.id in event.epochs)
            or (isinstance(event, TrialEnded) and trial.id == event.trial_id)
        ]
        assert [type(event) for event in events_of_trial] == [TrialsBegun, EpochsEnded, EpochsEnded, TrialEnded]
        assert [event.epochs[trial.id].epoch for event in events_of_trial[1:3]] == [1, 2]


def test_a_stack_trains_as_one_and_each_of_its_trials_has_a_result(home):
    """Two trials begin at once, and their results name a stack of two."""
    recorder, spec = Recorder(), spec_of(stack=2)
    _, ledger = run(home, spec, recorder)
    (chosen,), (begun,) = recorder.of(StackSizeChosen), recorder.of(TrialsBegun)
    assert chosen.size == 2
    assert set(begun.attempts) == {trial.id for trial in spec.trials}
    assert [ledger.result(trial).provenance["stack"]["trials"] for trial in spec.trials] == [2, 2]


def test_a_trial_that_always_raises_is_tried_again_and_then_given_up(home, monkeypatch):
    """With one retry there are two attempts, and the outcome has the trial's error."""
    monkeypatch.setattr(attempt, "write_pictures", broken)
    monkeypatch.setattr(attempt, "rehearse", lambda *arguments: None)
    recorder, spec = Recorder(), spec_of(seeds=1)
    outcome, ledger = run(home, spec, recorder)
    (trial,) = spec.trials
    assert ledger.state(trial).attempts == 2
    assert [event.trial_id for event in recorder.of(TrialRaised)] == [trial.id] * 2
    assert list(outcome.errors) == [trial.id]
    assert "FileExistsError" in outcome.errors[trial.id]


def test_a_canary_that_fails_stops_the_sweep_before_anything_else_starts(home, monkeypatch):
    """If each rehearsal of the first trial raises, that trial is tried again and then fails, and the second trial never begins."""
    monkeypatch.setattr(attempt, "rehearse", broken)
    recorder, spec = Recorder(), spec_of()
    outcome, ledger = run(home, spec, recorder)
    first, second = spec.trials
    assert outcome.stopped
    assert [event.trial_id for event in recorder.of(TrialRetried)] == [first.id]
    assert [event.trial_id for event in recorder.of(TrialFailed)] == [first.id]
    assert (ledger.state(first).attempts, ledger.state(second).attempts) == (2, 0)


def test_an_interrupt_ends_the_run_and_the_next_one_goes_on(home):
    """The first Ctrl-C ends the run without an error; the begun trial keeps its checkpoint, is tried again and completes."""

    class Interrupts(Observer):
        def on_epochs_ended(self, event):
            raise KeyboardInterrupt

    spec = spec_of(seeds=1)
    outcome, ledger = run(home, spec, Interrupts())
    (trial,) = spec.trials
    assert (dict(outcome.errors), ledger.result(trial), ledger.holder(trial)) == ({}, None, None)
    run(home, spec, Observer())
    assert (ledger.result(trial).status, ledger.result(trial).attempts) == ("completed", 2)


def test_what_an_observer_raises_is_no_failure_of_the_trial(home):
    """The run raises the observer's error, and the ledger has no error of the trial."""
    error = RuntimeError("of the driver")

    class Fails(Observer):
        def on_epochs_ended(self, event):
            raise error

    spec = spec_of(seeds=1)
    with pytest.raises(RuntimeError) as caught:
        run(home, spec, Fails())
    assert caught.value is error
    assert not Ledger(home / "runs").last_failure(spec.trials[0])


def test_a_cell_that_a_search_stops_is_not_trained_on(home):
    """If the search stops the cell after its first epoch, the trial is cancelled there and has not failed."""
    spec = spec_of(seeds=1, epochs=4)
    (trial,) = spec.trials
    proposals = Proposals(home / "runs", spec.name)

    class Stops(Observer):
        is_over = True
        early_stopping = EarlyStopping(Early(rule="halving", at=[0.25, 0.5]), proposals.stopped_folder)

        def next(self, failed, at_once):
            return []

        def on_metrics_at_epoch(self, event):
            proposals.stop(trial.cell.id, event.epoch, "for the test")

    recorder, search = Recorder(), Stops()

    class Both(Recorder):
        def notify(self, event):
            search.notify(event)
            recorder.notify(event)

    outcome, ledger = run(home, spec, Both(), search)
    (stopped,) = recorder.of(TrialStopped)
    assert (stopped.trial_id, stopped.epoch, dict(outcome.errors)) == (trial.id, 1, {})
    assert (ledger.state(trial).status, ledger.state(trial).stopped_at_epoch) == ("cancelled", 1)


def test_a_trial_that_another_sweep_trains_is_waited_for(home, monkeypatch):
    """While another sweep holds the trial, nothing is trained; after that the trial completes in its first attempt."""
    monkeypatch.setattr(job_queue, "ELSEWHERE_PAUSE", 0.0)
    spec = spec_of(seeds=1)
    (trial,) = spec.trials
    ledger = Ledger(home / "runs")
    with Lease(ledger.storage) as other:
        assert other.claim(ledger.folder(trial)) is None

        class LetsGo(Observer):
            holders: list[str] = []

            def on_trials_busy_elsewhere(self, event):
                self.holders.append(event.holder)
                other.release(ledger.folder(trial))

        observer = LetsGo()
        run(home, spec, observer)
        assert observer.holders == [str(other.holder)]
    assert (ledger.result(trial).status, ledger.result(trial).attempts) == ("completed", 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ledger_is_that_of_ray(home):
    """Ray Tune with one worker and this process record the same ids, statuses, attempts, and (to the last bit) metrics and losses.

    Checked for trials that complete and that diverge, in stacks and alone.
    """
    raw = {
        "name": "own",
        "base": BASE,
        "grid": {"learning_rate": [1e-3, 1e18]},
        "include": [{"latent_dim": 3}],
        "seeds": 1,
        "resources": {"stack": 2, "at_once": 1, "retries": 1},
    }
    spec, contents = parse(raw), []
    for name, execute in (("here", in_process.run), ("ray", sweep.on_ray_tune)):
        sweep.run(spec, yaml.safe_dump(raw), home / name, "command", execute=execute)
        contents.append(content(Ledger(home / name), spec.trials))
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3
    assert {status for status, *_ in contents[0].values()} == {"completed", "diverged"}
    assert {where["stack"]["trials"] for *_, where in contents[0].values()} == {1, 2}


def content(ledger, trials):
    """Returns what the ledger has of trials, without times and machines, by id. Losses are text in full precision: NaN equals NaN."""
    names = ("commit", "dataset", "source", "data_hash", "classifiers", "device", "threads", "stack", "parameters", "packages")
    return {
        trial.id: (
            result.status,
            result.attempts,
            result.metrics,
            [{name: repr(value) for name, value in epoch.values.items() if name != "train/seconds"} for epoch in result.history],
            result.diverged_at_step,
            result.samples,
            {name: result.provenance[name] for name in names},
        )
        for trial in trials
        if (result := ledger.result(trial)) is not None
    }
