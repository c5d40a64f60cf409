"""What a message or the output of a command names, however its sentences are worded."""

import re
from functools import partial

STATUSES = ("pending", "running", "completed", "diverged", "failed", "cancelled", "damaged")


def _whole(what: object) -> str:
    """Returns the pattern of a word, number or path that is not part of a longer one; a compiled pattern stands for itself."""
    if isinstance(what, re.Pattern):
        return str(what.pattern)
    text = str(what)
    before = r"(?<!\w)" if re.match(r"\w", text) else ""
    number = r"(?<!\d[.,])(?<!-)" if re.match(r"\d", text) else ""
    after = r"(?![\w/])(?![.-]\w)(?!,\d)" if re.search(r"\w$", text) else ""
    return f"{before}{number}{re.escape(text)}{after}"


def unnamed(text: object, *what: object) -> list[str]:
    """Returns those of the words, numbers and paths that a text of any length does not have whole."""
    return [str(thing) for thing in what if not re.search(_whole(thing), str(text))]


def names(line: str, *what: object) -> bool:
    """Returns whether a text is one line that has each of these as a whole word, number or path.

    `names("beta: -1 is too small", "beta", -1)` holds; with `1`, with `bet`, or with a line break in the text it does not.
    """
    return "\n" not in line.strip() and not unnamed(line, *what)


def names_in_order(line: str, *what: object) -> bool:
    """Returns whether a text is one line that names these one after the other."""
    return names(line) and bool(re.search(".*".join(map(_whole, what)), line))


def naming(*what: object) -> partial[bool]:
    """Returns the check that an error's message names these, for `pytest.raises(check=...)`."""
    return partial(_error_names, what)


def _error_names(what: tuple[object, ...], error: BaseException) -> bool:
    return names(str(error), *what)


def line_naming(text: str, *what: object) -> str:
    """Returns the only line of a text that names these."""
    lines = [line for line in text.splitlines() if names(line, *what)]
    assert len(lines) == 1, f"{len(lines)} lines name {what} in:\n{text}"
    return lines[0]


def counts(output: str) -> dict[str, int]:
    """Returns the number of trials by status, from the last line of a command's output that counts them (a search counts cells too)."""
    lines = [re.findall(rf"(\d+) ({'|'.join(STATUSES)})\b", line) for line in output.splitlines() if " trials" in line]
    return {status: int(count) for count, status in ([counted for counted in lines if counted] or [[]])[-1]}


def ran(output: str) -> int:
    """Returns how many trials a `sweep` has trained, from its last line; the one place that knows how the command says so."""
    return int(re.findall(r"(\d+) ran now", output)[-1])
