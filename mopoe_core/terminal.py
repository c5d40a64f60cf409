"""Prints to the user's terminal. Every line that the program prints passes through here.

An error's text, a path or a record may come from somebody else and contain characters that a terminal obeys: they can change colours,
clear the screen, change the title or reverse text. Such characters are printed escaped.
"""

import sys
import threading
import traceback
from types import TracebackType

UNESCAPED = "\n\t"
"""Characters that are not printable and that the program's own lines and tables need."""


def escaped(text: str) -> str:
    """Returns the text with unprintable characters in Python's notation, such as `\\x1b` or `\\u202e`. Line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in UNESCAPED else ascii(c)[1:-1] for c in text)


def say(text: str) -> None:
    """Prints to standard output, without buffering."""
    print(escaped(text), flush=True)


def complain(text: str) -> None:
    """Prints to standard error, without buffering."""
    print(escaped(text), file=sys.stderr, flush=True)


def escape_tracebacks() -> None:
    """Makes `complain` print the tracebacks of uncaught errors, in all threads."""
    sys.excepthook = _print_traceback
    threading.excepthook = _print_thread_traceback


def _print_thread_traceback(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        _print_traceback(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def _print_traceback(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    complain("".join(traceback.format_exception(kind, error, frames)).rstrip("\n"))
