"""Marks: the state of a trial in a few characters. A tracker stores the mark with a run, and so knows whether the run is up to date."""

import hashlib
from typing import Any

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


def mark_of(ledger: Ledger, trial: Trial) -> str:
    """Returns a trial's mark: its result's stamp, or a text such as `failed after 2` (attempts); empty before the first attempt.

    A trial that another driver runs counts as pending, because this driver will not receive that trial's end.
    """
    stamp = ledger.stamp(trial)
    if stamp:
        return stamp
    state = ledger.state(trial)
    status = "pending" if state.status == "running" else state.status
    return f"{status} after {state.attempts}" if state.attempts else ""


def digest(*parts: Any) -> str:
    """Returns a hash of plain values and of dataclasses of such. Uses `repr`, because a spread may be NaN, which JSON refuses."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def is_stamp(mark: str) -> bool:
    """Returns whether a mark belongs to a trial that has a result."""
    return bool(mark) and " " not in mark
