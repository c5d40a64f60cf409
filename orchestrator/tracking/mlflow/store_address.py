"""What an address of an MLflow store says, without MLflow."""

from pathlib import Path

from mopoe_core.errors import UserError
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath, local_counterpart
from orchestrator.tracking import tracking_uri


def default_uri(storage: AnyPath) -> str:
    """MLFLOW_TRACKING_URI if it is set, else a SQLite file in or near storage (MLflow refuses its old file store)."""
    return tracking_uri.named() or f"sqlite:///{local_counterpart(storage).absolute() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store."""
    return LocalPath(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def check_folder(uri: str, storage: AnyPath) -> None:
    """Raise UserError where a SQLite store's folder is not there, unless it is in the storage: it may be where a moved storage was."""
    file = sqlite_file(uri)
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir() and not folder.is_relative_to(local_counterpart(storage).absolute()):
        raise UserError(
            f"MLFLOW_TRACKING_URI: {uri}: the folder {folder} is not there; allowed: a file in a folder that is there; "
            "make the folder, name another file, or unset the variable"
        )
