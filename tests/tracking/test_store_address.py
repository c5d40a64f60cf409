"""MLFLOW_TRACKING_URI is refused where the installed MLflow has no store for it, and taken wherever it has one."""

import mlflow
import pytest
import yaml
from mlflow.tracking._tracking_service import utils

from mopoe_core.errors import UserError
from orchestrator.tracking.mlflow import store_address, ui
from tests.support.commands import typed_here
from tests.support.naming import unnamed

NEVER = {
    "localhost:5000": ["localhost:5000", "http://localhost:5000?"],
    "127.0.0.1:5000": ["127.0.0.1:5000", "http://127.0.0.1:5000?"],
    "./mlruns": ["./mlruns", "folder"],
    "file:///tmp/mlruns": ["file:///tmp/mlruns", "folder"],
    "htp://x": ["htp://x", "'http'"],
    "postgres://me:SECRET@host/db": ["postgres://", "'postgresql'"],
    "http:///x": ["http:///x"],
    "sqlite:mlflow.db": ["sqlite:mlflow.db"],
    "uc": ["uc"],
}


@pytest.fixture
def raw(tmp_path):
    """A sweep file of one small trial."""
    base = {"dataset": "mnist_svhn_text", "scale": "smoke", "model": "mopoe"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "storage": "runs", "base": base}))
    return tmp_path / "s.yaml"


@pytest.mark.parametrize("uri", NEVER)
@pytest.mark.parametrize("command", [["plan"], ["sweep", "--yes"]])
def test_an_address_that_can_never_work_is_refused_before_a_worker_starts(raw, uri, command):
    """One line names the variable, its value without secrets, what is allowed, and the address that was meant. Nothing is written."""
    done = typed_here(command[0], raw, *command[1:], folder=raw.parent, MLFLOW_TRACKING_URI=uri)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert line.startswith("error: MLFLOW_TRACKING_URI: ")
    assert not unnamed(line, *NEVER[uri], "sqlite:///FILE")
    assert "SECRET" not in line
    assert {path.name for path in raw.parent.iterdir()} == {"s.yaml"}


@pytest.mark.parametrize("command", ["track", "ui"])
def test_commands_that_write_or_show_runs_refuse_it_too(raw, command, monkeypatch):
    """They exit with code 2 and name the variable."""
    monkeypatch.setattr(ui, "become", lambda *arguments: None)
    (raw.parent / "runs").mkdir()
    done = typed_here(command, raw, folder=raw.parent, MLFLOW_TRACKING_URI="localhost:5000")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: MLFLOW_TRACKING_URI: ")


def has_store(uri):
    """Whether the installed MLflow finds a class of store for an address and does not refuse it by name."""
    try:
        builder = utils._tracking_store_registry.get_store_builder(uri)
    except mlflow.MlflowException:
        return False
    return builder not in (utils._get_databricks_uc_rest_store, utils._get_file_store)


@pytest.mark.parametrize("scheme", sorted({*utils._tracking_store_registry._registry, "htp", "mysql+pymysql", "a+b", "x"}))
@pytest.mark.parametrize("rest", ["://host/db", "://me:word@host:1/db", "://[::1]:5000"])
def test_exactly_what_mlflow_has_a_store_for_is_taken(scheme, rest, tmp_path, monkeypatch):
    """Compared with the installed MLflow's own table of stores; a folder is taken only if MLflow is told to take folders."""
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    uri = f"{scheme}{rest}" if scheme else str(tmp_path)
    try:
        store_address.check_address(uri, tmp_path)
    except UserError:
        assert not has_store(uri)
    else:
        assert has_store(uri)


def test_a_folder_is_taken_if_mlflow_is_told_to(tmp_path, monkeypatch):
    """MLFLOW_ALLOW_FILE_STORE is a variable of MLflow. Its own client then opens the folder."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store_address.check_address(str(tmp_path / "mlruns"), tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(UserError):
        store_address.check_address(str(tmp_path / "mlruns"), tmp_path)
    with pytest.raises(mlflow.MlflowException):
        mlflow.MlflowClient(str(tmp_path / "mlruns")).search_experiments()
