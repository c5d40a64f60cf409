"""Datasets built once under `<data>/built/` and memory-mapped from there: a folder of `.npy` files and a manifest.

The manifest has the arrays' hash and the fingerprints of the files that they were built from. Where those files are still there and
have changed, the build is refused; where they are gone, it is enough.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from mopoe_core.data.fingerprints import Places, changed, fingerprints
from mopoe_core.errors import DataError
from mopoe_core.storage.durability import sync
from mopoe_core.terminal import complain

Array = NDArray[np.generic]
REMARKS = "remarks.txt"
HASHED_AT_ONCE = 1 << 26  # bytes: a mapped array of gigabytes passes through in pieces


@dataclass(frozen=True)
class Built:
    """What lies in a built folder."""

    arrays: Mapping[str, Array]
    """By file name without `.npy`; mapped copy-on-write, so that the workers of a node share the pages and torch may have them."""
    hash: str
    """SHA-256 over the names, types, shapes and content of all arrays."""
    remarks: tuple[str, ...] = ()
    """What was said of the files that it was built from, a line each."""


@dataclass(frozen=True)
class Recipe:
    """How a dataset is built, and what must come out."""

    identity: Sequence[Any]
    """Plain values: whatever determines the arrays, so that a change of it builds anew."""
    write: Callable[[Path], None]
    """Saves the arrays as `.npy` files into the folder that it is given."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """How many examples a split must have, the rows of `<split>-labels`."""
    places: Places = field(default_factory=dict)
    """The files that `write` reads, where these are not the program's own."""
    other_places: Places = field(default_factory=dict)
    """The files that `write` reads where one of `places` is not there. A build that did not read them takes no notice of them."""
    fetches: bool = False
    """Whether `write` brings those that are not there, or are not the published ones."""


def open_built(folder: Path, name: str, source: str, recipe: Recipe) -> Built:
    """The arrays of a dataset, built under `folder`/built if they are not there yet.

    A build that is cut short, or has other counts than expected, leaves nothing under the final name. Raises DataError where the
    folder cannot be written, where what was built has been damaged or has other counts, or where the files that it was built from
    have changed.
    """
    built = built_folder(folder, name, source, recipe.identity)
    try:
        if not (built / "manifest.json").exists():
            built.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{built}.lock"):
                if not (built / "manifest.json").exists():
                    _build(built, name, source, recipe)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{built}: cannot be built ({reason}); make room and see to the rights, or name another folder (--data, resources.data)"
        ) from None
    return read_built(built, recipe.expected, recipe.places, recipe.other_places)


def read_built(built: Path, expected: Mapping[str, int], places: Places, other_places: Places | None = None) -> Built:
    """The arrays in a built folder. Raises DataError as `open_built`."""
    recorded, files = _manifest(built)
    used = {name: path for name, path in (other_places or {}).items() if name in (files or {})}
    others = changed({**places, **used}, files) if files is not None else []
    if others:
        raise DataError(
            f"{others[0]}: has changed since {built} was built from it; delete that folder to build anew, or put the former files back"
        )
    arrays = _mapped(built)
    if content_hash(arrays) != recorded:
        raise DataError(f"{built}: the content is not what was built (its hash differs); delete the folder, it is built again")
    check_counts(f"{built}", _counts(arrays), expected, "delete the folder, and fetch the files that it was built from again")
    return Built(arrays, recorded, _remarks(built))


def built_folder(folder: Path, name: str, source: str, identity: Sequence[Any]) -> Path:
    """Where a dataset is built, or will be, from what determines its arrays."""
    tag = hashlib.sha256(json.dumps(list(identity)).encode()).hexdigest()[:8]
    return folder / "built" / f"{name}-{source}-{tag}"


def kept(folder: Path, name: str, source: str) -> list[Path]:
    """The folders of a dataset's complete builds, whatever they were built from."""
    return sorted(path.parent for path in (folder / "built").glob(f"{name}-{source}-*/manifest.json"))


def _build(built: Path, name: str, source: str, recipe: Recipe) -> None:
    if built.exists():
        raise DataError(f"{built}: has no manifest.json, so it is no complete build; delete the folder, it is built again")
    prefix = f".{built.name}."
    for left in built.parent.glob(f"{prefix}*"):  # by builds that were killed: nobody else builds under the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=built.parent, ignore_cleanup_errors=True) as temporary:
        scratch = Path(temporary) / "whole"
        scratch.mkdir()  # with the rights of the user's umask; the temporary folder is its owner's alone
        places = {**recipe.places, **recipe.other_places}
        before = fingerprints(places)
        recipe.write(scratch)
        arrays = _mapped(scratch)
        place = f"{built.parent.parent}: {source} {name}"
        check_counts(place, _counts(arrays), recipe.expected, "fetch them again; nothing was kept of these")
        files = fingerprints(places) if recipe.fetches else before  # what changed while it was read is then found at once
        manifest = {"dataset": name, "source": source, "sha256": content_hash(arrays), "files": files}
        (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in (*scratch.iterdir(), scratch):
            sync(path)
        scratch.rename(built)
        sync(built.parent)
        for remark in _remarks(built):
            complain(f"note: {remark}")


def _manifest(built: Path) -> tuple[str, Mapping[str, str] | None]:
    """The arrays' hash, and the files' fingerprints; None in a manifest of before these were kept."""
    path = built / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        recorded, files = found["sha256"], found.get("files")
    except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        recorded, files = None, None
    if not isinstance(recorded, str) or not isinstance(files, dict | None):
        raise DataError(f"{path}: damaged; delete the folder {built}, it is built again")
    return recorded, files


def _counts(arrays: Mapping[str, Array]) -> dict[str, int]:
    return {key.removesuffix("-labels"): len(array) for key, array in arrays.items() if key.endswith("-labels")}


def check_counts(place: str, counts: Mapping[str, int], expected: Mapping[str, int], advice: str) -> None:
    """Raise DataError where a split has not as many examples as expected."""
    for split, count in expected.items():
        if counts.get(split, 0) != count:
            raise DataError(
                f"{place}: {counts.get(split, 0):,} {split} examples where {count:,} are expected; the files are incomplete or not the "
                f"published ones; {advice}"
            )


def save(into: Path, arrays: Mapping[str, Array]) -> None:
    """Each array as `<name>.npy`."""
    for key, value in arrays.items():
        np.save(into / f"{key}.npy", value)


def save_remarks(into: Path, remarks: Iterable[str]) -> None:
    """Keep what is to be said of the files beside the arrays; it is no part of the data and of their hash."""
    lines = list(remarks)
    if lines:
        (into / REMARKS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _remarks(built: Path) -> tuple[str, ...]:
    path = built / REMARKS
    return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines()) if path.is_file() else ()


def _mapped(folder: Path) -> dict[str, Array]:
    return {path.stem: _map(path) for path in sorted(folder.glob("*.npy"))}


def _map(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="c")
    except Exception as error:  # damaged headers raise nearly anything
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cut short or damaged ({reason}); delete the folder {path.parent}, it is built again") from None
    return array


def content_hash(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over the names, types, shapes and content of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        flat = np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), HASHED_AT_ONCE):
            digest.update(flat[start : start + HASHED_AT_ONCE].data)
    return digest.hexdigest()
