"""Residual blocks of the released CelebA networks and of the digit word's classifier: out = a * shortcut + b * branch.

The branch is batch norm, ReLU, a convolution of width 1, dropout, batch norm, ReLU, the convolution that changes the length, dropout;
in two dimensions it begins with its first convolution, and the digit word's has no dropout (protocol section 2).
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


class Residual1d(_Residual):
    """Halves a sequence (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int, a: float = SHORTCUT, dropout: float = DROPOUT) -> None:
        branch = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(dropout),
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, outputs, 4, 2, padding), nn.Dropout(dropout),
        )  # fmt: skip
        shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 4, 2, padding), nn.BatchNorm1d(outputs))
        super().__init__(branch, shortcut, a)


class Residual2d(_Residual):
    """Halves an image (k4 s2)."""

    def __init__(self, inputs: int, outputs: int, padding: int) -> None:
        branch = nn.Sequential(
            nn.Conv2d(inputs, inputs, 1), nn.Dropout(DROPOUT),
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 4, 2, padding), nn.Dropout(DROPOUT),
        )  # fmt: skip
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, padding), nn.BatchNorm2d(outputs))
        super().__init__(branch, shortcut)


class ResidualTranspose1d(_Residual):
    """Lengthens a sequence (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(DROPOUT),
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.ConvTranspose1d(inputs, outputs, 4, stride, padding), nn.Dropout(DROPOUT),
        )  # fmt: skip
        shortcut = nn.Sequential(nn.ConvTranspose1d(inputs, outputs, 4, stride, padding), nn.BatchNorm1d(outputs))
        super().__init__(branch, shortcut)


class ResidualTranspose2d(_Residual):
    """Enlarges an image (k4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        branch = nn.Sequential(
            nn.Conv2d(inputs, inputs, 1), nn.Dropout(DROPOUT),
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride, padding), nn.Dropout(DROPOUT),
        )  # fmt: skip
        shortcut = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding), nn.BatchNorm2d(outputs))
        super().__init__(branch, shortcut)
