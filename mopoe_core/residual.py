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


def _branch1d(inputs: int, resize: nn.Module, dropout: float) -> nn.Sequential:
    """The branch of a sequence; `resize` is the convolution that changes its length."""
    return nn.Sequential(
        nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(dropout),
        nn.BatchNorm1d(inputs), nn.ReLU(), resize, nn.Dropout(dropout),
    )  # fmt: skip


def _branch2d(inputs: int, resize: nn.Module) -> nn.Sequential:
    """The branch of an image; `resize` is the convolution that changes its height and width."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inputs, 1, bias=False), nn.Dropout2d(DROPOUT),
        nn.BatchNorm2d(inputs), nn.ReLU(), resize, nn.Dropout2d(DROPOUT),
    )  # fmt: skip


class Residual1d(_Residual):
    """Halves a sequence (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int, a: float = SHORTCUT, dropout: float = DROPOUT) -> None:
        branch = _branch1d(inputs, nn.Conv1d(inputs, outputs, 4, 2, padding), dropout)
        shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 4, 2, padding), nn.BatchNorm1d(outputs))
        super().__init__(branch, shortcut, a)


class Residual2d(_Residual):
    """Halves an image (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int) -> None:
        branch = _branch2d(inputs, nn.Conv2d(inputs, outputs, 4, 2, padding, bias=False))
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, padding), nn.BatchNorm2d(outputs))
        super().__init__(branch, shortcut)


class ResidualTranspose1d(_Residual):
    """Lengthens a sequence (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = _branch1d(inputs, nn.ConvTranspose1d(inputs, outputs, 4, stride, padding), DROPOUT)
        shortcut = nn.Sequential(nn.ConvTranspose1d(inputs, outputs, 4, stride, padding), nn.BatchNorm1d(outputs))
        super().__init__(branch, shortcut)


class ResidualTranspose2d(_Residual):
    """Enlarges an image (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = _branch2d(inputs, nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
        shortcut = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding), nn.BatchNorm2d(outputs))
        super().__init__(branch, shortcut)
