"""From what a user's function gives to numpy arrays, and from these to what the splits keep.

What numpy would drop in silence is refused here: masks, and the order of a data frame's columns and rows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from mopoe_core.data.own.own_dataset import OwnModality

SAME_GREY = 1e-6
"""Greys in [0, 1] that are closer are one grey: 16-bit images have steps of 1.5e-5, and rounding moves float32 by 6e-8."""

AT_ONCE = 1 << 20  # pixels


def array(place: str, values: Any) -> NDArray[Any]:
    """A numpy array of a list, a tensor, a data frame. Raises DataError, whose line begins with `place`, where there is none."""
    masked = _masked(values)
    if masked:
        raise DataError(
            f"{place}: has {masked} masked value{'s' * (masked > 1)}; masks are not offered; fill them in or leave the examples out"
        )
    try:
        found = _by_column(values, np.asarray(values))
    except Exception as error:  # nested lists of unequal length, tensors on another device, and what else there is
        raise DataError(f"{place}: cannot be made an array ({in_one_line(error)}); give one, with the examples first") from None
    if found.ndim == 0:
        raise DataError(
            f"{place}: is of type {type(values).__name__}, of which numpy makes no array of examples; give one (of a sparse matrix: "
            ".toarray())"
        )
    strings = found.dtype.kind in "OT" and all(isinstance(value, str) for value in found.flat)
    return found.astype(np.str_) if strings else found  # as pandas keeps them


def _by_column(values: Any, whole: NDArray[Any]) -> NDArray[Any]:
    """The array of a data frame whose columns numpy takes one by one: of nullable numbers the whole frame gives objects."""
    if whole.dtype.kind != "O" or whole.ndim != 2 or not hasattr(values, "iloc"):
        return whole
    columns = [np.asarray(values.iloc[:, column]) for column in range(whole.shape[1])]
    return np.stack(columns, 1) if all(column.dtype.kind in "buif" for column in columns) else whole


def _masked(values: Any) -> int:
    """How many values are masked. numpy.asarray would take what lies below the masks, of a list of masked arrays too."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.count_masked(values))
    return sum(map(_masked, values)) if isinstance(values, list | tuple) else 0


def in_one_line(error: BaseException) -> str:
    """An error's kind and text in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def column_names(values: Any) -> tuple[Any, ...]:
    """The names of a data frame's columns; empty for all else."""
    names = getattr(values, "columns", None)
    return () if names is None or callable(names) else tuple(names)


def check_columns(place: str, train: Any, test: Any) -> None:
    """Raise DataError where two data frames have their columns in another order, or other columns."""
    first, second = column_names(train), column_names(test)
    named = all(isinstance(name, str) for name in (*first, *second))
    if first and len(first) == len(second) and first != second and (named or set(first) == set(second)):
        at = next(i for i, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
        raise DataError(
            f"{place}: column {at} is {first[at]!r} in train and {second[at]!r} in test; bring the columns into one order, "
            "test = test[train.columns]"
        )


def check_rows(place: str, values: Any, labels: Any, split: str) -> None:
    """Raise DataError where a data frame has the rows of the labels in another order, as their indexes say."""
    first, second = _index(values), _index(labels)
    if first is None or second is None or len(first) != len(second) or np.array_equal(first, second):
        return
    if set(first.tolist()) == set(second.tolist()):
        raise DataError(
            f"{place}: has the rows of {split}_labels in another order, by their indexes; bring them into one order with .loc, or give "
            "arrays (.to_numpy()) if the order is right"
        )


def _index(values: Any) -> NDArray[Any] | None:
    """The names of the rows of a data frame or series; None for all else."""
    index = getattr(values, "index", None)
    return None if index is None or callable(index) else np.asarray(index)


def vectors(values: NDArray[Any]) -> Array:
    """As float32."""
    return np.asarray(values, dtype=np.float32)


def texts(modality: "OwnModality", values: Sequence[Any], alphabet: str) -> Array:
    """The codes of the characters, uint8, filled up with spaces to the longest text of both splits."""
    longest = max(len(str(text)) for text in [*modality.train, *modality.test])
    codes = {character: code for code, character in enumerate(alphabet)}
    return np.array([[codes[c] for c in str(text).ljust(longest)] for text in values], dtype=np.uint8)


def images(train: NDArray[Any], test: NDArray[Any]) -> tuple[Array, Array]:
    """Both splits as bytes where that loses no grey level, else as float32 in [0, 1]."""
    if train.dtype == test.dtype == np.uint8:
        return train, test
    grey_of_code = np.full(256, np.nan, np.float32)
    codes = [_as_bytes(x, grey_of_code) for x in (train, test)]
    if codes[0] is None or codes[1] is None:
        return _greys(train), _greys(test)
    return codes[0], codes[1]


def _as_bytes(values: NDArray[Any], grey_of_code: NDArray[np.float32]) -> Array | None:
    """Images as bytes; None where a byte would stand for two greys. Notes in `grey_of_code` what each byte stands for.

    Part by part: of the whole, the floats on the way would take several times its memory.
    """
    codes = np.empty(values.shape, np.uint8)
    step = max(1, AT_ONCE // values[0].size)
    for start in range(0, len(values), step):
        part = values[start : start + step]
        grey, code = _greys(part), _bytes(part)
        here = grey_of_code.copy()
        here[code] = grey
        np.copyto(grey_of_code, here, where=np.isnan(grey_of_code))
        if (np.abs(grey_of_code[code] - grey) > SAME_GREY).any():
            return None
        codes[start : start + step] = code
    return codes


def _greys(values: NDArray[Any]) -> Array:
    floats: Array = values.astype(np.float32) / np.float32(255 if values.dtype == np.uint8 else 1)
    return floats


def _bytes(values: NDArray[Any]) -> Array:
    return values if values.dtype == np.uint8 else (values * 255).round().astype(np.uint8)
