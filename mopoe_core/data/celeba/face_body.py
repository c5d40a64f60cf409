"""Draws the head, hair and shoulders of a face, and what it wears."""

import numpy as np

from mopoe_core.data.celeba.face_pen import TURN, Face, Floats, Pen, band, blob, from_hue, ink, mirrored, one_of

_FRAMES = np.array([(20, 20, 24), (150, 24, 30), (30, 50, 140), (84, 44, 20)], dtype=float)
_JEWELS = np.array([(250, 206, 70), (236, 240, 248), (40, 210, 190), (240, 60, 150)], dtype=float)


def shoulders(pen: Pen, face: Face) -> None:
    """Draws the shoulders in a shirt."""
    wide = face.look["shoulders"]
    pen.shape(mirrored([(0.35, 1.12), (wide, 1.6), (wide, 2.4)]), ink(_shirt(face)))


def _shirt(face: Face) -> Floats:
    return from_hue(face.look["shirt"], face.look["shirt_colour"], face.look["shirt_value"])


def neck(pen: Pen, face: Face) -> None:
    """Draws neck and neckline; with a necktie, also a white collar and the tie over it."""
    dark = ink(face.skin * 0.82)
    pen.shape(mirrored([(0.36, 0.5), (0.36, 1.15), (0, 1.45)]), dark)
    if "Wearing_Necktie" not in face.has:
        return
    collar = mirrored([(0, 1.24), (0.2, 1.08), (0.46, 1.0), (0.5, 1.35), (0.3, 2.4)])
    pen.shape(collar, (244, 244, 246, 255))
    tie = from_hue(face.look["tie"], 0.85, face.look["tie_value"])
    pen.shape(mirrored([(0.16, 1.12), (0.10, 1.34), (0.24, 2.4)]), ink(tie))
    pen.stroke([(-0.12, 1.36), (0.12, 1.36)], 0.04, ink(tie * 0.6))


def back_hair(pen: Pen, face: Face) -> None:
    """Draws the hair behind the head; none on a bald one."""
    if "Bald" in face.has:
        return
    wide, low = face.look["width"] + face.look["volume"], face.look["length"]
    outline = _hair_outline(face)
    pen.shape(outline, ink(face.hair))
    if low > 0.3:
        pen.shape(mirrored([(wide, -0.2), (wide * 1.02, low), (wide * 0.6, low + 0.12)]), ink(face.hair * 0.9))


def _hair_outline(face: Face) -> Floats:
    """Returns (28, 2): the outline of the head with the hair that stands out from it, curly or smooth."""
    look = face.look
    curl = 1 + look["curl"] * np.cos(7 * TURN)[:, None]
    return curl * blob(0, 0, look["width"] + look["volume"], 0.88 + look["volume"], 2.2) + (0, -0.16)


def head(pen: Pen, face: Face) -> None:
    """Draws ears and head; a bald one shines."""
    wide, jaw = face.look["width"], face.look["jaw"]
    for side in (-1, 1):
        pen.blob(side * (wide + 0.02), 0.05, face.look["ears"], 0.2, ink(face.skin * 0.9))
    pen.blob(0, 0, wide, 1, ink(face.skin), jaw)
    pen.stroke(blob(0, 0, wide, 1, jaw)[2:13], 0.04, ink(face.skin * 0.75, 130))
    if "Bald" in face.has:
        pen.blob(0.2 * np.sign(face.look["part"]), -0.72, 0.2, 0.12, (255, 255, 255, 120))


def front_hair(pen: Pen, face: Face) -> None:
    """Draws the hair over the forehead's edge, with a parting; bangs reach down to the brows."""
    if "Bald" in face.has:
        return
    look = face.look
    wide, part = look["width"], look["part"]
    low = min(look["length"], 0.25)
    outer = _hair_outline(face)[14:28]
    forehead = [(wide, low), (wide * 0.9, -0.3), (wide * 0.62, -0.62), (part, -0.8)]
    sides = [(wide + look["volume"], low), *forehead, *((-x, y) for x, y in forehead[2::-1]), (-wide - look["volume"], low)]
    pen.shape(np.concatenate([outer, sides]), ink(face.hair))
    pen.stroke([(part, -0.8), (part + look["streak"] * 0.3, -1.0)], 0.04, ink(face.hair * 0.75 + 12))
    pen.stroke([(look["streak"], -0.86), (look["streak"] * 1.5, -0.7)], 0.05, ink(face.hair * 1.12 + 10))
    if "Bangs" in face.has:
        _bangs(pen, face)


def _bangs(pen: Pen, face: Face) -> None:
    wide = face.look["width"]
    x = np.linspace(-0.9, 0.9, 13) * wide
    edge = -0.44 + 0.05 * (np.arange(13) % 2) + face.look["fringe"] * 0.5 * np.abs(np.linspace(-1, 1, 13))
    pen.shape(band(x, -0.9 + 0.25 * (x / wide) ** 2, edge), ink(face.hair))
    for strand in (-0.4, 0.0, 0.4):
        pen.stroke([(strand * wide * 0.8, -0.85), (strand * wide, -0.5)], 0.03, ink(face.hair * 0.72 + 14))


def glasses(pen: Pen, face: Face) -> None:
    """Draws glasses, if they are worn."""
    if "Eyeglasses" not in face.has:
        return
    look = face.look
    frame = ink(one_of(_FRAMES, look["glasses"]))
    for side in (-1, 1):
        lens = blob(side * look["apart"], -0.08, 0.25, 0.22, look["lens"])
        pen.shape(lens, (190, 215, 235, 50))
        pen.stroke(np.concatenate([lens, lens[:1]]), 0.075, frame)
        pen.stroke([(side * (look["apart"] + 0.25), -0.12), (side * look["width"], -0.1)], 0.06, frame)
    pen.stroke([(-look["apart"] + 0.25, -0.1), (look["apart"] - 0.25, -0.1)], 0.07, frame)


def earrings(pen: Pen, face: Face) -> None:
    """Draws a jewel below each ear, if earrings are worn."""
    if "Wearing_Earrings" not in face.has:
        return
    look = face.look
    jewel = one_of(_JEWELS, look["jewel"])
    for side in (-1, 1):
        x = side * (look["width"] + 0.05)
        pen.blob(x, 0.27 + look["drop"], 0.115, look["drop"] + 0.02, ink(jewel * 0.45))
        pen.blob(x, 0.27 + look["drop"], 0.085, look["drop"] - 0.02, ink(jewel))


def hat(pen: Pen, face: Face) -> None:
    """Draws a hat with a brim, or a cap without one, and a band of another colour, if a hat is worn."""
    if "Wearing_Hat" not in face.has:
        return
    look = face.look
    cloth = from_hue(look["hat"], 0.75, look["hat_value"])
    band_colour = from_hue((look["hat"] + 0.45) % 1, 0.35, 1.25 - look["hat_value"])
    wide = look["width"] + look["volume"] + 0.02
    pen.shape(mirrored([(wide, -0.52), (wide * 0.96, -1.05), (wide * 0.6, -1.42)]), ink(cloth))
    pen.shape(mirrored([(wide, -0.62), (wide, -0.8)]), ink(band_colour))
    brim = wide + (0.3 if look["brim"] < 0.6 else 0.03)
    pen.blob(0, -0.58, brim, 0.1, ink(cloth * 0.8), 4)
