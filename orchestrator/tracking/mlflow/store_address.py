"""Reads the address of an MLflow store, without importing MLflow."""

from pathlib import Path

from mopoe_core.errors import UserError
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath, local_counterpart
from orchestrator.tracking import tracking_uri


def default_uri(storage: AnyPath) -> str:
    """Returns MLFLOW_TRACKING_URI if it is set; else a SQLite file in the storage, or in its local folder if it is remote."""
    return tracking_uri.named() or f"sqlite:///{local_counterpart(storage).absolute() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """Returns the file of a SQLite store; None for any other store."""
    return LocalPath(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def check_folder(uri: str, storage: AnyPath) -> None:
    """Raise UserError if the folder of a SQLite store is missing. A folder in the storage may be missing, because a sweep makes it."""
    file = sqlite_file(uri)
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir() and not folder.is_relative_to(local_counterpart(storage).absolute()):
        raise UserError(
            f"MLFLOW_TRACKING_URI: {uri}: the folder {folder} is not there; allowed: a file in a folder that is there; "
            "make the folder, name another file, or unset the variable"
        )
