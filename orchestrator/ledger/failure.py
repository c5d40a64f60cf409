"""Failures as records: which exception was raised, and where.

A record has two fields. `error` is the traceback, or a message about a worker that left none. `failure` has type, message and frame.
Records of earlier versions have only `error`, from which `Failure.parsed` reads the rest.
"""

import os
import re
import traceback as tracebacks
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from mopoe_core.data.cards import is_own

_HEAD = re.compile(r"^Traceback \(most recent call last\):\n", re.MULTILINE)
_FRAME = re.compile(r'  File "(?P<path>.+)", line (?P<line>\d+), in (?P<function>.+)')
_OURS = re.compile(r"(?:^|.*/)(?P<path>(?:mopoe_core|orchestrator)/.+\.py)")


@dataclass(frozen=True)
class Failure:
    """Why an attempt or a trial failed."""

    type: str
    """The exception's type, such as `ValueError`; empty if the worker was killed and left no traceback."""
    message: str
    """The exception's message, or the message about a worker that left no traceback."""
    frame: str
    """The innermost frame in code of this project or of the user, such as `mopoe_core/loss.py:12 in terms`; empty if there is none."""
    traceback: str
    """Empty if there is none."""

    @classmethod
    def of(cls, error: BaseException, dataset: str) -> "Failure":
        """Returns the failure for an exception.

        `dataset` is the configuration's. If it is the user's own, frames in its file count as the user's code.
        """
        frames = ((frame.filename, frame.lineno or 0, frame.name) for frame in tracebacks.extract_tb(error.__traceback__))
        text = "".join(tracebacks.format_exception(error))
        return cls(type(error).__name__, str(error), _innermost(frames, dataset), text)

    @classmethod
    def parsed(cls, text: str, dataset: str) -> "Failure":
        """Returns the failure that a text describes: a traceback, or a message about a worker that left none.

        If the traceback is a chain of exceptions, the last one counts: it ended the attempt.
        """
        tracebacks_in_text = _HEAD.split(text)
        lines = tracebacks_in_text[-1].splitlines()
        frame_lines = list(takewhile(lambda line: line.startswith(" "), lines))
        exception_lines = lines[len(frame_lines) :]
        if len(tracebacks_in_text) == 1 or not exception_lines:
            return cls("", text, "", "")
        qualified_name, _, first_line = exception_lines[0].partition(":")
        message = "\n".join([first_line.strip(), *exception_lines[1:]])
        matches = [match for line in frame_lines if (match := _FRAME.fullmatch(line))]
        frames = ((match["path"], int(match["line"]), match["function"]) for match in matches)
        return cls(qualified_name.rpartition(".")[2], message, _innermost(frames, dataset), text)

    @classmethod
    def recorded(cls, content: Mapping[str, Any], dataset: str) -> "Failure":
        """Returns the failure in a record's content."""
        text = str(content.get("error") or "")
        fields = content.get("failure")
        if not isinstance(fields, Mapping):
            return cls.parsed(text, dataset)
        kind, message, frame = (str(fields.get(name, "")) for name in ("type", "message", "frame"))
        return cls(kind, message, frame, text if kind else "")

    @property
    def text(self) -> str:
        """The traceback, or the message if there is none."""
        return self.traceback or self.message

    @property
    def last_line(self) -> str:
        """The last line of the text: of a traceback, the exception's type and message."""
        return self.text.strip().rpartition("\n")[2]

    @property
    def cause(self) -> str:
        """The same text for all failures with one cause, such as `ValueError at mopoe_core/loss.py:12 in terms`."""
        if not self.type:
            return self.last_line or "no record says why"
        return f"{self.type} at {self.frame}" if self.frame else self.type

    def as_record(self) -> dict[str, Any]:
        """Returns the fields `error` and `failure`, which `recorded` reads."""
        fields = asdict(self)
        del fields["traceback"]
        return {"error": self.text, "failure": fields}


def _innermost(frames: Iterable[tuple[str, int, str]], dataset: str) -> str:
    """Returns the innermost frame in our packages or in the file of the user's dataset; empty if there is none."""
    user_file = _user_file(dataset)
    relevant = [(short, line, function) for path, line, function in frames if (short := _short(path, user_file))]
    return "{}:{} in {}".format(*relevant[-1]) if relevant else ""


def _short(path: str, user_file: str) -> str:
    """Returns the part of a path that is the same on all machines; empty if the file is neither ours nor the user's."""
    if match := _OURS.fullmatch(path):
        return match["path"]
    return user_file if user_file and f"/{path}".endswith(f"/{user_file}") else ""


def _user_file(dataset: str) -> str:
    """Returns the path of a user's own dataset, without leading `./` or `../`; empty for any other dataset."""
    if not is_own(dataset):
        return ""
    module = dataset.rpartition(":")[0]
    path = module if module.endswith(".py") else f"{module.replace('.', '/')}.py"
    return os.path.normpath(path).lstrip("./")
