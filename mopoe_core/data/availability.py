"""Whether a dataset can be had: its original files are where they are looked for, or it was built before. Nothing is read or built."""

import tempfile
from pathlib import Path

from mopoe_core.data.cards import is_own
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.errors import DataError
from mopoe_core.storage.folders import nearest_there


def check_available(key: DataKey, folder: Path) -> None:
    """Raises DataError where the original files of a dataset are not under `folder`, or where it cannot be built there.

    MNIST and SVHN are fetched when they are needed, so their files need not be there. A user's own dataset is built in memory.
    """
    if is_own(key.dataset):
        return
    nearest = check_folder(folder)
    try:
        if key.source == "original":
            _check_original(key.dataset, folder)
        if why := _why_not_writable(nearest):
            raise DataError(
                f"{folder}: {key.dataset} cannot be built there ({why}); name another folder (--data, resources.data)"
            )
    except DataError:
        from mopoe_core.data.dataset_cache import kept  # numpy, which most plans do without

        if not kept(folder, key.dataset, key.source):
            raise


def check_folder(folder: Path) -> Path:
    """Returns the folder of datasets, or the nearest one above it that is there. Raises DataError where that is a file."""
    nearest = nearest_there(folder.absolute())
    if not nearest.is_dir():
        raise DataError(f"{nearest}: is no folder, and data are kept in one; name a folder (--data, resources.data)")
    return nearest


def _check_original(dataset: str, folder: Path) -> None:
    if dataset == "polymnist":
        from mopoe_core.data.polymnist import polymnist_layouts

        polymnist_layouts.find(folder)
    elif dataset == "celeba":
        from mopoe_core.data.celeba import celeba_layouts

        celeba_layouts.check_there(folder)


def _why_not_writable(folder: Path) -> str:
    """Returns why no file can be made in a folder; empty where one can. The file has no name, so that nothing is left of it."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
