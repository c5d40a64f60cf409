"""Where MNIST's and SVHN's files lie, under the names that mirrors and archives give them, and what their checksums say.

torchvision's layout comes first: `MNIST/raw/train-images-idx3-ubyte` and `SVHN/train_32x32.mat`. Also found are `.gz` files, other
signs and upper case in names (`train-images.idx3-ubyte`), a folder of the file's own name around it, as Kaggle's archive unpacks, and
files in `mnist/`, `svhn/` or in the data folder itself.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import distinct, entries, files_below, first_few, names_in, normalised
from mopoe_core.errors import DataError

PREFIXES = {"train": "train", "test": "t10k"}
"""Of MNIST's files, by split."""
AXES = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}
MNIST_NAMES = tuple(f"{prefix}-{kind}" for prefix in PREFIXES.values() for kind in AXES)
SVHN_NAMES = tuple(f"{split}_32x32.mat" for split in PREFIXES)
MNIST_FOLDERS, SVHN_FOLDERS = ("mnist", "mnist-dataset"), ("svhn", "svhn-dataset")
OTHER_DATASETS = ("fashion", "kmnist", "emnist", "qmnist", "polymnist")
"""Folders of these are not looked into: their files have MNIST's names."""
DEPTH = 3  # such as MNIST/archive/train-images-idx3-ubyte/train-images-idx3-ubyte
MNIST_NAME = re.compile(r"(train|t10k|test)-(images-idx3|labels-idx1)-ubyte(-gz)?")
PUBLISHED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 sums of MNIST's files, unpacked."""
FASHION = {
    "f4a8712d7a061bf5bd6d2ca38dc4d50a": "train-images-idx3-ubyte",
    "9018921c3c673c538a1fc5bad174d6f9": "train-labels-idx1-ubyte",
    "8181f5470baa50b63fa0f6fddb340f0a": "t10k-images-idx3-ubyte",
    "15d484375f8d13e6eb1aabb0c3f46965": "t10k-labels-idx1-ubyte",
}
"""Files of Fashion-MNIST, which have MNIST's names and sizes, by the MD5 sum of each, unpacked."""

Candidates = Mapping[str, Sequence[Path]]
"""By published name, the files that may be meant, the standard one first."""


def mnist_candidates(folder: Path) -> dict[str, list[Path]]:
    """For each of MNIST's four names, the files under the data folder that bear it in some form."""
    standard = {name: folder / "MNIST" / "raw" / name for name in MNIST_NAMES}
    return _candidates(standard, _likely_files(folder, MNIST_FOLDERS, _is_mnist), _mnist_name)


def svhn_candidates(folder: Path) -> dict[str, list[Path]]:
    """For each of SVHN's two names, likewise."""
    standard = {name: folder / "SVHN" / name for name in SVHN_NAMES}
    names = {normalised(name): name for name in SVHN_NAMES}
    return _candidates(
        standard, _likely_files(folder, SVHN_FOLDERS, lambda name: normalised(name) in names), lambda n: names.get(normalised(n))
    )


def _candidates(
    standard: Mapping[str, Path], likely: Iterator[Path], name_of: Callable[[str], str | None]
) -> dict[str, list[Path]]:
    found = {name: [path] for name, path in standard.items()}
    for path in likely:
        name = name_of(path.name)
        if name:
            found[name].append(path)
    return {name: [path for path in distinct(paths) if path.is_file()] for name, paths in found.items()}


def _likely_files(folder: Path, folders: Sequence[str], is_name: Callable[[str], bool]) -> Iterator[Path]:
    """Files in the data folder and in folders there that have a file's own name; then all files in the dataset's folders."""
    inside = entries(folder)
    yield from (path for path in inside if path.is_file())
    for path in inside:
        if is_name(path.name):
            yield from files_below(path, 0)
        elif normalised(path.name) in folders:
            yield from files_below(path, DEPTH, _may_hold_mnist)


def _may_hold_mnist(name: str) -> bool:
    return not any(other in normalised(name) for other in OTHER_DATASETS)


def _is_mnist(name: str) -> bool:
    return MNIST_NAME.fullmatch(normalised(name)) is not None


def _mnist_name(name: str) -> str | None:
    parts = MNIST_NAME.fullmatch(normalised(name))
    return f"{PREFIXES.get(parts[1], parts[1])}-{parts[2]}-ubyte" if parts else None


def places_elsewhere(folder: Path, standard: Places, search: Callable[[Path], Candidates]) -> Places:
    """The files that are read where the standard one is not there, by their path under the data folder."""
    if all(path.is_file() for path in standard.values()):  # every worker asks, and a folder may hold many files
        return {}
    chosen = [paths[0] for paths in search(folder).values() if paths and paths[0] not in standard.values()]
    return {str(path.relative_to(folder)): path for path in chosen}


def what_is_there(folder: Path, candidates: Candidates, folders: Sequence[str]) -> str:
    """Which names were expected and not found, and which are there instead."""
    missing = ", ".join(name for name, paths in candidates.items() if not paths)
    near = [path for path in entries(folder) if normalised(path.name) in folders and path.is_dir()]
    inside = [str(path.relative_to(folder)) for below in near for path in files_below(below, DEPTH)]
    return f"no file is named {missing}; {folder} has {first_few(inside) if inside else names_in(folder)}"


def remark_on(path: Path, name: str, digest: str) -> str:
    """What is to be said of a file that is read as MNIST's `name`; empty where it is the published one.

    `digest` is the MD5 sum of its unpacked content. Raises DataError where that is the sum of another known file.
    """
    if digest == PUBLISHED[name]:
        return ""
    if digest in FASHION:
        raise DataError(f"{path}: Fashion-MNIST's {FASHION[digest]}; expected MNIST's {name}; put MNIST's files there")
    other = next((other for other, sum_ in PUBLISHED.items() if sum_ == digest), "")
    if other:
        raise DataError(f"{path}: holds MNIST's {other}; expected {name}; swap the names or download both again")
    return f"{path}: not the published {name} (MD5 {digest}, published {PUBLISHED[name]})"


def md5(content: bytes) -> str:
    """The MD5 sum, which tells known files and is no safeguard."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
