"""Finds PolyMNIST's files and says which of the three forms they have, or what is there instead."""

import filecmp
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import copies_differ, distinct, entries, names_in, normalised
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

NAMES = ("m0", "m1", "m2", "m3", "m4")
SPLITS = ("train", "test")
ROOTS = ("PolyMNIST", "MMNIST", "PolyMNIST/MMNIST")
FOLDERS = ("polymnist", "mmnist")
PNGS, TENSORS, BACKGROUNDS = "png", "tensors", "backgrounds"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Layout:
    """A form of the dataset, and the folder in which it is."""

    form: str
    """`png`, `tensors` or `backgrounds`."""
    root: Path


def find(folder: Path) -> Layout:
    """Returns the first form that is under `folder`/PolyMNIST, or under MMNIST, as the released archive names its folder.

    Raises DataError if there is none.
    """
    layouts = _layouts(folder)
    if not layouts:
        raise DataError(_missing(folder))
    return layouts[0]


def _layouts(folder: Path) -> list[Layout]:
    roots = _roots(folder)
    forms = ((PNGS, _has_pngs), (TENSORS, _has_tensors), (BACKGROUNDS, _has_backgrounds))
    return [Layout(form, root) for form, is_in in forms for root in roots if is_in(root)]


def _roots(folder: Path) -> list[Path]:
    """Returns where the dataset may be: the standard folders, then those with other spellings, and such folders in them."""
    spelled_otherwise = [path for path in entries(folder) if normalised(path.name) in FOLDERS]
    nested = [
        path for outer in spelled_otherwise if outer.is_dir() for path in entries(outer) if normalised(path.name) in FOLDERS
    ]
    return distinct([*(folder / name for name in ROOTS), *spelled_otherwise, *nested])


def check_copies(folder: Path, layout: Layout) -> None:
    """Raises DataError if another folder has the same form with other content."""
    places = places_of(layout)
    for other in _layouts(folder):
        if other.form != layout.form or other.root == layout.root:
            continue
        other_places = places_of(other)
        for name in places:
            if not _is_copy(places[name], other_places[name]):
                raise copies_differ(layout.root, other.root, f"folder of PolyMNIST, and {name} is not the same in both")


def _is_copy(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes, or two folders the same files."""
    if first.is_file() and second.is_file():
        return filecmp.cmp(first, second, shallow=False)
    names = [path.name for path in entries(first)]
    same, *differing = filecmp.cmpfiles(first, second, names, shallow=False)
    return len(same) == len(entries(second)) and not any(differing)


def _has_pngs(root: Path) -> bool:
    return any((root / split / name).is_dir() for split in SPLITS for name in NAMES)


def _has_tensors(root: Path) -> bool:
    return any((root / split / f"{name}.pt").exists() for split in SPLITS for name in (*NAMES, "labels"))


def _has_backgrounds(root: Path) -> bool:
    return (root / "backgrounds").is_dir()


def places_of(layout: Layout) -> Places:
    """Returns the folders of images, or the tensor files, of a released form (not `backgrounds`)."""
    names = [f"{split}/{name}" for split in SPLITS for name in NAMES]
    if layout.form == TENSORS:
        names = [f"{name}.pt" for name in (*names, *(f"{split}/labels" for split in SPLITS))]
    return {name: layout.root / name for name in names}


def _missing(folder: Path) -> str:
    """Returns the message for a folder without the dataset: what is there, and what to do."""
    root = folder / ROOTS[0]
    for archive in _archives(folder):
        if is_web_page(archive):
            return f"{archive}: a web page, as downloads over their quota give, and no archive; download it again"
        if not _is_archive(archive):
            kind = "zip archive" if archive.suffix == ".zip" else "archive"
            return f"{archive}: cut short or no {kind}; download it again"
        return f"{archive}: an archive that is not unpacked; unpack it, so that {root}/train/m0 is a folder"
    return (
        f"source: original polymnist is not under {folder}, which has {names_in(folder)}; put there {root}/train and {root}/test, each "
        "with folders m0 to m4 of <i>.<label>.png or with m0.pt to m4.pt and labels.pt; or, to build it from MNIST, five background "
        f"images in {root}/backgrounds"
    )


def _archives(folder: Path) -> list[Path]:
    beside_root = [folder / f"{name}{suffix}" for name in ROOTS for suffix in ("", *ARCHIVES)]
    in_root = [path for name in ROOTS for path in sorted((folder / name).glob("*")) if path.name.lower().endswith(ARCHIVES)]
    return [path for path in (*beside_root, *in_root) if path.is_file()]


def _is_archive(path: Path) -> bool:
    try:
        if path.suffix == ".zip":
            return zipfile.is_zipfile(path)
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except (OSError, EOFError, zlib.error):
        return False
