"""Residual blocks of the released CelebA networks and of the digit word's classifier: out = a * shortcut + b * branch.

The branch is batch norm, ReLU, a convolution of width 1, dropout, batch norm, ReLU, the convolution that changes the size, dropout. The
shortcut is a convolution of the same kind with a bias, then batch norm. In two dimensions the branch's convolutions have no bias and its
dropout drops whole channels. The digit word's classifier has no dropout within its blocks (protocol, section 2).
"""

from torch import Tensor, nn

SHORTCUT, BRANCH, DROPOUT = 2.0, 0.3, 0.5


class _Residual(nn.Module):
    """A branch and a shortcut, added with weights."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, a: float = SHORTCUT) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *size) to (B, outputs, *new size)."""
        out: Tensor = self.a * self.shortcut(x) + BRANCH * self.branch(x)
        return out


Sequence = type[nn.Conv1d] | type[nn.ConvTranspose1d]
Image = type[nn.Conv2d] | type[nn.ConvTranspose2d]


class _Residual1d(_Residual):
    """A block around a convolution of sequences of width 4."""

    def __init__(
        self, kind: Sequence, inputs: int, outputs: int, stride: int, padding: int, a: float = SHORTCUT, dropout: float = DROPOUT
    ) -> None:
        branch = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(dropout),
            nn.BatchNorm1d(inputs), nn.ReLU(), kind(inputs, outputs, 4, stride, padding), nn.Dropout(dropout),
        )  # fmt: skip
        super().__init__(branch, nn.Sequential(kind(inputs, outputs, 4, stride, padding), nn.BatchNorm1d(outputs)), a)


class _Residual2d(_Residual):
    """A block around a convolution of images of 4 x 4."""

    def __init__(self, kind: Image, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inputs, 1, bias=False), nn.Dropout2d(DROPOUT),
            nn.BatchNorm2d(inputs), nn.ReLU(), kind(inputs, outputs, 4, stride, padding, bias=False), nn.Dropout2d(DROPOUT),
        )  # fmt: skip
        super().__init__(branch, nn.Sequential(kind(inputs, outputs, 4, stride, padding), nn.BatchNorm2d(outputs)))


class Residual1d(_Residual1d):
    """Halves a sequence (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int, a: float = SHORTCUT, dropout: float = DROPOUT) -> None:
        super().__init__(nn.Conv1d, inputs, outputs, 2, padding, a, dropout)


class Residual2d(_Residual2d):
    """Halves an image (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int) -> None:
        super().__init__(nn.Conv2d, inputs, outputs, 2, padding)


class ResidualTranspose1d(_Residual1d):
    """Lengthens a sequence (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        super().__init__(nn.ConvTranspose1d, inputs, outputs, stride, padding)


class ResidualTranspose2d(_Residual2d):
    """Enlarges an image (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        super().__init__(nn.ConvTranspose2d, inputs, outputs, stride, padding)
