"""Ctrl-C is answered at once."""

import hashlib
import os
import signal
import threading
import time

import pytest

from orchestrator.monitor import interrupts

LONG = 4_000_000
"""Rounds of a hash that takes about a second. It neither checks for signals nor holds Python's lock."""


@pytest.fixture
def handled():
    """Replaces the handler of Ctrl-C, and yields the signals that it was called with."""
    numbers = []
    before = signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, before)


def pressed_meanwhile(work):
    """Press Ctrl-C while `work` runs in the main thread."""
    key = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    key.start()
    work()
    key.join()


def test_the_answer_comes_before_python_handles_the_signal(handled):
    """The answer comes while the main thread is in a long call to a library, during which handlers have to wait."""
    at_answer = []
    with interrupts.answered(lambda: at_answer.append(list(handled))):
        pressed_meanwhile(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", LONG))
    assert at_answer == [[]]
    assert handled == [signal.SIGINT]


def test_only_the_first_one_is_answered_and_no_other_signal(handled):
    """Two presses of Ctrl-C get one answer; another signal gets none."""
    answers = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        with interrupts.answered(lambda: answers.append(1)):
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(0.2)
            assert answers == []
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert answers == [1]
    assert len(handled) == 2


def test_nothing_is_left_behind(handled):
    """Afterwards no thread waits for signals, and no pipe receives them."""
    threads = threading.active_count()
    with interrupts.answered(lambda: None):
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_the_first_key_is_noted_and_the_second_raises():
    """The first Ctrl-C sets the event; the second raises KeyboardInterrupt."""
    with interrupts.noted() as interrupted:
        assert not interrupted.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
