"""The plan: costs, the CPUs of the process, proposals of a search, and trials that are new because of one field."""

import json
import os
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.mnist_svhn_text.mnist_svhn_text import MODALITIES
from mopoe_core.training.run import Run
from orchestrator.execution import costs, cpus, estimates, one_field_apart
from orchestrator.execution import plan as planning
from orchestrator.execution.trials_to_come import TrialsToCome
from orchestrator.ledger import proposals as recorded
from orchestrator.ledger import records
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import PlannedCell
from orchestrator.spec.trial import Cell, Trial
from tests.support.builders import COHERENCE, cell, result
from tests.support.naming import line_naming, unnamed
from tests.support.toys import random_dataset

ROOT = Path(__file__).parents[2]


def config(**fields):
    """Returns a configuration of MoPoE."""
    return TrainingConfig.model_validate({"model": "mopoe", "kl": "sum"} | fields)


def test_an_evaluation_is_estimated_as_it_was_measured():
    """Each estimate is within a third of the time in docs/performance.md, by dataset, networks, model and number of modalities. A factor
    for each section stands for the speed of its machine on that day.
    """
    sections = json.loads((ROOT / "docs" / "performance.json").read_text())["sections"]
    tested = {"small": {"mnist_svhn_text": 1000, "polymnist": 200}, "paper": {"mnist_svhn_text": 250, "polymnist": 100}}
    measured: dict[str, list[float]] = {"evaluation": [], "growth": []}
    """By section: the time that was measured, divided by the estimate."""
    for row in sections["evaluation"]["rows"]:
        _, model, dataset, networks = row["name"].split("/")
        fields = {"model": model, "dataset": dataset, "networks": networks, "test_examples": tested[networks][dataset]}
        measured["evaluation"].append(row["ours_s"] / costs.evaluation_seconds(config(**fields)))
    for row in (row for row in sections["growth"]["rows"] if row["stacked"] == 1):
        fields = {"dataset": "polymnist", "networks": "small", "test_examples": 200, "modality_count": row["modalities"]}
        estimate = costs.evaluation_seconds(config(model=row["model"], **fields))
        measured["growth"].append(row["evaluation_s"] / estimate)
    assert [len(ratios) for ratios in measured.values()] == [5, 5]
    for ratios in measured.values():
        machine = statistics.median(ratios)
        assert 0.4 < machine < 2.5
        assert ratios == pytest.approx([machine] * 5, rel=1 / 3)


def test_an_evaluation_costs_more_with_subsets_examples_samples_and_networks():
    """Each alone raises the cost, roughly in proportion if it causes most of the work; five modalities have 31 subsets."""
    usual = config(dataset="polymnist", networks="small", test_examples=1000)
    base = costs.evaluation_seconds(usual)
    assert costs.evaluation(usual) == costs.Evaluation(subsets=31, test_examples=1000, samples=15)
    two = config(dataset="polymnist", networks="small", test_examples=1000, modality_count=2)
    assert costs.evaluation(two).subsets == 3
    assert base > 8 * costs.evaluation_seconds(two)
    twice = config(dataset="polymnist", networks="small", test_examples=2000)
    assert 1.8 * base < costs.evaluation_seconds(twice) < 2 * base
    samples = config(dataset="polymnist", networks="small", test_examples=1000, importance_samples=150)
    assert 7 * base < costs.evaluation_seconds(samples) < 10 * base
    assert costs.evaluation_seconds(config(dataset="polymnist", networks="paper", test_examples=1000)) > 5 * base
    one_member = config(dataset="polymnist", networks="small", test_examples=1000, model="mmvae", importance_samples=15)
    assert costs.evaluation_seconds(one_member) < base / 2


@pytest.mark.parametrize("networks", ["paper", "small"])
def test_decoding_every_component_is_estimated_by_its_arithmetic(networks):
    """Eq. (5)'s estimate over MoPoE's is, within a third, the ratio of what torch counts in their steps."""
    counts = []
    for model in ("mopoe", "eq5"):
        one = config(dataset="mnist_svhn_text", model=model, networks=networks, batch_size=4, train_examples=500)
        run = Run(one, 0, random_dataset(MODALITIES), torch.device("cpu"))
        with FlopCounterMode(display=False) as counted:
            run.step(torch.arange(4))
        counts.append((counted.get_total_flops(), costs.training_seconds(one, 1)))
    (flops, seconds), (eq5_flops, eq5_seconds) = counts
    assert eq5_seconds / seconds == pytest.approx(eq5_flops / flops, rel=1 / 3)


@pytest.mark.parametrize("dataset", ["mnist_svhn_text", "polymnist", "celeba"])
@pytest.mark.parametrize("networks", ["paper", "small"])
def test_every_configuration_has_an_estimate(dataset, networks):
    """For every dataset and networks of the project, the seconds of training and of evaluation are above 0."""
    example = config(dataset=dataset, networks=networks)
    assert costs.evaluation_seconds(example) > 0
    assert costs.training_seconds(example) > 0


def test_measured_times_are_scaled_to_what_a_trial_does():
    """If a past evaluation of 3 subsets took 7 s, one of 31 subsets costs 7 s times the ratio of their work. A diverged trial, which was
    not evaluated, does not count.
    """
    fields = {"dataset": "polymnist", "networks": "small", "model": "mopoe", "epochs": 1}
    small, large = (Cell(TrainingConfig.model_validate(fields | {"modality_count": count})) for count in (2, 5))
    past = [result(small, 0, {COHERENCE: 0.5}), result(small, 1, {}, status="diverged")]
    object.__setattr__(past[0], "evaluate_seconds", 7.0)
    object.__setattr__(past[1], "evaluate_seconds", 0.0)
    estimate = estimates.estimate([Trial(large, 0)], past)
    ratio = costs.evaluation_seconds(large.config) / costs.evaluation_seconds(small.config)
    assert estimate.guessed == 0
    assert estimate.evaluation_hours * 3600 == pytest.approx(7 * ratio)


def test_the_plan_says_what_evaluation_does(tmp_path, types_here):
    """The plan prints the subsets, test examples and importance samples of the evaluations, and the CPUs that it assumes."""
    base = {"dataset": "polymnist", "networks": "small", "model": "mopoe", "test_examples": 700}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": base, "grid": {"modality_count": [2, 5]}}))
    code, out, _ = types_here("plan", tmp_path / "s.yaml", "--storage", tmp_path / "runs")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "700" in line]
    assert not unnamed(line, 3, 31, 700, 15)
    assert not unnamed(out, re.compile(rf"\b{cpus.usable()} CPU"))


# Time on the clock


def lengths_of(tmp_path, hours, **changes):
    """Returns a plan of trials of one cell; `hours` has how long each seed takes."""
    trials = [Trial(cell(), seed) for seed in range(len(hours))]
    plan = planning.make(trials, Ledger(tmp_path / "runs"))
    seconds = {trial.id: length * 3600 for trial, length in zip(trials, hours, strict=True)}
    return replace(plan, estimate=replace(plan.estimate, seconds=seconds), **changes)


@pytest.mark.parametrize(
    ("hours", "resources", "gpus", "expected"),
    [
        ([1, 1, 1, 9], {"cpu": 1}, None, 9),
        ([3, 3, 3], {"cpu": 2}, None, 6),
        ([2, 2, 2, 2, 2], {"cpu": 1}, None, 4),
        ([5], {"cpu": 1}, None, 5),
        ([1, 1, 1, 1], {"cpu": 1, "gpu": 0.5}, 1, 2),
        ([1, 1, 1, 1], {"cpu": 1, "gpu": 1, "cpu_will_do": True}, 0, 1),
        ([], {"cpu": 1}, None, 0),
    ],
    ids=["the longest", "a last worker alone", "one left over", "one", "GPUs", "no GPU", "nothing"],
)
def test_time_is_counted_as_the_queue_hands_trials_out(tmp_path, hours, resources, gpus, expected):
    """On four CPUs the time is at least that of the longest trial, and no trial is split between workers."""
    plan = lengths_of(tmp_path, hours)
    assert planning.wall_hours(plan, Resources(**resources), 4, gpus) == pytest.approx(expected)


def test_trials_that_a_search_has_still_to_propose_take_their_time(tmp_path):
    """On two workers, three proposed trials of two hours each follow two trials of one hour."""
    plan = lengths_of(tmp_path, [1, 1], to_come=TrialsToCome(3, 3, 3 * 2 * 3600.0, guessed=True))
    assert planning.wall_hours(plan, Resources(), 2) == pytest.approx(1 + 2 + 2)


# What a search has still to propose

SEARCH = {
    "name": "h",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 1, "model": "mopoe"},
    "search": {"space": {"beta": {"low": 1, "high": 4, "points": 4}}, "sampler": "tpe", "cells": 10},
    "seeds": 2,
}


def proposals_of(ledger, found=0, ended=0, **search):
    """Returns what a search may still propose after it has proposed some cells, of which some have ended."""
    spec = parse(SEARCH | {"search": SEARCH["search"] | search})
    spec = spec.with_cells(PlannedCell(spec.cell_of({"beta": 1 + place / 10}), (0, 1)) for place in range(found))
    kept = recorded.Proposals(ledger.storage, spec.name)
    for number in range(len(kept.every()), found):
        kept.add(recorded.Proposal(number, spec.cells[number].id, {"beta": 1 + number / 10}, {}, {}, {}))
    for trial in spec.trials[: 2 * ended]:
        if ledger.result(trial) is None:
            ledger.begin(trial)
            ledger.record(result(trial.cell, trial.seed, {COHERENCE: 0.5}))
    return planning.make(spec.wanted, ledger, spec=spec).to_come


def test_cells_that_are_to_be_proposed_are_counted_with_their_seeds(tmp_path):
    """All cells count before the first proposal, the rest later, none at the end; a grid has no more cells than points."""
    for number, (fields, expected) in enumerate((
        ({}, (10, 20)),
        ({"found": 4}, (6, 12)),
        ({"found": 10}, (0, 0)),
        ({"sampler": "grid"}, (4, 8)),
        ({"found": 4, "ended": 4}, (6, 12)),
    )):  # fmt: skip
        left = proposals_of(Ledger(tmp_path / str(number)), **fields)
        assert (left.cells, left.trials) == expected
        assert (left.seconds > 0) == (left.trials > 0)


def test_a_proposed_trial_takes_what_past_ones_took(tmp_path):
    """If a trial of one epoch took 3 s, twelve take 36 s; without a past trial the time is a guess."""
    ledger = Ledger(tmp_path / "runs")
    assert proposals_of(ledger).guessed
    left = proposals_of(ledger, found=4, ended=1)
    assert not left.guessed
    assert left.seconds == pytest.approx(12 * 3.0)


def test_a_limit_of_hours_counts_what_was_spent(tmp_path):
    """Of 60 s, 6 are spent and the proposed trials need 18: further trials may take at most the rest."""
    left = proposals_of(Ledger(tmp_path / "runs"), found=4, ended=1, cells=1000, stop={"trial_hours": 60 / 3600})
    assert left.seconds == pytest.approx(60 - 2 * 3 - 6 * 3)


def test_a_search_that_has_ended_early_is_not_counted_on(tmp_path):
    """Eight trials of 3 s have ended. No further trials are counted if that is the limit, and all of them if the limit is higher."""
    ledger = Ledger(tmp_path / "runs")
    assert proposals_of(ledger, found=4, ended=4, stop={"trial_hours": 24 / 3600}).trials == 0
    assert proposals_of(ledger, found=4, ended=4, stop={"trial_hours": 5}).trials == 12
    assert proposals_of(ledger, found=5, ended=4, stop={"trial_hours": 5}).trials == 10


def test_the_plan_says_data_source_scale_and_storage(tmp_path, types_here):
    """For each dataset, the plan says whether it is embedded, original or the user's own."""
    base = {"scale": "smoke", "model": "mopoe"}
    raw = {"name": "s", "base": base, "grid": {"dataset": ["mnist_svhn_text", "polymnist"]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(raw))
    code, out, _ = types_here("plan", tmp_path / "s.yaml", "--storage", tmp_path / "runs")
    assert code == 0
    assert line_naming(out, "mnist_svhn_text", "embedded", "smoke")
    assert line_naming(out, "polymnist", "embedded", "smoke")
    assert line_naming(out, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# CPUs


def test_cpus_are_those_that_the_process_may_use():
    """A process that is bound to one CPU may use one, however many the machine has."""
    allowed = os.sched_getaffinity(0)
    assert 1 <= cpus.usable() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cpus.usable() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("3:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"}, 4),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, 8),
        ("1:name=systemd:/", {}, 8),
    ],
)
def test_a_containers_limit_counts(group, files, expected, tmp_path, monkeypatch):
    """Both versions of control groups count, and the groups around the innermost. The number is rounded down, to 1 at least."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    (tmp_path / "self").write_text(group + "\n")
    monkeypatch.setattr(cpus, "CGROUPS", tmp_path)
    monkeypatch.setattr(cpus, "SELF", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cpus.usable() == expected


def test_more_cpus_a_trial_than_the_process_has_are_refused(tmp_path, types_here, monkeypatch):
    """The error names the field, its line and the CPUs of the process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    base = "{dataset: mnist_svhn_text, model: mopoe, networks: small}"
    (tmp_path / "s.yaml").write_text(f"name: s\nbase: {base}\nresources:\n  cpu: 2\nstorage: {tmp_path / 'runs'}\n")
    code, _, err = types_here("sweep", tmp_path / "s.yaml")
    assert code == 2
    assert err.startswith(f"error: {tmp_path / 's.yaml'}:4: resources.cpu: 2 ")
    assert not unnamed(err, 1)
    assert not (tmp_path / "runs").exists()


# New for the sake of one field

SWEEP = {
    "name": "s",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 30, "batch_size": 64},
    "grid": {"model": ["mvae", "mopoe"]},
    "seeds": 2,
}


@pytest.fixture
def done(tmp_path):
    """Returns a ledger in which every trial of the sweep has completed."""
    ledger = Ledger(tmp_path / "runs")
    for trial in parse(SWEEP).trials:
        ledger.begin(trial)
        ledger.record(result(trial.cell, trial.seed, {COHERENCE: 0.5}))
    return ledger


@pytest.mark.parametrize(("field", "value"), [("epochs", 60), ("batch_size", 128), ("latent_dim", 5), ("likelihood", "normal")])
def test_one_field_that_makes_finished_trials_new_is_named(field, value, done):
    """Any such field is named with both values and the number of trials."""
    changed = SWEEP | {"base": SWEEP["base"] | {field: value}}
    plan = planning.make(parse(changed).trials, done)
    before = SWEEP["base"].get(field, TrainingConfig.model_fields[field].default)
    assert plan.differing == (one_field_apart.Differing(field, 4, (value,), (before,)),)
    assert len(plan.fresh) == 4


def test_epochs_that_a_grid_varies_are_named_too(done):
    """`epochs` is named although the sweep itself has several values of it."""
    base = {key: value for key, value in SWEEP["base"].items() if key != "epochs"}
    plan = planning.make(parse(SWEEP | {"base": base, "grid": SWEEP["grid"] | {"epochs": [40, 50]}}).trials, done)
    assert [(row.field, row.trials, row.there) for row in plan.differing] == [("epochs", 8, (30,))]


def test_nothing_is_said_where_nothing_was_lost(done):
    """A finished sweep, further seeds, a new value of a varied field, and two changed fields give no message."""
    more_models = SWEEP | {"grid": {"model": ["mvae", "mopoe", "mmvae"]}}
    two_fields = SWEEP | {"base": SWEEP["base"] | {"epochs": 60, "batch_size": 128}}
    for raw in (SWEEP, SWEEP | {"seeds": 5}, more_models, two_fields):
        assert planning.make(parse(raw).trials, done).differing == ()


def test_trials_of_an_earlier_recipe_are_named(done):
    """Trials that an earlier version of the program finished are new now, and the recipe is named."""
    for trial in parse(SWEEP).trials:
        old_id, path = f"old{trial.id}", done.folder(trial) / "trial.json"
        content = records.read(path, records.Identity("trial", trial.id))
        records.write(path, records.Identity("trial", old_id), content | {"recipe": 1, "id": old_id})
        done.folder(trial).rename(done.folder(trial).with_name(old_id))
    plan = planning.make(parse(SWEEP).trials, done)
    assert [(row.field, row.trials, row.there) for row in plan.differing] == [("recipe", 4, (1,))]


def test_plan_and_sweep_say_it(done, tmp_path, types_here):
    """`plan` prints one line with the field, both values and the number of trials."""
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(SWEEP | {"base": SWEEP["base"] | {"epochs": 60}, "storage": str(tmp_path / "runs")}))
    code, out, _ = types_here("plan", path)
    assert code == 0
    assert any(not unnamed(line, 4, "epochs", 30, 60) for line in out.splitlines()), out


def test_a_record_from_before_a_field_has_its_default():
    """A configuration that was recorded before a field existed is compared as if it had the field's default."""
    new = Trial(cell(epochs=60), 0)
    old = {"seed": 0, "recipe": one_field_apart.RECIPE, "config": Trial(cell(epochs=30), 0).config.model_dump(mode="json")}
    del old["config"]["weight_decay"]
    assert [(row.field, row.there) for row in one_field_apart.find([new], [new], [old])] == [("epochs", (30,))]


def test_a_record_from_before_a_field_has_its_models_default():
    """MVAE's `prior_expert` and `estimator` are not those of mixtures."""
    new = Trial(cell("mvae", epochs=60), 0)
    old = {
        "seed": 0,
        "recipe": one_field_apart.RECIPE,
        "config": Trial(cell("mvae", epochs=30), 0).config.model_dump(mode="json"),
    }
    del old["config"]["prior_expert"], old["config"]["estimator"]
    assert [(row.field, row.there) for row in one_field_apart.find([new], [new], [old])] == [("epochs", (30,))]
