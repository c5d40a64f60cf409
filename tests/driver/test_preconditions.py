"""`plan` and `sweep` check what a sweep needs: each unmet need is one line with exit code 2, and no file is left behind."""

import os

import pytest
import torch
import yaml

from mopoe_core.data.own import user_data
from mopoe_core.errors import DataError
from orchestrator.driver import preconditions
from orchestrator.execution import gpus
from orchestrator.execution import plan as planning
from orchestrator.execution.estimates import Estimate
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.commands import typed_here
from tests.support.naming import unnamed

MST = {"dataset": "mnist_svhn_text", "scale": "smoke", "model": "mopoe"}


@pytest.fixture(autouse=True)
def no_gpu_and_no_cluster(monkeypatch):
    """Makes the tests' machine one without GPU and cluster."""
    monkeypatch.setattr(gpus, "usable", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def refused(folder, raw, command, *words):
    """Returns the error lines, without `error: `, of a command that shows the plan, exits with code 2, and leaves no file behind."""
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "storage": str(folder / "runs")} | raw))
    before = set(folder.iterdir())
    done = typed_here(command, path, *words, folder=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "  new " in done.stdout
    assert set(folder.iterdir()) - before <= {folder / "__pycache__"}  # of a dataset of the user's own
    return [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]


MISSING = {
    "a GPU": ({"base": MST, "resources": {"gpu": 1}}, ["resources.gpu", 1, 0, "cpu_will_do"]),
    "a GPU for TF32": ({"base": MST | {"precision": "tf32"}}, ["precision", "tf32", "resources.gpu", 0, "bf16"]),
    "CPUs": ({"base": MST, "resources": {"cpu": 999}}, ["resources.cpu", 999]),
    "CelebA": ({"base": {"dataset": "celeba", "scale": "paper", "model": "mopoe"}}, ["celeba", "list_attr_celeba.txt"]),
    "PolyMNIST": ({"base": {"dataset": "polymnist", "scale": "paper", "model": "mopoe"}}, ["polymnist", "m0"]),
    "a storage that takes files": ({"base": MST, "storage": "/proc/none/runs"}, ["storage", "/proc/none/runs"]),
    "a folder that data can be built in": (
        {"base": MST, "resources": {"data": "/proc/none/data"}},
        ["mnist_svhn_text", "/proc/none/data", "resources.data"],
    ),
    "a folder of data": ({"base": MST, "resources": {"data": "s.yaml"}}, ["s.yaml", "resources.data"]),
}


def test_a_search_over_many_choices_has_a_plan_within_seconds(tmp_path):
    """14,641 combinations of choices are too many to check each. `plan` checks some thousands of them and exits with code 0."""
    space = {"beta": list(range(1, 12)), "latent_dim": list(range(2, 13)), "batch_size": list(range(20, 31))}
    space["epochs"] = list(range(5, 16))
    path = tmp_path / "s.yaml"
    base = {"dataset": "mnist_svhn_text", "source": "embedded", "networks": "small", "model": "mopoe"}
    raw = {"name": "s", "storage": str(tmp_path / "runs"), "base": base, "search": {"space": space, "cells": 3}}
    path.write_text(yaml.safe_dump(raw))
    done = typed_here("plan", path, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(preconditions._corners(parse(raw)))) == 4096


@pytest.mark.parametrize("name", ["a GPU", "CPUs", "CelebA"])
def test_ray_on_this_machine_by_name_is_no_cluster(tmp_path, name, monkeypatch):
    """With `RAY_ADDRESS=local` a sweep runs here. What this machine lacks is named as it is without the variable."""
    raw, _ = MISSING[name]
    without = refused(tmp_path, raw, "plan")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert refused(tmp_path, raw, "plan") == without


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_one_line(tmp_path, name, command):
    """Either command names the field or file, and the remedy."""
    raw, words = MISSING[name]
    (line,) = refused(tmp_path, raw, command, *(["--yes"] if command == "sweep" else []))
    assert not unnamed(line, *words)


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    """There is one line for each."""
    raw = {
        "base": {"dataset": "celeba", "scale": "paper", "model": "mopoe"},
        "resources": {"gpu": 1},
        "storage": "/proc/none/runs",
    }
    assert len(refused(tmp_path, raw, "plan")) == 3


def test_a_dataset_that_was_built_needs_no_original_files(tmp_path):
    """A worker needs no original files either: the plan is made and nothing is refused."""
    built = tmp_path / "data" / "built" / "celeba-original-0123abcd"
    built.mkdir(parents=True)
    (built / "manifest.json").touch()
    raw = {"name": "s", "base": {"dataset": "celeba", "scale": "paper", "model": "mopoe"}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(raw))
    done = typed_here("plan", "s.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_plan_with_nothing_to_run_asks_for_nothing(tmp_path, monkeypatch):
    """The sweep has ended, and its storage is read-only."""
    monkeypatch.setattr("orchestrator.driver.preconditions.check", None)
    monkeypatch.setattr(planning, "make", lambda *a, **k: planning.Plan((), (), (), {}, Estimate({}, 0, {}, ())))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": MST}))
    assert typed_here("plan", "s.yaml", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("files", "variable", "expected"),
    [
        ([], None, 0),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, 2),
        (["nvidia0", "nvidia1"], "1", 1),
        (["nvidia0", "nvidia1"], "", 0),
        (["nvidia0"], "0,1,2", 1),
        (["kfd"], None, None),
        (["dxg"], None, None),
    ],
)
def test_gpus_are_counted_by_their_device_files(tmp_path, monkeypatch, files, variable, expected):
    """Only those in CUDA_VISIBLE_DEVICES count; None if GPUs are named in a way that cannot be counted."""
    monkeypatch.undo()
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert gpus.usable() == expected


# Networks of the user's own

OWN = """
import numpy as np
import torch
from torch import nn
from mopoe_core.data.own import OwnDataset, OwnModality

class Net(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.latent, self.layer, self.made = latent, nn.Linear(3, 2 * latent), %(made)s
    def forward(self, x):
        %(encoder)s

class Back(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.layer = nn.Linear(latent, 3)
    def forward(self, z):
        %(decoder)s

def made():
    labels = np.arange(100) %% 2
    x, y = np.random.default_rng(0).normal(size=(2, 100, 3))
    return OwnDataset((OwnModality("a", "vector", x, y, encoder=Net, decoder=Back), OwnModality("b", "vector", x, y)), labels, labels)
"""
FINE = {"made": None, "encoder": "return self.layer(x).chunk(2, -1)", "decoder": "return self.layer(z)"}
BASE = {"dataset": "own.py:made", "model": "mopoe", "latent_dim": 4, "batch_size": 50}


@pytest.fixture
def own(tmp_path):
    """Writes a dataset with these two bodies of `forward`; returns the folder."""

    def write(**bodies):
        (tmp_path / "own.py").write_text(OWN % (FINE | bodies))
        user_data.forget()
        return tmp_path

    yield write
    user_data.forget()


WRONG = {
    "too few means": ({"encoder": "return self.layer(x)[:, :3], self.layer(x)[:, :4]"}, ["encoder", "(2, 3)", "(2, 4)"]),
    "no pair": ({"encoder": "return self.layer(x)"}, ["encoder", "(2, 8)", "(2, 4)"]),
    "three": ({"encoder": "return self.layer(x), 1, 2"}, ["encoder", "(2, 8)", "int", "(2, 4)"]),
    "nothing": ({"encoder": "pass"}, ["encoder", "NoneType", "(2, 4)"]),
    "whole numbers": ({"encoder": "return [part.long() for part in self.layer(x).chunk(2, -1)]"}, ["encoder", "int64"]),
    "a dictionary": ({"encoder": "return dict(mu=x, logvar=x)"}, ["encoder", "dict", "(2, 4)"]),
    "too many numbers": ({"decoder": "return torch.cat([self.layer(z), z], 1)"}, ["decoder", "(2, 7)", "(2, 3)"]),
    "another axis": ({"decoder": "return self.layer(z)[:, None]"}, ["decoder", "(2, 1, 3)", "(2, 3)"]),
    "a pair": ({"decoder": "return self.layer(z), z"}, ["decoder", "tuple", "(2, 3)"]),
    "its own error": (
        {"encoder": "raise ZeroDivisionError('by design')"},
        ["encoder", "own.py:12", "ZeroDivisionError", "by design"],
    ),
    "torch's error": ({"decoder": "return self.layer(z[:, 1:])"}, ["decoder", "own.py:19", "RuntimeError", "2x3"]),
    "an input that is changed": (
        {"encoder": "x -= 3; return self.layer(x).chunk(2, -1)"},
        ["encoder", "in place", "inplace=False"],
    ),
    "a latent that is changed": ({"decoder": "return self.layer(torch.relu_(z.view(len(z), -1)))"}, ["decoder", "in place"]),
    "an input changed behind autograd's back": (
        {"encoder": "x.data.mul_(2); return self.layer(x).chunk(2, -1)"},
        ["encoder", "in place"],
    ),
}


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("name", WRONG)
def test_a_network_that_does_not_fit_is_one_line(own, name, command):
    """The line has the modality, the network, its shape and the needed shape; for an exception, file and line."""
    bodies, words = WRONG[name]
    (line,) = refused(own(**bodies), {"base": BASE}, command)
    assert not unnamed(line, "own.py:made", ": a: ", *words)


IN_EVALUATION = {
    "dropout that stays on": ("None", "x = F.dropout(x, 0.1)", "F.dropout(x, p, self.training)"),
    "noise of numpy": ("None", "x = x + np.random.normal()", "random"),
    "batch statistics": ("nn.BatchNorm1d(3, track_running_stats=False)", "x = self.made(x)", "track_running_stats=True"),
    "a layer made in forward": ("None", "x = nn.BatchNorm1d(3)(x)", "track_running_stats=True"),
    "a mean over the batch": ("None", "x = x - x.mean(0)", "in a batch than alone"),
    "dropout that is turned off": ("nn.Dropout(0.5)", "x = F.dropout(self.made(x), 0.5, self.training)", ""),
    "running statistics": ("nn.BatchNorm1d(3)", "x = self.made(x)", ""),
    "a mean over the batch in training": ("None", "x = x - x.mean(0) * self.training", ""),
    "an example's own statistics": ("nn.LayerNorm(3)", "x = self.made(x)", ""),
}


@pytest.mark.parametrize("name", IN_EVALUATION)
def test_a_network_that_is_random_or_mixes_examples_in_evaluation_is_refused(own, name):
    """Metrics would be random, or would depend on which examples meet in a batch. In training both are accepted."""
    made, change, words = IN_EVALUATION[name]
    folder = own(made=made, encoder=f"import torch.nn.functional as F; {change}; return self.layer(x).chunk(2, -1)")
    if words:
        with pytest.raises(DataError) as error:
            user_data.check_networks(str(folder / "own.py:made"), [4])
        (line,) = str(error.value).splitlines()
        assert not unnamed(line, "own.py:made", ": a: ", "encoder(4)", "evaluation mode", words)
    else:
        user_data.check_networks(str(folder / "own.py:made"), [4])


SHARED = OWN.replace("class Net", "SHARED = nn.{made}\n\nclass Net").replace("nn.Linear(3, 2 * latent)", "nn.Sequential({used})")


@pytest.mark.parametrize(
    ("made", "used", "named"),
    [
        ("Linear(3, 8)", "SHARED", "layer.0.weight"),
        ("Linear(3, 8)", "__import__('copy').deepcopy(SHARED)", ""),
        ("Linear(3, 8).requires_grad_(False)", "SHARED", ""),
        ("BatchNorm1d(3, affine=False)", "SHARED, nn.Linear(3, 8)", "layer.0.running_mean"),
    ],
    ids=["a layer", "a copy", "a frozen layer", "running statistics"],
)
def test_a_layer_that_trials_would_share_is_refused(own, made, used, named):
    """Of a layer made once for all trials, each would change what another trains. A copy for each trial, or a layer that nothing changes,
    is accepted."""
    folder = own()
    (folder / "own.py").write_text(SHARED.format(made=made, used=used) % FINE)
    user_data.forget()
    if named:
        (line,) = refused(folder, {"base": BASE}, "plan")
        assert not unnamed(line, "own.py:made", ": a: ", "encoder", named, "copy.deepcopy")
    else:
        user_data.check_networks(str(folder / "own.py:made"), [4])


def test_batches_of_one_example_are_tried_before_training(own):
    """Batch norm refuses a single example. With batches of two nothing is refused."""
    folder = own(made="nn.BatchNorm1d(3)", encoder="return self.made(x)[:, :1].repeat(1, 4), self.layer(x)[:, :4]")
    (line,) = refused(folder, {"base": {**BASE, "batch_size": 1}}, "plan")
    assert not unnamed(line, ": a: ", "encoder", "1 example,")
    user_data.check_networks(str(folder / "own.py:made"), [4], smallest_batch=2)


@pytest.mark.parametrize(
    "varied", [{"base": BASE | {"likelihood": "normal"}}, {"base": BASE, "grid": {"likelihood": ["laplace", "bernoulli"]}}]
)
def test_a_likelihood_that_no_modality_takes_is_refused(own, varied):
    """Vectors have their own likelihood; cells that differ in the field alone would be one cell twice."""
    (line,) = refused(own(), varied, "plan")
    assert not unnamed(line, "likelihood", "own.py:made", "OwnModality")


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("own.py", OWN % FINE + "\nraise ZeroDivisionError('by design')\n", "own.py:26"),
        ("own.py", OWN % FINE + "\ndef made():\n    raise ZeroDivisionError('by design')\n", "own.py:27"),
        ("own.py", (OWN % FINE).replace("= latent, nn", "= latent // 0, nn", 1), "own.py:10"),
        ("helpers.py", "def help():\n    raise ZeroDivisionError('by design')\n", "helpers.py:2"),
    ],
    ids=["module", "function", "constructor", "module beside it"],
)
def test_an_error_of_the_users_own_code_says_its_file_and_line(own, name, text, place):
    """The error was raised in the dataset's file, or in one beside it."""
    folder = own()
    (folder / name).write_text(text)
    if name == "helpers.py":
        (folder / "own.py").write_text("import helpers\nhelpers.help()\n")
    user_data.forget()
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "base": BASE}))
    done = typed_here("plan", path, folder=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert not unnamed(line, place, "ZeroDivisionError")


def test_each_network_that_does_not_fit_is_said(own):
    """There is one line for each."""
    folder = own(encoder="return x", decoder="return z")
    first, second = refused(folder, {"base": BASE}, "plan")
    assert "encoder(4)" in first
    assert "decoder(4)" in second


@pytest.mark.parametrize(
    "bodies",
    [
        {},
        {"encoder": "return self.layer(x).chunk(2, -1)[0] * float('nan'), self.layer(x).chunk(2, -1)[1]"},
        {"encoder": "return list(self.layer(x).chunk(2, -1))"},
        {"encoder": "return torch.stack(self.layer(x).chunk(2, -1))"},
    ],
    ids=["a tuple", "NaN", "a list", "one stacked tensor"],
)
def test_what_training_can_use_is_not_refused(own, bodies):
    """The plan is the usual one, and the state of the global random generator does not change."""
    folder = own(**bodies)
    (folder / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": BASE}))
    before = torch.get_rng_state()
    done = typed_here("plan", "s.yaml", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("space", "sampler", "latent"),
    [
        ({"latent_dim": {"low": 2, "high": 9}}, "tpe", 9),
        ({"latent_dim": [3, 6, 9]}, "tpe", 6),
        ({"latent_dim": {"low": 2, "high": 10, "step": 3}}, "tpe", 8),
        ({"latent_dim": {"low": 2, "high": 10, "points": 3}}, "grid", 6),
    ],
    ids=["the largest", "a choice", "the last step", "a grid's point"],
)
def test_a_search_is_tried_at_its_ends_and_at_each_value_of_a_grid(own, space, sampler, latent):
    """The network fails for one number of latent dimensions only."""
    folder = own(encoder=f"return self.layer(x).chunk(2 + (self.latent == {latent}), -1)")
    search = {"space": space | {"beta": {"low": 1, "high": 2, "points": 2}}, "sampler": sampler, "cells": 3}
    base = {key: value for key, value in BASE.items() if key != "latent_dim"}
    (line,) = refused(folder, {"base": base, "search": search, "seeds": 1}, "plan")
    assert not unnamed(line, f"encoder({latent})")


def test_what_was_tried_in_training_is_not_tried_again(own):
    """A sweep that failed in part can still be run. A new number of latent dimensions is checked."""
    folder = own(encoder="return x")
    raw = {"name": "s", "base": {k: v for k, v in BASE.items() if k != "latent_dim"}, "grid": {"latent_dim": [4]}, "seeds": 2}
    (folder / "s.yaml").write_text(yaml.safe_dump(raw))
    user_data.search_from(folder)
    try:
        first, _ = parse(raw).trials
    finally:
        user_data.search_from(type(folder)())
    ledger = Ledger(folder / "runs")
    ledger.begin(first)
    ledger.fail(first, "Traceback\n  somewhere\nValueError: no")
    assert typed_here("plan", "s.yaml", folder=folder).returncode == 0
    (line,) = refused(folder, raw | {"grid": {"latent_dim": [4, 6]}}, "plan")
    assert "encoder(6)" in line


def test_a_cluster_is_asked_and_not_this_machine(tmp_path, monkeypatch):
    """What its nodes have is known only when the cluster is there."""
    monkeypatch.setattr("orchestrator.driver.preconditions.ray_address.check_address", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    base = {"dataset": "celeba", "scale": "paper", "model": "mopoe"}  # whose files lie on the nodes
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": base, "resources": {"gpu": 8, "cpu": 999}}))
    assert typed_here("plan", "s.yaml", folder=tmp_path, RAY_ADDRESS=os.environ["RAY_ADDRESS"]).returncode == 0
