"""Converts what a user's function returns to numpy arrays, and these to the arrays of a `Split`.

numpy would silently drop masks and the order of a data frame's columns and rows, and make words of what is no text in a list of texts.
So these are checked here.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality
from mopoe_core.errors import DataError

SAME_GREY = 1e-6
"""Greys in [0, 1] that differ by less are one grey: 16-bit images have steps of 1.5e-5, and rounding moves float32 by 6e-8."""
PIXELS_AT_ONCE = 1 << 20


def with_arrays(place: str, data: OwnDataset) -> OwnDataset:
    """Returns the dataset with numpy arrays in place of lists, tensors and data frames.

    Raises DataError, whose line begins with `place`, if that is not possible, or if rows or columns of data frames are in another order.
    """
    _check_types(place, data)
    labels = {"train": data.train_labels, "test": data.test_labels}
    for m in data.modalities:
        check_columns(f"{place}: {m.name}", m.train, m.test)
    for split, split_labels in labels.items():
        _check_order(place, split, [(f"{split}_labels", split_labels), *((m.name, getattr(m, split)) for m in data.modalities)])
    arrays = {split: array(f"{place}: {split}_labels", values) for split, values in labels.items()}
    return OwnDataset(tuple(_modality_with_arrays(place, m) for m in data.modalities), arrays["train"], arrays["test"])


def _check_types(place: str, data: OwnDataset) -> None:
    if not isinstance(data.modalities, tuple | list):
        raise DataError(f"{place}: modalities is of type {type(data.modalities).__name__}; it must be a tuple of OwnModality")
    for m in data.modalities:
        if not isinstance(m, OwnModality):
            raise DataError(f"{place}: modalities holds one of type {type(m).__name__}; each must be an OwnModality")


def _check_order(place: str, split: str, named_values: Sequence[tuple[str, Any]]) -> None:
    """Raises DataError if any two of a split's labels and modalities have their rows in different orders."""
    indexes = [(name, rows) for name, values in named_values if (rows := _index(values)) is not None]
    for (first_name, first_rows), (name, rows) in combinations(indexes, 2):
        _check_rows(f"{place}: {name} ({split})", rows, first_rows, first_name)


def _modality_with_arrays(place: str, m: OwnModality) -> OwnModality:
    train, test = (array(f"{place}: {m.name} ({split})", getattr(m, split)) for split in ("train", "test"))
    return replace(m, train=train, test=test)


def array(place: str, values: Any) -> NDArray[Any]:
    """Returns a list, tensor or data frame as a numpy array. Raises DataError, whose line begins with `place`, if numpy cannot."""
    masked = _masked_count(values)
    if masked:
        raise DataError(
            f"{place}: has {masked} masked value{'s' * (masked > 1)}; masks are not offered; fill them in or leave the examples out"
        )
    try:
        result = _mixed_texts(values, _by_column(values, np.asarray(values)))
    except Exception as error:  # nested lists of unequal length, tensors on another device, and whatever else
        raise DataError(f"{place}: cannot be made an array ({in_one_line(error)}); give one, with the examples first") from None
    if result.ndim == 0:
        raise DataError(
            f"{place}: is of type {type(values).__name__}, of which numpy makes no array of examples; give one (of a sparse matrix: "
            ".toarray())"
        )
    holds_strings = result.dtype.kind in "OT" and all(isinstance(value, str) for value in result.flat)
    return result.astype(np.str_) if holds_strings else result  # pandas keeps strings as objects


def _by_column(values: Any, whole: NDArray[Any]) -> NDArray[Any]:
    """Returns a data frame of numbers, converted column by column if `whole`, numpy's array of all of it, holds objects.

    numpy makes objects of a whole frame with nullable numbers, and numbers of its columns.
    """
    if whole.dtype.kind != "O" or whole.ndim != 2 or not hasattr(values, "iloc"):
        return whole
    columns = [np.asarray(values.iloc[:, column]) for column in range(whole.shape[1])]
    return np.stack(columns, 1) if all(column.dtype.kind in "buif" for column in columns) else whole


def _mixed_texts(values: Any, whole: NDArray[Any]) -> NDArray[Any]:
    """Returns a list as objects if `whole`, numpy's array of it, holds texts in place of values that are none.

    In a list of texts, numpy makes the word "nan" of a missing one and "12" of a number.
    """
    if whole.dtype.kind not in "US" or hasattr(values, "__array__"):
        return whole
    objects = np.asarray(values, dtype=object)
    return whole if all(np.asarray(value).dtype.kind == whole.dtype.kind for value in objects.flat) else objects


def _masked_count(values: Any) -> int:
    """Returns how many values are masked, also in a list of masked arrays. numpy.asarray would ignore the masks."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.count_masked(values))
    return sum(map(_masked_count, values)) if isinstance(values, list | tuple) else 0


def in_one_line(error: BaseException) -> str:
    """Returns an error's class and text in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def column_names(values: Any) -> tuple[Any, ...]:
    """Returns the names of a data frame's columns; empty for anything else."""
    names = getattr(values, "columns", None)
    return () if names is None or callable(names) else tuple(names)


def check_columns(place: str, train: Any, test: Any) -> None:
    """Raises DataError if two data frames have their columns in another order, or other columns."""
    train_names, test_names = column_names(train), column_names(test)
    if not train_names or len(train_names) != len(test_names) or train_names == test_names:
        return
    all_text = all(isinstance(name, str) for name in (*train_names, *test_names))
    if all_text or set(train_names) == set(test_names):
        at = next(i for i, pair in enumerate(zip(train_names, test_names, strict=True)) if pair[0] != pair[1])
        raise DataError(
            f"{place}: column {at} is {train_names[at]!r} in train and {test_names[at]!r} in test; bring the columns into one order, "
            "test = test[train.columns]"
        )


def _check_rows(place: str, rows: list[Any], other_rows: list[Any], name_of_others: str) -> None:
    """Raises DataError if two indexes have the same names of rows in different orders, or only some names in common.

    Indexes without a common name, and 0, 1, 2, ... as `reset_index` makes it, say nothing of which rows belong together.
    """
    if len(rows) != len(other_rows) or rows == other_rows:
        return
    if set(rows) == set(other_rows):
        raise DataError(
            f"{place}: has the rows of {name_of_others} in another order, by their indexes; bring them into one order with .loc, or give "
            "arrays (.to_numpy()) if the order is right"
        )
    unnamed = list(range(len(rows)))
    common = set(rows) & set(other_rows)
    if common and unnamed not in (rows, other_rows):
        raise DataError(
            f"{place}: has other rows than {name_of_others}, by their indexes, of which only {len(common)} names are common; "
            "choose the same rows in one order with .loc, or give arrays (.to_numpy()) if the rows belong together"
        )


def _index(values: Any) -> list[Any] | None:
    """Returns the names of the rows of a data frame or series, None for each missing name; None for anything else."""
    index = getattr(values, "index", None)
    if index is None or callable(index):
        return None
    return [None if isinstance(row, float) and math.isnan(row) else row for row in np.asarray(index).tolist()]


def vectors(values: NDArray[Any]) -> Array:
    """Returns the values as float32."""
    return np.asarray(values, dtype=np.float32)


def texts(modality: OwnModality, values: Sequence[Any], alphabet: str) -> Array:
    """Returns the codes of the characters, (N, length) uint8, filled up with spaces to the longest text of both splits."""
    longest = max(len(str(text)) for text in [*modality.train, *modality.test])
    codes = {character: code for code, character in enumerate(alphabet)}
    return np.array([[codes[c] for c in str(text).ljust(longest)] for text in values], dtype=np.uint8)


def images(train: NDArray[Any], test: NDArray[Any]) -> tuple[Array, Array]:
    """Returns both splits as bytes if that loses no grey level, else as float32 in [0, 1]."""
    if train.dtype == test.dtype == np.uint8:
        return train, test
    grey_of_code = np.full(256, np.nan, np.float32)
    codes = [_as_bytes(x, grey_of_code) for x in (train, test)]
    if codes[0] is None or codes[1] is None:
        return _greys(train), _greys(test)
    return codes[0], codes[1]


def _as_bytes(values: NDArray[Any], grey_of_code: NDArray[np.float32]) -> Array | None:
    """Returns images as bytes; None if one byte would stand for two greys. Writes into `grey_of_code` the grey of each byte.

    It works in parts, because the floats of all images at once would take several times their memory.
    """
    codes = np.empty(values.shape, np.uint8)
    step = max(1, PIXELS_AT_ONCE // values[0].size)
    for start in range(0, len(values), step):
        part = values[start : start + step]
        part_greys, part_codes = _greys(part), _bytes(part)
        grey_of_part_code = grey_of_code.copy()
        grey_of_part_code[part_codes] = part_greys
        np.copyto(grey_of_code, grey_of_part_code, where=np.isnan(grey_of_code))
        if (np.abs(grey_of_code[part_codes] - part_greys) > SAME_GREY).any():
            return None
        codes[start : start + step] = part_codes
    return codes


def _greys(values: NDArray[Any]) -> Array:
    """Returns images as float32 in [0, 1]. Greys that rounding put outside are clipped."""
    greys: NDArray[np.float32] = values.astype(np.float32) / np.float32(255 if values.dtype == np.uint8 else 1)
    greys[greys < 0] = 0  # np.clip may change -0.0 too, and with it the fingerprint
    greys[greys > 1] = 1
    return greys


def _bytes(values: NDArray[Any]) -> Array:
    """Returns images as uint8, rounded."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind in "biu":  # zeros and ones, whose type may not hold 255
        return values.astype(np.uint8) * np.uint8(255)
    return (values * 255).round().astype(np.uint8)
