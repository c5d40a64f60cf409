"""The orchestrator's branches of the tree that `mopoe_core.errors` draws."""

from mopoe_core.errors import UserError


class SpecError(UserError):
    """A sweep file that cannot be read or does not make sense."""


class LedgerError(UserError):
    """Storage holds something that contradicts what is asked."""


class DamagedError(LedgerError):
    """A record of the ledger was cut or changed."""


class SweepHeldError(UserError):
    """Another driver runs the sweep."""
