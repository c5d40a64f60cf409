"""Answers Ctrl-C at once, or notes it.

Python runs a signal handler between two of its own steps. While a sweep waits in Ray, that may be a second later, and an exception that a
handler raises may be lost in an import or a callback.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def answered(answer: Callable[[], None]) -> Iterator[None]:
    """Calls `answer` in a thread of its own as soon as Ctrl-C is pressed for the first time. Signal handlers run as usual.

    The interpreter's C code writes the signal's number into a pipe when the key is pressed. For the main thread only.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer_first, args=(read_end, answer), daemon=True, name="ctrl-c")
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(write_end)  # ends the thread's loop
        thread.join()
        os.close(read_end)


def _answer_first(read_end: int, answer: Callable[[], None]) -> None:
    is_answered = False
    while signal_numbers := os.read(read_end, 64):
        if signal.SIGINT in signal_numbers and not is_answered:
            is_answered = True
            answer()


@contextmanager
def noted() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C sets. A second Ctrl-C raises KeyboardInterrupt."""
    interrupted = threading.Event()

    def note(signal_number: int, frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
