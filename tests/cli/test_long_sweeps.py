"""The user is asked about a sweep of days before anything is written."""

import io
import sys

import pytest
import yaml

from mopoe_core.errors import UserError
from orchestrator.cli import long_sweeps
from orchestrator.execution import plan as planning
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.commands import typed_here
from tests.support.naming import unnamed

PAPER = {
    "name": "paper",
    "base": {"dataset": "mnist_svhn_text", "scale": "paper"},
    "grid": {"model": ["mopoe"]},
    "seeds": 5,
    "resources": {"gpu": 0.5, "cpu_will_do": True},
}


class Terminal(io.StringIO):
    """Standard input on which somebody can answer."""

    def isatty(self):
        """Returns True, as a terminal does."""
        return True


@pytest.fixture(autouse=True)
def two_cpus_and_no_gpu(monkeypatch):
    """A machine with two CPUs and no GPU."""
    monkeypatch.setattr(long_sweeps.cpus, "usable", lambda: 2)
    monkeypatch.setattr(long_sweeps.gpus, "usable", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def planned(tmp_path, **changes):
    """Returns a sweep and its plan."""
    spec = parse(PAPER | changes)
    return spec, planning.make(spec.wanted, Ledger(tmp_path / "runs"))


def test_where_nobody_can_answer_it_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    """The command prints one line with the time and the option that starts the sweep without asking."""
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(PAPER))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    done = typed_here("sweep", "paper.yaml", folder=tmp_path)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert unnamed(errors[0], "paper", "days", "--yes", "--scale") == []
    assert [path.name for path in tmp_path.iterdir()] == ["paper.yaml"]


@pytest.mark.parametrize(("answer", "starts"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_an_answer_decides(tmp_path, monkeypatch, answer, starts):
    """`yes` starts the sweep; `no` and an empty answer do not."""
    spec, plan = planned(tmp_path)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if starts:
        long_sweeps.confirm(spec, plan, yes=False)
    else:
        with pytest.raises(UserError, match="not started"):
            long_sweeps.confirm(spec, plan, yes=False)


def test_what_is_short_was_said_yes_to_or_is_not_known_is_not_asked_for(tmp_path, monkeypatch):
    """The user is not asked about a small scale, with `--yes`, or about unmeasured trials on GPUs or a cluster."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    long_sweeps.confirm(*planned(tmp_path, base={"dataset": "mnist_svhn_text", "scale": "smoke"}), yes=False)
    spec, plan = planned(tmp_path)
    long_sweeps.confirm(spec, plan, yes=True)
    with monkeypatch.context() as on_gpus:
        on_gpus.setattr(long_sweeps.gpus, "usable", lambda: 1)
        long_sweeps.confirm(spec, plan, yes=False)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    long_sweeps.confirm(spec, plan, yes=False)


def test_a_search_is_asked_about_before_its_first_cell(tmp_path, monkeypatch):
    """The time is that of the cells that it may propose, because it has no trials yet."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    search = {"space": {"beta": {"low": 1, "high": 4}}, "cells": 50}
    spec = parse(
        {key: value for key, value in PAPER.items() if key != "grid"}
        | {"search": search, "base": PAPER["base"] | {"model": "mopoe"}}
    )
    plan = planning.make(spec.wanted, Ledger(tmp_path / "runs"), spec=spec)
    with pytest.raises(UserError) as caught:
        long_sweeps.confirm(spec, plan, yes=False)
    assert unnamed(caught.value, "days", "--yes") == []
    long_sweeps.confirm(spec, plan, yes=True)
