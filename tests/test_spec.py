"""Sweep files: what they mean, how trials are identified, and how each mistake is named."""

import copy
import math

import pytest
import yaml

from mopoe_core.config import MODEL_DEFAULTS, TrainingConfig
from orchestrator import spec as specs
from orchestrator import trial
from orchestrator.errors import SpecError
from orchestrator.trial import Cell, Trial

GOOD = {
    "name": "mst",
    "base": {"dataset": "mnist_svhn_text", "source": "embedded", "networks": "small", "epochs": 60},
    "grid": {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 1, 2.5]},
    "seeds": 2,
}


def changed(**changes):
    """The good spec with some top-level fields replaced."""
    return copy.deepcopy(GOOD) | changes


def ids(raw):
    """The trials' ids."""
    return [one.id for one in specs.trials(specs.parse(raw))]


def test_a_grid_is_every_combination_times_the_seeds():
    """3 models x 3 betas x 2 seeds are 18 trials with 18 ids in 9 cells."""
    every = specs.trials(specs.parse(GOOD))
    assert len({one.id for one in every}) == 18
    assert len({one.cell.id for one in every}) == 9


def test_the_example_of_the_readme_has_85_trials(tmp_path):
    """6 betas x 3 models without one cell, 5 seeds."""
    text = """
        name: mst
        base: {dataset: mnist_svhn_text, source: embedded, networks: paper, epochs: 60}
        grid: {model: [mvae, mmvae, mopoe], beta: [0.5, 1, 2.5, 5, 10, 20]}
        exclude: [{model: mvae, beta: 20}]
        seeds: 5
        objectives:
          - {metric: coherence/joint, goal: max, reference: 0}
          - {metric: log_likelihood/joint, goal: max, reference: -2200}
        resources: {cpu: 1, gpu: 0, retries: 2}
        storage: runs
    """
    (tmp_path / "mst.yaml").write_text(text)
    assert len(specs.trials(specs.load(tmp_path / "mst.yaml"))) == 85


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "'1'", '"1e0"', "1.e+0"])
def test_one_beta_has_one_identity_however_it_is_written(spelling):
    """YAML reads some of these as text and some as numbers; the id is that of 1.0."""
    raw = yaml.safe_load(f"{{name: x, base: {{dataset: mnist_svhn_text, model: mopoe, beta: {spelling}}}}}")
    (one,) = specs.trials(specs.parse(raw))
    assert one.id == Trial(Cell(TrainingConfig(dataset="mnist_svhn_text", model="mopoe")), 0).id


def test_defaults_may_be_written_out_without_changing_an_identity():
    """Every field at its default value, spelled out, gives the id of the spec that leaves them all out."""
    for model in MODEL_DEFAULTS:
        short = TrainingConfig(dataset="mnist_svhn_text", model=model)
        assert Cell(TrainingConfig.model_validate(short.model_dump())).id == Cell(short).id


def test_identities_do_not_move():
    """The id is a function of the values alone: this one was computed by hand from the documented rule."""
    import hashlib

    content = '{"beta":2.5,"dataset":"mnist_svhn_text","model":"mopoe","recipe":1,"seed":3}'
    expected = hashlib.sha256(content.encode()).hexdigest()[:16]
    assert Trial(Cell(TrainingConfig(dataset="mnist_svhn_text", model="mopoe", beta=2.5)), 3).id == expected


def test_every_field_but_the_resources_is_part_of_the_identity():
    """Changing any one field of a configuration changes the id; resources and storage do not."""
    other = {
        "beta": 3, "networks": "small", "latent_dim": 5, "estimator": "categorical", "kl": "mixture", "prior_expert": "full",
        "likelihood": "normal", "reconstruction_weights": "equal", "missing": 0.1, "epochs": 7, "batch_size": 64,
        "learning_rate": 0.1, "train_examples": 5000, "test_examples": 500, "source": "original", "model": "mmvae",
    }  # fmt: skip
    assert set(other) | {"dataset"} == set(TrainingConfig.model_fields)
    base = {"dataset": "mnist_svhn_text", "model": "mopoe"}
    found = {Cell(TrainingConfig.model_validate(base | {field: value})).id for field, value in other.items()}
    assert len(found | {Cell(TrainingConfig.model_validate(base)).id}) == len(other) + 1
    assert ids(changed(resources={"cpu": 2, "gpu": 0.5}, storage="elsewhere")) == ids(GOOD)


def test_a_raised_recipe_makes_every_trial_new(monkeypatch):
    """The hand-bumped recipe number is part of every id."""
    before = ids(GOOD)
    monkeypatch.setattr(trial, "RECIPE", 2)
    assert not set(before) & set(ids(GOOD))


def test_eq5_is_mopoe_with_every_component_decoded():
    """Two spellings, one identity."""
    spelled = TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": "mopoe", "estimator": "enumerate"})
    assert TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": "eq5"}) == spelled


def test_zip_varies_fields_together_and_crosses_the_grid():
    """Two zipped rows and three models are six cells."""
    raw = changed(grid={"model": ["mvae", "mmvae", "mopoe"]}, zip={"latent_dim": [10, 20], "beta": [1, 2]})
    found = {(c.config.model, c.config.latent_dim, c.config.beta) for c in specs.cells(specs.parse(raw))}
    assert found == {(m, d, b) for m in ("mvae", "mmvae", "mopoe") for d, b in ((10, 1), (20, 2))}


def test_include_adds_cells_and_exclude_takes_some_away():
    """Both are counted, and an exclusion is compared by value."""
    raw = changed(include=[{"model": "eq5", "beta": 2.5}], exclude=[{"model": "mvae", "beta": "5e-1"}, {"beta": 1.0}])
    assert len(specs.cells(specs.parse(raw))) == 9 - 1 - 3 + 1


def test_a_combination_that_would_be_refused_can_be_excluded():
    """MVAE has no estimator to choose: excluding it lets the others vary theirs."""
    raw = changed(grid={"model": ["mvae", "mopoe"], "estimator": ["stratified", "slices"]}, exclude=[{"model": "mvae"}])
    assert len(specs.cells(specs.parse(raw))) == 2


def test_more_seeds_keep_the_ids_of_those_before():
    """Raising `seeds` by one adds one trial a cell and renames none."""
    assert set(ids(GOOD)) < set(ids(changed(seeds=3)))
    assert len(ids(changed(seeds=3))) == 27


BAD = {
    "unknown top-level key": (changed(gird={}), "gird: unknown field (did you mean 'grid'?)"),
    "no name": ({"base": GOOD["base"]}, "name: is missing"),
    "name that is no folder": (changed(name="../up"), "name: '../up' must be letters"),
    "misspelt model": (changed(grid={"model": ["mopeo"]}), "grid.model: 'mopeo' is not offered (did you mean 'mopoe'?)"),
    "dataset not offered": (changed(base={"dataset": "polymnist"}), "base.dataset: 'polymnist' is not offered"),
    "unknown field": (changed(base={"datset": "x"}), "base.datset: unknown field (did you mean 'dataset'?)"),
    "no dataset": (changed(base={}), "base.dataset: is missing"),
    "negative beta": (changed(grid={"model": ["mvae"], "beta": [-1]}), "grid.beta: -1 must be at least 0"),
    "beta that is no number": (changed(grid={"model": ["mvae"], "beta": ["big"]}), "grid.beta: 'big' must be a number"),
    "beta that is yes": (changed(grid={"model": ["mvae"], "beta": [True]}), "grid.beta: True must be a number"),
    "infinite beta": (changed(grid={"model": ["mvae"], "beta": [math.inf]}), "grid.beta: inf must be finite"),
    "empty grid": (changed(grid={}), "grid: is empty"),
    "grid without a value": (changed(grid=None), "grid: is empty"),
    "too many seeds": (changed(seeds=10**14), "seeds: 100000000000000 is more than 10000"),
    "seeds that are no numbers": (changed(seeds=["a"]), "seeds: a list of seeds holds whole numbers only"),
    "too many epochs": (
        changed(base={"dataset": "mnist_svhn_text", "epochs": 10**20}),
        "base.epochs: 100000000000000000000 must be at most 1000000",
    ),
    "empty list": (changed(grid={"beta": []}), "grid.beta: a list has too few entries"),
    "grid value that is no list": (changed(grid={"beta": 1}), "grid.beta: 1 must be a list"),
    "same field in base and grid": (changed(base=GOOD["base"] | {"beta": 1}), "grid.beta: is also in base"),
    "duplicate cell": (changed(grid={"model": ["mvae"], "beta": [1, "1e0"]}), "is the same cell as grid (model: mvae, beta: 1)"),
    "exclude without effect": (changed(exclude=[{"beta": 7}]), "exclude[0]: {'beta': 7} matches no cell"),
    "everything excluded": (changed(exclude=[{"networks": "small"}]), "exclude: leaves no cell"),
    "empty exclude": (changed(exclude=[{}]), "exclude[0]: is empty"),
    "lists of different length": (changed(zip={"latent_dim": [1, 2], "epochs": [1]}), "zip.epochs: is also in base"),
    "zip of different length": (changed(zip={"latent_dim": [1, 2], "batch_size": [8]}), "zip: the lists differ in length"),
    "no seed": (changed(seeds=0), "seeds: 0 makes no trial"),
    "half a seed": (changed(seeds=1.5), "seeds: 1.5 must be a whole number"),
    "seed twice": (changed(seeds=[1, 1]), "seeds: seed 1 is listed twice"),
    "seed in base": (changed(base=GOOD["base"] | {"seed": 1}), "base.seed: seeds are not part of a cell"),
    "misspelt metric": (
        changed(objectives=[{"metric": "coherence/jiont", "goal": "max"}, {"metric": "probe/mnist", "goal": "max"}]),
        "objectives[0].metric: 'coherence/jiont' is not offered (did you mean 'coherence/joint'?)",
    ),
    "goal": (changed(objectives=[{"metric": "coherence/joint", "goal": "up"}] * 2), "objectives[0].goal: 'up' is not allowed"),
    "one objective": (changed(objectives=[{"metric": "coherence/joint", "goal": "max"}]), "objectives: a list has too few"),
    "resource": (changed(resources={"cpus": 1}), "resources.cpus: unknown field (did you mean 'cpu'?)"),
    "no cpu": (changed(resources={"cpu": 0}), "resources.cpu: 0 must be at least 1"),
    "one and a half gpus": (changed(resources={"gpu": 1.5}), "resources.gpu: 1.5 is not allowed"),
    "bucket": (changed(storage="s3://bucket/x"), "storage: 's3://bucket/x' is a URI"),
    "estimator without mixture": (
        changed(base=GOOD["base"] | {"estimator": "slices"}),
        "base.estimator: 'slices' does not apply",
    ),
    "slices of too small a batch": (
        changed(base=GOOD["base"] | {"estimator": "slices", "batch_size": 4}, grid={"model": ["mopoe"]}),
        "base.batch_size: 4 is too small for estimator 'slices'",
    ),
    "more examples than there are": (
        changed(base=GOOD["base"] | {"train_examples": 10**6}),
        "base.train_examples: 1000000 is more",
    ),
    "zero epochs": (changed(base={"dataset": "mnist_svhn_text", "epochs": 0}), "base.epochs: 0 must be at least 1"),
    "a list": ([1, 2], "a sweep is a mapping with a name, not a list"),
    "nothing": (None, "a sweep is a mapping with a name, not an empty value"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_in_one_line(case):
    """The message gives the field, the value found, and what is allowed or near, in one line."""
    raw, expected = BAD[case]
    with pytest.raises(SpecError) as caught:
        specs.parse(raw)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN_FILES = {
    "name: [": "line 1, column 8: not valid YAML",
    "name: a\nname: b": "line 2: the key 'name' appears twice",
    "name: a\nno: 1": "line 2: the key False is not text",
    "name: !!python/object/apply:os.getcwd []": "not valid YAML",
    "\x00": "not valid YAML",
    "name: " + "[" * 3000: "nested too deeply",
}


@pytest.mark.parametrize("text", BROKEN_FILES)
def test_a_broken_file_is_named_with_its_place(text, tmp_path):
    """Malformed YAML, a key twice, a key that YAML reads as a boolean, and an executable tag each get one line."""
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        specs.load(tmp_path / "broken.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'broken.yaml'}: ")
    assert BROKEN_FILES[text] in str(caught.value)
    assert "\n" not in str(caught.value)
