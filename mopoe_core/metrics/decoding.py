"""Decoding many latents: in parts that bound the memory, with networks laid out for the device.

A trained model decodes some hundred thousand latents in its evaluation, with no gradient. On a CPU a part is so small that what is
decoded is still in the cache when it is compared with the data, convolutions keep their channels last, and a transposed convolution
into few channels is done as an ordinary one (`SubPixel`). On a GPU, where a launch is what costs, parts are large and the networks are
left as they are. Nothing is computed in another precision.

Shape suffixes: B batch, L latent dimensions that a decoder sees, N any number of latents, A class or attribute.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.data.types import Modality
from mopoe_core.metrics.classifiers import Classifiers
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
FEW_CHANNELS = 4
OWN_MEMORY = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d)
"""Layers whose result nothing else holds, so that a ReLU after them may overwrite it."""


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
    """A copy where there is something to gain. A user's own network may be anything, and is left alone."""
    if device.type != "cpu" or modality.own:
        return network
    ready = _with_fast_layers(copy.deepcopy(network))
    for layer in ready.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | SubPixel):
            layer.to(memory_format=torch.channels_last)
    return ready


def _with_fast_layers(network: nn.Module) -> nn.Module:
    for name, part in network.named_children():
        if type(part) is nn.ConvTranspose2d and SubPixel.suits(part):
            setattr(network, name, SubPixel(part))
        else:
            _with_fast_layers(part)
    if isinstance(network, nn.Sequential):
        for before, after in pairwise(network):
            if type(after) is nn.ReLU and isinstance(before, OWN_MEMORY):
                after.inplace = True
    return network


class SubPixel(nn.Module):
    """A transposed convolution of stride s as an ordinary one into s x s times as many channels, which are then interleaved.

    Output o, counted before padding is cut off, is s q + r: it receives input q - j through tap r + s j of the kernel. The ordinary
    convolution makes all r of one q at once. From 32 channels to 3 it takes a third of the time.
    """

    @staticmethod
    def suits(layer: nn.ConvTranspose2d) -> bool:
        """Whether a layer can be done so, and is faster for it."""
        kernel, stride, cut, more = (_pair(of) for of in (layer.kernel_size, layer.stride, layer.padding, layer.output_padding))
        square = all(height == width for height, width in (kernel, stride, cut, more))
        usual = layer.groups == 1 and layer.dilation == (1, 1) and more[0] <= cut[0]  # else some outputs lie beyond every input
        return square and usual and stride[0] > 1 and layer.out_channels <= FEW_CHANNELS

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self._stride, self._cut, kernel = _pair(layer.stride)[0], _pair(layer.padding)[0], _pair(layer.kernel_size)[0]
        self._reach = -(-kernel // self._stride)
        self._more = kernel - self._stride - 2 * self._cut + _pair(layer.output_padding)[0]
        self.register_buffer("weight", self._ordinary(layer.weight.detach()))
        bias = layer.bias
        self.register_buffer("bias", None if bias is None else bias.detach().repeat_interleave(self._stride**2))

    def _ordinary(self, weight: Tensor) -> Tensor:
        """(inputs, outputs, k, k) to (outputs * s * s, inputs, reach, reach)."""
        s, reach = self._stride, self._reach
        missing = reach * s - weight.shape[-1]
        taps = F.pad(weight, (0, missing, 0, missing)).unflatten(3, (reach, s)).unflatten(2, (reach, s))
        ordinary: Tensor = taps.flip(2, 4).permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
        return ordinary

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, s h + more, s w + more)."""
        weight, bias = cast(Tensor, self.weight), cast(Any, self.bias)
        phases = F.conv2d(x, weight, bias, padding=self._reach - 1)
        s = self._stride
        every = x.new_empty(len(x), phases.shape[1] // s**2, *(s * size for size in phases.shape[-2:]))
        for row, column in product(range(s), range(s)):  # `pixel_shuffle` takes four times as long where channels are last
            every[..., row::s, column::s] = phases[:, row * s + column :: s**2]
        height, width = (size * self._stride + self._more for size in x.shape[-2:])
        return every[..., self._cut : self._cut + height, self._cut : self._cut + width].contiguous()


def _pair(setting: Any) -> tuple[int, int]:
    """Of a two-dimensional layer, which keeps its settings as pairs, though its types say more."""
    height, width = setting
    return height, width
