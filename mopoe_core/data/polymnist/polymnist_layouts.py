"""Where PolyMNIST lies, in which of its three forms, and what is there instead."""

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
class Found:
    """Which form of the dataset lies where."""

    form: str
    """`png`, `tensors` or `backgrounds`."""
    root: Path


def find(folder: Path) -> Found:
    """The first form that is under `folder`/PolyMNIST, or under MMNIST, as the released archive names its folder.

    Raises DataError where there is none.
    """
    everything = _all(folder)
    if not everything:
        raise DataError(_nothing(folder))
    return everything[0]


def _all(folder: Path) -> list[Found]:
    roots = _roots(folder)
    forms = ((PNGS, _has_pngs), (TENSORS, _has_tensors), (BACKGROUNDS, _has_backgrounds))
    return [Found(form, root) for form, is_there in forms for root in roots if is_there(root)]


def _roots(folder: Path) -> list[Path]:
    """Where the dataset may lie: the standard folders, then those of other spelling, and such folders in them."""
    likely = [path for path in entries(folder) if normalised(path.name) in FOLDERS]
    inside = [path for outer in likely if outer.is_dir() for path in entries(outer) if normalised(path.name) in FOLDERS]
    return distinct([*(folder / name for name in ROOTS), *likely, *inside])


def check_copies(folder: Path, found: Found) -> None:
    """Raise DataError where the form that is read lies in another folder too, with other content."""
    others = [other for other in _all(folder) if other.form == found.form and other.root != found.root]
    for other in others:
        theirs = places_of(other)
        for name, place in places_of(found).items():
            if not _is_copy(place, theirs[name]):
                raise copies_differ(found.root, other.root, f"folder of PolyMNIST, and {name} is not the same in both")


def _is_copy(one: Path, other: Path) -> bool:
    if one.is_file() and other.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = [path.name for path in entries(one)]
    same, *differing = filecmp.cmpfiles(one, other, names, shallow=False)
    return len(same) == len(entries(other)) and not any(differing)


def _has_pngs(root: Path) -> bool:
    return any((root / split / name).is_dir() for split in SPLITS for name in NAMES)


def _has_tensors(root: Path) -> bool:
    return any((root / split / f"{name}.pt").exists() for split in SPLITS for name in (*NAMES, "labels"))


def _has_backgrounds(root: Path) -> bool:
    return (root / "backgrounds").is_dir()


def places_of(found: Found) -> Places:
    """The folders of images, or the tensors, of a form that is read and not built."""
    names = [f"{split}/{name}" for split in SPLITS for name in NAMES]
    if found.form == TENSORS:
        names = [f"{name}.pt" for name in (*names, *(f"{split}/labels" for split in SPLITS))]
    return {name: found.root / name for name in names}


def _nothing(folder: Path) -> str:
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
    near = [folder / f"{name}{suffix}" for name in ROOTS for suffix in ("", *ARCHIVES)]
    inside = [path for name in ROOTS for path in sorted((folder / name).glob("*")) if path.name.lower().endswith(ARCHIVES)]
    return [path for path in (*near, *inside) if path.is_file()]


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path) if path.suffix == ".zip" else tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except (OSError, EOFError, zlib.error):
        return False
