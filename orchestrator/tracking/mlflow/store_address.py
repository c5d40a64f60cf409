"""Reads the address of an MLflow store. Imports MLflow only for a folder, which some versions of it take and others do not."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from mopoe_core.errors import UserError
from mopoe_core.spelling import nearest
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath, local_counterpart
from mopoe_core.storage.uri_secrets import masked
from orchestrator.tracking import tracking_uri

SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "sqlite", "mssql")
"""Schemes of databases; a driver may follow, as in `mysql+pymysql`."""
OTHERS = ("databricks",)
"""Schemes that may also stand alone."""
ALLOWED = (
    "allowed: http://HOST:PORT of a server, sqlite:///FILE, or the address of another database; correct it, or unset the variable"
)


def default_uri(storage: AnyPath) -> str:
    """Returns MLFLOW_TRACKING_URI if it is set; else a SQLite file in the storage, or in its local folder if it is remote."""
    return tracking_uri.named() or f"sqlite:///{local_counterpart(storage).absolute() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """Returns the file of a SQLite store; None for any other store."""
    return LocalPath(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def check_address(uri: str, storage: AnyPath) -> None:
    """Raise UserError if MLflow has no kind of store with such an address, or if the folder of a SQLite store is missing.

    A folder in the storage may be missing, because a sweep makes it.
    """
    scheme = _scheme(uri)
    if scheme in ("", "file"):
        if not _takes_folders():
            suggestion = _meant_server(uri) or " is a folder, in which this MLflow keeps no runs"
            raise UserError(f"MLFLOW_TRACKING_URI: {masked(uri)!r}{suggestion}; {ALLOWED}")
    elif not _has_store(uri, scheme):
        suggestion = _meant_server(uri) or f" is no address of a store{nearest(scheme, [*SERVERS, *DATABASES, *OTHERS])}"
        raise UserError(f"MLFLOW_TRACKING_URI: {masked(uri)!r}{suggestion}; {ALLOWED}")
    _check_folder(uri, storage)


def _scheme(uri: str) -> str:
    """Returns what stands before the first colon, in small letters; empty for a folder's path, as MLflow reads it."""
    if uri in OTHERS:
        return uri
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:  # an unclosed bracket in the host
        return uri.partition(":")[0].lower()
    return scheme if len(scheme) > 1 else ""


def _has_store(uri: str, scheme: str) -> bool:
    """Whether MLflow, or a package that adds to it, has a store for an address with this scheme."""
    engine, *drivers = scheme.split("+")
    if scheme in SERVERS or engine in DATABASES:
        return "://" in uri and len(drivers) <= 1 and not (scheme in SERVERS and not re.match(r"\w+://[^/]", uri))
    return scheme in OTHERS or scheme in entry_points(group="mlflow.tracking_store").names


def _meant_server(uri: str) -> str:
    """Returns the question whether a server is meant, if an address is HOST:PORT with an optional path; else empty."""
    return f" is no address (did you mean http://{uri}?)" if re.fullmatch(r"[\w.-]+:\d{1,5}(/.*)?", uri) else ""


def _takes_folders() -> bool:
    """Whether the installed MLflow keeps runs in a folder: earlier versions do, later ones only with MLFLOW_ALLOW_FILE_STORE."""
    from orchestrator.tracking.mlflow import client  # noqa: F401  sets what MLflow reads when it is imported
    from mlflow import environment_variables  # isort: skip

    switch = getattr(environment_variables, "MLFLOW_ALLOW_FILE_STORE", None)
    try:
        return switch is None or bool(switch.get())
    except ValueError:  # neither true nor false
        return False


def _check_folder(uri: str, storage: AnyPath) -> None:
    """Raise UserError if the folder of a SQLite store is missing."""
    file = sqlite_file(uri)
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir() and not folder.is_relative_to(local_counterpart(storage).absolute()):
        raise UserError(
            f"MLFLOW_TRACKING_URI: {uri}: the folder {folder} is not there; allowed: a file in a folder that is there; "
            "make the folder, name another file, or unset the variable"
        )
