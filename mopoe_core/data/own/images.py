"""Checks the images of a user's own dataset: the order of axes must be (N, C, H, W), and greys must have the scale of their type.

Other images would train without an error and give wrong numbers. For each such fault an error says what to do.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.grey_range import OVERSHOOT, ROUNDING, in_unit, written
from mopoe_core.errors import DataError

FEW_CHANNELS = 4
"""Images have at most so many channels: grey, two, colour, or colour with transparency."""
DARKEST = 16
"""If the brightest pixel of uint8 images is no brighter than this, their scale is not 0 to 255 but 0 and 1, or 4 bits."""
TWICE_DIVIDED = 1 / 255
"""If images in [0, 1] are no brighter than this, they were divided by 255 twice, or have 8 bits and were divided by 65535."""


def check_axes(place: str, shape: tuple[int, ...]) -> None:
    """Raises DataError if the sizes of the axes show that they are not (N, C, H, W)."""
    advice = {
        2: "reshape each row to (C, H, W)",
        3: "give grey images one channel, x[:, None]",
        5: "a modality is one image an example",
    }
    if len(shape) != 4:
        raise DataError(
            f"{place}: has shape {shape}; 4 axes are needed: images are (N, C, H, W); {advice.get(len(shape), 'reshape them')}"
        )
    _, channels, height, width = shape
    if width <= FEW_CHANNELS < min(channels, height):
        raise DataError(f"{place}: has shape {shape}; images are (N, C, H, W): move the last axis, np.moveaxis(x, -1, 1)")


def check_greys(place: str, values: NDArray[Any]) -> None:
    """Raises DataError if greys have another scale than the array's type implies. `values` are finite numbers."""
    low, high = float(values.min()), float(values.max())
    if values.dtype == np.uint8:
        if high <= DARKEST:
            raise DataError(f"{place}: images of uint8 have greys from 0 to 255; found {low:g} to {high:g}; {_brighter(high)}")
    elif not in_unit(low, high, ROUNDING):
        raise DataError(f"{place}: images are uint8, or numbers in [0, 1]; found {written(low, high)}; {_to_unit(low, high)}")
    elif high <= TWICE_DIVIDED:
        raise DataError(
            f"{place}: images of numbers have greys from 0 to 1; found {low:g} to {high:g}; divide only once, by the largest value that "
            "a pixel can have"
        )


def _brighter(high: float) -> str:
    """Returns the advice for images of uint8 whose brightest pixel is `high`."""
    if high == 0:
        return "they are black; leave the modality out"
    if high == 1:
        return "multiply them by 255, or give truth values, x.astype(bool)"
    return f"divide them by the largest value that a pixel can have, as x / {high:g}"


def _to_unit(low: float, high: float) -> str:
    """Returns the advice for images with values from `low` to `high`, which are not all in [0, 1]."""
    if in_unit(low, high, OVERSHOOT):
        return "clip them: x.clip(0, 1)"
    if low >= 0 and high < 2:
        return "scale them: divide by the largest value that a pixel can have"
    if low >= 0 and high <= 255:
        return "scale them: x / 255, or x.astype(np.uint8) if they are whole numbers"
    if low >= 0:
        return "scale them: divide by the largest value that a pixel can have (of 12 bits 4095, of 16 bits 65535)"
    if low >= -1 and high <= 1:
        return "scale them: (x + 1) / 2"
    return "scale them: undo the standardisation, or (x - train.min()) / (train.max() - train.min())"
