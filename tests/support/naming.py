"""What a message must name, however it is worded."""

import re
from functools import partial


def _whole(what: object) -> str:
    """Returns the pattern of a word, number or path that is not part of a longer one."""
    text = str(what)
    before = r"(?<!\w)" if re.match(r"\w", text) else ""
    number = r"(?<!\d[.,])(?<!-)" if re.match(r"\d", text) else ""
    after = r"(?![\w/])(?![.-]\w)(?!,\d)" if re.search(r"\w$", text) else ""
    return f"{before}{number}{re.escape(text)}{after}"


def names(line: str, *what: object) -> bool:
    """Returns whether a text is one line that has each of these as a whole word, number or path.

    `names("beta: -1 is too small", "beta", -1)` holds; with `1`, with `bet`, or with a line break in the text it does not.
    """
    return "\n" not in line.strip() and all(re.search(_whole(one), line) for one in what)


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
