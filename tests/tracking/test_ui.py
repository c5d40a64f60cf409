"""`ui` starts MLflow's UI on the right store, for this machine only."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.tracking.mlflow import ui
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.support.listening import descendants, listeners
from tests.support.naming import unnamed
from tests.support.users import User, wait_for


@pytest.fixture
def path(tmp_path):
    """A sweep file whose storage does not exist yet."""
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "storage": str(tmp_path / "runs")}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "t.yaml"


def free_port():
    """Returns a port that no process uses."""
    with socket.socket() as probe:
        probe.bind((ui.HOST, 0))
        return probe.getsockname()[1]


def test_the_command_serves_that_store_on_loopback_with_one_process(monkeypatch):
    """Every argument is checked, and that the environment turns off MLflow's helpers and telemetry, whatever it had before."""
    ran = []
    monkeypatch.setattr(os, "execve", lambda *arguments: ran.append(arguments))
    ui.become("sqlite:////it's here/mlflow.db", 5001, {"HOME": "/me", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true"})
    ((program, words, environment),) = ran
    assert program == words[0] == os.path.join(os.path.dirname(sys.executable), "mlflow")
    assert words[1] == "ui"
    assert dict(zip(words[2::2], words[3::2], strict=True)) == {
        "--host": "127.0.0.1",
        "--port": "5001",
        "--workers": "1",
    }
    assert environment == {
        "HOME": "/me",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:////it's here/mlflow.db",
    }


SERVED = """
import mlflow.server, mlflow.server.handlers, sys
mlflow.server._run_server = lambda **settings: print([settings[name] for name in ("file_store_path", "host", "port", "workers")])
mlflow.server.handlers.initialize_backend_stores = lambda *arguments, **more: None
from mlflow.cli import cli
cli(sys.argv[1:], standalone_mode=False)
"""
"""MLflow's command line, with its server in place of which it says what it would serve."""


def test_mlflow_takes_the_store_from_the_environment(monkeypatch):
    """The installed MLflow serves the store that the variable names, with the arguments of `ui`. No argument has the password."""
    monkeypatch.setenv(ui.STORE, "postgresql://me:SECRET@host/db")
    words = ui.words(5001)[1:]
    done = subprocess.run([sys.executable, "-c", SERVED, *words], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "['postgresql://me:SECRET@host/db', '127.0.0.1', 5001, '1']", done.stderr
    assert not any("SECRET" in word for word in words)


def test_a_port_that_cannot_be_had_is_refused_in_one_line(path, types_here):
    """The port is in use, or the number is no port."""
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        for port, named in (
            (taken.getsockname()[1], ["Address already in use"]),
            (0, []),
            (65536, []),
        ):
            code, out, err = types_here("ui", path, "--port", port)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert err.startswith(f"error: --port: {port} ")
            assert not unnamed(err, *named)


def test_where_there_is_nothing_to_show_that_is_said_in_one_line(path, types_here, monkeypatch):
    """The store does not exist yet, or is a server with its own UI. The line has no password."""
    code, _, err = types_here("ui", path, "--port", free_port())
    assert (code, err.count("\n")) == (2, 1)
    assert not unnamed(err, f"mopoe sweep {path}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:SECRET@host:5000")
    code, _, err = types_here("ui", path, "--port", free_port())
    assert (code, err.count("\n")) == (2, 1)
    assert not unnamed(err, "host:5000")
    assert "SECRET" not in err


@pytest.mark.slow
def test_the_real_ui_answers_and_listens_on_loopback_alone(path, tmp_path):
    """The printed address shows the page. No other machine can reach it. It ends when it is told to."""
    (tmp_path / "runs").mkdir()
    MlflowClient(default_uri(tmp_path / "runs")).search_experiments()
    port = free_port()
    running = User(tmp_path, tmp_path / "runs", tmp_path).starts("ui", path, "--port", port)

    def answers():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as page:
                return page.status == 200
        except OSError:
            return False

    try:
        wait_for(answers)
        addresses = listeners(descendants({running.pid}))
        assert addresses
        arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants({running.pid})]
        assert not [line for line in arguments if b"mlflow.db" in line]
        assert all(listener.is_loopback for listener in addresses)
    finally:
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=60)
    assert out.startswith(f"t: http://127.0.0.1:{port}  ")
