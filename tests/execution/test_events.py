"""Events and their observer."""

import pickle
from dataclasses import fields, is_dataclass

import pytest

from mopoe_core.metric_names import Epoch
from orchestrator.execution import events
from orchestrator.execution.events import EpochsEnded, Event, Observer, Observers, TrialEnded

KINDS = Event.__subclasses__()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_reaches_the_method_of_its_class_and_no_other(kind):
    """An observer that overrides every method is called once, by the method whose argument has the event's class."""
    called = []
    names = [name for name in vars(Observer) if name.startswith("on_")]
    methods = {name: lambda self, event, name=name: called.append((name, event)) for name in names}
    event = kind(*("x" for _ in fields(kind)))
    type("Everything", (Observer,), methods)().notify(event)
    ((name, received),) = called
    assert received is event
    assert getattr(Observer, name).__annotations__["event"] is kind
    assert len(names) == len(KINDS)


def test_an_observer_does_nothing_by_default():
    """An observer without methods of its own takes every event."""
    for kind in KINDS:
        Observer().notify(kind(*("x" for _ in fields(kind))))


def test_several_observers_receive_an_event_in_their_order():
    """The first observer gets the event first."""
    called = []

    class Named(Observer):
        def __init__(self, name):
            self.name = name

        def on_trial_ended(self, event):
            called.append((self.name, event.trial_id))

    Observers(Named("a"), Named("b")).notify(TrialEnded("t", "completed"))
    assert called == [("a", "t"), ("b", "t")]


def test_events_travel_as_they_are():
    """An event is frozen, and equal to itself after pickling."""
    event = EpochsEnded({"t": Epoch(1, 1000, {"train/loss": 0.5})})
    assert pickle.loads(pickle.dumps(event)) == event
    assert all(is_dataclass(kind) and kind.__dataclass_params__.frozen for kind in KINDS)
    assert {kind.__module__ for kind in KINDS} == {events.__name__}
