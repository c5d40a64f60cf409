"""Datasets built once under `<data>/built/` and memory-mapped from there: a folder of `.npy` files and a manifest.

The manifest has the arrays' hash and the fingerprints of the files that they were built from. If those files have changed since, the
build is refused. If they are gone, the build alone is enough.
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
    """The content of a built folder."""

    arrays: Mapping[str, Array]
    """By file name without `.npy`. Mapped copy-on-write: the workers of a node share the pages, and torch may use them."""
    hash: str
    """SHA-256 over the names, types, shapes and content of all arrays."""
    remarks: tuple[str, ...] = ()
    """Notes on the files that it was built from, a line each."""


@dataclass(frozen=True)
class Recipe:
    """How a dataset is built, and how many examples it must have."""

    identity: Sequence[Any]
    """Plain values that determine the arrays. If one of them changes, the dataset is built anew."""
    write: Callable[[Path], None]
    """Saves the arrays as `.npy` files into the folder that is its argument."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """By split, how many examples (rows of `<split>-labels`) it must have."""
    places: Places = field(default_factory=dict)
    """The user's files that `write` reads; empty if it reads only files of installed packages."""
    other_places: Places = field(default_factory=dict)
    """The files that `write` reads if one of `places` is missing. They are checked later only if the build read them."""
    fetches: bool = False
    """Whether `write` downloads files that are missing, or are not the published ones."""


def open_built(folder: Path, name: str, source: str, recipe: Recipe) -> Built:
    """Returns the arrays of a dataset, which are built under `folder`/built if they are not there yet.

    A build that is cut short, or has other counts than expected, leaves nothing under the final name. Raises DataError if the folder
    cannot be written, if the build has been damaged or has other counts, or if the files that it was built from have changed.
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
    """Returns the arrays in a built folder. Raises DataError as `open_built` does."""
    recorded_hash, recorded_files = _manifest(built)
    if recorded_files is not None:
        _check_unchanged(built, recorded_files, places, other_places or {})
    arrays = _mapped(built)
    if content_hash(arrays) != recorded_hash:
        raise DataError(f"{built}: the content is not what was built (its hash differs); delete the folder, it is built again")
    check_counts(f"{built}", _counts(arrays), expected, "delete the folder, and fetch the files that it was built from again")
    return Built(arrays, recorded_hash, _remarks(built))


def _check_unchanged(built: Path, recorded_files: Mapping[str, str], places: Places, other_places: Places) -> None:
    """Raises DataError if a file that the folder was built from has changed since."""
    other_places_read = {name: path for name, path in other_places.items() if name in recorded_files}
    changed_files = changed({**places, **other_places_read}, recorded_files)
    if changed_files:
        raise DataError(
            f"{changed_files[0]}: has changed since {built} was built from it; delete that folder to build anew, or put the former "
            "files back"
        )


def built_folder(folder: Path, name: str, source: str, identity: Sequence[Any]) -> Path:
    """Returns the folder for a build with this `Recipe.identity`, whether it is there or not."""
    tag = hashlib.sha256(json.dumps(list(identity)).encode()).hexdigest()[:8]
    return folder / "built" / f"{name}-{source}-{tag}"


def complete_builds(folder: Path, name: str, source: str) -> list[Path]:
    """Returns the folders of a dataset's complete builds, whatever their identity."""
    return sorted(path.parent for path in (folder / "built").glob(f"{name}-{source}-*/manifest.json"))


def _build(built: Path, name: str, source: str, recipe: Recipe) -> None:
    if built.exists():
        raise DataError(f"{built}: has no manifest.json, so it is no complete build; delete the folder, it is built again")
    prefix = f".{built.name}."
    for abandoned in built.parent.glob(f"{prefix}*"):  # by builds that were killed: nobody else builds under the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=built.parent, ignore_cleanup_errors=True) as temporary:
        scratch = Path(temporary) / "whole"
        scratch.mkdir()  # with the rights of the user's umask; only the owner may read the temporary folder
        _fill(scratch, f"{built.parent.parent}: {source} {name}", {"dataset": name, "source": source}, recipe)
        for path in (*scratch.iterdir(), scratch):
            sync(path)
        scratch.rename(built)
        sync(built.parent)
    for remark in _remarks(built):
        complain(f"note: {remark}")


def _fill(scratch: Path, place: str, description: Mapping[str, str], recipe: Recipe) -> None:
    """Writes the arrays and the manifest. Raises DataError, which begins with `place`, if a split has other counts than expected."""
    places = {**recipe.places, **recipe.other_places}
    files = fingerprints(places)  # taken before reading, so that a change while they are read is noticed at the next opening
    recipe.write(scratch)
    arrays = _mapped(scratch)
    check_counts(place, _counts(arrays), recipe.expected, "fetch them again; nothing was kept of these")
    if recipe.fetches:
        files = fingerprints(places)
    manifest = {**description, "sha256": content_hash(arrays), "files": files}
    (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _manifest(built: Path) -> tuple[str, Mapping[str, str] | None]:
    """Returns the arrays' hash and the files' fingerprints; None for these if an earlier version wrote the manifest."""
    path = built / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        recorded_hash, recorded_files = manifest["sha256"], manifest.get("files")
    except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        recorded_hash, recorded_files = None, None
    if not isinstance(recorded_hash, str) or not isinstance(recorded_files, dict | None):
        raise DataError(f"{path}: damaged; delete the folder {built}, it is built again")
    return recorded_hash, recorded_files


def _counts(arrays: Mapping[str, Array]) -> dict[str, int]:
    """Returns the number of examples by split."""
    return {key.removesuffix("-labels"): len(array) for key, array in arrays.items() if key.endswith("-labels")}


def check_counts(place: str, counts: Mapping[str, int], expected: Mapping[str, int], advice: str) -> None:
    """Raises DataError if a split has another number of examples than expected."""
    for split, count in expected.items():
        if counts.get(split, 0) != count:
            raise DataError(
                f"{place}: {counts.get(split, 0):,} {split} examples where {count:,} are expected; the files are incomplete or not the "
                f"published ones; {advice}"
            )


def save(into: Path, arrays: Mapping[str, Array]) -> None:
    """Saves each array as `<name>.npy`."""
    for key, value in arrays.items():
        np.save(into / f"{key}.npy", value)


def save_remarks(into: Path, remarks: Iterable[str]) -> None:
    """Saves notes on the source files beside the arrays. They are no part of the arrays' hash."""
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
    """Returns the SHA-256 over the names, types, shapes and content of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        flat = np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), HASHED_AT_ONCE):
            digest.update(flat[start : start + HASHED_AT_ONCE].data)
    return digest.hexdigest()
