"""Residual blocks of the released CelebA networks and of the digit word's classifier: out = a * shortcut + b * branch.

The branch is: batch norm, ReLU, a convolution of width 1, dropout, batch norm, ReLU, the convolution that changes the size, dropout. The
shortcut is: a convolution of the same kind with a bias, batch norm. In two dimensions, the branch's convolutions have no bias and its
dropout drops whole channels. The digit word's classifier has no dropout in its blocks (as in the released code).
"""

from torch import Tensor, nn

SHORTCUT, BRANCH, DROPOUT = 2.0, 0.3, 0.5


class _Residual(nn.Module):
    """The weighted sum of a branch and a shortcut."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, a: float = SHORTCUT) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        """From (B, inputs, *size) to (B, outputs, *new size)."""
        out: Tensor = self.a * self.shortcut(x) + BRANCH * self.branch(x)
        return out


Convolution1d = type[nn.Conv1d] | type[nn.ConvTranspose1d]
Convolution2d = type[nn.Conv2d] | type[nn.ConvTranspose2d]


class _Residual1d(_Residual):
    """A block for sequences, around a convolution of width 4."""

    def __init__(
        self,
        kind: Convolution1d,
        inputs: int,
        outputs: int,
        stride: int,
        padding: int,
        a: float = SHORTCUT,
        dropout: float = DROPOUT,
    ) -> None:
        branch = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(dropout),
            nn.BatchNorm1d(inputs), nn.ReLU(), kind(inputs, outputs, 4, stride, padding), nn.Dropout(dropout),
        )  # fmt: skip
        shortcut = nn.Sequential(kind(inputs, outputs, 4, stride, padding), nn.BatchNorm1d(outputs))
        super().__init__(branch, shortcut, a)


class _Residual2d(_Residual):
    """A block for images, around a convolution of width 4."""

    def __init__(self, kind: Convolution2d, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inputs, 1, bias=False), nn.Dropout2d(DROPOUT),
            nn.BatchNorm2d(inputs), nn.ReLU(), kind(inputs, outputs, 4, stride, padding, bias=False), nn.Dropout2d(DROPOUT),
        )  # fmt: skip
        shortcut = nn.Sequential(kind(inputs, outputs, 4, stride, padding), nn.BatchNorm2d(outputs))
        super().__init__(branch, shortcut)


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
