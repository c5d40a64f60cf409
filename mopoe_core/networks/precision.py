"""The precision of a trial's networks. It changes numbers, so it is a field of the configuration and part of the identity.

    fp32   float32 throughout, also for convolutions on a GPU, whose inputs torch rounds to TF32 by default
    tf32   a GPU rounds the inputs of matrix products and convolutions to TF32, with 10 bits of mantissa, and adds in float32
    bf16   the networks compute in bfloat16 wherever torch's autocast considers it safe

With each precision, weights, optimiser, random numbers, likelihoods and KLs are float32. With `tf32`, the objective's small matrix
products are float32 in the forward pass; in the backward pass they are rounded like those of the networks.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mopoe_core.errors import PrecisionError

TENSOR_CORES = (8, 0)
"""The lowest compute capability of a GPU with TF32 and bfloat16 (Ampere)."""


def check_available(policy: str, device: torch.device) -> None:
    """Raises PrecisionError if a device cannot train in a precision. A CPU has bfloat16 but no TF32."""
    if device.type == "cuda" and not hasattr(torch.backends.cudnn, "conv"):
        raise PrecisionError(
            f"precision: torch {torch.__version__} cannot say how convolutions round; install torch 2.9 or newer"
        )
    if policy == "fp32" or (policy == "bf16" and device.type == "cpu"):
        return
    if device.type != "cuda":
        raise PrecisionError(f"precision: {policy!r} needs a GPU, and this is a {device.type}; allowed here: fp32, bf16")
    if torch.cuda.get_device_capability(device) < TENSOR_CORES:
        name = torch.cuda.get_device_name(device)
        raise PrecisionError(f"precision: {policy!r} is not offered by {name}, which is older than Ampere; allowed here: fp32")


def in_forward(policy: str, device: torch.device) -> AbstractContextManager[None]:
    """A context in which networks on the device compute in this precision. A CPU has no TF32 and uses float32 instead, so that a model
    that was trained on a GPU can be evaluated anywhere.
    """
    return _autocast(device) if policy == "bf16" else in_backward(policy, device)


def in_backward(policy: str, device: torch.device) -> AbstractContextManager[None]:
    """A context in which a GPU multiplies float32 numbers in this precision. Autograd remembers itself which operations used bfloat16."""
    return _products(policy == "tf32") if device.type == "cuda" else nullcontext()


def heads(encoder: nn.Module, x: Tensor, policy: str) -> tuple[Tensor, Tensor]:
    """An encoder's mu and log-variance, computed in this precision; bfloat16 results are converted to float32."""
    with in_forward(policy, x.device):
        mu, logvar = encoder(x)
    return in_float32(mu), in_float32(logvar)


def decoded(decoder: nn.Module, z: Tensor, policy: str) -> Tensor:
    """A decoder's raw parameters, computed in this precision; bfloat16 results are converted to float32."""
    with in_forward(policy, z.device):
        raw: Tensor = decoder(z)
    return in_float32(raw)


def use_float32() -> None:
    """Makes a GPU multiply in float32 wherever no precision is set, for example in the classifiers."""
    _set(("ieee",) * len(_backends()))


def in_float32(x: Tensor) -> Tensor:
    """Converts a bfloat16 tensor to float32, and returns any other unchanged."""
    return x.float() if x.dtype == torch.bfloat16 else x


def as_autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors in the type in which autocast computes products, if it is on. Autocast does not reach into an autograd function's
    backward pass, which would otherwise get one bfloat16 and one float32 factor.
    """
    first = next(x for x in tensors if x is not None)
    if not torch.is_autocast_enabled(first.device.type):
        return tensors
    dtype = torch.get_autocast_dtype(first.device.type)
    return tuple(None if x is None else x.to(dtype) for x in tensors)


@contextmanager
def _autocast(device: torch.device) -> Iterator[None]:
    # No cache of converted weights: each weight is used once inside, and a CUDA graph must convert the new weights at each replay.
    with _float32_products(device), torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        yield


def _float32_products(device: torch.device) -> AbstractContextManager[None]:
    return in_backward("fp32", device)


@contextmanager
def _products(rounded: bool) -> Iterator[None]:
    """A context in which a GPU rounds the factors of float32 products to TF32, or does not. It holds for the whole process."""
    before = _settings()
    _set(("tf32" if rounded else "ieee",) * len(before))
    try:
        yield
    finally:
        _set(before)


def _backends() -> tuple[object, ...]:
    # All three get the same setting: torch's older, single setting for cuDNN cannot be read if two of them differ.
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn  # type: ignore[attr-defined]


def _settings() -> tuple[str, ...]:
    return tuple(backend.fp32_precision for backend in _backends())  # type: ignore[attr-defined]


def _set(settings: tuple[str, ...]) -> None:
    for backend, setting in zip(_backends(), settings, strict=True):
        backend.fp32_precision = setting  # type: ignore[attr-defined]
