"""Draws faces from attributes: pictures in place of CelebA's photographs, for machines that do not have these.

Each of the twenty attributes of `attributes.DRAWN` is one part of the drawing. Everything else varies from picture to picture
independently of the attributes: shape, place, size and tilt of the head, skin tone, length and volume of hair, light, colours of clothes,
glasses, hats and ties, blur and noise. An attribute changes only the pixels at its place, except that bushy brows, moustache and goatee
take their colour from the hair.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mopoe_core.data.celeba import face_attributes, face_body
from mopoe_core.data.celeba.attributes import DRAWN
from mopoe_core.data.celeba.face_attributes import HAIR_COLOURS
from mopoe_core.data.celeba.face_features import FEATURES
from mopoe_core.data.celeba.face_pen import Face, Floats, Look, Pen, from_hue, ink, one_of

RENDERER_VERSION = 1
"""Raised by hand when the pictures change."""
SIDE = 64
SCALE = 2  # drawn at twice the size, so that edges are smooth
HEAD = 19.0  # half the height of a head of size 1, in pixels of the finished picture: the unit of the drawing

Bytes = NDArray[np.uint8]

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
"""Ranges of the looks, which vary uniformly and independently of the attributes. Lengths without a unit are in half heads."""
_TONES = np.array([(226, 180, 148), (205, 150, 112), (168, 112, 78), (126, 80, 54)], dtype=float)
_PALE = np.array((244.0, 229.0, 222.0))
_HAIR = {
    "Black_Hair": (24.0, 21.0, 25.0),
    "Blond_Hair": (232.0, 198.0, 108.0),
    "Brown_Hair": (92.0, 54.0, 30.0),
    "Gray_Hair": (172.0, 173.0, 177.0),
}
_DYES = np.array([(198, 74, 22), (176, 30, 38), (60, 84, 196), (150, 58, 168), (36, 150, 116)], dtype=float)
_ACROSS = np.linspace(-1, 1, SIDE)


def faces(attributes: NDArray[np.integer], seed: int) -> Bytes:
    """Returns pictures (N, 3, 64, 64), uint8 RGB, of faces with these attributes. Picture i depends on (seed, i, attributes[i]) only.

    `attributes` (N, 20) holds zeros and ones in the order of `attributes.DRAWN`. Raises ValueError for another shape or value, and for
    combinations that cannot be drawn: two hair colours, or one of `NOT_WITH_BALD` on a bald head.
    """
    face_attributes.check(attributes)
    pictures = np.empty((len(attributes), 3, SIDE, SIDE), dtype=np.uint8)
    for i, row in enumerate(attributes):
        has = frozenset(name for name, value in zip(DRAWN, row, strict=True) if value)
        pictures[i] = _picture(has, np.random.default_rng((seed, i)))
    return pictures


def _picture(has: frozenset[str], rng: np.random.Generator) -> Bytes:
    """Returns one picture (3, 64, 64) of a face with the attributes `has`."""
    look = _random_look(rng)
    sheet = _wall(has, look)
    _draw(sheet, Face(has, look, _skin(has, look), _hair(has, look)))
    blurred = sheet.filter(ImageFilter.GaussianBlur(look["blur"])).reduce(SCALE)
    light = look["gain"] * (1 + look["across"] * _ACROSS[None] + look["down"] * _ACROSS[:, None])
    pixels = np.asarray(blurred, dtype=np.float32).transpose(2, 0, 1) * light.astype(np.float32)
    pixels += np.float32(look["noise"]) * rng.standard_normal(pixels.shape, dtype=np.float32)
    pixels += np.array([[[look["tint"]]], [[0]], [[-look["tint"]]]], dtype=np.float32)
    clipped: Bytes = pixels.clip(0, 255).astype(np.uint8)
    return clipped


def _random_look(rng: np.random.Generator) -> dict[str, float]:
    shares = rng.random(len(_RANGES)).tolist()
    return {name: low + (high - low) * share for (name, (low, high)), share in zip(_RANGES.items(), shares, strict=True)}


def _skin(has: frozenset[str], look: Look) -> Floats:
    """Returns the skin's RGB: a pale one, or one that is interpolated between `_TONES`."""
    place = look["tone"] * (len(_TONES) - 1)
    first = min(int(place), len(_TONES) - 2)
    tone = _TONES[first] + (place - first) * (_TONES[first + 1] - _TONES[first])
    pale = _PALE + look["warmth"] * np.array((0.2, -0.2, -0.4))
    return pale if "Pale_Skin" in has else tone + look["warmth"] * np.array((1, 0.2, -0.6))


def _hair(has: frozenset[str], look: Look) -> Floats:
    """Returns the hair's RGB: the colour that is an attribute, else red or a dye."""
    natural = [np.array(_HAIR[name]) for name in HAIR_COLOURS if name in has]
    return (natural[0] if natural else one_of(_DYES, look["dye"])) + look["shade"]


def _wall(has: frozenset[str], look: Look) -> Image.Image:
    """Returns a sheet with a wall and a soft shape on it."""
    value = look["night"] if "Dark_Background" in has else look["wall_value"]
    sheet = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), ink(from_hue(look["wall"], look["wall_colour"], value))[:3])
    shape = from_hue(look["wall"], look["wall_colour"], min(max(value * (1 + look["shape"]), 0), 1))
    x, y = look["shape_x"], look["shape_y"]
    ImageDraw.Draw(sheet).ellipse((x - 30, y - 45, x + 30, y + 45), fill=ink(shape)[:3])
    return sheet


def _draw(sheet: Image.Image, face: Face) -> None:
    """Draws all parts of a face, from the back to the front."""
    look = face.look
    canvas = ImageDraw.Draw(sheet, "RGBA")
    unit = HEAD * SCALE * look["size"]
    centre = np.array((SIDE / 2 + look["x"], SIDE / 2 - 2 + look["y"])) * SCALE
    cos, sin = np.cos(look["tilt"]), np.sin(look["tilt"])
    body = Pen(canvas, centre, unit, np.eye(2))
    head = Pen(canvas, centre, unit, np.array([[cos, sin], [-sin, cos]]))
    face_body.shoulders(body, face)
    face_body.back_hair(head, face)
    face_body.neck(body, face)
    face_body.head(head, face)
    turned = Pen(canvas, centre + unit * look["yaw"] * np.array((cos, sin)), unit, head.turn)
    for part in FEATURES:
        part(turned, face)
    face_body.front_hair(head, face)
    face_body.glasses(turned, face)
    face_body.earrings(head, face)
    face_body.hat(head, face)
