"""Ctrl-C is heard at once."""

import hashlib
import os
import signal
import threading
import time

import pytest

from orchestrator.monitor import interrupts

LONG = 4_000_000
"""Rounds of a hash, which takes about a second, without a look at signals and without Python's lock."""


@pytest.fixture
def handled():
    """What Python's handler has been called for, while it takes the place of the usual one."""
    numbers = []
    before = signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, before)


def pressed_meanwhile(work):
    """Ctrl-C is pressed while `work` runs in the main thread."""
    key = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    key.start()
    work()
    key.join()


def test_the_answer_comes_before_python_handles_the_signal(handled):
    """While the main thread is in a long call to a library, which keeps handlers waiting, the answer is given all the same."""
    at_answer = []
    with interrupts.answered(lambda: at_answer.append(list(handled))):
        pressed_meanwhile(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", LONG))
    assert at_answer == [[]]
    assert handled == [signal.SIGINT]


def test_only_the_first_one_is_answered_and_no_other_signal(handled):
    """Two keys, one answer; a signal that is no Ctrl-C has none."""
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
    """Afterwards no thread listens, and signals are written nowhere."""
    threads = threading.active_count()
    with interrupts.answered(lambda: None):
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_the_first_key_is_noted_and_the_second_raises():
    """The first sets the event; the second is a KeyboardInterrupt."""
    with interrupts.noted() as interrupted:
        assert not interrupted.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
