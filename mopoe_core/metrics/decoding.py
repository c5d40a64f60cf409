"""Decodes many latents, in parts that bound the memory and with networks that are fast on the device.

An evaluation decodes some hundred thousand latents without gradients. On a CPU the parts are small, so that a decoded part is still in
the cache when it is compared with the data. The networks get faster layers with the same values (`mopoe_core.metrics.inference_layers`).
On a GPU, where each kernel launch costs time, the parts are large and the networks stay unchanged. The precision is never changed.

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
"""Upper bound of the numbers that are decoded at once on a CPU: 16 MB."""
CPU_IN_CACHE = 1 << 20
"""Numbers to decode at once on a CPU if possible: 4 MB. With this, small SVHN networks take 10 microseconds a latent, and 17 with all
samples of a batch at once; the paper's networks take 107 and 165."""
CPU_LATENTS = 256
"""The fewest latents to decode at once, if `CPU_AT_ONCE` allows it: every part reads the weights of a wide last layer again. With parts
of 57 CelebA texts, this reading is a quarter of the time."""
GPU_AT_ONCE = 1 << 24


def at_once(modality: Modality, device: torch.device) -> int:
    """Returns how many latents of a modality are decoded at once."""
    if device.type != "cpu":
        return max(1, GPU_AT_ONCE // modality.elements)
    preferred = max(CPU_LATENTS, CPU_IN_CACHE // modality.elements)
    return max(1, min(preferred, CPU_AT_ONCE // modality.elements))


def log_likelihood(model: MultimodalVAE, latents_NBL: Tensor, x: Tensor, modality: Modality) -> Tensor:
    """Returns log p(x|latents) in nats, (N, B), of examples x (B, *shape)."""
    examples, limit = latents_NBL.shape[1], at_once(modality, latents_NBL.device)
    samples_at_once, examples_at_once = max(1, limit // examples), min(examples, limit)
    log_p_NB = latents_NBL.new_empty(latents_NBL.shape[:2])
    for n in range(0, len(latents_NBL), samples_at_once):
        for b in range(0, examples, examples_at_once):
            part = slice(n, n + samples_at_once), slice(b, b + examples_at_once)
            x_of_part = {modality.name: x[b : b + examples_at_once]}
            log_p_NB[part] = model.log_likelihood(latents_NBL[part], x_of_part, modality)
    return log_p_NB


def class_logits(model: MultimodalVAE, classifiers: Classifiers, latents_NL: Tensor, modality: Modality) -> Tensor:
    """Returns the logits (N, A) of the modality's classifier for the item decoded from each latent."""
    parts = latents_NL.split(at_once(modality, latents_NL.device))
    return torch.cat([classifiers.logits(modality.name, model.generate(part, modality)) for part in parts])


def with_fast_decoders(model: MultimodalVAE, device: torch.device) -> MultimodalVAE:
    """Returns a copy of the model with decoders that are fast on the device. Does not change `model`."""
    fast_model = copy.copy(model)
    fast_model._modules = dict(model._modules)
    fast_model.decoders = nn.ModuleDict({m.name: _fast_version(model.decoders[m.name], m, device) for m in model.modalities})
    return fast_model


def with_fast_networks(classifiers: Classifiers, modalities: Sequence[Modality], device: torch.device) -> Classifiers:
    """Returns the classifiers with networks that are fast on the device. Does not change `classifiers`."""
    return replace(classifiers, networks={m.name: _fast_version(classifiers.networks[m.name], m, device) for m in modalities})


def _fast_version(network: nn.Module, modality: Modality, device: torch.device) -> nn.Module:
    """Returns a faster copy on a CPU, and the network itself elsewhere. A user's own network may be anything, so it stays unchanged."""
    return network if device.type != "cpu" or modality.own or network.training else fast_network(network)
