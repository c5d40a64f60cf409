"""Finds MNIST's and SVHN's files, also under the names that mirrors and archives give them, and checks their checksums.

torchvision's layout comes first: `MNIST/raw/train-images-idx3-ubyte` and `SVHN/train_32x32.mat`. Other places and names are searched too:
`.gz` files; names with other signs and in upper case (`train-images.idx3-ubyte`); a file in a folder of its own name, as Kaggle's archive
unpacks; and files in `mnist/`, `svhn/` or the data folder itself.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import distinct, entries, files_below, first_few, names_in, normalised
from mopoe_core.errors import DataError

PREFIXES = {"train": "train", "test": "t10k"}
"""By split, how the names of MNIST's files begin."""
AXES = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}
"""Number of axes by the end of a file's name."""
MNIST_NAMES = tuple(f"{prefix}-{kind}" for prefix in PREFIXES.values() for kind in AXES)
SVHN_NAMES = tuple(f"{split}_32x32.mat" for split in PREFIXES)
MNIST_FOLDERS, SVHN_FOLDERS = ("mnist", "mnist-dataset"), ("svhn", "svhn-dataset")
OTHER_DATASETS = ("fashion", "kmnist", "emnist", "qmnist", "polymnist")
"""Folders of these datasets are not searched, because their files have MNIST's names."""
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
"""By published name, the files that may be this one, the one in the standard place first."""


def mnist_candidates(folder: Path) -> dict[str, list[Path]]:
    """Returns, for each of MNIST's four names, the files under the data folder that have it in some form."""
    standard = {name: folder / "MNIST" / "raw" / name for name in MNIST_NAMES}
    return _candidates(standard, _likely_files(folder, MNIST_FOLDERS, _is_mnist), _mnist_name)


def svhn_candidates(folder: Path) -> dict[str, list[Path]]:
    """Returns, for each of SVHN's two names, the files under the data folder that have it in some form."""
    standard = {name: folder / "SVHN" / name for name in SVHN_NAMES}
    names = {normalised(name): name for name in SVHN_NAMES}
    return _candidates(
        standard, _likely_files(folder, SVHN_FOLDERS, lambda name: normalised(name) in names), lambda n: names.get(normalised(n))
    )


def _candidates(
    standard: Mapping[str, Path], likely: Iterator[Path], name_of: Callable[[str], str | None]
) -> dict[str, list[Path]]:
    """Returns the existing files by published name. `name_of` returns the published name for a file's name, or None."""
    candidates = {name: [path] for name, path in standard.items()}
    for path in likely:
        name = name_of(path.name)
        if name:
            candidates[name].append(path)
    return {name: [path for path in distinct(paths) if path.is_file()] for name, paths in candidates.items()}


def _likely_files(folder: Path, folders: Sequence[str], is_name: Callable[[str], bool]) -> Iterator[Path]:
    """Yields the files in the data folder, in folders there that have a data file's name, and in the dataset's `folders`."""
    paths = entries(folder)
    yield from (path for path in paths if path.is_file())
    for path in paths:
        if is_name(path.name):
            yield from files_below(path, 0)
        elif normalised(path.name) in folders:
            yield from files_below(path, DEPTH, _may_hold_mnist)


def _may_hold_mnist(name: str) -> bool:
    return not any(other in normalised(name) for other in OTHER_DATASETS)


def _is_mnist(name: str) -> bool:
    return MNIST_NAME.fullmatch(normalised(name)) is not None


def _mnist_name(name: str) -> str | None:
    """Returns the published name for a name such as `Train-Images.idx3-ubyte.gz`; None if it is no name of MNIST's."""
    parts = MNIST_NAME.fullmatch(normalised(name))
    return f"{PREFIXES.get(parts[1], parts[1])}-{parts[2]}-ubyte" if parts else None


def places_elsewhere(folder: Path, standard: Places, search: Callable[[Path], Candidates]) -> Places:
    """Returns the files that are read in place of missing standard ones, by their path under the data folder."""
    if all(
        path.is_file() for path in standard.values()
    ):  # no search then: every worker calls this, and a folder may hold many files
        return {}
    places = [paths[0] for paths in search(folder).values() if paths and paths[0] not in standard.values()]
    return {str(path.relative_to(folder)): path for path in places}


def what_is_there(folder: Path, candidates: Candidates, folders: Sequence[str]) -> str:
    """Returns, for a message, which names were expected and are missing, and which are there instead."""
    missing = ", ".join(name for name, paths in candidates.items() if not paths)
    dataset_folders = [path for path in entries(folder) if normalised(path.name) in folders and path.is_dir()]
    files = [str(path.relative_to(folder)) for below in dataset_folders for path in files_below(below, DEPTH)]
    return f"no file is named {missing}; {folder} has {first_few(files) if files else names_in(folder)}"


def remark_on(path: Path, name: str, digest: str) -> str:
    """Returns a remark on a file that is read as MNIST's `name`; empty if it is the published one.

    `digest` is the MD5 sum of its unpacked content. Raises DataError if that is the sum of another known file.
    """
    if digest == PUBLISHED[name]:
        return ""
    if digest in FASHION:
        raise DataError(f"{path}: Fashion-MNIST's {FASHION[digest]}; expected MNIST's {name}; put MNIST's files there")
    for other, published in PUBLISHED.items():
        if published == digest:
            raise DataError(f"{path}: holds MNIST's {other}; expected {name}; swap the names or download both again")
    return f"{path}: not the published {name} (MD5 {digest}, published {PUBLISHED[name]})"


def md5(content: bytes) -> str:
    """Returns the MD5 sum. It recognises known files, and is no protection against forged ones."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
