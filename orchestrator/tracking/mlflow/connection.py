"""Functions with which the driver writes a sweep to MLflow. A thread imports MLflow, which takes seconds."""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage.identity import identify
from orchestrator.spec.trial import Trial
from orchestrator.tracking.summaries import CellSummary, SweepSummary
from orchestrator.tracking.tracker import Connect
from orchestrator.tracking.writer import Writer

if TYPE_CHECKING:
    from orchestrator.tracking.mlflow.tracker import MlflowTracker

TRACKER = "orchestrator.tracking.mlflow.tracker"


def connect(sweep: str, ledger: Ledger, uri: str, commit: str, check: Callable[[], None] = lambda: None) -> Connect:
    """Returns a function that makes the tracker of a sweep. `uri` is MLflow's address, `commit` the commit of the code.

    `check` is called before each request, and raises LeaseLost if another driver may have taken over. Raises DamagedError if storage.json
    is damaged.
    """
    identity = identify(ledger.storage)  # here instead of in the writer's thread, so that a damaged storage.json raises at once

    def make_tracker(trials: Mapping[str, Sequence[Trial]], show_progress: Callable[[], None]) -> "MlflowTracker":
        from orchestrator.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(sweep, trials, ledger, identity, uri, commit, show_progress, check)

    return make_tracker


def start_writer(
    sweep: str,
    trials: Sequence[Trial],
    ledger: Ledger,
    uri: str,
    commit: str,
    check: Callable[[], None] = lambda: None,
    look: bool = False,
    anew: bool = False,
) -> Writer:
    """Returns a writer to the MLflow store at `uri`, and starts to import MLflow in a thread; see `connect` and `Writer`."""
    threading.Thread(target=import_module, args=(TRACKER,), name="import MLflow", daemon=True).start()
    return Writer(connect(sweep, ledger, uri, commit, check), trials, ledger, "MLflow", uri, look, anew)


def catch_up(
    sweep: str,
    trials: Sequence[Trial],
    ledger: Ledger,
    uri: str,
    commit: str,
    summaries: Sequence[CellSummary],
    summary: SweepSummary | None = None,
    check: Callable[[], None] = lambda: None,
    anew: bool = False,
) -> tuple[str, ...]:
    """Bring MLflow up to date with the ledger, run by run; returns a line for each thing that could not be written.

    With `anew`, every run of this storage is deleted and written anew. The runs of other storages in the experiment do not change.
    """
    writer = start_writer(sweep, trials, ledger, uri, commit, check, look=True, anew=anew)
    writer.close(summaries, sweep=summary)
    return tuple(writer.problems)
