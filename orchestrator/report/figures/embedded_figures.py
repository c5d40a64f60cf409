"""Embeds figures in the page, and lists the addresses of their files."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from orchestrator.report.figures import theme

QUALITY = 85
"""Quality of WebP. A figure has an eighth of the bytes of its PNG, and thin lines stay thin."""


def embedded(path: Path, description: str = "") -> str:
    """Returns the figure as an HTML element that needs no network: an SVG that follows the page's theme, or a PNG as WebP.

    `description` is for screen readers.
    """
    if path.suffix == ".svg":
        return theme.embedded(path, description)
    with Image.open(path) as picture:
        uri = webp_uri(picture, QUALITY)
    return f'<img src="{uri}" alt="{escape(description)}" loading="lazy">'


def addresses(path: Path, folder: Path) -> list[str]:
    """Returns the paths of a figure's files in all formats, relative to the report's folder."""
    files = sorted(path.parent.glob(f"{path.stem}.*"))
    return [file.relative_to(folder).as_posix() for file in files]


def webp_uri(picture: Image.Image, quality: int) -> str:
    """Returns a picture as a data URI, which needs no network."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
