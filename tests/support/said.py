"""What a text of the program names, however its sentences are worded."""

import re

STATUSES = ("pending", "running", "completed", "diverged", "failed", "cancelled", "damaged")


def unnamed(text: object, *words: object) -> list[str]:
    """Returns those of the words that the text does not name whole: `lr` is not named by `lrs`, nor 5 by 15 or 5.2.

    A compiled pattern counts as named where it is found.
    """
    return [str(word) for word in words if not re.search(word if isinstance(word, re.Pattern) else _whole(str(word)), str(text))]


def _whole(word: str) -> str:
    before = r"(?<!\w)(?<!\d\.)" if re.match(r"\w", word) else ""
    return f"{before}{re.escape(word)}" + (r"(?!\w|\.\d)" if re.search(r"\w$", word) else "")


def counts(text: str) -> dict[str, int]:
    """Returns the number of trials by status, of the last line of a command's output that counts them."""
    lines = [re.findall(rf"(\d+) ({'|'.join(STATUSES)})\b", line) for line in text.splitlines()]
    return {status: int(count) for count, status in ([found for found in lines if found] or [[]])[-1]}


def ran(text: str) -> int:
    """Returns how many trials a `sweep` has trained, by its last line; the one place that knows how it says so."""
    return int(re.findall(r"(\d+) ran now", text)[-1])
