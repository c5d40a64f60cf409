"""The events of a running plan, and the observer that receives them.

An attempt in a worker reports some of these events, and Ray carries them to the driver; the executor adds the others. The driver hands
each event to its observers: the tracker, the search and the progress display. Nothing heavy is imported here, so that a driver with
nothing to run need not import Ray or torch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mopoe_core.metric_names import Epoch

if TYPE_CHECKING:
    from mopoe_core.metrics.classifier_quality import Quality


@dataclass(frozen=True)
class Event:
    """Something that happened while a plan ran."""

    method: ClassVar[str]
    """The observer's method for events of this class: `on_trial_ended` for TrialEnded."""

    def __init_subclass__(cls) -> None:
        cls.method = "on" + re.sub("(?=[A-Z])", "_", cls.__name__).lower()


@dataclass(frozen=True)
class PreparationBegun(Event):
    """Datasets and classifiers are loaded, or made if storage does not have them yet."""


@dataclass(frozen=True)
class ClassifiersReady(Event):
    """The classifiers of a dataset are trained."""

    dataset: str
    source: str
    quality: Mapping[str, "Quality"]
    """By modality."""


@dataclass(frozen=True)
class StackSizeChosen(Event):
    """How many trials of one shape a stack has at most."""

    label: str
    """The label of one trial of that shape."""
    size: int
    gain: Mapping[str, float] = field(default_factory=dict)
    """By stack size, the time of its trials one after another divided by the time of the stack; empty if it was not measured."""
    why_not: str = ""
    """Why such trials do not stack; empty if they do."""


@dataclass(frozen=True)
class TrialsBegun(Event):
    """A worker has begun to train a stack of trials, after a rehearsal if there was one."""

    attempts: Mapping[str, int]
    """The number of the attempt, by trial id."""
    worker: str
    """The token of the worker's lease."""


@dataclass(frozen=True)
class EpochsEnded(Event):
    """Trials of a stack have finished an epoch."""

    epochs: Mapping[str, Epoch]
    """By trial id."""


@dataclass(frozen=True)
class MetricsAtEpoch(Event):
    """A trial has been evaluated after an epoch, for a search that may stop its cell."""

    trial_id: str
    epoch: int
    values: Mapping[str, float]
    """By metric name; empty if a value is not finite."""


@dataclass(frozen=True)
class TrialEnded(Event):
    """A trial has completed or diverged; its result is in the ledger."""

    trial_id: str
    status: str


@dataclass(frozen=True)
class TrialStopped(Event):
    """A trial has stopped because the search stopped its cell."""

    trial_id: str
    epoch: int
    """How many epochs it was trained."""


@dataclass(frozen=True)
class TrialRaised(Event):
    """One trial of a stack has raised an error; the others go on."""

    trial_id: str
    error: str
    """The traceback."""
    fails_again: bool = False
    """Whether another attempt would end in the same way."""


@dataclass(frozen=True)
class TrialRetried(Event):
    """An attempt at a trial has failed, and the trial waits for its next one."""

    trial_id: str
    why: str
    """The last line of the error."""


@dataclass(frozen=True)
class TrialFailed(Event):
    """The last attempt at a trial has failed."""

    trial_id: str
    why: str
    """The last line of the error."""


@dataclass(frozen=True)
class TrialsBusyElsewhere(Event):
    """Another sweep trains these trials; they are queued again until it has finished them."""

    trial_ids: Sequence[str]
    holder: str
    """Who trains them, as text for the user."""


@dataclass(frozen=True)
class StackHalved(Event):
    """A stack did not fit into memory and is trained as two halves."""

    size: int
    """Trials in the stack that did not fit."""


@dataclass(frozen=True)
class StorageFull(Event):
    """Storage has no room left; the sweep stops."""

    error: str


@dataclass(frozen=True)
class NodeLost(Event):
    """A node of the cluster is gone."""

    node: str
    """The node's id in Ray."""


class Observer:
    """Receives events. Each method does nothing by default; a subclass overrides the methods of the events that it needs."""

    def notify(self, event: Event) -> None:
        """Call the method for the event's class."""
        getattr(self, event.method)(event)

    def on_preparation_begun(self, event: PreparationBegun) -> None:
        """Datasets and classifiers are loaded or made."""

    def on_classifiers_ready(self, event: ClassifiersReady) -> None:
        """The classifiers of a dataset are trained."""

    def on_stack_size_chosen(self, event: StackSizeChosen) -> None:
        """The largest stack of one shape is known."""

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """A worker trains a stack."""

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Trials of a stack have finished an epoch."""

    def on_metrics_at_epoch(self, event: MetricsAtEpoch) -> None:
        """A trial was evaluated after an epoch."""

    def on_trial_ended(self, event: TrialEnded) -> None:
        """A trial has completed or diverged."""

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """A trial of a stopped cell has stopped."""

    def on_trial_raised(self, event: TrialRaised) -> None:
        """One trial of a stack has raised an error."""

    def on_trial_retried(self, event: TrialRetried) -> None:
        """A trial waits for its next attempt."""

    def on_trial_failed(self, event: TrialFailed) -> None:
        """A trial has no attempt left."""

    def on_trials_busy_elsewhere(self, event: TrialsBusyElsewhere) -> None:
        """Another sweep trains these trials."""

    def on_stack_halved(self, event: StackHalved) -> None:
        """A stack did not fit into memory."""

    def on_storage_full(self, event: StorageFull) -> None:
        """Storage has no room left."""

    def on_node_lost(self, event: NodeLost) -> None:
        """A node is gone."""


class Observers(Observer):
    """Several observers as one: each receives every event, in the order in which they were given."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def notify(self, event: Event) -> None:
        """Hand the event to each observer."""
        for observer in self._observers:
            observer.notify(event)
