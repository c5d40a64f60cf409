"""Shortens the numbers in the labels of cells and series, for tables and figures. Pure.

A label has every digit of a number: `mopoe reconstruction_weights=(3.9183673469387754, 1.0, 1.0) beta=0.5`. So labels are unique, but too
long for a legend or a column. Files of numbers, such as CSV, and MLflow keep all digits.
"""

import re
from collections.abc import Iterable

FEWEST_DIGITS, MOST_DIGITS = 4, 16
"""Significant digits of a shortened number. With 17 digits, a number is exact."""
_DECIMAL = re.compile(r"(?<![\w.])(\d+\.\d+)(e[+-]?\d+)?(?![\w.])")
"""A number with a decimal point that is not part of a name or a version."""


def shortened(labels: Iterable[str]) -> dict[str, str]:
    """Returns each label with its long numbers rounded, by the unchanged label.

    Numbers have four significant digits, or as many more as keep all labels different.
    """
    distinct = list(dict.fromkeys(labels))
    for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1):
        short = [_rounded(label, digits) for label in distinct]
        if len(set(short)) == len(distinct):
            return dict(zip(distinct, short, strict=True))
    return {label: label for label in distinct}


def _rounded(label: str, digits: int) -> str:
    return _DECIMAL.sub(lambda found: _short(found, digits), label)


def _short(found: re.Match[str], digits: int) -> str:
    """Returns the number with this many significant digits; unchanged if it has no more, or if it is too large to be written so."""
    mantissa = found[1]
    is_long = len(mantissa.replace(".", "").strip("0")) > digits
    is_large = not found[2] and float(mantissa) >= 10**digits
    return f"{float(found[0]):.{digits}g}" if is_long and not is_large else found[0]
