"""Figures inside the page, and the addresses of their files beside it."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

QUALITY = 85  # of WebP: an eighth of the bytes of PNG, and thin lines stay thin


def embedded(path: Path) -> str:
    """Returns the figure as an element of HTML that needs no network: an SVG as it is, a PNG as WebP."""
    if path.suffix == ".svg":
        content, kind = path.read_bytes(), "svg+xml"
    else:
        content, kind = _webp(path), "webp"
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return f'<img src="{uri}" alt="{escape(path.stem)}" loading="lazy">'


def addresses(path: Path, folder: Path) -> list[str]:
    """Returns the files that a figure was written as, relative to the report's folder."""
    files = sorted(path.parent.glob(f"{path.stem}.*"))
    return [file.relative_to(folder).as_posix() for file in files]


def _webp(path: Path) -> bytes:
    content = io.BytesIO()
    with Image.open(path) as picture:
        picture.save(content, "WEBP", quality=QUALITY, method=4)
    return content.getvalue()
