"""Datasets built once under `<data>/built/` and memory-mapped from there: a folder of `.npy` files and a manifest with their hash."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from mopoe_core.errors import DataError

Array = NDArray[np.generic]
HASHED_AT_ONCE = 1 << 26  # bytes: a mapped array of gigabytes passes through in pieces


@dataclass(frozen=True)
class Built:
    """What lies in a built folder."""

    arrays: Mapping[str, Array]
    """By file name without `.npy`; mapped copy-on-write, so that the workers of a node share the pages and torch may have them."""
    hash: str
    """SHA-256 over the names, types, shapes and content of all arrays."""


def open_built(folder: Path, name: str, source: str, identity: Sequence[Any], write: Callable[[Path], None]) -> Built:
    """The arrays of a dataset, built under `folder`/built if they are not there yet.

    `identity` holds plain values: whatever determines the arrays, so that a change of it builds anew. `write` saves the arrays as
    `.npy` files into the folder that it is given. A build that is cut short leaves nothing under the final name.
    Raises DataError where what was built has been damaged.
    """
    tag = hashlib.sha256(json.dumps(list(identity)).encode()).hexdigest()[:8]
    built = folder / "built" / f"{name}-{source}-{tag}"
    if not (built / "manifest.json").exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{built}.lock"):
            if not (built / "manifest.json").exists():
                _build(built, name, source, write)
    arrays = _mapped(built)
    recorded = json.loads((built / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    if content_hash(arrays) != recorded:
        raise DataError(f"{built}: the content is not what was built (its hash differs); delete the folder, it is built again")
    return Built(arrays, recorded)


def _build(built: Path, name: str, source: str, write: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{built.name}.", dir=built.parent, ignore_cleanup_errors=True) as scratch:
        write(Path(scratch))
        manifest = {"dataset": name, "source": source, "sha256": content_hash(_mapped(Path(scratch)))}
        (Path(scratch) / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        Path(scratch).chmod(0o755)
        Path(scratch).rename(built)


def save(into: Path, arrays: Mapping[str, Array]) -> None:
    """Each array as `<name>.npy`."""
    for key, value in arrays.items():
        np.save(into / f"{key}.npy", value)


def _mapped(folder: Path) -> dict[str, Array]:
    return {path.stem: np.load(path, mmap_mode="c") for path in sorted(folder.glob("*.npy"))}


def content_hash(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over the names, types, shapes and content of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        flat = np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), HASHED_AT_ONCE):
            digest.update(flat[start : start + HASHED_AT_ONCE].data)
    return digest.hexdigest()
