"""The random numbers of one evaluation of the loss: which component each example is given, and the noise of its sample.

Shape suffixes: B batch, M modality, C component, D latent dimension, P private dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mopoe_core.family.specification import Specification


@dataclass(frozen=True)
class Draws:
    """The chance in one evaluation of the loss; P is the number of private dimensions."""

    position_B: Tensor | None
    """In [0, 1): where each example stands on the cumulated component weights; None where every component is decoded."""
    noise: Tensor
    """Standard normal: (B, D), or (C, B, D) where every component is decoded."""
    private_noise_MBP: Tensor
    """Standard normal; with P = 0 where there are no private latents."""


def draw(spec: Specification, batch: int, latent: int, generator: torch.Generator, private: int = 0) -> Draws:
    """Fresh chance for a batch, on the generator's device."""
    device = generator.device
    components = len(spec.weights_C)
    private_MBP = torch.randn(spec.modalities, batch, private, generator=generator, device=device)
    if spec.estimator == "enumerate":
        return Draws(None, torch.randn(components, batch, latent, generator=generator, device=device), private_MBP)
    noise_BD = torch.randn(batch, latent, generator=generator, device=device)
    if spec.estimator == "categorical":
        return Draws(torch.rand(batch, generator=generator, device=device), noise_BD, private_MBP)
    if spec.estimator == "stratified":
        # One uniform offset and a random order: each position alone is uniform, together they are evenly spaced.
        order_B = torch.randperm(batch, generator=generator, device=device)
        offset = torch.rand(1, generator=generator, device=device)
        return Draws((order_B + offset) / batch, noise_BD, private_MBP)
    if spec.estimator != "slices":
        raise ValueError(f"estimator: {spec.estimator!r} is not offered; allowed: stratified, categorical, slices, enumerate")
    slices_B = (torch.arange(batch, device=device) // (batch // components)).clamp(max=components - 1)
    return Draws((slices_B + 0.5) / components, noise_BD, private_MBP)


def stack_draws(each: Sequence[Draws]) -> Draws:
    """The chance of several trials, with a leading axis."""
    positions = [one.position_B for one in each if one.position_B is not None]
    return Draws(
        torch.stack(positions) if positions else None,
        torch.stack([one.noise for one in each]),
        torch.stack([one.private_noise_MBP for one in each]),
    )
