"""Starts MLflow's UI on the sweep's store: on loopback, with one process, without background jobs and telemetry."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mopoe_core.errors import UserError
from mopoe_core.storage.uri_secrets import masked
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import sqlite_file

HOST = "127.0.0.1"
PORT = 5000
"""The default port, which is MLflow's. The report's links use it."""
WORKFLOW = "machine_learning"
"""The `workflowType` in an address. Without it, a browser that opens MLflow for the first time shows the menu for language models."""
STORE = "MLFLOW_BACKEND_STORE_URI"
"""The environment variable from which MLflow's server takes its store."""
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def address(port: int) -> str:
    """Returns the UI's address. Raises UserError if the port is not available."""
    if not 1 <= port <= 65535:
        raise UserError(f"--port: {port} is no port; allowed: 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # otherwise a UI that has just ended would block the port
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port: {port} cannot be had ({error.strerror}); name another with --port") from None
    return f"http://{HOST}:{port}"


def check_store(uri: str, again: str) -> None:
    """Raise UserError if there is no store that the UI could show. `again` is the command that writes the store."""
    if uri.startswith(("http://", "https://")):
        raise UserError(
            f"MLFLOW_TRACKING_URI: {masked(uri)} is a server, which has its own UI; open that address, or unset the variable"
        )
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise UserError(f"MLflow: {file} is not there; `{again}` writes it")


def sweep_page(server: str, uri: str, spec: SweepSpec, storage_id: str) -> str:
    """Returns the address of the sweep's runs in the UI at `server`; `server` itself if the store cannot be read: the UI will say why."""
    from orchestrator.tracking.mlflow.client import open_client  # imports MLflow, for seconds
    from orchestrator.tracking.mlflow.runs_page import show

    try:
        return show(open_client(uri), server, spec, storage_id)
    except Exception:  # whatever a store raises
        return server


def words(port: int) -> list[str]:
    """Returns the command line: the `mlflow` of this environment, with its arguments.

    The host is an argument, because otherwise MLFLOW_HOST would set it. The store is not: its URI may have a password, and every user of
    the machine can read the arguments of every process.
    """
    program = str(Path(sys.executable).with_name("mlflow"))
    return [program, "ui", "--host", HOST, "--port", str(port), "--workers", "1"]


def become(uri: str, port: int, environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the UI, so that Ctrl-C reaches the UI."""
    command = words(port)
    os.execve(command[0], command, {**environment, **QUIET, STORE: uri})
