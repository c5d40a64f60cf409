"""The networks of a user's own dataset: the text that a fingerprint covers, and trial forward passes before any training."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mopoe_core.data.own.as_arrays import in_one_line
from mopoe_core.data.own.own_dataset import OwnModality
from mopoe_core.data.own.user_code import Code, where_raised
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mopoe_core.data.types import Modality

RANDOM_PASSES = 20
"""Number of passes that must be equal in evaluation mode if a network draws random numbers there: weak dropout often drops nothing."""


def network_text(place: str, make: "Callable[[int], nn.Module] | None", count: int, code: Code) -> str:
    """Returns a network's layers, and its parameters' names and shapes; empty if `make` is None. The global generator stays unchanged."""
    if make is None:
        return ""
    import torch  # only if there is a network: the cards of other datasets do not need it

    try:
        with torch.random.fork_rng(devices=[]):
            network = make(count)
        shapes = [f"{name} {tuple(p.shape)}" for name, p in network.named_parameters()]
    except Exception as error:  # whatever the user's function raises
        where = where_raised(error, code)
        raise DataError(f"{place} failed{where} ({in_one_line(error)}); it must return a torch.nn.Module; correct it") from None
    return "\n".join([re.sub(r" at 0x[0-9a-f]+", "", str(network)), *shapes])  # no addresses: they differ in every process


def mistakes(
    place: str,
    own_modality: OwnModality,
    modality: "Modality",
    examples: "Tensor",
    latents: Sequence[int],
    classes: int,
    code: Code,
) -> Iterator[str]:
    """Yields a line for each network of a modality that does not map `examples` to the shapes that training needs.

    `examples` are some of the training set as networks see them, and `latents` the numbers of latent dimensions to try. Of each network
    only the first mistake is reported.
    """
    encoder, decoder, judge = own_modality.encoder, own_modality.decoder, own_modality.judge
    count = len(examples)
    if encoder:
        yield from _first_not_empty(
            _mistake(f"{place}: encoder({latent})", encoder, latent, examples, [(count, latent)] * 2, code) for latent in latents
        )
    if decoder:
        shapes = [(count, *modality.shape)]
        yield from _first_not_empty(
            _mistake(f"{place}: decoder({latent})", decoder, latent, _noise(examples, latent), shapes, code) for latent in latents
        )
    if judge and (line := _mistake(f"{place}: judge({classes})", judge, classes, examples, [(count, classes)], code)):
        yield line


def _first_not_empty(lines: Iterator[str]) -> list[str]:
    """Returns the first line that is not empty, if there is one. The lines after it are not computed."""
    return list(islice(filter(None, lines), 1))


def _noise(examples: "Tensor", latent: int) -> "Tensor":
    """Returns samples of N(0, I), one for each example, (B, latent)."""
    return examples.new_zeros(len(examples), latent).normal_()


def _mistake(
    place: str, make: "Callable[[int], nn.Module]", count: int, batch: "Tensor", shapes: Sequence[tuple[int, ...]], code: Code
) -> str:
    """Returns one line on what is wrong with a network or its output for `batch`. Empty if it returns tensors of these shapes, which in
    evaluation mode are the same in each pass and for each example alone.
    """
    import torch

    batch_text = _counted(batch)
    given = batch.clone()
    before = given._version
    try:
        network, another = make(count), make(count)
        output = network(given)
    except Exception as error:  # whatever the user's network raises
        return f"{place} failed{where_raised(error, code)} on {batch_text} ({in_one_line(error)}); correct it"
    if given._version != before or not torch.equal(given, batch):
        return (
            f"{place} changes its input in place, which the loss and other networks need unchanged; write x = f(x) for x.f_(), "
            "or inplace=False in its first layer"
        )
    if name := _shared(network, another):
        return (
            f"{place} returns the same {name} each time it is called, so that trials would train each other's; make the layer in the "
            "function, or return copy.deepcopy of it"
        )
    parts = _unpacked(output) if len(shapes) > 1 else [output]
    if parts is None or not _have_shapes(parts, shapes):
        needed = "mean and log-variance, " * (len(shapes) > 1) + " and ".join(map(str, shapes))
        return f"{place} gives {_described(output)} for {batch_text}; needed: {needed}; correct its layers or what it returns"
    return _evaluation_mistake(place, network, batch, len(shapes), code)


def _evaluation_mistake(place: str, network: "nn.Module", batch: "Tensor", outputs: int, code: Code) -> str:
    """Returns one line if a network's output for an example, in evaluation mode, is random or depends on other examples; else empty."""
    import torch

    def passed(examples: "Tensor") -> "list[Tensor]":
        output = network(examples.clone())
        return list(output) if outputs > 1 else [output]

    examples = batch  # those of the last pass, for the message
    network.eval()
    try:
        with torch.no_grad():
            rng_state, whole = torch.get_rng_state(), passed(batch)
            passes = 1 if torch.equal(rng_state, torch.get_rng_state()) else RANDOM_PASSES
            if not all(_near(passed(batch), whole, rtol=0, atol=0) for _ in range(passes)):
                return (
                    f"{place} gives the same examples other numbers in each pass in evaluation mode, so that metrics would be random; "
                    "turn dropout and noise off there: nn.Dropout(p), or F.dropout(x, p, self.training)"
                )
            for row in range(len(batch) if len(batch) > 1 else 0):
                examples = batch[row : row + 1]
                if not _near(passed(examples), [part[row : row + 1] for part in whole], rtol=1e-3, atol=1e-4):
                    return (
                        f"{place} gives an example other numbers in a batch than alone in evaluation mode, so that metrics would "
                        "depend on which examples meet; use no statistics of the batch there: batch norm with "
                        "track_running_stats=True, made in __init__"
                    )
    except Exception as error:  # whatever the user's network raises
        return (
            f"{place} failed{where_raised(error, code)} in evaluation mode on {_counted(examples)} ({in_one_line(error)}); correct it "
            "(batch norm needs track_running_stats=True)"
        )
    return ""


def _near(parts: "Sequence[Tensor]", others: "Sequence[Tensor]", rtol: float, atol: float) -> bool:
    """Whether tensors have the same shapes and nearly the same values."""
    import torch

    return all(
        part.shape == other.shape and torch.allclose(part, other, rtol, atol, equal_nan=True)
        for part, other in zip(parts, others, strict=True)
    )


def _counted(batch: "Tensor") -> str:
    """Returns the number of examples and the shape of a batch in words."""
    return f"a batch of {len(batch)} example{'s' * (len(batch) != 1)}, shape {tuple(batch.shape)}"


def _shared(network: "nn.Module", another: "nn.Module") -> str:
    """Returns the name of a tensor that training changes and that both networks have; empty if there is none."""
    changing = [(name, p) for name, p in another.named_parameters() if p.requires_grad] + list(another.named_buffers())
    places = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers()) if tensor.numel()}
    return next((name for name, tensor in changing if tensor.data_ptr() in places), "")


def _unpacked(output: Any) -> list[Any] | None:
    """Returns the parts of an encoder's output, as `mean, log_variance = output` unpacks it; None if it cannot be unpacked."""
    try:
        return list(output)
    except TypeError:
        return None


def _have_shapes(parts: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the parts are tensors of floats with these shapes."""
    import torch

    return len(parts) == len(shapes) and all(
        isinstance(part, torch.Tensor) and part.is_floating_point() and tuple(part.shape) == shape
        for part, shape in zip(parts, shapes, strict=True)
    )


def _described(output: Any) -> str:
    """Returns a network's output in words: the shapes of tensors, the types of anything else."""
    import torch

    if isinstance(output, torch.Tensor):
        kind = "" if output.is_floating_point() else f" of {str(output.dtype).removeprefix('torch.')}"
        return f"a tensor{kind} {tuple(output.shape)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {', '.join(map(_described, output)) or 'nothing'}"
    return f"a {type(output).__name__}"
