"""Adapts figures to a light or a dark page.

A figure is drawn once, in the colours of a light page. `embedded` replaces each colour that is not data with a CSS variable, and `css`
gives the variables their values on a dark page. The colours of models stay, because they are visible on both.
"""

import re
from html import escape
from pathlib import Path

INK, FAINT_INK, EDGE, GRID, SHADE, PAPER = "#222222", "#666666", "#444444", "#e4e4e4", "#f0f0f0", "#ffffff"
VARIABLES = {
    INK: ("--figure-ink", "#e8e8e8"),
    FAINT_INK: ("--figure-faint", "#a8a8a8"),
    EDGE: ("--figure-edge", "#c8c8c8"),
    GRID: ("--figure-grid", "#33363b"),
    SHADE: ("--figure-shade", "#24272b"),
    PAPER: ("--figure-paper", "#16181b"),
}
"""For each colour of a light page, its CSS variable and its value on a dark page."""
NARROWEST, WIDEST = 0.87, 1.8
"""The limits, in pixels for each point, between which a figure follows the width of its page. Smaller letters are not legible, and
larger ones waste space."""
MARK = "cell-"
"""The prefix of the id of a cell's marker in an SVG."""
MARGIN = 2
"""Points around a figure, because a browser's fonts are a little wider than the fonts of the layout."""

_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_ID = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(href="#|url\(#)([^")]+)')
_HEAD = re.compile(r"<svg\b[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def css() -> str:
    """Returns the rules that the style sheet of a page with embedded figures needs."""
    dark = " ".join(f"{name}: {value};" for name, value in VARIABLES.values())
    return f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def embedded(path: Path, description: str = "", prefix: str = "") -> str:
    """Returns an SVG file as an element of a page, which follows the page's theme and width.

    `description` is for screen readers. `prefix` makes the ids of the element differ from those of other figures on the page. Markers of
    cells keep their ids. Ids that nothing refers to are left out.
    """
    svg = path.read_text(encoding="utf-8")
    return themed(_sized(with_own_ids(svg[svg.index("<svg") :], prefix or path.stem), description))


def themed(svg: str) -> str:
    """Returns the SVG with a CSS variable for each colour that depends on the theme. The light colour is the fallback."""

    def variable(match: re.Match[str]) -> str:
        name = VARIABLES.get(match[0], ("",))[0]
        return f"var({name}, {match[0]})" if name else match[0]

    return _COLOUR.sub(variable, svg)


def with_own_ids(svg: str, prefix: str) -> str:
    """Returns the SVG with a prefix before every id that it refers to. Markers of cells keep their ids.

    Two SVGs on one page may not share ids.
    """
    used = {target for _, target in _REFERENCE.findall(svg)}

    def renamed(match: re.Match[str]) -> str:
        if match[1].startswith(MARK):
            return match[0]
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    return _REFERENCE.sub(lambda match: f"{match[1]}{prefix}-{match[2]}", _ID.sub(renamed, svg))


def _sized(svg: str, description: str) -> str:
    """Returns the SVG as wide as its page, within `NARROWEST` and `WIDEST`."""
    box = _VIEW_BOX.search(svg)
    if box is None:
        return svg
    width, height = float(box[1]) + 2 * MARGIN, float(box[2]) + 2 * MARGIN
    style = f"width: 100%; height: auto; min-width: {NARROWEST * float(box[1]):.0f}px; max-width: {WIDEST * width:.0f}px"
    label = f' role="img" aria-label="{escape(description)}"' if description else ""
    head = f'<svg viewBox="-{MARGIN} -{MARGIN} {width:g} {height:g}" style="{style}"{label} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return _HEAD.sub(lambda _: head, svg, count=1)
