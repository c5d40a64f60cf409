"""Encoders and decoders: networks with the released layer sizes, and perceptrons derived from a modality's shape.

An encoder maps a modality (B, *shape) to the two heads mu and log-variance (B, latent). A decoder maps (B, latent) to the raw
parameters (B, *shape) of the modality's likelihood. `latent` is the number of shared and private dimensions together; the shared ones
come first.

The published convolutions of images store their weights channels last, with the same values and shapes. oneDNN then need not reorder
each layer's input, output and gradients.
"""

import math
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mopoe_core.data.own import user_data
from mopoe_core.data.types import Modality
from mopoe_core.networks.precision import in_float32
from mopoe_core.networks.residual import Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d

Layer = TypeVar("Layer", bound=nn.Module)

LOGVAR_LIMIT = 12.0
"""Log-variances stay in [-12, 12]: standard deviations are between 0.0025 and 400, and float32 adds precisions without overflow."""


def safe_logvar(raw: Tensor) -> Tensor:
    """`raw`, limited smoothly to [-LOGVAR_LIMIT, LOGVAR_LIMIT]: log of (p + c) / (1 + c^2 + c p) with p = exp(raw) and c = exp(-12).

    The result is within 1e-4 of `raw` for |raw| <= 2. Beyond the limit, where a clamp has no gradient, this has one: 3e-4 at 20, and
    below 1e-7 from |raw| = 29 on.
    """
    return cast(Tensor, _SafeLogvar.apply(raw))


class _SafeLogvar(torch.autograd.Function):
    """12 - softplus(24 - softplus(raw + 12)), written without softplus, which takes ten times as long as exp or log."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor) -> Tensor:
        """log of (p + c) / (1 + c^2 + c p), for a tensor of any shape."""
        p = torch.exp(raw.clamp(max=80))  # in float32 exp overflows from 89 on
        ctx.save_for_backward(p)
        return (p + _C).div_(_denominator(p)).log_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """The upstream gradient times p / ((p + c)(1 + c^2 + c p)), which is never negative and loses no digits."""
        (p,) = ctx.saved_tensors
        slope: Tensor = p / (p + _C).mul_(_denominator(p))
        return slope.mul_(upstream)


_C = math.exp(-LOGVAR_LIMIT)
"""c in the formula of `safe_logvar`."""


def _denominator(p: Tensor) -> Tensor:
    """1 + c^2 + c p."""
    return torch.mul(p, _C).add_(1 + _C**2)


class Encoder(nn.Module):
    """A trunk that ends in a vector, and two linear heads."""

    def __init__(self, trunk: nn.Module, features: int, latent: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.mu = nn.Linear(features, latent)
        self.logvar = nn.Linear(features, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From (B, *shape) to mu and log-variance, each (B, latent)."""
        features = self.trunk(x)
        return self.mu(features), safe_logvar(in_float32(self.logvar(features)))


class Centre(nn.Module):
    """Moves [0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """2 x - 1, in one pass, for a tensor of any shape."""
        return torch.rsub(x, -1, alpha=-2)


class WholeConv1d(nn.Conv1d):
    """A convolution whose kernel covers the whole sequence, as one matrix product; oneDNN's convolution does twice the work."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, I, k) to (B, O, 1)."""
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None]


class WholeConv2d(nn.Conv2d):
    """`WholeConv1d` for images. With SVHN's layer, a step of 256 examples takes 2.7 ms in place of 6.9 ms."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, I, k, k) to (B, O, 1, 1)."""
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None]


class FromOneConvTranspose1d(nn.ConvTranspose1d):
    """A transposed convolution of a single position, as one matrix product."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """From (B, I, 1) to (B, O, k)."""
        return _from_one(self, x)


class FromOneConvTranspose2d(nn.ConvTranspose2d):
    """`FromOneConvTranspose1d` for images."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """From (B, I, 1, 1) to (B, O, k, k)."""
        return _from_one(self, x)


def _from_one(layer: nn.ConvTranspose1d | nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """The layer's output for an input with a single position."""
    out = (x.flatten(1) @ layer.weight.flatten(1)).reshape(-1, *layer.weight.shape[1:])
    return out if layer.bias is None else out + layer.bias.reshape(-1, *[1] * (x.ndim - 2))


class Transpose(nn.Module):
    """Swaps the last two axes: text is (B, length, symbols), and Conv1d expects (B, symbols, length)."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, a, b) to (B, b, a)."""
        return x.transpose(-1, -2)


def networks(modality: Modality, kind: str, latent: int) -> tuple[nn.Module, nn.Module]:
    """The encoder and decoder of a modality. `kind` is `paper` or `small`; a user's own networks replace the small ones."""
    if kind == "paper":
        if modality.architecture not in PAPER:
            raise ValueError(f"networks: there are no published ones of {modality.architecture!r}; allowed: {', '.join(PAPER)}")
        return PAPER[modality.architecture](latent)
    if kind != "small":
        raise ValueError(f"networks: {kind!r} is not offered; allowed: paper, small")
    small_encoder, small_decoder = _small(modality, latent)
    if not modality.own:
        return small_encoder, small_decoder
    architecture = user_data.architecture(modality.own, modality.name)
    encoder = architecture.encoder(latent) if architecture.encoder else small_encoder
    decoder = architecture.decoder(latent) if architecture.decoder else small_decoder
    return encoder, decoder


def _channels_last(layer: Layer) -> Layer:
    return layer.to(memory_format=torch.channels_last)


def _relu(*layers: nn.Module) -> nn.Sequential:
    """The layers, each followed by a ReLU."""
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def _paper_mnist(latent: int) -> tuple[Encoder, nn.Module]:
    encoder = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU()), 400, latent)
    decoder = nn.Sequential(nn.Linear(latent, 400), nn.ReLU(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))
    return encoder, decoder


def svhn_convolutions(last: type[nn.Conv2d] = nn.Conv2d) -> list[nn.Conv2d]:
    """The four convolutions of SVHN's encoder, whose shapes its classifier shares: (3, 32, 32) to (128, 1, 1)."""
    layers = [
        nn.Conv2d(3, 32, 4, 2, 1),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.Conv2d(64, 64, 4, 2, 1),
        last(64, 128, 4, 2, 0),
    ]
    return [_channels_last(layer) for layer in layers]


def _paper_svhn(latent: int) -> tuple[Encoder, nn.Module]:
    encoder = Encoder(nn.Sequential(_relu(*svhn_convolutions(WholeConv2d)), nn.Flatten()), 128, latent)
    decoder = nn.Sequential(
        _relu(
            nn.Sequential(nn.Linear(latent, 128), nn.Unflatten(1, (128, 1, 1))),
            FromOneConvTranspose2d(128, 64, 4, 1, 0),
            nn.ConvTranspose2d(64, 64, 4, 2, 1),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
        ),
        nn.ConvTranspose2d(32, 3, 4, 2, 1),
    )
    return encoder, _channels_last(decoder)


def _paper_text(latent: int) -> tuple[Encoder, nn.Module]:
    trunk = nn.Sequential(
        Transpose(), _relu(nn.Conv1d(71, 128, 1), nn.Conv1d(128, 128, 4, 2, 1), WholeConv1d(128, 128, 4, 2, 0)), nn.Flatten()
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 128),  # no ReLU follows, as in the released code; SVHN's decoder has one here
        nn.Unflatten(1, (128, 1)),
        _relu(FromOneConvTranspose1d(128, 128, 4, 1, 0), nn.ConvTranspose1d(128, 128, 4, 2, 1)),
        nn.Conv1d(128, 71, 1),
        Transpose(),
    )
    return Encoder(trunk, 128, latent), decoder


def _paper_polymnist(latent: int) -> tuple[Encoder, nn.Module]:
    trunk = nn.Sequential(
        _relu(nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1), nn.Conv2d(64, 128, 3, 2, 1)),
        nn.Flatten(),
        nn.Linear(2048, 512),
        nn.ReLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 2048),
        nn.ReLU(),
        nn.Unflatten(1, (128, 4, 4)),
        _relu(nn.ConvTranspose2d(128, 64, 3, 2, 1), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1)),
        nn.ConvTranspose2d(32, 3, 3, 2, 1, 1),
    )
    return Encoder(_channels_last(trunk), 512, latent), _channels_last(decoder)


WIDTH = 128  # DIM of the released CelebA networks


def celeba_image_features() -> nn.Sequential:
    """The feature extractor of CelebA's image encoder and classifier: (B, 3, 64, 64) to (B, 640)."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, 2, 2, bias=False),  # without a bias the number of parameters is the published one
        *(Residual2d(i * WIDTH, (i + 1) * WIDTH, 1) for i in (1, 2, 3)),
        Residual2d(4 * WIDTH, 5 * WIDTH, 0),
        nn.Flatten(),
    )


def celeba_text_features(*multiples: int, kernel: int) -> nn.Sequential:
    """The feature extractor of CelebA's text encoder and classifier: (B, 256, 71) to (B, last width).

    Encoder and classifier differ in the widths, which are `multiples` of 128, and in the first convolution's kernel; a kernel of 3 or 4
    halves the length.
    """
    widths = [multiple * WIDTH for multiple in multiples]
    *inner, last = zip(widths, widths[1:], strict=False)
    blocks = [Residual1d(inputs, outputs, 1) for inputs, outputs in inner]
    return nn.Sequential(Transpose(), nn.Conv1d(71, widths[0], kernel, 2, 1), *blocks, Residual1d(*last, 0), nn.Flatten())


def _paper_celeba_image(latent: int) -> tuple[Encoder, nn.Module]:
    decoder = nn.Sequential(
        nn.Linear(latent, 5 * WIDTH),
        nn.Unflatten(1, (5 * WIDTH, 1, 1)),
        ResidualTranspose2d(5 * WIDTH, 4 * WIDTH, 1, 0),
        *(ResidualTranspose2d((n + 1) * WIDTH, n * WIDTH, 2, 1) for n in (3, 2, 1)),
        nn.ConvTranspose2d(WIDTH, 3, 3, 2, 1, 1),
    )
    return Encoder(celeba_image_features(), 5 * WIDTH, latent), decoder


def _paper_celeba_text(latent: int) -> tuple[Encoder, nn.Module]:
    widths = [WIDTH * n for n in (5, 5, 4, 3, 2, 1)]
    decoder = nn.Sequential(
        nn.Linear(latent, 5 * WIDTH),
        nn.Unflatten(1, (5 * WIDTH, 1)),
        ResidualTranspose1d(5 * WIDTH, 5 * WIDTH, 1, 0),
        *(ResidualTranspose1d(i, o, 2, 1) for i, o in zip(widths, widths[1:], strict=False)),
        nn.ConvTranspose1d(WIDTH, 71, 4, 2, 1),
        Transpose(),
    )
    return Encoder(celeba_text_features(1, 2, 3, 4, 5, 5, 5, kernel=4), 5 * WIDTH, latent), decoder


PAPER = {
    "mnist": _paper_mnist,
    "svhn": _paper_svhn,
    "digit_word": _paper_text,
    "polymnist": _paper_polymnist,
    "celeba_image": _paper_celeba_image,
    "celeba_text": _paper_celeba_text,
}
"""For each `Modality.architecture`, a function from the number of latent dimensions to an encoder and a decoder."""


def small_width(elements: int) -> int:
    """Hidden units of a small network: the power of two that is nearest to 2 sqrt(elements), from 32 to 256."""
    return min(256, max(32, int(2 ** round(math.log2(2 * math.sqrt(elements))))))


def _small(modality: Modality, latent: int) -> tuple[Encoder, nn.Module]:
    """Perceptrons with one hidden layer.

    Images are centred first; otherwise a coloured picture's brightness hides its content. After 2,000 steps of MoPoE on embedded
    MNIST-SVHN-Text, the probe of svhn reads 0.51 without centring and 0.91 with it.
    """
    elements = modality.elements
    width = small_width(elements)
    centre = [Centre()] if modality.kind == "image" else []
    encoder = Encoder(nn.Sequential(*centre, nn.Flatten(), nn.Linear(elements, width), nn.ReLU()), width, latent)
    decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, elements), nn.Unflatten(1, modality.shape))
    return encoder, decoder


def parameter_count(module: nn.Module) -> int:
    """The number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
