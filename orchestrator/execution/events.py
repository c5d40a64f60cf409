"""What running a plan tells the driver. Pure, so that a driver with nothing to run need not import Ray."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that a worker reported, or that befell it."""

    trial_id: str
    """Empty for what concerns no trial."""
    kind: str
    """`preparing`, `prepared`, `stacks`, `halved`, `full`, `node`, `elsewhere`; `begun`, `epoch`, `judged`, `ended`, `stopped`,
    `retried` or `failed`."""
    report: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What is known after everything has stopped; whether a trial is complete is for the ledger to say."""

    errors: dict[str, str]
    """Trial id to the error of the last attempt, of trials that were given up."""
    stopped: str = ""
    """Why the sweep stopped before its end, if it did so by itself."""
