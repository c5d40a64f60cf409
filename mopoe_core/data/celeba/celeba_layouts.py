"""Finds CelebA's files: in torchvision's flat folder, in the released `Anno`, `Eval` and `Img`, or as Kaggle's archive unpacks.

torchvision's `celeba/list_attr_celeba.txt` and so on come first. Folders named `CelebA`, files up to three folders deeper, and names in
upper case are searched too.
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
"""Folders of the released dataset. If the data folder itself holds the files, only these are searched."""
IMAGE_FOLDERS = ("img-align-celeba", "img-align-celeba-png", "img-align-celeba-png-7z")
FULL_FOLDERS = "img-"  # how the names of folders of 202,599 files begin; they are not searched for annotations
ARCHIVES = (".zip", ".7z", ".rar", ".001")
DEPTH = 3  # such as celeba/CelebA/Img/img_align_celeba


def root_of(folder: Path) -> Path:
    """Returns the folder that holds the annotations: `celeba`, else `folder` itself, else the only other folder that does.

    Returns `celeba` if none does. Raises DataError if several others do.
    """
    for root in (folder / "celeba", folder):
        if any(_standard_files(root, stem) for stem in (ATTRIBUTES, PARTITION)):
            return root
    likely = [path for path in entries(folder) if normalised(path.name) in FOLDERS and path.is_dir()]
    holders = [root for root in (*distinct(likely), folder) if any(annotations(root, stem) for stem in (ATTRIBUTES, PARTITION))]
    if len(holders) > 1:
        raise DataError(f"{' and '.join(map(str, holders))}: all hold CelebA's annotations; expected one; move the others away")
    return holders[0] if holders else folder / "celeba"


def _standard_files(root: Path, stem: str) -> list[Path]:
    """Returns the files of an annotation that have its standard name."""
    return [path for path in (root / f"{stem}{form}" for form in FORMS) if path.is_file()]


def annotations(root: Path, stem: str) -> list[Path]:
    """Returns the files that may be an annotation: `.txt`, then `.csv`, then those with other spellings or in folders below."""
    below = files_below(root, DEPTH, _enters(root))
    return distinct([*_standard_files(root, stem), *(path for path in below if _is_named(path, stem))])


def _is_named(path: Path, stem: str) -> bool:
    return path.stem.lower() == stem and path.suffix.lower() in FORMS


def _enters(root: Path) -> Callable[[str], bool]:
    """Returns the rule that says by its name whether a folder below `root` is searched."""
    if normalised(root.name) in FOLDERS:
        return lambda name: not normalised(name).startswith(FULL_FOLDERS)
    return lambda name: normalised(name) in SUBFOLDERS


def image_folders(root: Path) -> list[Path]:
    """Returns the folders of aligned images that hold pictures; if none does, those that exist.

    `img_align_celeba` comes first, and before it the folder of the same name inside, as Kaggle's archive unpacks.
    """
    outer = [root / IMAGES, *_folders_with_image_name(root, DEPTH)]
    existing = distinct(path for folder in outer for path in (folder / folder.name, folder / IMAGES, folder) if path.is_dir())
    return [folder for folder in existing if _holds_pictures(folder)] or existing


def _folders_with_image_name(root: Path, depth: int) -> Iterator[Path]:
    """Yields the folders below, at most `depth` levels, that have a name of the images folder."""
    enters = _enters(root)
    for path in entries(root) if depth else ():
        if normalised(path.name) in IMAGE_FOLDERS and path.is_dir():
            yield path
        elif enters(path.name) and path.is_dir():
            yield from _folders_with_image_name(path, depth - 1)


def _holds_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as directory:
            return any(is_picture(entry.name) for entry in directory)
    except OSError:
        return False


def is_picture(name: str) -> bool:
    """Whether a file's name has the ending of a picture and is not hidden."""
    return name.lower().endswith(PICTURES) and not name.startswith(".")


def archives(root: Path) -> list[Path]:
    """Returns the archives that have the name of the images folder."""
    below = files_below(root, DEPTH, _enters(root))
    named = (path for path in below if normalised(path.name).startswith(normalised(IMAGES)) and path.suffix.lower() in ARCHIVES)
    return distinct([root / f"{IMAGES}.zip", *named])


def places(folder: Path) -> Places:
    """Returns the annotations and the folder of images that exist in torchvision's or Kaggle's layout."""
    return {name: path for name, path in _places_read(folder).items() if _is_standard(folder, path)}


def other_places(folder: Path) -> Places:
    """Returns the annotations and the folder of images that are read in another layout, by their path under `folder`."""
    others = (path for path in _places_read(folder).values() if not _is_standard(folder, path))
    return {str(path.relative_to(folder)): path for path in others}


def _places_read(folder: Path) -> Places:
    """Returns the annotations and the folder of images that are read. Folders are searched only if the standard ones are missing,
    because every worker calls this.
    """
    root = root_of(folder)
    candidates = {stem: _standard_files(root, stem) or annotations(root, stem) for stem in (ATTRIBUTES, PARTITION)}
    standard_folders = [images for images in (root / IMAGES / IMAGES, root / IMAGES) if _holds_pictures(images)]
    candidates[IMAGES] = standard_folders or image_folders(root)
    return {name: paths[0] for name, paths in candidates.items() if paths}


def _is_standard(folder: Path, path: Path) -> bool:
    names = [f"{stem}{form}" for stem in (ATTRIBUTES, PARTITION) for form in FORMS] + [IMAGES, f"{IMAGES}/{IMAGES}"]
    return path in [root / name for root in (folder / "celeba", folder) for name in names]


def not_found(root: Path, stem: str) -> DataError:
    """Returns the error for a missing annotation: what was expected, and what is there."""
    folder = root if root.is_dir() else root.parent
    archive = next((path.name for path in entries(folder) if path.suffix.lower() in ARCHIVES), "")
    advice = f"; {archive} is an archive: unpack it there" if archive else ""
    return DataError(
        f"{root}: neither {stem}.txt nor {stem}.csv is there; {folder} has {names_in(folder)}{advice}; source: original celeba is not "
        f"downloaded (Google Drive's quota); put there {ATTRIBUTES}.txt and {PARTITION}.txt, or both as .csv, and the folder "
        f"{IMAGES} with the aligned .jpg files"
    )


def no_images(root: Path) -> DataError:
    """Returns the error for a missing folder of images: what was expected, and what is there."""
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
    """Raises DataError if an annotation or the folder of images is missing. Looks at names only."""
    root = root_of(folder)
    for stem in (ATTRIBUTES, PARTITION):
        if not annotations(root, stem):
            raise not_found(root, stem)
    if not image_folders(root):
        raise no_images(root)
