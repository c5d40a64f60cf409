"""`init` writes sweep files that can be used unchanged."""

import json
from contextlib import suppress

import pytest
import yaml

from orchestrator.errors import SpecError
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import load, parse
from tests.support.commands import typed_here
from tests.support.naming import counts, unnamed


@pytest.mark.parametrize("dataset", ["mnist_svhn_text", "polymnist", "celeba"])
@pytest.mark.parametrize("purpose", ["grid", "search"])
def test_a_file_for_each_dataset_is_accepted(tmp_path, purpose, dataset):
    """The file is for that dataset, named like the file, compares models and betas, and has a comment on most lines."""
    file = tmp_path / "my-first.yaml"
    assert typed_here("init", "my-first.yaml", "--purpose", purpose, "--dataset", dataset, folder=tmp_path).returncode == 0
    spec = load(file)
    assert spec.name == "my_first"
    assert spec.base["dataset"] == dataset
    assert (spec.search is not None) == (purpose == "search")
    if purpose == "grid":
        assert {trial.config.dataset for trial in spec.trials} == {dataset}
        assert len({(trial.config.model, trial.config.beta) for trial in spec.trials}) == 12
    assert "@" not in file.read_text()


def test_a_sweep_on_own_data_runs_as_it_is_written(tmp_path, undrawn, monkeypatch):
    """The sweep is shortened to two epochs of one model, and runs with the Python file beside it. Its trials have exactly the metrics
    that `metrics` lists, and the objectives are among them.
    """
    assert typed_here("init", "mine.yaml", "--purpose", "own", folder=tmp_path).returncode == 0
    file = tmp_path / "mine.yaml"
    text = file.read_text()
    for was, now in {"epochs: 50": "epochs: 2", "[mvae, mmvae, mopoe]": "[mopoe]", "beta: [0.1, 1]": "beta: [1]"}.items():
        assert was in text
        text = text.replace(was, now)
    file.write_text(text)
    done = typed_here("sweep", "mine.yaml", folder=tmp_path)
    assert (done.returncode, counts(done.stdout)) == (0, {"completed": 3}), done.stderr
    listed = json.loads(typed_here("metrics", "mine.yaml", "--json", folder=tmp_path).stdout)["objectives"]
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(tmp_path / "runs")
    for trial in load(file).trials:
        result = ledger.result(trial)
        assert sorted(metric.name for metric in result.metrics) == sorted(listed)


def test_a_file_that_is_there_stays(tmp_path):
    """`init` overwrites neither the sweep file nor the data file; if one of them exists, it does not write the other."""
    (tmp_path / "mine_data.py").write_text("kept")
    done = typed_here("init", "mine.yaml", "--purpose", "own", folder=tmp_path)
    assert done.returncode == 2
    assert unnamed(done.stderr, "mine_data.py") == []
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine_data.py", "kept")]


@pytest.mark.parametrize("name", ["mine.txt", "mine", "my sweep.yaml", "1.yaml", "nowhere/mine.yaml"])
def test_a_name_that_is_no_sweeps_is_refused(tmp_path, name):
    """The error is one line with the name, and nothing is written."""
    done = typed_here("init", name, folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert unnamed(done.stderr, name.split("/")[0].removesuffix(".yaml")) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("purpose", ["grid", "own"])
def test_a_name_that_is_too_long_is_refused_before_a_file_is_written(tmp_path, purpose):
    """A name of as many characters as a sweep may have is accepted; one character more is not."""
    longest = "a" * 64
    done = typed_here("init", f"{longest}a.yaml", "--purpose", purpose, folder=tmp_path)
    assert done.returncode == 2
    assert unnamed(done.stderr, longest + "a", 64) == []
    assert not list(tmp_path.iterdir())
    assert typed_here("init", f"{longest}.yaml", folder=tmp_path).returncode == 0
    assert load(tmp_path / f"{longest}.yaml").name == longest


@pytest.mark.parametrize("name", ["true", "null", "False", "no", "on", "y", "inf", "e1"])
def test_a_name_that_yaml_reads_otherwise_stays_a_name(tmp_path, name):
    """The sweep has the name of the file, as text."""
    assert typed_here("init", f"{name}.yaml", folder=tmp_path).returncode == 0
    assert load(tmp_path / f"{name}.yaml").name == name


@pytest.mark.parametrize("folder", ["x #y", "a: b", "'quoted'", "? x", "é", "&x", "long " * 40])
def test_own_data_in_any_folder_are_found(tmp_path, folder, monkeypatch):
    """The dataset is the Python file beside the sweep file, however the folder is called."""
    (tmp_path / folder).mkdir()
    assert typed_here("init", f"{folder}/own.yaml", "--purpose", "own", folder=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    spec = load(tmp_path / folder / "own.yaml")
    assert spec.base["dataset"] == f"{folder}/own_data.py:dataset"
    assert len(spec.cells) == 6


def test_own_data_have_no_dataset_of_the_project(tmp_path):
    """`--dataset` with `--purpose own` is refused, and nothing is written."""
    done = typed_here("init", "mine.yaml", "--purpose", "own", "--dataset", "celeba", folder=tmp_path)
    assert done.returncode == 2
    assert unnamed(done.stderr, "--dataset", "celeba", "own") == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("searched", [False, True])
def test_metrics_are_listed_for_whoever_named_a_wrong_one(tmp_path, searched):
    """The error for a wrong metric, as an objective or in a constraint, refers to the command `metrics`."""
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", "scale": "smoke"}, "grid": {"model": ["mvae", "mopoe"]}}
    if searched:
        constraints = [{"metric": "no/such", "at_most": 1}]
        raw = raw | {"grid": None, "search": {"space": {"model": ["mvae", "mopoe"]}, "cells": 2, "constraints": constraints}}
        del raw["grid"]
    raw["objectives"] = [{"metric": "coherence/jiont", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}][
        : 2 - searched
    ]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    refused, listed = (typed_here(command, "t.yaml", folder=tmp_path) for command in ("plan", "metrics"))
    assert refused.returncode == 2
    assert "coherence/joint" in refused.stderr
    assert listed.returncode == 0, listed.stderr
    assert unnamed(listed.stdout, "coherence/joint", "probe/mnist") == []


def test_metrics_of_several_datasets_are_objectives_where_all_have_them(tmp_path):
    """A sweep file may have exactly the listed metrics as objectives."""
    raw = {
        "name": "two",
        "base": {"scale": "smoke", "model": "mopoe"},
        "grid": {"dataset": ["mnist_svhn_text", "polymnist"]},
        "objectives": [{"metric": "coherence/joint", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}],
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(raw))
    listed = json.loads(typed_here("metrics", "two.yaml", "--json", folder=tmp_path).stdout)
    every = {name for names in listed["data"].values() for name in names}
    accepted = set()
    for name in every:
        other = "probe/given_1" if name == "coherence/joint" else "coherence/joint"
        with suppress(SpecError):
            parse(raw | {"objectives": [{"metric": name, "goal": "max"}, {"metric": other, "goal": "max"}]})
            accepted.add(name)
    assert set(listed["objectives"]) == accepted
    assert len(accepted) < len(every)
