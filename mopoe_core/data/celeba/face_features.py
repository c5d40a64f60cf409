"""Draws the features of a face: cheeks, nose, mouth, whiskers, eyes and brows."""

import numpy as np

from mopoe_core.data.celeba.face_pen import Face, Pen, band, blob, ink, one_of

_IRISES = np.array([(70, 42, 24), (40, 90, 140), (60, 110, 60), (30, 24, 22)], dtype=float)
_LIPSTICKS = np.array([(190, 14, 34), (206, 20, 98), (128, 10, 46)], dtype=float)


def _cheeks(pen: Pen, face: Face) -> None:
    if "Rosy_Cheeks" not in face.has:
        return
    colour = np.minimum((236.0, 60.0, 84.0), face.skin * (1.25, 0.5, 0.62))
    for side in (-1, 1):
        for radius, alpha in ((0.2, 90), (0.15, 90), (0.09, 80)):
            pen.blob(side * 0.44, 0.26 + face.look["rouge"], radius, radius * 0.85, ink(colour, alpha))


def _nose(pen: Pen, face: Face) -> None:
    wide = face.look["nose"]
    pen.stroke([(0.02, -0.1), (wide * 0.9, 0.2), (-wide * 0.6, 0.23)], 0.05, ink(face.skin * 0.68))


def _mouth(pen: Pen, face: Face) -> None:
    """Draws lips along a curve that smiles or not, open or shut, painted or not."""
    look, smiling, mouth_open = face.look, "Smiling" in face.has, "Mouth_Slightly_Open" in face.has
    across = np.linspace(-1, 1, 11)
    half = look["mouth"] * (1.3 if smiling else 0.95)
    bend = -(look["smile"] if smiling else look["corner"]) * across**2
    bulge = np.sqrt(1 - across**2)
    gap = (look["gap"] if mouth_open else 0.0) * bulge
    painted = "Wearing_Lipstick" in face.has
    thick = look["lips"] * (1.45 if painted else 0.85) * (0.25 + 0.75 * bulge)
    lips = one_of(_LIPSTICKS, look["lipstick"]) if painted else face.skin * (0.82, 0.62, 0.6)
    x, y = across * half, 0.53 + bend
    pen.shape(band(x, y - thick, y + gap + thick * 1.3), ink(lips))
    if mouth_open:
        pen.shape(band(x * 0.92, y, y + gap), (44, 10, 14, 255))
        pen.shape(band(x * 0.75, y + 0.01, y + 0.35 * gap), (246, 244, 238, 255))
    else:
        pen.stroke(np.stack([x, y], 1), 0.045, ink(lips * 0.4))


def _whiskers(pen: Pen, face: Face) -> None:
    colour = np.minimum(face.hair * 0.55, face.skin * 0.38) + 8
    if "Mustache" in face.has:
        x = np.linspace(-1, 1, 9)
        droop, half = 0.09 * x**2 * (0.5 + face.look["whiskers"]), 0.3 + 0.06 * face.look["whiskers"]
        pen.shape(band(x * half, 0.30 + droop, 0.45 - 0.05 * x**2 + droop), ink(colour))
    if "Goatee" in face.has:
        wide = 0.2 + 0.06 * face.look["whiskers"]
        pen.shape([(-wide, 0.80), (0, 0.75), (wide, 0.80), (wide * 0.85, 1.0), (0, 1.14), (-wide * 0.85, 1.0)], ink(colour))


def _eyes(pen: Pen, face: Face) -> None:
    look = face.look
    wide = look["eyes"]
    high = wide * (0.24 if "Narrow_Eyes" in face.has else 0.8)
    iris = ink(one_of(_IRISES, look["iris"]))
    for side in (-1, 1):
        x = side * look["apart"]
        pen.blob(x, -0.1, wide, high, (248, 247, 244, 255))
        pen.blob(x + look["gaze"], -0.1, min(wide * 0.52, high * 1.6), min(wide * 0.58, high), iris)
        pen.stroke(blob(x, -0.1, wide, high)[14:28], 0.045, ink(face.skin * 0.3))


def _brows(pen: Pen, face: Face) -> None:
    bushy = "Bushy_Eyebrows" in face.has
    colour = np.minimum(face.hair * 0.6, face.skin * 0.36) if bushy else face.skin * 0.5
    x = np.linspace(-1, 1, 7)
    arch = 0.07 * (1 - x**2) + 0.5 * face.look["brow"] * x
    thick = (0.085 if bushy else 0.022) * (1 - 0.35 * x**2)
    for side in (-1, 1):
        middle = -0.33 - arch
        pen.shape(band(side * (face.look["apart"] + x * (0.22 if bushy else 0.18)), middle - thick, middle + thick), ink(colour))


FEATURES = (_cheeks, _nose, _mouth, _whiskers, _eyes, _brows)
"""In the order in which they are drawn."""
