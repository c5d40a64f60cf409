"""The networks of a user's own dataset: what a fingerprint sees of one, and one forward pass before anything is trained."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mopoe_core.data.own.as_arrays import in_one_line
from mopoe_core.data.own.own_dataset import OwnModality
from mopoe_core.data.own.user_code import Code, where_raised
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mopoe_core.data.types import Modality


def network_text(place: str, make: "Callable[[int], nn.Module] | None", count: int, code: Code) -> str:
    """Returns a network's layers, and its parameters' names and shapes; empty for none. Changes nothing of the global generator."""
    if make is None:
        return ""
    import torch  # only where a network of the user's own is given: the card of other datasets answers without

    try:
        with torch.random.fork_rng(devices=[]):
            network = make(count)
        shapes = [f"{name} {tuple(p.shape)}" for name, p in network.named_parameters()]
    except Exception as error:  # whatever the user's function raises
        where = where_raised(error, code)
        raise DataError(f"{place} failed{where} ({in_one_line(error)}); it must return a torch.nn.Module; correct it") from None
    return "\n".join([re.sub(r" at 0x[0-9a-f]+", "", str(network)), *shapes])  # no addresses: they differ in every process


def mistakes(
    place: str, own: OwnModality, modality: "Modality", examples: "Tensor", latents: Sequence[int], classes: int, code: Code
) -> Iterator[str]:
    """Returns a line for each network of a modality that does not map `examples` to the shapes that training needs.

    `examples` are some of the training set as networks see them, and `latents` the numbers of latent dimensions that are to be tried. Of
    each network the first mistake is told.
    """
    rows = len(examples)
    for latent in latents:
        if own.encoder and (
            line := _mistake(f"{place}: encoder({latent})", own.encoder, latent, examples, [(rows, latent)] * 2, code)
        ):
            yield line
            break
    for latent in latents:
        drawn = examples.new_zeros(rows, latent).normal_()
        shapes = [(rows, *modality.shape)]
        if own.decoder and (line := _mistake(f"{place}: decoder({latent})", own.decoder, latent, drawn, shapes, code)):
            yield line
            break
    if own.judge and (line := _mistake(f"{place}: judge({classes})", own.judge, classes, examples, [(rows, classes)], code)):
        yield line


def _mistake(
    place: str, make: "Callable[[int], nn.Module]", count: int, given: "Tensor", shapes: Sequence[tuple[int, ...]], code: Code
) -> str:
    """Returns what is wrong with what a network gives, as one line; empty where it gives tensors of these shapes."""
    of = f"of {len(given)} examples, shape {tuple(given.shape)}"
    try:
        output = make(count)(given)
    except Exception as error:  # whatever the user's network raises
        return f"{place} failed{where_raised(error, code)} on a batch {of} ({in_one_line(error)}); correct it"
    found = _unpacked(output) if len(shapes) > 1 else [output]
    if found is None or not _fits(found, shapes):
        needed = "mean and log-variance, " * (len(shapes) > 1) + " and ".join(map(str, shapes))
        return f"{place} gives {_described(output)} for a batch {of}; needed: {needed}; correct its layers or what it returns"
    return ""


def _unpacked(output: Any) -> list[Any] | None:
    """Returns the parts of what an encoder gives, as `mean, log_variance = ...` takes them; None where it has none."""
    try:
        return list(output)
    except TypeError:
        return None


def _fits(found: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    import torch

    return len(found) == len(shapes) and all(
        isinstance(part, torch.Tensor) and part.is_floating_point() and tuple(part.shape) == shape
        for part, shape in zip(found, shapes, strict=True)
    )


def _described(output: Any) -> str:
    """Returns what a network gave, in words: shapes of tensors, types of what is none."""
    import torch

    if isinstance(output, torch.Tensor):
        kind = "" if output.is_floating_point() else f" of {str(output.dtype).removeprefix('torch.')}"
        return f"a tensor{kind} {tuple(output.shape)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {', '.join(map(_described, output)) or 'nothing'}"
    return f"a {type(output).__name__}"
