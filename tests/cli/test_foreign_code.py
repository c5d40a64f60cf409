"""Code runs only if the user names it: no command and no loader imports code that files in storage name."""

import json
import os
from pathlib import Path

import pytest
import torch
import typer
import yaml

import mopoe_core
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.own import user_code, user_data
from mopoe_core.errors import CheckpointError, DataError
from mopoe_core.storage.whole_files import write_text
from mopoe_core.training import checkpoint, training
from mopoe_core.training.trained_model import load_on
from orchestrator.cli import app
from orchestrator.driver import retention
from orchestrator.ledger import records
from orchestrator.ledger.proposals import Proposal, Proposals
from orchestrator.ledger.records import Identity
from orchestrator.spec.sweep_file import parse
from tests.support import recorded
from tests.support.naming import names, names_in_order, naming
from tests.support.watching import looks_once

CPU = torch.device("cpu")
NAMED = ["{home}/evil.py:made", "evil.py:made", "canary:made", "os:abort"]
"""References to code that the user does not name, in the forms that a file in storage may have."""
COMMANDS = {
    "sweep": ["FILE"],
    "plan": ["FILE"],
    "report": ["FILE"],
    "track": ["FILE"],
    "gc": ["FILE", "--delete"],
    "data": ["mine.py:made"],
    "status": ["FILE"],
    "watch": ["FILE"],
    "failures": ["FILE"],
    "rerun": ["FILE", "--failed"],
    "audit": ["FILE", "--sample", "1", "--seed", "1"],
    "export": ["FILE"],
    "ui": ["FILE", "--port", "5999"],
}
"""The words that are typed for each command; `FILE` stands for the sweep file."""
WITHOUT_STORAGE = {"init", "schema", "metrics"}
"""Commands that read only the typed sweep file."""
FURTHER = {
    "gc, listed": ["gc", "FILE"],
    "gc of what is lost": ["gc", "FILE", "--accept-lost"],
    "every trial's status": ["status", "FILE", "--trials"],
    "all of MLflow": ["track", "FILE", "--rebuild"],
    "the paper's report": ["report", "FILE", "--against-paper"],
}
"""Options that read further files."""
TYPED = {**{name: [name, *words] for name, words in COMMANDS.items()}, **FURTHER}


@pytest.fixture
def canary(store, monkeypatch):
    """A storage in a folder with code that writes a file when it is imported or called; returns that file's path."""
    mark = store.home / "mark"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).write_text('ran')\ndef made():\n    raise RuntimeError\n"
    for name in ("evil.py", "canary.py"):
        (store.home / name).write_text(code)
    monkeypatch.setattr(os, "abort", lambda: mark.write_text("ran"))
    looks_once(monkeypatch)
    monkeypatch.setattr(os, "execve", lambda *arguments: pytest.exit("unreachable") if mark.exists() else None)
    yield mark
    assert not mark.exists()


@pytest.fixture(params=NAMED)
def foreign(request, store, canary):
    """A reference to code that the user does not name."""
    return request.param.format(home=store.home)


def spoil_others(store, named, number):
    """Write every kind of record of other sweeps and trials that can name a dataset, with this dataset."""
    storage = store.ledger.storage
    base = recorded.RAW["base"] | {"dataset": named}
    grid = {"dataset": ["mine.py:made", named]}
    search = {"space": {"beta": {"low": 1, "high": 2}}, "cells": 3}
    sweeps = {
        "foreign": {"base": base},
        "mixed": {"base": {k: v for k, v in base.items() if k != "dataset"}, "grid": grid},
        "included": {"base": recorded.RAW["base"], "include": [{"dataset": named}], "exclude": [{"dataset": named}]},
        "hunting": {"base": base, "search": search},
    }
    for name, raw in sweeps.items():
        sweep = f"{name}{number}"
        content = {"name": sweep, "seeds": 2} | raw
        records.write(storage / "sweeps" / sweep / "sweep.json", Identity("sweep", sweep=sweep), {"sweep": content})
        (storage / "sweeps" / sweep / "sweep.yaml").write_text(yaml.safe_dump(content))
    old = f"old{number}"  # as earlier versions wrote it
    write_text(storage / "sweeps" / old / "sweep.json", json.dumps(sweeps["foreign"] | {"name": old}))
    Proposals(storage, f"hunting{number}").add(Proposal(0, "0" * 16, {"dataset": named}, {}, {}, {}))
    (storage / "sweeps" / "own" / "sweep.yaml").write_text(yaml.safe_dump(recorded.RAW | {"base": base}))
    trial_id = str(number) * 16
    other = storage / "trials" / trial_id
    config = store.trials[0].config.model_dump(mode="json") | {"dataset": named}
    records.write(other / "trial.json", Identity("trial", trial_id), {"seed": 0, "config": config, "cell_id": "0", "recipe": 3})
    result = records.read(store.ledger.folder(store.trials[0]) / "result.json", Identity("result", store.trials[0].id))
    records.write(other / "result.json", Identity("result", trial_id, attempt=1), result)


def test_every_command_is_tried():
    """The tests below type every command that reads a storage."""
    assert set(COMMANDS) | WITHOUT_STORAGE == set(typer.main.get_command(app.app).commands)


@pytest.mark.parametrize("typed", TYPED)
def test_no_command_runs_code_that_other_records_name(typed, store, canary, types_here, stored_mlflow, undrawn):
    """Four foreign names in the records of other sweeps and trials do not change what a command does."""
    for number, named in enumerate(NAMED):
        spoil_others(store, named.format(home=store.home), number)
    words = [str(store.file) if word == "FILE" else word for word in TYPED[typed]]
    if words[0] == "ui":
        (store.ledger.storage / "mlflow.db").touch()
    code, _, err = types_here(*words)
    assert code == 0, err
    assert not canary.exists()


@pytest.mark.parametrize("typed", TYPED)
def test_no_command_runs_code_that_a_proposal_names(typed, store, canary, types_here):
    """A proposal with a field outside of the search's space is refused with exit code 2 and one line with file and field."""
    raw = recorded.RAW | {"name": "sought", "search": {"space": {"beta": {"low": 1, "high": 2}}, "cells": 3}}
    (store.home / "sought.yaml").write_text(yaml.safe_dump(raw))
    named = {"beta": 1.5, "dataset": "evil.py:made"}
    Proposals(store.ledger.storage, "sought").add(Proposal(0, "0" * 16, named, {}, {}, {}))
    words = [str(store.home / "sought.yaml") if word == "FILE" else word for word in TYPED[typed]]
    code, _, err = types_here(*words)
    if words[0] != "data":
        (line,) = err.splitlines()
        assert code == 2
        assert "sweeps/sought/search/0000.json" in line
        assert names(line, "dataset", "'evil.py:made'")
    assert not canary.exists()


@pytest.mark.parametrize("typed", [name for name in TYPED if name != "sweep"])
def test_no_command_runs_code_that_the_sweeps_own_records_name(typed, store, canary, types_here, stored_mlflow, undrawn):
    """If a trial's configuration and checkpoint name other code, the command works, or is refused in one line."""
    ledger = store.ledger
    for trial in (*store.trials, *store.others):
        path = ledger.folder(trial) / "trial.json"
        content = records.read(path, Identity("trial", trial.id))
        content["config"]["dataset"] = "evil.py:made"
        records.write(path, Identity("trial", trial.id), content)
    spoil_checkpoints(store, "evil.py:made")
    for file in (store.file, store.others_file):
        code, _, err = types_here(*[str(file) if word == "FILE" else word for word in TYPED[typed]])
        assert code in (0, 1, 2), err
        assert code != 2 or recorded.errors_in(err) == 1
    assert not canary.exists()


def spoil_checkpoints(store, named):
    """Let the checkpoints of the sweep's trials name another dataset, in a configuration that lacks a field, as an old one may."""
    for trial in (*store.trials, *store.others):
        path = store.ledger.checkpoint(trial)
        state = torch.load(path, weights_only=True)
        state["config"] = {k: v for k, v in state["config"].items() if k != "given_private"} | {"dataset": named}
        torch.save(state, path)


def test_a_checkpoint_of_other_code_is_another_trials(store, foreign):
    """Training and inspection refuse a checkpoint that names other code, as that of another trial."""
    spoil_checkpoints(store, foreign)
    (trial, _), ledger = store.others, store.ledger
    for look in (checkpoint.progress_in, checkpoint.history_in):
        with pytest.raises(CheckpointError, check=naming(ledger.checkpoint(trial), "dataset", repr(foreign))):
            look(ledger.checkpoint(trial), trial.config, trial.seed, trial.id)
    with pytest.raises(CheckpointError, check=naming(ledger.checkpoint(trial), "dataset", foreign)):
        load_on(ledger.checkpoint(trial), loading.load(trial.config.data_key, Path()), CPU)


# What a checkpoint names.


def test_a_model_without_networks_of_ones_own_loads_without_any_code(store, canary):
    """Without the dataset's file, the model equals that of the checkpoint to the bit, and its configuration works as before."""
    trial = store.trials[0]
    path, config = store.ledger.checkpoint(trial), trial.config
    (store.home / "mine.py").unlink()
    user_data.forget()
    model = mopoe_core.load(path)
    weights = torch.load(path, weights_only=True)["model"]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert model.config == config
    assert (model.config.M, model.config.metrics) == (config.M, config.metrics)


@pytest.mark.parametrize("spoil", ["dataset", "modalities", "old"])
def test_loading_a_checkpoint_runs_no_code_that_it_names(spoil, store, foreign):
    """Loading runs no code that a checkpoint names; if it needs code, the error is one line that says what to pass."""
    path = store.ledger.checkpoint(store.trials[0])
    state = torch.load(path, weights_only=True)
    if spoil == "modalities":
        state["modalities"] = [modality | {"own": foreign} for modality in state["modalities"]]
    else:
        state["config"]["dataset"] = foreign
    if spoil == "old":  # as earlier versions wrote it, with no word on networks
        del state["own"]
    torch.save(state, store.home / "alone.pt")
    if spoil == "old":
        with pytest.raises(CheckpointError) as caught:
            mopoe_core.load(store.home / "alone.pt")
        assert names_in_order(str(caught.value), store.home / "alone.pt", f"dataset={foreign!r}")
    else:
        mopoe_core.load(store.home / "alone.pt")


@pytest.fixture
def with_own_networks(own_home):
    """Returns the path of a checkpoint whose model has the user's own encoder, and the trained model."""
    config = TrainingConfig.model_validate(recorded.RAW["base"] | {"epochs": 1})
    dataset, path = loading.load(config.data_key, Path()), own_home / "checkpoint.pt"
    return path, training.train(config, 0, dataset, CPU, path).model


def test_a_model_with_networks_of_ones_own_loads_where_the_dataset_is_named(with_own_networks):
    """Without the dataset it is refused, with what to pass; with it, it is the trained model to the bit, on that dataset."""
    path, trained = with_own_networks
    with pytest.raises(CheckpointError, check=naming(path, "dataset='mine.py:made'")):
        mopoe_core.load(path)
    model = mopoe_core.load(path, dataset="mine.py:made")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained.state_dict().values(), strict=True))
    assert model.config == trained.config
    assert model.modalities == trained.modalities


def test_only_the_named_code_runs_and_only_if_it_is_the_checkpoints(with_own_networks, tmp_path):
    """A dataset whose fingerprint is not the checkpoint's is refused, and so is a named dataset if the checkpoint has a built-in one."""
    path, _ = with_own_networks
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "other.py").write_text(
        text + "\n\nold = made\n\n\ndef made():\n    d = old()\n    d.train_labels[0] ^= 1\n    return d\n"
    )
    with pytest.raises(CheckpointError, check=naming("data_hash", "other.py:made")):
        mopoe_core.load(path, dataset="other.py:made")
    state = torch.load(path, weights_only=True)
    state["config"] |= {"dataset": "mnist_svhn_text", "data_hash": "", "source": "embedded"}
    torch.save(state, path)
    with pytest.raises(CheckpointError, check=naming("mnist_svhn_text")):
        mopoe_core.load(path, dataset="mine.py:made")


@pytest.mark.parametrize(
    "state", [[1], {"format": checkpoint.FORMAT}, {"format": checkpoint.FORMAT, "config": {"dataset": "mnist_svhn_text"}}]
)
def test_a_file_that_describes_no_model_is_one_line(state, tmp_path):
    """A valid file of torch that is no checkpoint is named in one line."""
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError) as caught:
        mopoe_core.load(tmp_path / "odd.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'odd.pt'}: ")
    assert "\n" not in str(caught.value)


# What may run.


def test_within_a_command_only_what_was_permitted_runs(own_home):
    """A dataset that is not permitted is refused by its name before it is imported; after the command, it may run again."""
    ran = own_home / "ran"
    (own_home / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nraise SystemExit('ran')")
    user_data.forget()
    with user_code.only_permitted():
        with pytest.raises(DataError, check=naming("evil.py:f", "storage")):
            user_data.card("evil.py:f")
        user_code.permit(["mine.py:made"])
        assert user_data.card("mine.py:made").classes
        with pytest.raises(DataError, check=naming("evil.py:f", "storage")):
            user_data.card("evil.py:f")
        assert not ran.exists()
    with pytest.raises(DataError, check=naming("evil.py", "SystemExit")):
        user_data.card("evil.py:f")
    assert ran.exists()


def test_gc_keeps_what_a_sweep_with_foreign_cells_may_want(store, canary):
    """If some cells of a sweep cannot be read, the checkpoints of all its other cells stay."""
    raw = recorded.RAW | {"name": "mixed"}
    raw["base"] = {name: value for name, value in raw["base"].items() if name != "dataset"}
    raw["grid"] = {"dataset": ["mine.py:made", "evil.py:made"]}
    whole = parse(raw, frozenset({"mine.py:made"}))
    assert whole.left_out == {"evil.py:made"}
    assert [trial.id for trial in whole.trials] == [trial.id for trial in store.trials]
    assert {trial.id for trial in retention.wanted_trials(whole, store.ledger)} == {trial.id for trial in store.trials}
