"""The orchestrator's branches of the tree that `mopoe_core.errors` draws."""

from mopoe_core.errors import UserError


class SpecError(UserError):
    """A sweep file that cannot be read or does not make sense."""


class LedgerError(UserError):
    """Storage holds something that contradicts what is asked."""


class DamagedError(LedgerError):
    """A file of the ledger was cut, changed or exchanged, or is missing.

    `mend` says what to do about it; the command line adds it to the message.
    """

    mend = "`sweep --retrain-damaged` moves such trials out of the way and trains only them again"


class MisplacedError(DamagedError):
    """A record that is whole, and belongs to something else than its place says."""


class SweepHeldError(UserError):
    """Another driver runs the sweep."""
