"""The protocol of a tracker: a projection of the ledger into a tool that shows runs, such as MLflow.

The ledger is the truth, and a tracker is a copy of it that can be made again. A tracker is one class in one file. Only `writer.Writer`
calls it, from a thread of the driver. What the writer relies on:

- Each method may raise anything if the tool is away or fails. The writer then asks `reachable`, waits or tries again, and goes on.
- Each method may be called again with the same arguments after it failed half-way. The outcome is that of one call.
- All that a run holds comes from the ledger and the arguments. So a run that was written while its trial trained is the same as one that
  is written later, or anew after the tool has lost it.
- A run carries the mark of its trial (`ledger_marks.mark_of`). If the mark is the same, `project` may do nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mopoe_core.metric_names import Epoch
from orchestrator.spec.trial import Trial
from orchestrator.tracking.summaries import CellSummary, SweepSummary


class Tracker(Protocol):
    """What a tracker does for one sweep of one storage."""

    @property
    def whole(self) -> str:
        """The digest that `note_whole` was given last, if nothing was written since; empty if the tracker does not know."""

    @property
    def opened(self) -> bool:
        """Whether `open` has been called, or there was nothing to look for."""

    def reachable(self) -> bool:
        """Returns whether the tool answers. Must not raise."""

    def open(self, anew: bool) -> None:
        """Look up the runs of this sweep and storage; with `anew`, delete them. Called once, before anything else is written."""

    def begin(self, trial: Trial) -> None:
        """Show that a trial trains."""

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Add points to a trial's learning curve. An epoch may come again."""

    def project(self, trial: Trial, mark: str) -> None:
        """Make a trial's run what the ledger says; nothing if it has this mark already. The trial does not run now.

        Points that the ledger does not have must go: after a crash, epochs may have been trained again.
        """

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """Make a cell's run what the summary says; `marks` has the marks of its trials by id, if they are known."""

    def sweep(self, summary: SweepSummary) -> None:
        """Make the run of the whole sweep what the summary says."""

    def close(self) -> None:
        """End runs that still seem to train. Called last; a later sweep opens the tracker again."""

    def note_whole(self, digest: str) -> None:
        """Remember that everything is as the ledger has it, under this digest; empty takes the note back."""


Connect = Callable[[Mapping[str, Sequence[Trial]], Callable[[], None]], Tracker]
"""Makes a tracker. The first argument has the trials of each cell by its id, and grows while a search runs. The second is a function that
the tracker calls after each request, to show that it is alive: requests that take minutes are given up otherwise."""
