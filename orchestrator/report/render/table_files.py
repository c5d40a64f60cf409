"""Writes tables to files part by part, so that a table of a million rows is never in memory as a whole."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_whole

AT_ONCE = 1_000
"""Trials in a part: usually sixty thousand rows, some thirty megabytes."""

_T = TypeVar("_T")


def parts_of(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yields the items in parts of `AT_ONCE`; a single empty part if there are none."""
    for start in range(0, max(1, len(items)), AT_ONCE):
        yield items[start : start + AT_ONCE]


def write_both(parts: Iterable[pd.DataFrame], csv: Path, to: Path) -> None:
    """Writes a table as CSV and as parquet, each whole or not at all. There is at least one part, and all have the same columns."""
    write_whole(csv, lambda text: write_whole(to, lambda path: _stream(_also_as_csv(parts, text), path)))


def write_parquet(parts: Iterable[pd.DataFrame], to: AnyPath) -> None:
    """Writes a table as parquet, whole or not at all. There is at least one part, and all have the same columns."""
    write_whole(to, lambda path: _stream(parts, path))


def _also_as_csv(parts: Iterable[pd.DataFrame], path: Path) -> Iterator[pd.DataFrame]:
    """Writes each part to the file, and then yields it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for place, part in enumerate(parts):
            part.to_csv(file, index=False, header=place == 0)
            yield part


def _stream(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Writes a row group for each part."""
    remaining = iter(parts)
    first = pa.Table.from_pandas(next(remaining), preserve_index=False)
    with parquet.ParquetWriter(path, first.schema) as file:
        file.write_table(first)
        for part in remaining:
            file.write_table(pa.Table.from_pandas(part, schema=first.schema, preserve_index=False))
