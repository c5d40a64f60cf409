"""The cluster files, by Ray's own loader and by what their commands do; and a sweep submitted as a job to a local cluster."""

import copy
import fnmatch
import importlib.util
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stores import free_ports

ROOT = Path(__file__).parents[2]
AWS, OWN = ROOT / "cluster.yaml", ROOT / "docs/own-machines/cluster.yaml"
COMMANDS = ("head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")

both = pytest.mark.parametrize("file", [AWS, OWN], ids=["aws", "own machines"])


def prepared(file: Path) -> dict[str, Any]:
    """The file as `ray up` sees it: with the defaults of Ray's wheel, checked against its schema."""
    # Private, because Ray offers no other check that does not start a cluster; constraints.txt pins Ray.
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = prepare_config(copy.deepcopy(yaml.safe_load(file.read_text(encoding="utf-8"))))
    validate_config(config)
    return config


def commands(config: dict[str, Any]) -> list[str]:
    """Every command that runs on some node."""
    return [command for key in ("initialization_commands", *COMMANDS) for command in config.get(key, [])]


@both
def test_ray_accepts_the_file(file: Path) -> None:
    """Ray's loader fills in its defaults, and its schema finds nothing wrong."""
    assert prepared(file)["cluster_synced_files"] == []


@both
def test_every_command_is_whole(file: Path) -> None:
    """Wrapped in parentheses, as Ray wraps it, each command still parses: none ends in a comment or an open quote."""
    for command in commands(prepared(file)):
        subprocess.run(["bash", "-n", "-c", f"export A=1 && ({command})"], check=True)


def test_what_is_to_fill_in_is_counted() -> None:
    """The places to fill in are numbered, and all are there."""
    found = re.findall(r"FILL IN (\d) of (\d)", AWS.read_text(encoding="utf-8"))
    assert sorted(found) == [(str(number), "4") for number in range(1, 5)]


def test_the_head_takes_no_trial() -> None:
    """A head offers no CPU, and no second node of its kind is started."""
    head = prepared(AWS)["available_node_types"]["head"]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert "--num-cpus=0 --num-gpus=0" in prepared(OWN)["head_start_ray_commands"][-1]


def test_workers_are_spot_instances_from_none_to_some() -> None:
    """GPU workers come from zero up to a limit, on the spot market, and go when idle."""
    config = prepared(AWS)
    workers = config["available_node_types"]["gpu"]
    assert workers["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert workers["min_workers"] == 0
    assert workers["max_workers"] == config["max_workers"] > 0
    assert workers["resources"]["GPU"] > 0
    assert 0 < config["idle_timeout_minutes"] <= 15
    assert config["provider"]["cache_stopped_nodes"] is False


def test_own_machines_all_start() -> None:
    """Every worker that is named is wanted, under the version of the autoscaler that counts them right."""
    config = prepared(OWN)
    (kind,) = config["available_node_types"].values()
    assert kind["min_workers"] == len(config["provider"]["worker_ips"])
    assert "RAY_enable_autoscaler_v2=0" in config["head_start_ray_commands"][-1]


def test_only_ssh_is_open() -> None:
    """The security group that Ray makes lets in the nodes themselves, and ssh."""
    pytest.importorskip("boto3", reason="needs the extra `cluster`")
    from ray.autoscaler._private.aws.config import _create_default_inbound_rules

    config = prepared(AWS)
    more = config["provider"].get("security_group", {}).get("IpPermissions", [])
    for rule in _create_default_inbound_rules(["sg-of-the-cluster"], more):
        inside = [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])] == ["sg-of-the-cluster"]
        assert inside or (rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) == (22, 22, "tcp")
    for kind in config["available_node_types"].values():
        assert not {"SecurityGroupIds", "NetworkInterfaces"} & set(kind["node_config"])


@both
def test_dashboard_and_mlflow_listen_on_loopback(file: Path) -> None:
    """Every host that a command binds to is 127.0.0.1, and both servers name theirs."""
    config = prepared(file)
    hosts = re.findall(r"--(?:dashboard-)?host[ =](\S+)", " ".join(commands(config)))
    assert hosts == ["127.0.0.1", "127.0.0.1"]
    assert "0.0.0.0" not in file.read_text(encoding="utf-8")


@both
def test_every_install_is_pinned(file: Path) -> None:
    """What pip installs comes at the versions of constraints.txt, never from an address, and Ray is among them."""
    installs = [command for command in commands(prepared(file)) if "pip install" in command]
    assert len(installs) == 2  # one a kind of node, and not one that Ray's defaults add
    assert all("-c ~/mopoe/constraints.txt" in command for command in installs)
    assert not any(re.search(r"https?:|\.whl", command) for command in installs)
    assert re.search(r"^ray==\d+\.\d+\.\d+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


@both
def test_every_node_asks_for_the_token(file: Path) -> None:
    """Each kind of node gets the token's file and the mode, and no file holds a token or a key."""
    config = prepared(file)
    assert "~/.ray/auth_token" in config["file_mounts"].values()
    for key in ("head_setup_commands", "worker_setup_commands"):
        assert any("export RAY_AUTH_MODE=token" in command for command in config[key])
    assert not re.search(r"RAY_AUTH_TOKEN=|AKIA|SECRET", file.read_text(encoding="utf-8"))


@both
def test_nothing_reports_home(file: Path) -> None:
    """Telemetry of Ray and MLflow is off on every node."""
    for key in ("head_setup_commands", "worker_setup_commands"):
        said = " ".join(prepared(file)[key])
        assert "RAY_USAGE_STATS_ENABLED=0" in said
        assert "MLFLOW_DISABLE_TELEMETRY=true" in said


@both
def test_the_whole_package_reaches_the_nodes(file: Path) -> None:
    """No pattern of what is left out meets a tracked file: `data` without a slash would take mopoe_core/data with it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert "mopoe_core/data/__init__.py" in listed
    for pattern in prepared(file)["rsync_exclude"]:
        for path in listed:
            parts = path.split("/")
            meets = parts[0] == pattern[1:] if pattern.startswith("/") else any(fnmatch.fnmatch(p, pattern) for p in parts)
            assert not meets, f"{pattern} leaves out {path}"


@both
def test_setting_up_twice_is_setting_up_once(file: Path, tmp_path: Path) -> None:
    """The environment is the same after a second `ray up`, and a login shell has it once."""
    config = prepared(file)
    setup = [command for command in config["head_setup_commands"] if not re.search(r"pip|venv ~", command)]
    assert len(setup) == 3

    def environment() -> str:
        for command in setup:
            _bash(command, tmp_path)
        return (tmp_path / ".mopoe-env").read_text() + (tmp_path / ".bashrc").read_text()

    once = environment()
    assert once.count("RAY_AUTH_MODE") == once.count("MLFLOW_TRACKING_URI") == once.count(". ~/.mopoe-env") == 1
    assert environment() == once


@both
def test_one_mlflow_server_however_often_it_is_started(file: Path, tmp_path: Path) -> None:
    """The second start finds the first server's lock and ends, and does not wait for it."""
    (start,) = [command for command in prepared(file)["head_start_ray_commands"] if "mlflow server" in command]
    stand_in = tmp_path / "bin/mlflow"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho $$ >> "$HOME/pids"\nexec sleep 60\n')
    stand_in.chmod(0o755)
    _bash(start, tmp_path)
    pids = tmp_path / "pids"
    _wait(lambda: pids.exists() and pids.read_text().endswith("\n"), 10)
    _bash(start, tmp_path)
    time.sleep(0.5)
    (pid,) = pids.read_text().split()
    os.kill(int(pid), 15)


def _bash(command: str, home: Path) -> None:
    env = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", f"({command})"], env=env, check=True, timeout=10, stderr=subprocess.DEVNULL)


def _wait(until: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@dataclass(frozen=True)
class Cluster:
    """A cluster of one node, and what a user of it has."""

    address: str
    env: dict[str, str]
    folder: Path

    def submit(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Submit the sweep, and wait for its end."""
        line = f"cd {ROOT} && exec {sys.executable} -m orchestrator sweep {self.folder}/tiny.yaml"
        command = [*_RAY, "job", "submit", "--address", self.address, "--submission-id", "tiny", "--", "bash", "-c", line]
        return subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=240)


_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
needs_ray_default = pytest.mark.skipif(importlib.util.find_spec("aiohttp_cors") is None, reason="needs the extra `cluster`")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head node with token authentication, on loopback, with ports, home and temporary folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="c-", dir="/tmp"))  # short, because Ray's sockets lie below it
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    own = {"HOME": str(folder), "RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | own
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    dashboard, *others = free_ports(4)
    names = ("ray-client-server-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    ports = [f"--{name}={port}" for name, port in zip(names, others, strict=True)]
    start = [*_RAY, "start", "--head", "--block", "--port=0", "--num-cpus=1", "--node-ip-address=127.0.0.1", *ports]
    start += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    _write_sweep(folder)
    address = f"http://127.0.0.1:{dashboard}"
    with (folder / "start.log").open("w") as log:
        head = subprocess.Popen(start, env=env, stdout=log, stderr=log)
        try:
            _wait(lambda: _status(f"{address}/api/version", token.read_text()) == 200, 90)
            yield Cluster(address, env, folder)
        finally:
            head.terminate()  # with --block it ends what it started; `ray stop` would end every Ray of this machine
            head.wait(60)
            _end_what_is_left(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _write_sweep(folder: Path) -> None:
    base = {"dataset": "examples/tabular.py:tumours", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    goals = [{"metric": metric, "goal": "max"} for metric in ("coherence/given_1", "log_likelihood/joint")]
    places = {"storage": str(folder / "runs"), "resources": {"cpu": 1, "data": str(folder / "data")}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "base": base, "seeds": 1, "objectives": goals, **places}))


def _status(url: str, token: str = "", body: bytes | None = None) -> int:
    """The HTTP status of a request; 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def _end_what_is_left(folder: Path) -> None:
    """End the processes that name the cluster's folder, and no others."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), 9)
        except OSError:
            continue


@needs_ray_default
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_without_the_token_is_refused(cluster: Cluster) -> None:
    """Neither a bare request nor Ray's own client gets a job in without the token, or with another."""
    body = json.dumps({"entrypoint": "true"}).encode()
    assert _status(f"{cluster.address}/api/jobs/", body=body) == 401
    assert _status(f"{cluster.address}/api/jobs/", "0" * 64, body) == 403
    refused = cluster.submit(RAY_AUTH_MODE="disabled")
    assert refused.returncode != 0
    assert "Unauthorized" in refused.stdout + refused.stderr


@needs_ray_default
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_submitted_as_a_job_completes(cluster: Cluster) -> None:
    """The sweep command runs on the cluster as it does at home, and its trial is in the ledger."""
    job = cluster.submit()
    assert job.returncode == 0, job.stdout + job.stderr
    assert "1 completed of 1 trials" in job.stdout
    assert "'tiny' succeeded" in job.stdout
    assert len(list((cluster.folder / "runs").rglob("attempts/*.json"))) == 1


@needs_ray_default
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_submission_cannot_be_made_twice(cluster: Cluster) -> None:
    """A second submission with the same id is refused, so that a nervous user starts no second driver."""
    if not (cluster.folder / "runs").exists():
        cluster.submit()
    again = cluster.submit()
    assert again.returncode != 0
    assert "already exists" in again.stdout + again.stderr
