"""Opens MLflow's client with the settings that it needs, and makes its database."""

import logging
import os
import uuid

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault(
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"
)  # MLflow would repeat a create_run that succeeded, and make two runs
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # for a server that accepts and never answers; the default is 120
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # set_terminated reads the run again to print its address

from mlflow import MlflowClient

from mopoe_core.storage.whole_files import name_unless_taken, new_file
from orchestrator.tracking.mlflow.store_address import sqlite_file

for noisy in ("alembic", "mlflow"):
    logging.getLogger(noisy).setLevel(logging.ERROR)  # they announce each schema migration


def open_client(uri: str) -> MlflowClient:
    """Returns a client of the store; first makes the database of a SQLite store."""
    make_database(uri)
    return MlflowClient(tracking_uri=uri)


def make_database(uri: str) -> None:
    """Make the SQLite file if there is none, whole or not at all.

    MLflow makes a database in dozens of steps. If its process is killed in between, MLflow cannot open the file again.
    """
    path = sqlite_file(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    new_file(temporary)
    MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
    name_unless_taken(temporary, path)  # the driver of another storage may have made the file in the meantime
