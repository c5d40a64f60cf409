"""Checks whether a dataset can be loaded: its original files are there, or it was built before. Reads and builds nothing."""

import tempfile
from pathlib import Path

from mopoe_core.data.cards import is_own
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.errors import DataError
from mopoe_core.storage.folders import nearest_existing


def check_available(key: DataKey, folder: Path) -> None:
    """Raises DataError if the original files of a dataset are not under `folder`, or if it cannot be built there.

    MNIST and SVHN may be missing, because they are downloaded when they are needed. A user's own dataset is built in memory.
    """
    if is_own(key.dataset):
        return
    existing_folder = check_folder(folder)
    try:
        if key.source == "original":
            _check_original(key.dataset, folder)
        if reason := _why_not_writable(existing_folder):
            raise DataError(
                f"{folder}: {key.dataset} cannot be built there ({reason}); name another folder (--data, resources.data)"
            )
    except DataError:
        from mopoe_core.data.dataset_cache import complete_builds  # imports numpy, which most plans do not need

        if not complete_builds(folder, key.dataset, key.source):
            raise


def check_folder(folder: Path) -> Path:
    """Returns the folder of datasets, or the nearest one above it that exists. Raises DataError if that is a file."""
    existing = nearest_existing(folder.absolute())
    if not existing.is_dir():
        raise DataError(f"{existing}: is no folder, and data are kept in one; name a folder (--data, resources.data)")
    return existing


def _check_original(dataset: str, folder: Path) -> None:
    if dataset == "polymnist":
        from mopoe_core.data.polymnist import polymnist_layouts

        polymnist_layouts.find(folder)
    elif dataset == "celeba":
        from mopoe_core.data.celeba import celeba_layouts

        celeba_layouts.check_there(folder)


def _why_not_writable(folder: Path) -> str:
    """Returns why no file can be made in a folder; empty if one can. The test file has no name, so that nothing is left of it."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
