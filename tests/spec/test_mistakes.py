"""Mistakes in sweep files: all of them at once, each with its line, and with the nearest right spelling."""

import re

import pytest

from mopoe_core.spelling import suggestion
from orchestrator.errors import SpecError
from orchestrator.spec import sweep_file
from orchestrator.spec.sections import Objective, Resources
from orchestrator.spec.sweep_file import PLACES
from orchestrator.spec.sweep_spec import SweepSpec
from tests.support.naming import unnamed

SOUND = {
    "name": "x",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
}

MANY = """\
name: x
lr: 0.1
base:
  dataset: PolyMNIST
  networks: yes
  n_epochs: 5
  batch_size: 1:30
grid:
  model: [MoPoE,
    mvae, mvea]
  latent_dim:
    - 016
    - -3
zip: {beta: [1, 2], alpha: [1]}
include:
  - {model: mvae, beta: -1}
exclude:
  - model: mvae
    lr: 3
seeds: 0-4
objectives:
  - {metric: coherence/joint, direction: maximize}
  - metric: log_likelihood/joint
    goal: maximise
resources: {cpus: 2,
  retries: -1}
"""
EXPECTED = [
    (2, "lr", "base.learning_rate"),
    (4, "base.dataset", "'polymnist'"),
    (5, "base.networks", "'paper'"),
    (6, "base.n_epochs", "'epochs'"),
    (7, "base.batch_size", "'1:30'"),
    (9, "grid.model", "'mopoe'"),
    (10, "grid.model", "'mvae'"),
    (13, "grid.latent_dim", "-3"),
    (14, "zip", "beta: 2, alpha: 1"),
    (16, "include[0].beta", "-1"),
    (19, "exclude[0].lr", "'learning_rate'"),
    (20, "seeds", "[0, 1, 2, 3, 4]"),
    (22, "objectives[0].direction", "'goal'"),
    (24, "objectives[1].goal", "'max'"),
    (25, "resources.cpus", "'cpu'"),
    (26, "resources.retries", "-1"),
]


def test_every_mistake_is_shown_with_its_line(tmp_path, types_here):
    """Sixteen mistakes are sixteen lines on standard error, in the order of the file, with exit code 2; nothing is written."""
    path = tmp_path / "s.yaml"
    path.write_text(MANY)
    for command in ("plan", "sweep"):
        code, out, err = types_here(command, path)
        found = err.splitlines()
        assert (code, out, len(found)) == (2, "", len(EXPECTED))
        for line, (number, field, said) in zip(found, EXPECTED, strict=True):
            assert line.startswith(f"error: {path}:{number}: {field}: ")
            assert said in line
    assert list(tmp_path.iterdir()) == [path]


def test_mistakes_that_only_cells_show_have_lines_too(tmp_path, types_here):
    """A value that a model refuses, a cell that is there twice, and rules without effect, in lists over several lines."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: x\nbase: {dataset: mnist_svhn_text, networks: small}\ngrid:\n  model: [mopoe, mvae]\n  beta: [1,\n    2, 1.0]\n"
        "  estimator:\n    - stratified\n    - slices\ninclude:\n  - {model: mopoe, beta: 7}\n"
        "  - {model: mopoe, beta: 8,\n     batch_size: 3, estimator: slices}\nexclude:\n  - {beta: 99}\n  - {model: mopoe, beta: 2}\n"
        "  - {beta: 2, model: mopoe}\n"
    )
    code, _, err = types_here("plan", path)
    assert code == 2
    places = [re.match(r"error: [^:]+:(\d+): ([a-z]+\S*|grid \([^)]*\)): ", line).groups() for line in err.splitlines()]
    assert ("6", "grid (model: mopoe, beta: 1.0, estimator: stratified)") in places
    assert ("8", "grid.estimator") in places
    assert ("9", "grid.estimator") in places
    assert ("13", "include[1].batch_size") in places
    assert ("15", "exclude[0]") in places
    assert ("17", "exclude[2]") in places


def test_mistakes_of_a_search_have_lines(tmp_path, types_here):
    """In the space, its flow mappings, the sampler, constraints, and a warm start that storage does not have."""
    path = tmp_path / "s.yaml"
    head = "name: x\nbase: {dataset: mnist_svhn_text, networks: small}\nsearch:\n  cells: 3\n  warm_start:\n    - here\n    - there\n"
    path.write_text(
        f"{head}  space:\n    model: [mvae,\n      MoPoE]\n    beta: {{values: [1, 2]}}\n    latent_dim: {{min: 2,\n      max: 9}}\n"
        "    learning_rate:\n      low: 0.1\n      high: ten\n  sampler: bayesian\n  constraints: [{metric: train_seconds, max: 3}]\n"
    )
    code, _, err = types_here("plan", path)
    expected = [
        (10, "search.space.model.choices[1]", "'mopoe'"),
        (11, "search.space.beta.values", "'choices'"),
        (12, "search.space.latent_dim.min", "'low'"),
        (13, "search.space.latent_dim.max", "'high'"),
        (16, "search.space.learning_rate.high", "'ten'"),
        (17, "search.sampler", "'gp'"),
        (18, "search.constraints[0].max", "'at_most'"),
    ]
    assert code == 2
    for line, (number, field, said) in zip(err.splitlines(), expected, strict=True):
        assert line.startswith(f"error: {path}:{number}: {field}: ")
        assert said in line
    path.write_text(f"{head}  space: {{model: [mvae, mopoe], beta: {{low: 1, high: 2}}}}\n")
    code, _, err = types_here("plan", path, "--storage", tmp_path / "runs")
    assert code == 2
    assert err.startswith(f"error: {path}:6: search.warm_start: ")
    assert "'here'" in err


def test_a_dataset_that_cannot_be_loaded_has_the_line_that_names_it(tmp_path, types_here, monkeypatch):
    """The second of two, in a list over several lines."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("raise RuntimeError('boom')\n")
    (tmp_path / "s.yaml").write_text("name: x\nbase: {model: mopoe}\ngrid:\n  dataset:\n    - polymnist\n    - broken.py:made\n")
    code, _, err = types_here("plan", "s.yaml")
    assert code == 2
    assert err.startswith("error: s.yaml:6: dataset: ")
    assert not unnamed(err, "broken.py", "RuntimeError", "boom")


FIELDS = {
    "lr": "learning_rate", "learning-rate": "learning_rate", "lr_rate": "learning_rate", "LearningRate": "learning_rate",
    "batch": "batch_size", "bs": "batch_size", "n_epochs": "epochs", "num_epochs": "epochs", "latent": "latent_dim",
    "z_dim": "latent_dim", "latent_size": "latent_dim", "Beta": "beta", "datset": "dataset", "num_modalities": "modality_count",
}  # fmt: skip


@pytest.mark.parametrize("word", FIELDS)
def test_a_field_of_another_tool_gets_its_name_here(word):
    """In base it is the nearest field; at the top level the message says that it belongs to base."""
    for raw, said in (
        (SOUND | {"base": SOUND["base"] | {word: 1}}, repr(FIELDS[word])),
        (SOUND | {word: 1}, f"base.{FIELDS[word]}"),
    ):
        with pytest.raises(SpecError) as caught:
            sweep_file.parse(raw)
        assert said in str(caught.value) or (said.startswith("base.") and repr(FIELDS[word]) not in str(caught.value))


ELSEWHERE = {
    "gpus": "resources.gpu", "cpus": "resources.cpu", "direction": "objectives[0].goal", "epochs": "base.epochs",
    "metrics": "'objectives'", "seed": "'seeds'", "num_samples": "'seeds'", "model": "base.model", "beta": "base.beta",
}  # fmt: skip


@pytest.mark.parametrize("word", ELSEWHERE)
def test_a_field_at_a_wrong_place_is_told_where_it_belongs(word):
    """At the top level."""
    with pytest.raises(SpecError) as caught:
        sweep_file.parse(SOUND | {word: 1})
    assert ELSEWHERE[word] in str(caught.value)


VALUES = {
    ("model", "MoPoE"): "mopoe", ("model", "mopoe-vae"): "mopoe", ("model", "MVAE"): "mvae", ("model", "PoE"): "mvae",
    ("dataset", "PolyMNIST"): "polymnist", ("dataset", "mnist-svhn-text"): "mnist_svhn_text", ("dataset", "CelebA"): "celeba",
    ("dataset", "MNIST SVHN Text"): "mnist_svhn_text", ("networks", "yes"): "paper", ("networks", True): "paper",
    ("networks", "mlp"): "small", ("likelihood", "gaussian"): "normal", ("scale", "tiny"): "smoke", ("evaluate_on", "val"): "validation",
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), VALUES, ids=str)
def test_a_value_of_another_spelling_gets_the_right_one(field, value):
    """Capitals, signs between words, and what other tools call it."""
    with pytest.raises(SpecError) as caught:
        sweep_file.parse({"name": "x", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"} | {field: value}})
    assert str(caught.value).startswith(f"base.{field}: {value!r} ")
    assert repr(VALUES[field, value]) in str(caught.value)


GOALS = {"maximize": "max", "maximise": "max", "maximum": "max", "Max": "max", "up": "max", "minimize": "min", "lowest": "min"}


@pytest.mark.parametrize("word", GOALS)
def test_a_goal_gets_its_name_here(word):
    """`maximize` is `max`."""
    goals = [{"metric": "coherence/joint", "goal": word}, {"metric": "log_likelihood/joint", "goal": "max"}]
    with pytest.raises(SpecError, match=rf"^objectives\[0\]\.goal: '{word}' .*'{GOALS[word]}'"):
        sweep_file.parse(SOUND | {"objectives": goals})


SEEDS = {"0-4": "[0, 1, 2, 3, 4]", "0..2": "[0, 1, 2]", "3 to 5": "[3, 4, 5]", "1, 2, 7": "[1, 2, 7]", "range(5)": "5", "yes": ""}


@pytest.mark.parametrize("text", SEEDS)
def test_seeds_are_a_number_or_a_list(text):
    """Of a range, the list that it means is suggested; it is never read as another number."""
    with pytest.raises(SpecError, match=rf"^seeds: '{re.escape(text)}' .*{re.escape(SEEDS[text])}"):
        sweep_file.parse(SOUND | {"seeds": text})


def test_only_what_is_allowed_is_suggested():
    """Whatever the word, and however little is allowed."""
    words = ("lr", "values", "maximize", "yes", "no", "mopoe-vae", "", "max", "0x1F")
    for allowed in (["paper", "small"], ["max", "min"], ["learning_rate"], []):
        assert {suggestion(word, allowed) for word in words} <= {*allowed, ""}


def test_each_field_has_a_place():
    """No field of a section is missing from the places that messages name."""
    assert set(PLACES) >= {*SweepSpec.model_fields, *Resources.model_fields, *Objective.model_fields, "beta", "space"}
    assert (PLACES["cpu"], PLACES["beta"], PLACES["goal"]) == ("resources.cpu", "base.beta", "objectives[0].goal")


def test_more_mistakes_than_fit_a_screen_are_counted(tmp_path):
    """Twenty are shown, and the number of the others."""
    path = tmp_path / "s.yaml"
    path.write_text("name: x\nbase:\n" + "".join(f"  wrong{i}: 1\n" for i in range(50)) + "grid: {model: [mopoe]}\n")
    with pytest.raises(SpecError) as caught:
        sweep_file.load(path)
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert not unnamed(lines[-1], 30)


def test_many_rules_leave_out_what_each_would_alone():
    """Two hundred rules over thousands of cells: what is left is what plain comparison leaves."""
    betas, dims, rates = range(1, 21), range(1, 11), (0.1, 0.01)
    rules = [{"beta": beta, "latent_dim": dim} for beta in betas for dim in dims if (beta * dim) % 2]
    rules += [{"beta": 2.0, "learning_rate": "1e-1"}, {"latent_dim": 4}]
    grid = {"beta": list(betas), "latent_dim": list(dims), "learning_rate": list(rates)}
    cells = sweep_file.parse(SOUND | {"grid": grid, "exclude": rules}).cells
    found = {(cell.config.beta, cell.config.latent_dim, cell.config.learning_rate) for cell in cells}
    kept = {(b, d, r) for b in betas for d in dims for r in rates if not ((b * d) % 2 or (b == 2 and r == 0.1) or d == 4)}
    assert found == kept


def test_a_sweep_is_expanded_once():
    """Asked for its cells again, a sweep gives the same objects."""
    spec = sweep_file.parse(SOUND | {"grid": {"beta": [1, 2]}})
    first = spec.cells
    assert list(map(id, spec.cells)) == list(map(id, first))


def test_a_wrong_scale_is_no_mistake_of_the_file(tmp_path, types_here):
    """The option is named, with the nearest spelling; and a wrong section is named as ever beside a right one."""
    path = tmp_path / "s.yaml"
    path.write_text("name: x\nbase: {dataset: mnist_svhn_text, model: mopoe}\ngrid: 5\n")
    code, _, err = types_here("plan", path, "--scale", "Tiny")
    assert (code, err.startswith("error: --scale: ")) == (2, True)
    assert not unnamed(err, "'Tiny'", "'smoke'")
    code, _, err = types_here("plan", path, "--scale", "smoke")
    assert (code, err) == (2, f"error: {path}:3: grid: 5 must be a mapping\n")
