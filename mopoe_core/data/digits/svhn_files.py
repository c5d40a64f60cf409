"""Reads SVHN, whose files torchvision downloads if they are missing.

Each fault of a file is a DataError of one line.
"""

import filecmp
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mopoe_core.data.digits.digit_files import Digits, checked_digits, errors_in_one_line, refuse_page
from mopoe_core.data.digits.digit_layouts import SVHN_FOLDERS, SVHN_NAMES, places_elsewhere, svhn_candidates, what_is_there
from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import copies_differ
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import SVHN


def svhn_files(folder: Path) -> dict[str, Path]:
    """Returns SVHN's two files in torchvision's layout, by their path under `folder`."""
    names = [f"SVHN/{name}" for name in SVHN_NAMES]
    return {name: folder / name for name in names}


def other_svhn_files(folder: Path) -> Places:
    """Returns the files that are read if one of `svhn_files` is missing, by their path under `folder`."""
    return places_elsewhere(folder, svhn_files(folder), svhn_candidates)


def read_svhn(folder: Path, split: str, advice: str) -> Digits:
    """Returns one split of SVHN, as `read_mnist`. Only the published files can be read, because torchvision takes no others."""
    from torchvision.datasets import SVHN  # takes 1-2 s to import, and is needed once on each machine

    candidates = svhn_candidates(folder)
    paths = candidates[f"{split}_32x32.mat"]
    for path in paths:
        refuse_page(path)
    if paths:
        path = _same_file(paths)
        failure, advice = f"{path}: cut short, damaged or not the published file", "download it again"
    else:
        path = folder / "SVHN" / f"{split}_32x32.mat"
        failure, advice = "SVHN could not be fetched or read", f"{what_is_there(folder, candidates, SVHN_FOLDERS)}; {advice}"
    with errors_in_one_line(failure, advice):
        if paths:
            _refuse_other_file(path, split, {md5: name for _, name, md5 in SVHN.split_list.values()})
        svhn = _by_torchvision(path, split)
        pixels, labels = svhn.data, np.atleast_1d(svhn.labels)  # torchvision has replaced the file's label 10 by 0
    return checked_digits(pixels, labels, (3, 32, 32), path, path, "1 to 9, or 10 for 0")


def _by_torchvision(path: Path, split: str) -> "SVHN":
    """Returns SVHN as torchvision reads it from `path`, where it is downloaded if it is missing or not the published file."""
    from torchvision.datasets import SVHN

    url, _, digest = SVHN.split_list[split]

    class NamedSVHN(SVHN):
        """SVHN in a file of this name."""

        split_list = {split: [url, path.name, digest]}

    try:
        return NamedSVHN(str(path.parent), split=split, download=True)
    except KeyError as error:
        raise DataError(f"{path}: has no variable {error}; expected X and y; download it again") from None


def _refuse_other_file(path: Path, split: str, published: Mapping[str, str]) -> None:
    """Raises DataError if the file is another one of SVHN's. `published` has their names by checksum."""
    with path.open("rb") as file:
        name = published.get(hashlib.file_digest(file, "md5").hexdigest(), "")
    if name and name != f"{split}_32x32.mat":
        raise DataError(f"{path}: holds SVHN's {name}; expected {split}_32x32.mat; swap the names or download both again")


def _same_file(paths: Sequence[Path]) -> Path:
    """Returns the first of several files. Raises DataError if the others are not copies of it."""
    for other in paths[1:]:
        if not filecmp.cmp(paths[0], other, shallow=False):
            raise copies_differ(paths[0], other, "file of SVHN")
    return paths[0]
