"""What all parts of a drawn face use: the face, the pen that draws it, shapes and colours."""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Floats = NDArray[np.float64]
Look = Mapping[str, float]
Colour = tuple[int, ...]

TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
"""Angles of the points of a circle."""
_CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], 1)


@dataclass(frozen=True)
class Face:
    """The attributes and looks that all parts of a drawing share."""

    has: frozenset[str]
    look: Look
    skin: Floats
    hair: Floats
    """RGB in [0, 255], as `skin`."""


@dataclass(frozen=True)
class Pen:
    """Draws in half heads: (0, 0) is the middle of the head, x to the right, y down, turned by the head's tilt."""

    draw: ImageDraw.ImageDraw
    centre: Floats
    unit: float
    turn: Floats
    """(2, 2)."""

    def points(self, points: Floats) -> list[float]:
        """Returns pixels x0, y0, x1, y1, ... of points (n, 2) in half heads."""
        flat: list[float] = ((points * self.unit) @ self.turn + self.centre).ravel().tolist()
        return flat

    def shape(self, points: Floats | list[tuple[float, float]], colour: Colour) -> None:
        """Fills the polygon between these points."""
        self.draw.polygon(self.points(np.asarray(points)), fill=colour)

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour, power: float = 2) -> None:
        """Fills an ellipse, or with a higher power a rounder rectangle."""
        self.shape(blob(x, y, rx, ry, power), colour)

    def stroke(self, points: Floats | list[tuple[float, float]], width: float, colour: Colour) -> None:
        """Draws a line through these points, at least one pixel wide."""
        self.draw.line(self.points(np.asarray(points)), fill=colour, width=max(1, round(width * self.unit)))


def blob(x: float, y: float, rx: float, ry: float, power: float = 2) -> Floats:
    """Returns (28, 2): the outline of an ellipse, or with a higher power of a rounder rectangle."""
    circle = _CIRCLE if power == 2 else np.sign(_CIRCLE) * np.abs(_CIRCLE) ** (2 / power)
    return circle * (rx, ry) + (x, y)


def mirrored(right: list[tuple[float, float]]) -> Floats:
    """Returns an outline that is symmetric, from its right half."""
    half = np.array(right)
    return np.concatenate([half, half[::-1] * (-1, 1)])


def ink(colour: Floats, alpha: float = 255) -> Colour:
    """Returns a colour as the pen takes it: whole numbers in [0, 255], the last one the opacity."""
    return (*(int(c) for c in colour.clip(0, 255)), int(alpha))


def from_hue(hue: float, saturation: float, value: float) -> Floats:
    """Returns RGB in [0, 255] of a hue, saturation and value in [0, 1]."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def one_of(colours: Floats, u: float) -> Floats:
    """Returns the row of `colours` that `u` in [0, 1) chooses."""
    colour: Floats = colours[int(u * len(colours))]
    return colour


def band(x: Floats, top: Floats, bottom: Floats) -> Floats:
    """Returns the outline of the area between two curves over x."""
    return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])
