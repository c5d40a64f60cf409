"""Reports without figures, which are most of a report's time."""

from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

from matplotlib.figure import Figure
from PIL import Image


def _empty(figure: Figure, path: Path | str, **options: object) -> None:
    if options.get("format") == "png":
        Image.new("RGB", (1, 1)).save(path, "PNG")
    else:
        Path(path).write_bytes(b"<svg/>")


def without_drawing() -> AbstractContextManager[object]:
    """Lets reports write an empty drawing for each figure, as long as it is entered."""
    return mock.patch.object(Figure, "savefig", _empty)
