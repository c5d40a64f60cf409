"""Ctrl-C, heard at once and remembered.

Python runs a signal handler between two of its own steps. While a sweep waits in Ray that is up to a second later, and an exception
that a handler raises may fall into an import or a callback and be lost there.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def answered(answer: Callable[[], None]) -> Iterator[None]:
    """Calls `answer` in a thread of its own as soon as Ctrl-C is pressed for the first time; its handlers run as they would without.

    The system's part of a handler writes the signal's number into a pipe at the moment of the key. To be used in the main thread.
    """
    heard, written = os.pipe()
    os.set_blocking(written, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer_first, args=(heard, answer), daemon=True, name="ctrl-c")
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(written)  # the thread reads the end
        thread.join()
        os.close(heard)


def _answer_first(heard: int, answer: Callable[[], None]) -> None:
    is_answered = False
    while numbers := os.read(heard, 64):
        if signal.SIGINT in numbers and not is_answered:
            is_answered = True
            answer()


@contextmanager
def noted() -> Iterator[threading.Event]:
    """Ctrl-C sets the event; a second one raises KeyboardInterrupt."""
    interrupted = threading.Event()

    def note(signal_number: int, frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
