"""Writing a sweep to MLflow: what the driver calls. MLflow itself, which takes seconds to import, is loaded beside it."""

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
    """Returns what makes the tracker of a sweep: its name, its ledger, MLflow's address and the commit of the code.

    `check` is called before each request, and raises LeaseLost if another driver may have taken over. Raises DamagedError if the record
    of the storage's identity is damaged.
    """
    identity = identify(
        ledger.storage
    )  # here, and not in the writer's thread: a damaged record is refused before anything is written

    def made(trials: Mapping[str, Sequence[Trial]], show_progress: Callable[[], None]) -> "MlflowTracker":
        from orchestrator.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(sweep, trials, ledger, identity, uri, commit, show_progress, check)

    return made


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
    """Returns a writer to the MLflow store at `uri`; see `connect` and `Writer`. MLflow is imported in a thread meanwhile."""
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
    """Bring MLflow up to date with the ledger, looking at every run; returns what could not be written, a line each.

    With `anew`, every run of this storage is deleted and written anew. All other runs in the experiment are left alone.
    """
    writer = start_writer(sweep, trials, ledger, uri, commit, check, look=True, anew=anew)
    writer.close(summaries, sweep=summary)
    return tuple(writer.problems)
