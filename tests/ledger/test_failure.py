"""A failure is read back as it was recorded, also from records of earlier versions, which have only its text."""

import traceback

import pytest

from mopoe_core.errors import DataError
from mopoe_core.spelling import choose
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial
from tests.support.builders import cell

USERS_FILE = "my/data.py"
OWN = f"{USERS_FILE}:made"


def by_this_project():
    """A function of this project refuses a value."""
    choose("field", "b", ["a"])


def by_the_user():
    """A function in the file of the user's dataset divides by zero."""
    exec(compile("def made():\n    return 1 / 0\nmade()", f"/home/me/{USERS_FILE}", "exec"), {})


def while_another_is_handled():
    """One exception leads to another."""
    try:
        by_this_project()
    except ValueError as error:
        raise DataError('gone:\n  File "/code/mopoe_core/quoted.py", line 1, in quoted') from error


def without_a_message():
    """An exception without a message."""
    raise KeyboardInterrupt


CAUSES = {
    by_this_project: ("ValueError", "mopoe_core/spelling.py", "choose"),
    by_the_user: ("ZeroDivisionError", USERS_FILE, "made"),
    while_another_is_handled: ("DataError", "", ""),
    without_a_message: ("KeyboardInterrupt", "", ""),
}
"""What raises, to the type and to the file and the function of the innermost frame of ours or the user's."""


def raised(function):
    """Returns the exception that a function raises."""
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError(f"{function.__name__} raised nothing")


@pytest.mark.parametrize("function", CAUSES, ids=lambda function: function.__name__)
def test_a_failure_has_the_type_the_message_and_the_innermost_frame_of_ours_or_the_users(function):
    """Frames of libraries and of tests do not count."""
    error, (kind, path, name) = raised(function), CAUSES[function]
    failure = Failure.of(error, OWN)
    assert (failure.type, failure.message) == (kind, str(error))
    assert failure.frame.partition(":")[0] == path
    assert failure.frame.rpartition(" ")[2] == name
    assert failure.traceback == "".join(traceback.format_exception(error))


@pytest.mark.parametrize("function", CAUSES, ids=lambda function: function.__name__)
def test_the_text_of_an_earlier_versions_record_gives_the_same_failure(function):
    """Type, message, frame and traceback are the same."""
    error = raised(function)
    text = "".join(traceback.format_exception(error))
    assert Failure.recorded({"error": text}, OWN) == Failure.of(error, OWN)


@pytest.mark.parametrize("function", CAUSES, ids=lambda function: function.__name__)
def test_the_ledger_gives_back_what_was_recorded(function, tmp_path):
    """It returns the same failure for the last attempt and for the trial, also if the failure was recorded as text."""
    ledger, failed = Ledger(tmp_path), Trial(cell(), 0)
    failure = Failure.of(raised(function), failed.config.dataset)
    for noted in (failure, failure.traceback):
        number = ledger.begin(failed)
        ledger.end_attempt(failed, number, "failed", noted)
        ledger.fail(failed, noted)
        assert ledger.last_failure(failed) == ledger.failure(failed) == failure


@pytest.mark.parametrize("word", ["the worker was killed by signal 9", "first line\nlast line", ""])
def test_a_worker_that_left_no_traceback_has_a_failure_without_a_type(word):
    """The failure's message is the text about the worker; its cause is the last line of that text."""
    failure = Failure.parsed(word, "polymnist")
    assert (failure.type, failure.frame, failure.traceback, failure.message) == ("", "", "", word)
    assert word.endswith(failure.cause) == bool(word)
