"""CelebA's annotations, checked line by line: attributes and partition as released (`.txt`) or as tables (`.csv`).

Tables are separated by commas, semicolons or tabs. Text is UTF-8, or UTF-16 as Windows saves it. Absent and present are -1 and 1, 0
and 1, or false and true, the same in all lines. Whatever is wrong is one line of a DataError.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mopoe_core.data.celeba.attributes import CELEBA
from mopoe_core.data.celeba.celeba_layouts import annotations, not_found
from mopoe_core.data.folder_names import copies_differ, normalised
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

TXT_BEGINNING = re.compile(r"[0-9]+|\S+\s+[012]")
"""The first line of a `.txt`: the number of images, or an image and its part."""
SEPARATORS = (",", ";", "\t")
CODES = (("-1", "1"), ("0", "1"), ("-1.0", "1.0"), ("0.0", "1.0"), ("False", "True"), ("FALSE", "TRUE"), ("false", "true"))
"""How files write that an attribute is absent and present."""
COLUMNS = {normalised(name): name for name in CELEBA}

Read = TypeVar("Read", dict[str, bytes], dict[str, int])


def read_annotation(root: Path, stem: str, read: Callable[[Path], Read]) -> tuple[Path, Read]:
    """The first file that may be an annotation, and what `read` makes of it.

    Raises DataError where there is none, where it is a web page, or where another one says something else.
    """
    paths = annotations(root, stem)
    if not paths:
        raise not_found(root, stem)
    for path in paths:
        if is_web_page(path):
            raise DataError(
                f"{path}: a web page, as Google Drive gives over its quota; expected CelebA's annotation; download it again"
            )
        _check_form(path)
    content = read(paths[0])
    for other in paths[1:]:
        if read(other) != content:
            raise copies_differ(paths[0], other, stem)
    return paths[0], content


def _check_form(path: Path) -> None:
    first = _first_line(path)
    is_table = "," in first or ";" in first or first.startswith("image_id")
    form = path.suffix.lower()
    other = ".csv" if is_table else ".txt" if TXT_BEGINNING.fullmatch(first) else form
    if other != form:
        raise DataError(f"{path}: the first line is {_short(first)}, which is the {other} form; name it {path.stem}{other}")


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding=_encoding(path), errors="replace") as file:
            return file.readline(2000).strip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None


def _encoding(path: Path) -> str:
    """UTF-16 where the file begins with its mark, or where every other byte is zero, as in plain words; else UTF-8."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for zeros, letters, name in ((start[1::2], start[::2], "utf-16-le"), (start[::2], start[1::2], "utf-16-be")):
        if zeros and not any(zeros) and all(letters):
            return name
    return "utf-8-sig"


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that is not empty."""
    try:
        with path.open(encoding=_encoding(path), errors="replace", newline="") as file:
            rows = csv.reader(file, delimiter=_separator(path)) if _is_csv(path) else (line.split() for line in file)
            for number, row in enumerate(rows, 1):
                if any(row):
                    yield number, [field.strip() for field in row]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())}); download it again") from None


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _separator(path: Path) -> str:
    """The one that the line of column names has most of."""
    return max(SEPARATORS, key=_first_line(path).count)


def read_attributes(path: Path) -> dict[str, bytes]:
    """By image, forty bytes of zeros and ones in the order of `CELEBA`."""
    lines = _lines(path)
    declared = None if _is_csv(path) else _declared_count(path, lines)
    order = _column_order(path, next(lines, (0, []))[1])
    labels: dict[str, bytes] = {}
    codes: dict[str, int] = {}
    for number, (name, *values) in lines:
        codes = codes or _codes(values)
        if len(values) != len(CELEBA):
            raise DataError(f"{path}: line {number} has {len(values)} values; expected {len(CELEBA)}; download it again")
        if name in labels:
            raise DataError(f"{path}: line {number} names {name} again; expected each image once; download it again")
        try:
            row = [codes[value] for value in values]
        except KeyError as error:
            allowed = " or ".join(codes)
            raise DataError(
                f"{path}: line {number} has the value {error.args[0]!r}; expected {allowed}; download it again"
            ) from None
        labels[name] = bytes(row if order is None else [row[i] for i in order])
    if declared not in (None, len(labels)):
        raise DataError(
            f"{path}: the first line says {declared} images, {len(labels)} follow; it is cut short; download it again"
        )
    return labels


def _declared_count(path: Path, lines: Iterator[tuple[int, list[str]]]) -> int:
    first = next(lines, (0, []))[1]
    if len(first) != 1 or not (first[0].isascii() and first[0].isdigit()):
        raise DataError(
            f"{path}: the first line is {_short(' '.join(first))}; expected the number of images; write it on a line above, or "
            "download the file again"
        )
    return int(first[0])


def _column_order(path: Path, names: Sequence[str]) -> list[int] | None:
    """Where each of `CELEBA` stands among the columns; None where they are in order."""
    names = [COLUMNS.get(normalised(name), name) for name in (names[1:] if _is_csv(path) else names)]
    unknown, missing = [n for n in names if n not in CELEBA], [n for n in CELEBA if n not in names]
    if unknown or missing or len(names) != len(CELEBA):
        found = (
            f"no CelebA attribute: {_short(unknown[0])}"
            if unknown
            else f"missing: {missing[0]}"
            if missing
            else "one named twice"
        )
        raise DataError(
            f"{path}: {found} (line of column names); expected {'image_id and ' if _is_csv(path) else ''}the {len(CELEBA)} of CelebA; "
            "mend the columns or download it again"
        )
    return None if tuple(names) == CELEBA else [names.index(name) for name in CELEBA]


def _codes(values: Sequence[str]) -> dict[str, int]:
    """Of the first line: the way of writing that it fits, -1 and 1 where it fits none."""
    absent, present = next((pair for pair in CODES if set(values) <= set(pair)), CODES[0])
    return {absent: 0, present: 1}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def read_partition(path: Path) -> dict[str, int]:
    """By image, 0, 1 or 2."""
    parts: dict[str, int] = {}
    lines = _lines(path)
    if _is_csv(path):
        header = next(lines, (0, []))[1]
        if len(header) != 2 or header[0] != "image_id":
            raise DataError(
                f"{path}: the first line is {_short(','.join(header))}; expected image_id,partition; write that there, or download "
                "the file again"
            )
    for number, row in lines:
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise DataError(
                f"{path}: line {number} is {_short(' '.join(row))}; expected an image and 0, 1 or 2; download it again"
            )
        if row[0] in parts:
            raise DataError(f"{path}: line {number} names {row[0]} again; expected each image once; download it again")
        parts[row[0]] = int(row[1])
    return parts


def check_same_images(attributes: Path, labels: Mapping[str, bytes], partition: Path, parts: Mapping[str, int]) -> None:
    """Raise DataError where one annotation names an image that the other does not."""
    for here, there, left, right in ((attributes, partition, labels, parts), (partition, attributes, parts, labels)):
        alone = [name for name in left if name not in right]
        if alone:
            raise DataError(
                f"{there}: {len(alone)} images of {here.name} are not in it, the first is {alone[0]}; expected the same images in "
                "both; download both again"
            )
