"""What the ledger says of a trial, in a few characters. A tracker stores it with the run, and so knows whether the run is up to date."""

import hashlib
from typing import Any

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


def mark_of(ledger: Ledger, trial: Trial) -> str:
    """What the ledger says of a trial, short: its result's stamp, or `failed after 2` attempts; empty before the first.

    A trial that runs is pending here: this is what a driver leaves behind, and it will not hear of that trial's end.
    """
    stamp = ledger.stamp(trial)
    if stamp:
        return stamp
    state = ledger.state(trial)
    status = "pending" if state.status == "running" else state.status
    return f"{status} after {state.attempts}" if state.attempts else ""


def digest(*parts: Any) -> str:
    """A hash of plain values and of dataclasses that hold such; by `repr`, because a spread may be NaN, which JSON refuses."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def is_stamp(mark: str) -> bool:
    """Whether it is that of a trial that has ended."""
    return bool(mark) and " " not in mark
