"""Decoding many latents: in parts that bound the memory, with networks laid out for the device.

A trained model decodes some hundred thousand latents in its evaluation, with no gradient. On a CPU a part is so small that what is
decoded is still in the cache when it is compared with the data, and networks have faster layers of the same values
(`mopoe_core.metrics.inference_layers`). On a GPU, where a launch is what costs, parts are large and the networks are left as they are.
Nothing is computed in another precision.

Shape suffixes: B batch, L latent dimensions that a decoder sees, N any number of latents, A class or attribute.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mopoe_core.data.types import Modality
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.metrics.inference_layers import fast_network
from mopoe_core.models.model import MultimodalVAE

CPU_AT_ONCE = 1 << 22
"""The most numbers that are decoded at once on a CPU: 16 MB."""
CPU_IN_CACHE = 1 << 20
"""What is aimed at: 4 MB. Small SVHN networks take 10 microseconds a latent with that, and 17 with all samples of a batch at once; paper
ones 107 and 165."""
CPU_LATENTS = 256
"""But not fewer latents than this, where the bound allows it: a wide last layer's weights are read anew for every part, which with 57 of
CelebA's texts at once is a quarter of the time."""
GPU_AT_ONCE = 1 << 24


def at_once(modality: Modality, device: torch.device) -> int:
    """How many latents of a modality are decoded at once."""
    if device.type != "cpu":
        return max(1, GPU_AT_ONCE // modality.elements)
    wanted = max(CPU_LATENTS, CPU_IN_CACHE // modality.elements)
    return max(1, min(wanted, CPU_AT_ONCE // modality.elements))


def log_likelihood(model: MultimodalVAE, latents_NBL: Tensor, x: Tensor, modality: Modality) -> Tensor:
    """log p(x|latents) in nats, (N, B), of examples x (B, *shape)."""
    examples, most = latents_NBL.shape[1], at_once(modality, latents_NBL.device)
    samples, width = max(1, most // examples), min(examples, most)
    found = latents_NBL.new_empty(latents_NBL.shape[:2])
    for n in range(0, len(latents_NBL), samples):
        for b in range(0, examples, width):
            part, shown = (slice(n, n + samples), slice(b, b + width)), {modality.name: x[b : b + width]}
            found[part] = model.log_likelihood(latents_NBL[part], shown, modality)
    return found


def class_logits(model: MultimodalVAE, classifiers: Classifiers, latents_NL: Tensor, modality: Modality) -> Tensor:
    """What the modality's classifier says of what is decoded from each latent: logits (N, A)."""
    parts = latents_NL.split(at_once(modality, latents_NL.device))
    return torch.cat([classifiers.logits(modality.name, model.generate(part, modality)) for part in parts])


def laid_out(model: MultimodalVAE, device: torch.device) -> MultimodalVAE:
    """The model with its decoders laid out for inference on the device; what was given stays as it is."""
    made = copy.copy(model)
    made._modules = dict(model._modules)
    made.decoders = nn.ModuleDict({m.name: _laid_out(model.decoders[m.name], m, device) for m in model.modalities})
    return made


def laid_out_classifiers(classifiers: Classifiers, modalities: Sequence[Modality], device: torch.device) -> Classifiers:
    """Classifiers laid out likewise."""
    return replace(classifiers, networks={m.name: _laid_out(classifiers.networks[m.name], m, device) for m in modalities})


def _laid_out(network: nn.Module, modality: Modality, device: torch.device) -> nn.Module:
    """Returns a copy where there is something to gain. A user's own network may be anything, and is left alone."""
    return network if device.type != "cpu" or modality.own or network.training else fast_network(network)
