"""Converts values of a modality between the user's form (numpy arrays and strings) and the networks' form (tensors).

Shape suffixes: B example, L position in a text.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mopoe_core.data.own.images import DARKEST
from mopoe_core.data.types import Modality

FILLED_WITH = {"celeba_text": "*"}
"""By architecture: the character that fills a text up to its length, if it is not a space."""


def given_examples(modality: Modality, values: Any) -> tuple[Tensor, bool]:
    """Returns examples of a modality as the networks see them, (B, *shape), and whether `values` was one example without the axis B.

    `values` are images in [0, 1] or bytes, vectors, strings, or what `Split.batch` returns. Raises ValueError, which names the modality.
    """
    place = f"given[{modality.name!r}]"
    if modality.kind == "text" and np.asarray(_on_host(values)).dtype.kind in "US":
        texts = np.asarray(_on_host(values), dtype=np.str_)
        if texts.ndim > 1:
            raise ValueError(f"{place}: has strings of shape {texts.shape}; give one string, or a list of them")
        return torch.stack([_one_hot(place, modality, str(text)) for text in np.atleast_1d(texts)]), texts.ndim == 0
    numbers = _numbers(place, modality, values)
    if numbers.shape == modality.shape:
        return numbers[None], True
    if numbers.shape[1:] != modality.shape or len(numbers) == 0:
        raise ValueError(
            f"{place}: has shape {tuple(numbers.shape)}; {modality.shape} is needed for one example, (B, "
            f"{', '.join(map(str, modality.shape))}) for several"
        )
    return numbers, False


def plain(modality: Modality, values: Tensor) -> NDArray[Any]:
    """Returns what a model has generated, (B, *shape), as an array: images in [0, 1], vectors, and text as strings, (B,)."""
    if modality.kind == "text":
        return np.array(decoded_texts(modality, values), dtype=np.str_)
    if modality.kind == "image":
        values = values.clamp(0, 1)
    array: NDArray[Any] = values.detach().cpu().numpy()
    return array


def decoded_texts(modality: Modality, values_BLS: Tensor) -> list[str]:
    """Returns one string for each example, at its full length: the likeliest character at each position."""
    return ["".join(modality.alphabet[code] for code in codes_L) for codes_L in values_BLS.argmax(-1).tolist()]


def _numbers(place: str, modality: Modality, values: Any) -> Tensor:
    """Returns numbers as float32: bytes of an image scaled to [0, 1], all else as it is."""
    needed = "strings" if modality.kind == "text" else "numbers"
    try:
        numbers = torch.as_tensor(np.asarray(_on_host(values)))
    except (TypeError, ValueError):
        raise ValueError(f"{place}: is of type {type(values).__name__}; an array or tensor of {needed} is needed") from None
    if numbers.is_complex() or not bool(torch.isfinite(numbers).all()):
        raise ValueError(f"{place}: has values that are not finite numbers; leave those examples out")
    if modality.kind == "image" and numbers.dtype == torch.uint8:
        _check_scale(place, int(numbers.max()) if numbers.numel() else 0)
        return modality.to_float(numbers)
    numbers = numbers.float()
    if modality.kind != "vector" and numbers.numel() and not (numbers.min() >= 0 and numbers.max() <= 1):
        raise ValueError(
            f"{place}: has values from {numbers.min():g} to {numbers.max():g}; floats in [0, 1] are needed"
            + (", or bytes (uint8)" if modality.kind == "image" else ", a one for the character at each position")
        )
    return numbers


def _check_scale(place: str, high: int) -> None:
    """Raises ValueError if the largest of all bytes shows that they are no greys from 0 to 255. Black images have no scale."""
    if 0 < high <= DARKEST:
        raise ValueError(
            f"{place}: images of bytes (uint8) have greys from 0 to 255; found none above {high}; give truth values, x.astype(bool), if "
            "they are masks of 0 and 1; else numbers in [0, 1]: divide by the largest value that a pixel can have"
        )


def _on_host(values: Any) -> Any:
    """Returns a tensor without its gradient, on the CPU; anything else unchanged."""
    return values.detach().cpu() if isinstance(values, Tensor) else values


def _one_hot(place: str, modality: Modality, text: str) -> Tensor:
    length = modality.shape[0]
    filling = FILLED_WITH.get(modality.architecture, " ")
    unknown = sorted({character for character in text if character not in modality.alphabet})
    if unknown or len(text) > length:
        fault = f"the character {unknown[0]!r}" if unknown else f"{len(text)} characters"
        raise ValueError(f"{place}: {text!r} has {fault}; allowed: at most {length} characters out of {modality.alphabet!r}")
    codes_L = torch.tensor([modality.alphabet.index(character) for character in text.ljust(length, filling)])
    return modality.to_float(codes_L)
