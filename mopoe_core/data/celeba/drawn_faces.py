"""Faces drawn from attributes: pictures that stand in for CelebA where it cannot be had. Drawn by this program, not photographed.

Each of the twenty attributes of `attributes.DRAWN` is one part of the drawing. Everything else varies from picture to picture without
regard to the attributes: shape, place, size and tilt of the head, skin tone, length and volume of hair, light, colours of clothes,
glasses, hats and ties, blur and noise. Only pixels at the place of an attribute change with it; bushy brows, moustache and goatee
take their colour from the hair.
"""

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mopoe_core.data.celeba.attributes import DRAWN

RENDERER_VERSION = 1
"""Raised by hand when the pictures change."""
SIDE = 64
SCALE = 2  # drawn at twice the size, so that edges are smooth
HEAD = 19.0  # half the height of a head of size 1, in pixels of the finished picture: the unit of the drawing
HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
NOT_WITH_BALD = (*HAIR_COLOURS, "Bangs", "Wearing_Hat")
COMMONNESS = {
    "Bald": 0.07, "Bangs": 0.22, "Bushy_Eyebrows": 0.20, "Eyeglasses": 0.08, "Goatee": 0.08, "Mouth_Slightly_Open": 0.48,
    "Mustache": 0.07, "Narrow_Eyes": 0.15, "Pale_Skin": 0.08, "Rosy_Cheeks": 0.08, "Smiling": 0.48, "Wearing_Earrings": 0.20,
    "Wearing_Hat": 0.08, "Wearing_Lipstick": 0.50, "Wearing_Necktie": 0.08, "Dark_Background": 0.40,
}  # fmt: skip
"""Probability of each attribute before exclusions; hair colours are drawn from `HAIR_COMMONNESS`."""
HAIR_COMMONNESS = (0.27, 0.18, 0.24, 0.08, 0.23)
"""Of those who are not bald: black, blond, brown, gray, and none of them (red or dyed)."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Look = Mapping[str, float]
Colour = tuple[int, ...]

_RANGES = {
    # head: place in pixels, size, tilt in radians, how far it is turned, half its width, how square it is, tone of the skin
    "x": (-4.5, 4.5), "y": (-3, 2), "size": (0.82, 1.12), "tilt": (-0.24, 0.24), "yaw": (-0.1, 0.1), "width": (0.72, 0.84),
    "jaw": (2.0, 2.7), "tone": (0, 1), "warmth": (-8, 8), "nose": (0.09, 0.16), "ears": (0.10, 0.16),
    # hair: how far down it falls, how far it stands out, where it parts, shade, hue of red or dyed hair, how it curls
    "length": (0.15, 1.5), "volume": (0.12, 0.24), "part": (-0.4, 0.4), "shade": (-15, 15), "dye": (0, 1), "curl": (0, 0.05),
    "fringe": (0, 0.2), "streak": (-0.5, 0.5),
    # features: eyes, iris and gaze, brows, mouth
    "eyes": (0.13, 0.17), "apart": (0.30, 0.36), "iris": (0, 1), "gaze": (-0.03, 0.03), "brow": (-0.04, 0.06), "mouth": (0.24, 0.32),
    "lips": (0.05, 0.075), "corner": (-0.06, 0.0), "smile": (0.18, 0.25), "gap": (0.12, 0.17), "rouge": (-0.06, 0.04),
    "lipstick": (0, 1), "whiskers": (0, 1),
    # things worn: hue, value and style of each
    "hat": (0, 1), "hat_value": (0.35, 0.9), "brim": (0, 1), "glasses": (0, 1), "lens": (2.0, 4.5), "tie": (0, 1),
    "tie_value": (0.3, 0.8), "shirt": (0, 1), "shirt_value": (0.35, 0.95), "shirt_colour": (0, 0.7), "shoulders": (1.15, 1.5),
    "jewel": (0, 1), "drop": (0.13, 0.2),
    # wall and light: hue, colour and value when light and when dark, a soft shape on it, gradients, exposure, tint, blur, noise
    "wall": (0, 1), "wall_colour": (0.05, 0.5), "wall_value": (0.62, 0.97), "night": (0.05, 0.22), "shape_x": (0, 128),
    "shape_y": (0, 100), "shape": (-0.12, 0.12), "across": (-0.2, 0.2), "down": (-0.15, 0.15), "gain": (0.85, 1.06),
    "tint": (-6, 6), "blur": (0.3, 1.7), "noise": (1, 11),
}  # fmt: skip
"""What varies without regard to the attributes, uniformly between two ends. Lengths without a unit are in half heads."""
_TONES = np.array([(226, 180, 148), (205, 150, 112), (168, 112, 78), (126, 80, 54)], dtype=float)
_PALE = np.array((244.0, 229.0, 222.0))
_HAIR = {
    "Black_Hair": (24.0, 21.0, 25.0),
    "Blond_Hair": (232.0, 198.0, 108.0),
    "Brown_Hair": (92.0, 54.0, 30.0),
    "Gray_Hair": (172.0, 173.0, 177.0),
}
_DYES = np.array([(198, 74, 22), (176, 30, 38), (60, 84, 196), (150, 58, 168), (36, 150, 116)], dtype=float)
_IRISES = np.array([(70, 42, 24), (40, 90, 140), (60, 110, 60), (30, 24, 22)], dtype=float)
_FRAMES = np.array([(20, 20, 24), (150, 24, 30), (30, 50, 140), (84, 44, 20)], dtype=float)
_JEWELS = np.array([(250, 206, 70), (236, 240, 248), (40, 210, 190), (240, 60, 150)], dtype=float)
_LIPSTICKS = np.array([(190, 14, 34), (206, 20, 98), (128, 10, 46)], dtype=float)
_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)
_ACROSS = np.linspace(-1, 1, SIDE)


def faces(attributes: NDArray[np.integer], seed: int) -> Bytes:
    """Pictures (N, 3, 64, 64), uint8 RGB, of faces with these attributes; picture i depends on (seed, i, attributes[i]) only.

    `attributes` (N, 20) holds zeros and ones in the order of `attributes.DRAWN`. Raises ValueError for another shape or value, and for
    combinations that cannot be drawn: two hair colours, or one of `NOT_WITH_BALD` on a bald head.
    """
    _check(attributes)
    pictures = np.empty((len(attributes), 3, SIDE, SIDE), dtype=np.uint8)
    for i, row in enumerate(attributes):
        has = frozenset(name for name, value in zip(DRAWN, row, strict=True) if value)
        pictures[i] = _picture(has, np.random.default_rng((seed, i)))
    return pictures


def sample_attributes(count: int, rng: np.random.Generator) -> Bytes:
    """Plausible attributes (count, 20), zeros and ones in the order of `attributes.DRAWN`.

    Independent but for the exclusions: at most one hair colour; none, no bangs and no hat on a bald head; no lipstick with a
    moustache or goatee.
    """
    drawn = {name: rng.random(count) < COMMONNESS.get(name, 0) for name in DRAWN}
    colour = rng.choice(len(HAIR_COMMONNESS), count, p=HAIR_COMMONNESS)
    for i, name in enumerate(HAIR_COLOURS):
        drawn[name] = colour == i
    for name in NOT_WITH_BALD:
        drawn[name] &= ~drawn["Bald"]
    drawn["Wearing_Lipstick"] &= ~(drawn["Mustache"] | drawn["Goatee"])
    return np.stack([drawn[name] for name in DRAWN], 1).astype(np.uint8)


def _check(attributes: NDArray[np.integer]) -> None:
    if attributes.ndim != 2 or attributes.shape[1] != len(DRAWN):
        raise ValueError(f"attributes: the shape is {attributes.shape}; expected (N, {len(DRAWN)})")
    if not np.isin(attributes, (0, 1)).all():
        raise ValueError("attributes: a value is neither 0 nor 1")
    column = {name: attributes[:, i] > 0 for i, name in enumerate(DRAWN)}
    hair = np.stack([column[name] for name in HAIR_COLOURS])
    wrong = (hair.sum(0) > 1) | (column["Bald"] & np.stack([column[name] for name in NOT_WITH_BALD]).any(0))
    if wrong.any():
        names = [name for name in DRAWN if column[name][wrong.argmax()]]
        raise ValueError(f"attributes: face {wrong.argmax()} cannot have all of {', '.join(names)}")


def _picture(has: frozenset[str], rng: np.random.Generator) -> Bytes:
    look = {
        name: low + (high - low) * u
        for (name, (low, high)), u in zip(_RANGES.items(), rng.random(len(_RANGES)).tolist(), strict=True)
    }
    sheet = _wall(has, look)
    _draw(sheet, _Face(has, look, _skin(has, look), _hair(has, look)))
    soft = sheet.filter(ImageFilter.GaussianBlur(look["blur"])).reduce(SCALE)
    light = look["gain"] * (1 + look["across"] * _ACROSS[None] + look["down"] * _ACROSS[:, None])
    seen = np.asarray(soft, dtype=np.float32).transpose(2, 0, 1) * light.astype(np.float32)
    seen += np.float32(look["noise"]) * rng.standard_normal(seen.shape, dtype=np.float32)
    seen += np.array([[[look["tint"]]], [[0]], [[-look["tint"]]]], dtype=np.float32)
    clipped: Bytes = seen.clip(0, 255).astype(np.uint8)
    return clipped


@dataclass(frozen=True)
class _Face:
    """What the parts of a drawing have in common."""

    has: frozenset[str]
    look: Look
    skin: Floats
    hair: Floats
    """RGB in [0, 255], as `skin`."""


@dataclass(frozen=True)
class _Pen:
    """Draws in half heads: (0, 0) is the middle of the head, x to the right, y down, turned by the head's tilt."""

    draw: ImageDraw.ImageDraw
    centre: Floats
    unit: float
    turn: Floats
    """(2, 2)."""

    def points(self, points: Floats) -> list[float]:
        """(n, 2) half heads to pixels x0, y0, x1, y1, ..."""
        flat: list[float] = ((points * self.unit) @ self.turn + self.centre).ravel().tolist()
        return flat

    def shape(self, points: Floats | list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon(self.points(np.asarray(points)), fill=colour)

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour, power: float = 2) -> None:
        """An ellipse, or with a higher power a rounder rectangle."""
        self.shape(_blob(x, y, rx, ry, power), colour)

    def stroke(self, points: Floats | list[tuple[float, float]], width: float, colour: Colour) -> None:
        self.draw.line(self.points(np.asarray(points)), fill=colour, width=max(1, round(width * self.unit)))


def _blob(x: float, y: float, rx: float, ry: float, power: float = 2) -> Floats:
    circle = _CIRCLE if power == 2 else np.sign(_CIRCLE) * np.abs(_CIRCLE) ** (2 / power)
    return circle * (rx, ry) + (x, y)


def _mirrored(right: list[tuple[float, float]]) -> Floats:
    """An outline that is alike on both sides, from its right half."""
    half = np.array(right)
    return np.concatenate([half, half[::-1] * (-1, 1)])


def _ink(colour: Floats, alpha: float = 255) -> Colour:
    return (*(int(c) for c in colour.clip(0, 255)), int(alpha))


def _hue(hue: float, colourful: float, value: float) -> Floats:
    return 255 * np.array(colorsys.hsv_to_rgb(hue, colourful, value))


def _one_of(colours: Floats, u: float) -> Floats:
    chosen: Floats = colours[int(u * len(colours))]
    return chosen


def _skin(has: frozenset[str], look: Look) -> Floats:
    place = look["tone"] * (len(_TONES) - 1)
    first = min(int(place), len(_TONES) - 2)
    tone = _TONES[first] + (place - first) * (_TONES[first + 1] - _TONES[first])
    pale = _PALE + look["warmth"] * np.array((0.2, -0.2, -0.4))
    return pale if "Pale_Skin" in has else tone + look["warmth"] * np.array((1, 0.2, -0.6))


def _hair(has: frozenset[str], look: Look) -> Floats:
    named = [np.array(_HAIR[name]) for name in HAIR_COLOURS if name in has]
    return (named[0] if named else _one_of(_DYES, look["dye"])) + look["shade"]


def _wall(has: frozenset[str], look: Look) -> Image.Image:
    """A wall with a soft shape on it."""
    value = look["night"] if "Dark_Background" in has else look["wall_value"]
    sheet = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), _ink(_hue(look["wall"], look["wall_colour"], value))[:3])
    shape = _hue(look["wall"], look["wall_colour"], min(max(value * (1 + look["shape"]), 0), 1))
    x, y = look["shape_x"], look["shape_y"]
    ImageDraw.Draw(sheet).ellipse((x - 30, y - 45, x + 30, y + 45), fill=_ink(shape)[:3])
    return sheet


def _draw(sheet: Image.Image, face: _Face) -> None:
    look = face.look
    canvas = ImageDraw.Draw(sheet, "RGBA")
    unit = HEAD * SCALE * look["size"]
    centre = np.array((SIDE / 2 + look["x"], SIDE / 2 - 2 + look["y"])) * SCALE
    cos, sin = np.cos(look["tilt"]), np.sin(look["tilt"])
    body = _Pen(canvas, centre, unit, np.eye(2))
    head = _Pen(canvas, centre, unit, np.array([[cos, sin], [-sin, cos]]))
    _shoulders(body, face)
    _back_hair(head, face)
    _neck(body, face)
    _head(head, face)
    turned = _Pen(canvas, centre + unit * look["yaw"] * np.array((cos, sin)), unit, head.turn)
    for part in _FEATURES:
        part(turned, face)
    _front_hair(head, face)
    for part in _WORN:
        part(head if part is not _glasses else turned, face)


def _shoulders(pen: _Pen, face: _Face) -> None:
    wide = face.look["shoulders"]
    pen.shape(_mirrored([(0.35, 1.12), (wide, 1.6), (wide, 2.4)]), _ink(_shirt(face)))


def _shirt(face: _Face) -> Floats:
    return _hue(face.look["shirt"], face.look["shirt_colour"], face.look["shirt_value"])


def _neck(pen: _Pen, face: _Face) -> None:
    """Neck, neckline and, over a white collar, the tie."""
    dark = _ink(face.skin * 0.82)
    pen.shape(_mirrored([(0.36, 0.5), (0.36, 1.15), (0, 1.45)]), dark)
    if "Wearing_Necktie" not in face.has:
        return
    collar = _mirrored([(0, 1.24), (0.2, 1.08), (0.46, 1.0), (0.5, 1.35), (0.3, 2.4)])
    pen.shape(collar, (244, 244, 246, 255))
    tie = _hue(face.look["tie"], 0.85, face.look["tie_value"])
    pen.shape(_mirrored([(0.16, 1.12), (0.10, 1.34), (0.24, 2.4)]), _ink(tie))
    pen.stroke([(-0.12, 1.36), (0.12, 1.36)], 0.04, _ink(tie * 0.6))


def _back_hair(pen: _Pen, face: _Face) -> None:
    if "Bald" in face.has:
        return
    wide, low = face.look["width"] + face.look["volume"], face.look["length"]
    outline = _hair_outline(face)
    pen.shape(outline, _ink(face.hair))
    if low > 0.3:
        pen.shape(_mirrored([(wide, -0.2), (wide * 1.02, low), (wide * 0.6, low + 0.12)]), _ink(face.hair * 0.9))


def _hair_outline(face: _Face) -> Floats:
    """(28, 2): the head's outline and the hair that stands out from it, curly or smooth."""
    look = face.look
    curl = 1 + look["curl"] * np.cos(7 * _TURN)[:, None]
    return curl * _blob(0, 0, look["width"] + look["volume"], 0.88 + look["volume"], 2.2) + (0, -0.16)


def _head(pen: _Pen, face: _Face) -> None:
    """Ears and head; a bald one shines."""
    wide, jaw = face.look["width"], face.look["jaw"]
    for side in (-1, 1):
        pen.blob(side * (wide + 0.02), 0.05, face.look["ears"], 0.2, _ink(face.skin * 0.9))
    pen.blob(0, 0, wide, 1, _ink(face.skin), jaw)
    pen.stroke(_blob(0, 0, wide, 1, jaw)[2:13], 0.04, _ink(face.skin * 0.75, 130))
    if "Bald" in face.has:
        pen.blob(0.2 * np.sign(face.look["part"]), -0.72, 0.2, 0.12, (255, 255, 255, 120))


def _cheeks(pen: _Pen, face: _Face) -> None:
    if "Rosy_Cheeks" not in face.has:
        return
    colour = np.minimum((236.0, 60.0, 84.0), face.skin * (1.25, 0.5, 0.62))
    for side in (-1, 1):
        for radius, alpha in ((0.2, 90), (0.15, 90), (0.09, 80)):
            pen.blob(side * 0.44, 0.26 + face.look["rouge"], radius, radius * 0.85, _ink(colour, alpha))


def _nose(pen: _Pen, face: _Face) -> None:
    wide = face.look["nose"]
    pen.stroke([(0.02, -0.1), (wide * 0.9, 0.2), (-wide * 0.6, 0.23)], 0.05, _ink(face.skin * 0.68))


def _mouth(pen: _Pen, face: _Face) -> None:
    """Lips along a curve that smiles or not, open or shut, painted or not."""
    look, smiling, mouth_open = face.look, "Smiling" in face.has, "Mouth_Slightly_Open" in face.has
    across = np.linspace(-1, 1, 11)
    half = look["mouth"] * (1.3 if smiling else 0.95)
    bend = -(look["smile"] if smiling else look["corner"]) * across**2
    bulge = np.sqrt(1 - across**2)
    gap = (look["gap"] if mouth_open else 0.0) * bulge
    painted = "Wearing_Lipstick" in face.has
    thick = look["lips"] * (1.45 if painted else 0.85) * (0.25 + 0.75 * bulge)
    lips = _one_of(_LIPSTICKS, look["lipstick"]) if painted else face.skin * (0.82, 0.62, 0.6)
    x, y = across * half, 0.53 + bend
    pen.shape(_band(x, y - thick, y + gap + thick * 1.3), _ink(lips))
    if mouth_open:
        pen.shape(_band(x * 0.92, y, y + gap), (44, 10, 14, 255))
        pen.shape(_band(x * 0.75, y + 0.01, y + 0.35 * gap), (246, 244, 238, 255))
    else:
        pen.stroke(np.stack([x, y], 1), 0.045, _ink(lips * 0.4))


def _band(x: Floats, top: Floats, bottom: Floats) -> Floats:
    """The outline of what lies between two curves over x."""
    return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])


def _whiskers(pen: _Pen, face: _Face) -> None:
    colour = np.minimum(face.hair * 0.55, face.skin * 0.38) + 8
    if "Mustache" in face.has:
        x = np.linspace(-1, 1, 9)
        droop, half = 0.09 * x**2 * (0.5 + face.look["whiskers"]), 0.3 + 0.06 * face.look["whiskers"]
        pen.shape(_band(x * half, 0.30 + droop, 0.45 - 0.05 * x**2 + droop), _ink(colour))
    if "Goatee" in face.has:
        wide = 0.2 + 0.06 * face.look["whiskers"]
        pen.shape([(-wide, 0.80), (0, 0.75), (wide, 0.80), (wide * 0.85, 1.0), (0, 1.14), (-wide * 0.85, 1.0)], _ink(colour))


def _eyes(pen: _Pen, face: _Face) -> None:
    look = face.look
    wide = look["eyes"]
    high = wide * (0.24 if "Narrow_Eyes" in face.has else 0.8)
    iris = _ink(_one_of(_IRISES, look["iris"]))
    for side in (-1, 1):
        x = side * look["apart"]
        pen.blob(x, -0.1, wide, high, (248, 247, 244, 255))
        pen.blob(x + look["gaze"], -0.1, min(wide * 0.52, high * 1.6), min(wide * 0.58, high), iris)
        pen.stroke(_blob(x, -0.1, wide, high)[14:28], 0.045, _ink(face.skin * 0.3))


def _brows(pen: _Pen, face: _Face) -> None:
    bushy = "Bushy_Eyebrows" in face.has
    colour = np.minimum(face.hair * 0.6, face.skin * 0.36) if bushy else face.skin * 0.5
    x = np.linspace(-1, 1, 7)
    arch = 0.07 * (1 - x**2) + 0.5 * face.look["brow"] * x
    thick = (0.085 if bushy else 0.022) * (1 - 0.35 * x**2)
    for side in (-1, 1):
        middle = -0.33 - arch
        pen.shape(
            _band(side * (face.look["apart"] + x * (0.22 if bushy else 0.18)), middle - thick, middle + thick), _ink(colour)
        )


def _front_hair(pen: _Pen, face: _Face) -> None:
    """What falls over the forehead's edge, with a parting; with bangs, down to the brows."""
    if "Bald" in face.has:
        return
    look = face.look
    wide, part = look["width"], look["part"]
    low = min(look["length"], 0.25)
    outer = _hair_outline(face)[14:28]
    forehead = [(wide, low), (wide * 0.9, -0.3), (wide * 0.62, -0.62), (part, -0.8)]
    sides = [(wide + look["volume"], low), *forehead, *((-x, y) for x, y in forehead[2::-1]), (-wide - look["volume"], low)]
    pen.shape(np.concatenate([outer, sides]), _ink(face.hair))
    pen.stroke([(part, -0.8), (part + look["streak"] * 0.3, -1.0)], 0.04, _ink(face.hair * 0.75 + 12))
    pen.stroke([(look["streak"], -0.86), (look["streak"] * 1.5, -0.7)], 0.05, _ink(face.hair * 1.12 + 10))
    if "Bangs" in face.has:
        _bangs(pen, face)


def _bangs(pen: _Pen, face: _Face) -> None:
    wide = face.look["width"]
    x = np.linspace(-0.9, 0.9, 13) * wide
    edge = -0.44 + 0.05 * (np.arange(13) % 2) + face.look["fringe"] * 0.5 * np.abs(np.linspace(-1, 1, 13))
    pen.shape(_band(x, -0.9 + 0.25 * (x / wide) ** 2, edge), _ink(face.hair))
    for strand in (-0.4, 0.0, 0.4):
        pen.stroke([(strand * wide * 0.8, -0.85), (strand * wide, -0.5)], 0.03, _ink(face.hair * 0.72 + 14))


def _glasses(pen: _Pen, face: _Face) -> None:
    if "Eyeglasses" not in face.has:
        return
    look = face.look
    frame = _ink(_one_of(_FRAMES, look["glasses"]))
    for side in (-1, 1):
        lens = _blob(side * look["apart"], -0.08, 0.25, 0.22, look["lens"])
        pen.shape(lens, (190, 215, 235, 50))
        pen.stroke(np.concatenate([lens, lens[:1]]), 0.075, frame)
        pen.stroke([(side * (look["apart"] + 0.25), -0.12), (side * look["width"], -0.1)], 0.06, frame)
    pen.stroke([(-look["apart"] + 0.25, -0.1), (look["apart"] - 0.25, -0.1)], 0.07, frame)


def _earrings(pen: _Pen, face: _Face) -> None:
    if "Wearing_Earrings" not in face.has:
        return
    look = face.look
    jewel = _one_of(_JEWELS, look["jewel"])
    for side in (-1, 1):
        x = side * (look["width"] + 0.05)
        pen.blob(x, 0.27 + look["drop"], 0.115, look["drop"] + 0.02, _ink(jewel * 0.45))
        pen.blob(x, 0.27 + look["drop"], 0.085, look["drop"] - 0.02, _ink(jewel))


def _hat(pen: _Pen, face: _Face) -> None:
    """A hat with a brim, or a cap without, and a band of another colour."""
    if "Wearing_Hat" not in face.has:
        return
    look = face.look
    cloth, band = _hue(look["hat"], 0.75, look["hat_value"]), _hue((look["hat"] + 0.45) % 1, 0.35, 1.25 - look["hat_value"])
    wide = look["width"] + look["volume"] + 0.02
    pen.shape(_mirrored([(wide, -0.52), (wide * 0.96, -1.05), (wide * 0.6, -1.42)]), _ink(cloth))
    pen.shape(_mirrored([(wide, -0.62), (wide, -0.8)]), _ink(band))
    brim = wide + (0.3 if look["brim"] < 0.6 else 0.03)
    pen.blob(0, -0.58, brim, 0.1, _ink(cloth * 0.8), 4)


_FEATURES: tuple[Callable[[_Pen, _Face], None], ...] = (_cheeks, _nose, _mouth, _whiskers, _eyes, _brows)
_WORN: tuple[Callable[[_Pen, _Face], None], ...] = (_glasses, _earrings, _hat)
