"""Failures as records: what was raised, and where.

A record has the text `error` (the traceback, or a word about a worker that left none), and beside it `failure` with the other fields.
Records of earlier versions have the text only, from which `Failure.parsed` reads the same fields.
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
    """The exception's type, such as `ValueError`; empty if the worker left no traceback, because it was killed."""
    message: str
    """The exception's message, or what is said of a worker that left no traceback."""
    frame: str
    """The innermost frame in code of this project or of the user, such as `mopoe_core/loss.py:12 in terms`; empty if there is none."""
    traceback: str
    """Empty if there is none."""

    @classmethod
    def of(cls, error: BaseException, dataset: str) -> "Failure":
        """The failure that an exception is. `dataset` is the configuration's: if it is the user's own, its file is the user's code."""
        frames = ((frame.filename, frame.lineno or 0, frame.name) for frame in tracebacks.extract_tb(error.__traceback__))
        text = "".join(tracebacks.format_exception(error))
        return cls(type(error).__name__, str(error), _innermost(frames, dataset), text)

    @classmethod
    def parsed(cls, text: str, dataset: str) -> "Failure":
        """The failure that a text tells of: a traceback, or a word about a worker that left none.

        Of a chain of exceptions the last one counts: it ended the attempt.
        """
        parts = _HEAD.split(text)
        lines = parts[-1].splitlines()
        frames = list(takewhile(lambda line: line.startswith(" "), lines))
        raised = lines[len(frames) :]
        if len(parts) == 1 or not raised:
            return cls("", text, "", "")
        name, _, message = raised[0].partition(":")
        matches = [match for line in frames if (match := _FRAME.fullmatch(line))]
        places = ((match["path"], int(match["line"]), match["function"]) for match in matches)
        return cls(name.rpartition(".")[2], "\n".join([message.strip(), *raised[1:]]), _innermost(places, dataset), text)

    @classmethod
    def recorded(cls, content: Mapping[str, Any], dataset: str) -> "Failure":
        """The failure in a record's content."""
        text, fields = str(content.get("error") or ""), content.get("failure")
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
        """What failures of one cause share: `ValueError at mopoe_core/loss.py:12 in terms`."""
        if not self.type:
            return self.last_line or "nothing is known of its end"
        return f"{self.type} at {self.frame}" if self.frame else self.type

    def as_record(self) -> dict[str, Any]:
        """The fields of a record that `recorded` reads."""
        fields = asdict(self)
        del fields["traceback"]
        return {"error": self.text, "failure": fields}


def _innermost(frames: Iterable[tuple[str, int, str]], dataset: str) -> str:
    """The innermost frame that lies in our packages or in the file of the user's dataset."""
    own = _own_file(dataset)
    places = [(short, line, function) for path, line, function in frames if (short := _short(path, own))]
    return "{}:{} in {}".format(*places[-1]) if places else ""


def _short(path: str, own: str) -> str:
    """The end of a path in our packages or of the user's file; empty for others. Other machines have the code elsewhere."""
    if ours := _OURS.fullmatch(path):
        return ours["path"]
    return own if own and f"/{path}".endswith(f"/{own}") else ""


def _own_file(dataset: str) -> str:
    """The file of a user's own dataset, without the way up to it; empty for the others."""
    if not is_own(dataset):
        return ""
    place = dataset.rpartition(":")[0]
    return os.path.normpath(place if place.endswith(".py") else f"{place.replace('.', '/')}.py").lstrip("./")
