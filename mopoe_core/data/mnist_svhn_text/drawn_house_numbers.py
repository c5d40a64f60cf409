"""Draws house numbers: pictures in place of SVHN's photographs, for machines that cannot download these.

As in SVHN's crops, the digit in the middle is the label, and parts of its neighbours reach in from the sides. Fonts, colours, contrast,
slant, size, blur and sensor noise vary from picture to picture. Fonts are the TrueType files that matplotlib ships.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mopoe_core.errors import DataError

RENDERER_VERSION = 1
"""Raised by hand when the pictures change."""
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "cmb10.ttf",
    "cmss10.ttf",
)
SIDE = 32
SCALE = 2  # drawn at twice the size, so that slants and strokes are smooth
HEIGHT = (0.68, 0.88)  # share of the picture's height, for a digit of the fonts' usual proportions
CONTRAST = (30.0, 135.0)  # grey levels between digit and background
NEIGHBOUR = 0.75  # probability of a neighbour at each side

Bytes = NDArray[np.uint8]


def house_numbers(labels: NDArray[np.integer], seed: int) -> Bytes:
    """Returns pictures (N, 3, 32, 32), uint8 RGB, whose middle digit is the label. Picture i depends on (seed, i, labels[i]) only.

    `labels` (N,) holds whole numbers from 0 to 9. Raises ValueError for others.
    """
    wrong = [int(label) for label in labels if not 0 <= label <= 9]
    if wrong:
        raise ValueError(f"labels: {wrong[0]} is not a digit from 0 to 9")
    pictures = np.empty((len(labels), 3, SIDE, SIDE), dtype=np.uint8)
    for i, label in enumerate(labels):
        pictures[i] = _picture(int(label), np.random.default_rng((seed, i)))
    return pictures


def _picture(label: int, rng: np.random.Generator) -> Bytes:
    mask = _digits(label, rng)
    back, front = _colours(rng)
    colour = back + mask[..., None] * (front - back) + _shade(rng)[..., None]
    colour += rng.normal(0, rng.uniform(2, 12), colour.shape)
    return colour.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


def _digits(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the coverage (32, 32) in [0, 1] of the digit and its neighbours, slanted, turned and blurred."""
    side = SIDE * SCALE
    font = _font(FONTS[rng.integers(len(FONTS))], round(side * rng.uniform(*HEIGHT) / 0.73))  # digits are about 0.73 em high
    sheet = Image.new("L", (3 * side, 3 * side))
    pen = ImageDraw.Draw(sheet)
    middle = 1.5 * side
    advance = font.getlength("0") * rng.uniform(0.9, 1.1)
    pen.text((middle, middle), str(label), fill=255, font=font, anchor="mm", stroke_width=int(rng.integers(0, 2)))
    for step in (-1, 1):
        if rng.random() < NEIGHBOUR:
            pen.text((middle + step * advance, middle), str(rng.integers(10)), fill=255, font=font, anchor="mm")
    return _photographed(sheet, rng)


def _photographed(sheet: Image.Image, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the middle of the sheet, (32, 32) in [0, 1], after a random affine map and a random blur."""
    side = SIDE * SCALE
    angle, slant = np.deg2rad(rng.normal(0, 6)), rng.normal(0, 0.14)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.array([[1, slant], [0, 1]])
    centre = np.full(2, 1.5 * side) + rng.normal(0, 0.03 * side, 2)
    shift = centre - turn @ np.full(2, side / 2)
    matrix = (turn[0, 0], turn[0, 1], shift[0], turn[1, 0], turn[1, 1], shift[1])
    crop = sheet.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    blurred = crop.filter(ImageFilter.GaussianBlur(SCALE * rng.uniform(0.3, 1.4))).reduce(SCALE)
    return np.asarray(blurred, dtype=np.float64) / 255


def _colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the colours of background and digit, each RGB in [0, 255]: a lighter digit on a dark background, and the reverse."""
    grey = rng.uniform(30, 225)
    contrast = rng.uniform(*CONTRAST) * (1 if grey < 128 else -1)
    back = grey + rng.normal(0, 8, 3)
    front = grey + contrast + rng.normal(0, 8, 3)
    return back, front


def _shade(rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a gradient of light across the picture, (32, 32), in grey levels."""
    across = np.linspace(-1, 1, SIDE)
    return rng.normal(0, 10) * across[None] + rng.normal(0, 10) * across[:, None]


@lru_cache(maxsize=256)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    package = find_spec("matplotlib")  # finds its fonts without importing it, which would cost half a second
    folder = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" if package and package.origin else Path()
    try:
        return ImageFont.truetype(str(folder / name), size)
    except OSError:
        raise DataError(f"embedded house numbers need the font {name} of the matplotlib package; reinstall matplotlib") from None
