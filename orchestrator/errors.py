"""The orchestrator's branches of the tree that `mopoe_core.errors` draws."""

from dataclasses import dataclass

from mopoe_core.errors import UserError

Location = tuple[str | int, ...]
"""Where in a sweep a value stands: keys of mappings, and indices in lists."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a sweep file."""

    text: str
    """One line that begins with the field."""
    at: Location = ()
    """Where it stands; if empty, at the place that the text begins with."""
    line: int = 0
    """Its line in the file; 0 if it follows from the place."""


class SpecError(UserError):
    """A sweep file that cannot be read or does not make sense: one line a mistake."""

    def __init__(self, *mistakes: str | Mistake) -> None:
        self.mistakes = tuple(Mistake(mistake) if isinstance(mistake, str) else mistake for mistake in mistakes)
        super().__init__("\n".join(mistake.text for mistake in self.mistakes))


class LedgerError(UserError):
    """The storage holds something that contradicts what is asked."""


class DamagedError(LedgerError):
    """A file of the ledger was cut, changed or exchanged, or is missing.

    `mend` says what to do about it; the command line adds it to the message.
    """

    mend = "`sweep --retrain-damaged` moves such trials out of the way and trains only them again"


class MisplacedError(DamagedError):
    """A record that is whole, but belongs to another trial, attempt or sweep than its place says."""


class SweepHeldError(UserError):
    """Another driver runs the sweep, or may have taken it over."""
