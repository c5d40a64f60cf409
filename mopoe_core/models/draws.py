"""The random numbers of one evaluation of the loss: they choose each example's component and are the noise of its sample.

Shape suffixes: B batch, M modality, C component, D latent dimension, P private dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mopoe_core.family.specification import Specification


@dataclass(frozen=True)
class Draws:
    """The random numbers of one evaluation of the loss."""

    position_B: Tensor | None
    """Each example's position in [0, 1) on the cumulated component weights. It is None if every component is decoded."""
    noise: Tensor
    """Standard normal noise: (B, D), or (C, B, D) if every component is decoded."""
    private_noise_MBP: Tensor
    """Standard normal noise of the private latents; P = 0 if there are none."""


def draw(spec: Specification, batch: int, latent: int, generator: torch.Generator, private: int = 0) -> Draws:
    """New random numbers for a batch, on the generator's device. `latent` is D and `private` is P."""
    device = generator.device
    components = len(spec.weights_C)
    private_MBP = torch.randn(spec.modalities, batch, private, generator=generator, device=device)
    if spec.estimator == "enumerate":
        return Draws(None, torch.randn(components, batch, latent, generator=generator, device=device), private_MBP)
    noise_BD = torch.randn(batch, latent, generator=generator, device=device)
    if spec.estimator == "categorical":
        return Draws(torch.rand(batch, generator=generator, device=device), noise_BD, private_MBP)
    if spec.estimator == "stratified":
        # One uniform offset and a random order: each position alone is uniform, and all positions are evenly spaced.
        order_B = torch.randperm(batch, generator=generator, device=device)
        offset = torch.rand(1, generator=generator, device=device)
        return Draws((order_B + offset) / batch, noise_BD, private_MBP)
    if spec.estimator != "slices":
        raise ValueError(f"estimator: {spec.estimator!r} is not offered; allowed: stratified, categorical, slices, enumerate")
    component_B = (torch.arange(batch, device=device) // (batch // components)).clamp(max=components - 1)
    return Draws((component_B + 0.5) / components, noise_BD, private_MBP)


def stack_draws(trial_draws: Sequence[Draws]) -> Draws:
    """The random numbers of several trials, with a leading axis of trials."""
    positions = [draws.position_B for draws in trial_draws if draws.position_B is not None]
    return Draws(
        torch.stack(positions) if positions else None,
        torch.stack([draws.noise for draws in trial_draws]),
        torch.stack([draws.private_noise_MBP for draws in trial_draws]),
    )
