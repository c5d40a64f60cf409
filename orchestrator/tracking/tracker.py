"""The protocol of a tracker: a copy of the ledger in a tool that shows runs, such as MLflow.

The ledger is the truth; the copy can be made again. A tracker is one class in one file. Only `writer.Writer` calls it, from a thread of
the driver. The writer relies on these rules:

- Each method may raise anything if the tool is away or fails. The writer then calls `reachable`, waits or tries again, and continues.
- Each method may be called again with the same arguments after it failed half-way. The result is that of a single call.
- Everything in a run comes from the ledger and the arguments. So a run is the same whether it was written while its trial trained, later,
  or anew after the tool has lost it.
- A run has the mark of its trial (`ledger_marks.mark_of`). If the mark has not changed, `project` may do nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mopoe_core.metric_names import Epoch
from orchestrator.spec.trial import Trial
from orchestrator.tracking.summaries import CellSummary, SweepSummary


class Tracker(Protocol):
    """The runs of one sweep of one storage in a tool."""

    @property
    def complete_digest(self) -> str:
        """The last digest given to `set_complete_digest`, if nothing was written since; empty if the tracker does not know."""

    @property
    def opened(self) -> bool:
        """Whether `open` has been called, or is not needed because there are no runs yet."""

    def reachable(self) -> bool:
        """Returns whether the tool answers. Must not raise."""

    def open(self, anew: bool) -> None:
        """Look up the runs of this sweep and storage; with `anew`, delete them. Called once, before anything else is written."""

    def begin(self, trial: Trial) -> None:
        """Show that a trial is in training."""

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Add points to a trial's learning curve. The same epoch may be given more than once."""

    def project(self, trial: Trial, mark: str) -> None:
        """Write what the ledger has of a trial that is not running into its run. Do nothing if the run has this mark already.

        Remove points that the ledger does not have: after a crash, epochs may have been trained again.
        """

    def withdraw(self, trial: Trial) -> None:
        """Delete the run of a trial that has no attempt in the ledger, because the trial was reset. Do nothing if there is no run."""

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """Write a summary into its cell's run. `marks` has the marks of the cell's trials by id, if they are known."""

    def sweep(self, summary: SweepSummary) -> None:
        """Write a summary into the run of the whole sweep."""

    def close(self) -> None:
        """End runs that still seem to be in training, and tell apart those of trials and cells that the sweep no longer has.

        Called last; a later sweep opens the tracker again.
        """

    def set_complete_digest(self, digest: str) -> None:
        """Store a digest that says that the runs are complete; an empty digest removes it."""


Connect = Callable[[Mapping[str, Sequence[Trial]], Callable[[], None]], Tracker]
"""Makes a tracker. The first argument has the trials of each cell by its id, and grows while a search runs. The tracker calls the second
argument after each request, to show that it is alive: `Writer.close` gives up if no such call comes for `PATIENCE_SECONDS`."""
