"""What is printed: every line that goes to the user's terminal passes here.

An error's text, a path or a record may come from somebody else, and hold characters that a terminal obeys: colours, a cleared screen, a
changed title, text that runs backwards. They are shown escaped.
"""

import sys
import threading
import traceback
from types import TracebackType

KEPT = "\n\t"
"""What lines and tables of ours are made of."""


def escaped(text: str) -> str:
    """The text with every character that cannot be printed as Python spells it: `\\x1b`, `\\u202e`. Line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in KEPT else ascii(one)[1:-1] for one in text)


def say(text: str) -> None:
    """Print to standard output, at once."""
    print(escaped(text), flush=True)


def complain(text: str) -> None:
    """Print to standard error, at once."""
    print(escaped(text), file=sys.stderr, flush=True)


def escape_tracebacks() -> None:
    """Let the tracebacks of errors that nobody catches, in any thread, be printed by `complain`."""
    sys.excepthook = _complain_of
    threading.excepthook = _complain_of_thread


def _complain_of_thread(thrown: threading.ExceptHookArgs) -> None:
    if thrown.exc_value is not None:
        _complain_of(thrown.exc_type, thrown.exc_value, thrown.exc_traceback)


def _complain_of(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    complain("".join(traceback.format_exception(kind, error, where)).rstrip("\n"))
