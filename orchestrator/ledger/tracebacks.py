"""What a traceback says in one line: its exception's type, and the innermost frame that lies in code of ours or of the user. Pure."""

import os
import re
from itertools import takewhile

from mopoe_core.data.cards import is_own

_HEAD = re.compile(r"^Traceback \(most recent call last\):\n", re.MULTILINE)
_FRAME = re.compile(r'  File "(?P<path>.+)", line (?P<line>\d+), in (?P<function>.+)')
_OURS = re.compile(r"(?:^|.*/)(?P<path>(?:mopoe_core|orchestrator)/.+\.py)")


def cause(error: str, dataset: str) -> str:
    """`ValueError at mopoe_core/loss.py:12 in terms`; the last line of what is no traceback, as a killed worker leaves none.

    Of a chain of exceptions it is the last that counts: the one that ended the attempt. `dataset` is the configuration's, whose file is
    the user's code if it is the user's own.
    """
    found = _HEAD.split(error)
    lines = found[-1].splitlines()
    frames = list(takewhile(lambda line: line.startswith(" "), lines))
    rest = lines[len(frames) :]
    if len(found) == 1 or not rest:
        return error.strip().rpartition("\n")[2] or "nothing is known of its end"
    kind = rest[0].partition(":")[0].rpartition(".")[2]
    places = [place for frame in frames if (place := _place(frame, dataset))]
    return f"{kind} at {places[-1]}" if places else kind


def has_traceback(error: str) -> bool:
    """Whether an error is a traceback, and not a word about a process that died."""
    return _HEAD.search(error) is not None


def _place(line: str, dataset: str) -> str:
    """Where a frame is, if it is in our packages or in the file of the user's dataset: by the path's end, because other machines have
    the code elsewhere.
    """
    frame = _FRAME.fullmatch(line)
    if frame is None:
        return ""
    ours = _OURS.fullmatch(frame["path"])
    own = _own_file(dataset)
    short = ours["path"] if ours else own if own and f"/{frame['path']}".endswith(f"/{own}") else ""
    return f"{short}:{frame['line']} in {frame['function']}" if short else ""


def _own_file(dataset: str) -> str:
    """The file of a user's own dataset, without the way up to it; empty for the others."""
    if not is_own(dataset):
        return ""
    place = dataset.rpartition(":")[0]
    return os.path.normpath(place if place.endswith(".py") else f"{place.replace('.', '/')}.py").lstrip("./")
