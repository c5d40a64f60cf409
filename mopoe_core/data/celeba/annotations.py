"""Reads CelebA's annotations and checks each line: attributes and partition as released (`.txt`) or as tables (`.csv`).

The columns of a table are separated by commas, semicolons or tabs. Text is UTF-8, or UTF-16 as Windows saves it. Absent and present are
-1 and 1, 0 and 1, or false and true, the same in all lines. Each fault is a DataError of one line.
"""

import csv
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
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
"""The ways in which files write that an attribute is absent or present."""
COLUMNS = {normalised(name): name for name in CELEBA}
"""The attribute's name by its normalised spelling."""

Line = tuple[int, list[str]]
"""Number and fields of a line."""
Content = TypeVar("Content", dict[str, bytes], dict[str, int])


def read_annotation(root: Path, stem: str, read: Callable[[Path], Content]) -> tuple[Path, Content]:
    """Returns the first file that may be an annotation, and what `read` returns for it.

    Raises DataError if there is none, if it is a web page, or if another such file has other content.
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
    """Raises DataError if the first line shows that the file's name should have the other ending."""
    first_line = _first_line(path)
    form = path.suffix.lower()
    actual_form = form
    if "," in first_line or ";" in first_line or first_line.lower().startswith("image_id"):
        actual_form = ".csv"
    elif TXT_BEGINNING.fullmatch(first_line):
        actual_form = ".txt"
    if actual_form != form:
        raise DataError(
            f"{path}: the first line is {_short(first_line)}, which is the {actual_form} form; name it {path.stem}{actual_form}"
        )


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding=_encoding(path), errors="replace") as file:
            return file.readline(2000).strip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None


def _encoding(path: Path) -> str:
    """Returns UTF-16 if the file begins with its mark, or if every other byte is zero, as for English words; else UTF-8."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for zeros, letters, name in ((start[1::2], start[::2], "utf-16-le"), (start[::2], start[1::2], "utf-16-be")):
        if zeros and not any(zeros) and all(letters):
            return name
    return "utf-8-sig"


def _lines(path: Path) -> Iterator[Line]:
    """Yields the number and the fields of each line that is not empty."""
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
    """Returns the separator that occurs most often in the line of column names."""
    return max(SEPARATORS, key=_first_line(path).count)


def read_attributes(path: Path) -> dict[str, bytes]:
    """Returns, by image, forty bytes of zeros and ones in the order of `CELEBA`."""
    lines = _lines(path)
    declared = None if _is_csv(path) else _declared_count(path, lines)
    order = _column_order(path, next(lines, (0, []))[1])
    labels: dict[str, bytes] = {}
    codes: dict[str, int] = {}
    for number, (name, *values) in lines:
        codes = codes or _codes(values)
        row = _row(path, number, values, codes)
        if name in labels:
            raise DataError(f"{path}: line {number} names {name} again; expected each image once; download it again")
        labels[name] = bytes(row if order is None else [row[column] for column in order])
    if declared not in (None, len(labels)):
        raise DataError(
            f"{path}: the first line says {declared} images, {len(labels)} follow; it is cut short; download it again"
        )
    return labels


def _row(path: Path, number: int, values: Sequence[str], codes: Mapping[str, int]) -> list[int]:
    """Returns zeros and ones for the values of line `number`, in the file's order of columns."""
    if len(values) != len(CELEBA):
        raise DataError(f"{path}: line {number} has {len(values)} values; expected {len(CELEBA)}; download it again")
    try:
        return [codes[value] for value in values]
    except KeyError as error:
        allowed = " or ".join(codes)
        raise DataError(f"{path}: line {number} has the value {error.args[0]!r}; expected {allowed}; download it again") from None


def _declared_count(path: Path, lines: Iterator[Line]) -> int:
    """Returns the number of images in the first line of a `.txt`."""
    fields = next(lines, (0, []))[1]
    if len(fields) != 1 or not (fields[0].isascii() and fields[0].isdigit()):
        raise DataError(
            f"{path}: the first line is {_short(' '.join(fields))}; expected the number of images; write it on a line above, or "
            "download the file again"
        )
    return int(fields[0])


def _column_order(path: Path, header: Sequence[str]) -> list[int] | None:
    """Returns the column of each attribute in `CELEBA`; None if the columns have that order already."""
    names = [COLUMNS.get(normalised(name), name) for name in (header[1:] if _is_csv(path) else header)]
    fault = _fault_of_columns(names)
    if fault:
        raise DataError(
            f"{path}: {fault} (line of column names); expected {'image_id and ' if _is_csv(path) else ''}the {len(CELEBA)} of CelebA; "
            "mend the columns or download it again"
        )
    return None if tuple(names) == CELEBA else [names.index(name) for name in CELEBA]


def _fault_of_columns(names: Sequence[str]) -> str:
    """Returns what is wrong with the names of the columns; empty if each attribute is named once."""
    for name in names:
        if name not in CELEBA:
            return f"no CelebA attribute: {_short(name)}"
    for name in CELEBA:
        if name not in names:
            return f"missing: {name}"
    return "" if len(names) == len(CELEBA) else "one named twice"


def _codes(values: Sequence[str]) -> dict[str, int]:
    """Returns the codes of absent and present that fit the values of the first line; -1 and 1 if none fit."""
    absent, present = next((pair for pair in CODES if set(values) <= set(pair)), CODES[0])
    return {absent: 0, present: 1}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def read_partition(path: Path) -> dict[str, int]:
    """Returns the part of each image: 0, 1 or 2."""
    parts: dict[str, int] = {}
    lines = _lines(path)
    if _is_csv(path):
        header = next(lines, (0, []))[1]
        if len(header) != 2 or header[0].lower() != "image_id":
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
    """Raises DataError if one annotation names an image that the other does not."""
    _check_all_in(attributes, labels, partition, parts)
    _check_all_in(partition, parts, attributes, labels)


def _check_all_in(path: Path, names: Iterable[str], other_path: Path, other_names: Container[str]) -> None:
    missing = [name for name in names if name not in other_names]
    if missing:
        raise DataError(
            f"{other_path}: {len(missing)} images of {path.name} are not in it, the first is {missing[0]}; expected the same images in "
            "both; download both again"
        )
