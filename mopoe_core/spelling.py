"""Suggests an allowed word for one that is not allowed. Pure."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from mopoe_core.synonyms import SYNONYMS

YES = ("yes", "y", "on", "true")
NO = ("no", "n", "off", "false")


def suggestion(word: object, allowed: Iterable[str], guess: bool = True) -> str:
    """Returns the allowed word that is nearest to a word, or "". Without `guess`, it must have the same meaning."""
    names = list(allowed)
    name_of = {_normalised(name): name for name in reversed(names)}
    normalised = _normalised(str(word))
    for spelling in (normalised, re.sub(r"(^|_)vae$", "", normalised)):
        if spelling in name_of:
            return name_of[spelling]
        synonyms = [name for name in SYNONYMS.get(spelling, ()) if name in names]
        if synonyms:
            return synonyms[0]
    if not guess or not names:
        return ""
    if normalised in (*YES, *NO):
        meaning = "all" if normalised in YES else "none"
        return meaning if meaning in names else names[0]
    close = get_close_matches(normalised, list(name_of), n=1)
    return name_of[close[0]] if close else ""


def nearest(value: object, allowed: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` with the nearest allowed word, or "" if there is none."""
    word = suggestion(value, allowed)
    return f" (did you mean {word!r}?)" if word else ""


def first_of(texts: Sequence[str], most: int) -> str:
    """Returns the first few texts and how many more there are: `a, b and 3 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _normalised(word: str) -> str:
    """Returns a word without capitals, and with one `_` between its parts: `learning_rate` for `Learning-Rate`."""
    return re.sub(r"[\s_-]+", "_", word.strip().lower())


def number_suggestion(text: object) -> str:
    """Returns a suggestion for a text that looks like a number and is none here, such as `0x1f` or `1,5`; "" for any other text."""
    written = str(text).strip().lower()
    if re.fullmatch(r"[-+]?0[xob][0-9a-f_]+", written):
        try:
            return f" (numbers are decimal here: did you mean {int(written, 0)}?)"
        except ValueError:
            return ""
    if re.fullmatch(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", written):
        return " (numbers are decimal here: write seconds, or whatever is counted, as one number)"
    if re.fullmatch(r"[-+]?\d+,\d+", written):
        return f" (did you mean {written.replace(',', '.')}?)"
    return ""


def list_suggestion(text: object) -> str:
    """Returns the list that a text such as `0-4` or `1, 2` means, as a suggestion; "" for any other text."""
    written = str(text).strip()
    span = re.fullmatch(r"(\d{1,9})\s*(?:-|–|:|to|\.{2,3})\s*(\d{1,9})", written)
    count = re.fullmatch(r"range\(\s*(\d{1,9})\s*\)", written)
    if count:
        return f" (did you mean {int(count[1])}?)"
    if span and int(span[1]) < int(span[2]) <= int(span[1]) + 99:
        return f" (did you mean {list(range(int(span[1]), int(span[2]) + 1))}?)"
    if re.fullmatch(r"\d{1,9}(\s*[,; ]\s*\d{1,9})+", written):
        return f" (did you mean [{', '.join(re.findall(r'[0-9]+', written))}]?)"
    return ""


def choose(field: str, value: str, allowed: Any) -> Any:
    """Returns `allowed[value]` if `allowed` is a mapping, else `value`. Raises ValueError with the nearest word if it is not allowed."""
    if value not in allowed:
        raise ValueError(f"{field}: {value!r} is not offered{nearest(value, allowed)}; allowed: {', '.join(allowed)}")
    return allowed[value] if isinstance(allowed, dict) else value
