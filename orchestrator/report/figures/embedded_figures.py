"""Figures inside the page, and the addresses of their files beside it."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from orchestrator.report.figures import theme

QUALITY = 85  # of WebP: an eighth of the bytes of PNG, and thin lines stay thin


def embedded(path: Path, description: str = "") -> str:
    """Returns the figure as an element of HTML that needs no network: an SVG that follows the page's theme, or a PNG as WebP.

    `description` is what a screen reader says.
    """
    if path.suffix == ".svg":
        return theme.embedded(path, description)
    with Image.open(path) as picture:
        uri = webp_uri(picture, QUALITY)
    return f'<img src="{uri}" alt="{escape(description)}" loading="lazy">'


def addresses(path: Path, folder: Path) -> list[str]:
    """Returns the files that a figure was written as, relative to the report's folder."""
    files = sorted(path.parent.glob(f"{path.stem}.*"))
    return [file.relative_to(folder).as_posix() for file in files]


def webp_uri(picture: Image.Image, quality: int) -> str:
    """Returns a picture as an address that needs no network."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
