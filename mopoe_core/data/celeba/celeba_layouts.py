"""Where CelebA's files lie: in torchvision's flat folder, in the released `Anno`, `Eval` and `Img`, or as Kaggle's archive unpacks.

`celeba/list_attr_celeba.txt` and so on come first. Also found are folders named `CelebA`, files up to three folders deeper, and names
in upper case.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import distinct, entries, files_below, names_in, normalised
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

ATTRIBUTES, PARTITION, IMAGES = "list_attr_celeba", "list_eval_partition", "img_align_celeba"
FORMS = (".txt", ".csv")
PICTURES = (".jpg", ".jpeg", ".png")
FOLDERS = ("celeba", "celeba-dataset", "archive")
SUBFOLDERS = ("anno", "eval", "img")
"""Of the released dataset: the only ones that are looked into where the data folder itself holds the files."""
IMAGE_FOLDERS = ("img-align-celeba", "img-align-celeba-png", "img-align-celeba-png-7z")
FULL_FOLDERS = "img-"  # how folders of 202,599 files begin, which are not looked through for annotations
ARCHIVES = (".zip", ".7z", ".rar", ".001")
DEPTH = 3  # such as celeba/CelebA/Img/img_align_celeba


def root_of(folder: Path) -> Path:
    """The folder `celeba`; or the one above it if only that holds an annotation; or the only other folder that does.

    Raises DataError where several others do.
    """
    below, above = (any(_standard(root, stem) for stem in (ATTRIBUTES, PARTITION)) for root in (folder / "celeba", folder))
    if below or above:
        return folder / "celeba" if below else folder
    likely = [path for path in entries(folder) if normalised(path.name) in FOLDERS and path.is_dir()]
    holders = [root for root in (*distinct(likely), folder) if any(annotations(root, stem) for stem in (ATTRIBUTES, PARTITION))]
    if len(holders) > 1:
        raise DataError(f"{' and '.join(map(str, holders))}: all hold CelebA's annotations; expected one; move the others away")
    return holders[0] if holders else folder / "celeba"


def _standard(root: Path, stem: str) -> list[Path]:
    return [path for path in (root / f"{stem}{form}" for form in FORMS) if path.is_file()]


def annotations(root: Path, stem: str) -> list[Path]:
    """The files that may be an annotation: `.txt`, then `.csv`, then those of other spelling and in the folders below."""
    below = files_below(root, DEPTH, _enters(root))
    return distinct([*_standard(root, stem), *(path for path in below if _is_named(path, stem))])


def _is_named(path: Path, stem: str) -> bool:
    return path.stem.lower() == stem and path.suffix.lower() in FORMS


def _enters(root: Path) -> Callable[[str], bool]:
    if normalised(root.name) in FOLDERS:
        return lambda name: not normalised(name).startswith(FULL_FOLDERS)
    return lambda name: normalised(name) in SUBFOLDERS


def image_folders(root: Path) -> list[Path]:
    """The folders of aligned images that hold pictures, or, where none does, those that are there.

    `img_align_celeba` comes first, and before it the folder of that name in it, as Kaggle's archive unpacks.
    """
    found = [root / IMAGES, *_named_so(root, DEPTH)]
    there = distinct(path for folder in found for path in (folder / folder.name, folder / IMAGES, folder) if path.is_dir())
    return [folder for folder in there if _holds_pictures(folder)] or there


def _named_so(root: Path, depth: int) -> Iterator[Path]:
    enters = _enters(root)
    for path in entries(root) if depth else ():
        if normalised(path.name) in IMAGE_FOLDERS and path.is_dir():
            yield path
        elif enters(path.name) and path.is_dir():
            yield from _named_so(path, depth - 1)


def _holds_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as inside:
            return any(is_picture(entry.name) for entry in inside)
    except OSError:
        return False


def is_picture(name: str) -> bool:
    """Whether a file's name ends as that of a picture and is not hidden."""
    return name.lower().endswith(PICTURES) and not name.startswith(".")


def archives(root: Path) -> list[Path]:
    """Archives that have the images folder's name."""
    below = files_below(root, DEPTH, _enters(root))
    named = (path for path in below if normalised(path.name).startswith(normalised(IMAGES)) and path.suffix.lower() in ARCHIVES)
    return distinct([root / f"{IMAGES}.zip", *named])


def places(folder: Path) -> Places:
    """The annotations and the folder of images in torchvision's and Kaggle's layout, where they are there."""
    return {name: path for name, path in _read(folder).items() if _is_standard(folder, path)}


def other_places(folder: Path) -> Places:
    """Those that are read in another layout, by their path under `folder`."""
    others = (path for path in _read(folder).values() if not _is_standard(folder, path))
    return {str(path.relative_to(folder)): path for path in others}


def _read(folder: Path) -> Places:
    """The first of each; standard ones are not searched for, because every worker asks."""
    root = root_of(folder)
    found = {stem: _standard(root, stem) or annotations(root, stem) for stem in (ATTRIBUTES, PARTITION)}
    standard = [images for images in (root / IMAGES / IMAGES, root / IMAGES) if _holds_pictures(images)]
    found[IMAGES] = standard or image_folders(root)
    return {name: paths[0] for name, paths in found.items() if paths}


def _is_standard(folder: Path, path: Path) -> bool:
    names = [f"{stem}{form}" for stem in (ATTRIBUTES, PARTITION) for form in FORMS] + [IMAGES, f"{IMAGES}/{IMAGES}"]
    return path in [root / name for root in (folder / "celeba", folder) for name in names]


def not_found(root: Path, stem: str) -> DataError:
    """The error for an annotation that is not there: what was expected, and what is there."""
    near = root if root.is_dir() else root.parent
    packed = next((path.name for path in entries(near) if path.suffix.lower() in ARCHIVES), "")
    advice = f"; {packed} is an archive: unpack it there" if packed else ""
    return DataError(
        f"{root}: neither {stem}.txt nor {stem}.csv is there; {near} has {names_in(near)}{advice}; source: original celeba is not "
        f"downloaded (Google Drive's quota); put there {ATTRIBUTES}.txt and {PARTITION}.txt, or both as .csv, and the folder "
        f"{IMAGES} with the aligned .jpg files"
    )


def no_images(root: Path) -> DataError:
    """Returns the error for a folder of images that is not there: what is there in its place."""
    archive = next(iter(archives(root)), None)
    if archive is None:
        return DataError(
            f"{root / IMAGES}: not there; expected a folder with the aligned .jpg files; {root} has {names_in(root)}; unpack "
            f"{IMAGES}.zip there"
        )
    if is_web_page(archive):
        return DataError(f"{archive}: a web page, as Google Drive gives over its quota, and no archive; download it again")
    if archive.suffix.lower() == ".zip" and not zipfile.is_zipfile(archive):
        return DataError(f"{archive}: cut short or no zip archive ({archive.stat().st_size:,} bytes); download it again")
    how = f" (unzip {archive} -d {root})" if archive.suffix.lower() == ".zip" else f" in {root}"
    return DataError(f"{archive}: not unpacked; expected the folder {root / IMAGES}; unpack it{how}")


def check_there(folder: Path) -> None:
    """Raises DataError where an annotation or the folder of images is missing. Looks at names only."""
    root = root_of(folder)
    for stem in (ATTRIBUTES, PARTITION):
        if not annotations(root, stem):
            raise not_found(root, stem)
    if not image_folders(root):
        raise no_images(root)
