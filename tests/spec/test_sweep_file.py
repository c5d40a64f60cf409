"""Sweep files: what they mean, how trials are identified, and how each mistake is named."""

import copy
import math
import re
from itertools import product
from pathlib import Path

import pytest
import yaml

from mopoe_core.config.deviations import deviations
from mopoe_core.config.presets import PRESETS
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import MODELS
from orchestrator.errors import SpecError
from orchestrator.spec import expansion, rescaling, sweep_file, trial
from orchestrator.spec.sweep_spec import PlannedCell
from orchestrator.spec.trial import Cell, Trial
from tests.support.naming import unnamed

SWEEPS = Path(__file__).parents[2] / "sweeps"
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
    return [one.id for one in sweep_file.parse(raw).trials]


def test_a_grid_is_every_combination_times_the_seeds():
    """3 models x 3 betas x 2 seeds are 18 trials with 18 ids in 9 cells."""
    every = sweep_file.parse(GOOD).trials
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
    assert len(sweep_file.load(tmp_path / "mst.yaml").trials) == 85


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "'1'", '"1e0"', "1.e+0"])
def test_one_beta_has_one_identity_however_it_is_written(spelling):
    """YAML reads some of these as text and some as numbers; the id is that of 1.0."""
    raw = yaml.safe_load(f"{{name: x, base: {{dataset: mnist_svhn_text, model: mopoe, beta: {spelling}}}}}")
    (one,) = sweep_file.parse(raw).trials
    assert one.id == Trial(Cell(TrainingConfig(dataset="mnist_svhn_text", model="mopoe", beta=1.0)), 0).id


def test_defaults_may_be_written_out_without_changing_an_identity():
    """Every field at its default value, spelled out, gives the id of the spec that leaves them all out."""
    for model in MODELS:
        short = TrainingConfig(dataset="mnist_svhn_text", model=model)
        assert Cell(TrainingConfig.model_validate(short.model_dump())).id == Cell(short).id


def test_identities_do_not_move():
    """The id is a function of the values alone: this one was computed by hand from the documented rule."""
    import hashlib

    content = '{"beta":2.5,"dataset":"mnist_svhn_text","kl":"mixture","model":"mopoe","recipe":3,"seed":3}'
    expected = hashlib.sha256(content.encode()).hexdigest()[:16]
    assert Trial(Cell(TrainingConfig(dataset="mnist_svhn_text", model="mopoe", beta=2.5)), 3).id == expected


def test_every_field_but_the_resources_is_part_of_the_identity():
    """Changing any one field of a configuration changes the id; resources and storage do not."""
    other = {
        "beta": 3, "networks": "small", "latent_dim": 5, "estimator": "categorical", "kl": "sum", "prior_expert": "full",
        "likelihood": "normal", "reconstruction_weights": "equal", "missing": 0.1, "epochs": 7, "batch_size": 64,
        "learning_rate": 0.1, "train_examples": 5000, "test_examples": 500, "source": "original", "model": "mmvae",
        "scale": "smoke", "private_dim": 2, "importance_samples": 3, "weight_decay": 0.1,
        "precision": "bf16",
    }  # fmt: skip
    more = {
        "modality_count": {"dataset": "polymnist", "modality_count": 3},
        "evaluate_on": {"dataset": "celeba", "evaluate_on": "validation"},
        "beta_private": {"private_dim": 2, "beta_private": 2},
        "private_weights": {"private_dim": 2, "private_weights": [1, 2, 3]},
        "given_private": {"private_dim": 2, "given_private": "posterior"},
        "alpha": {"model": "mvtcae", "alpha": 0.5},
        "unimodal_reconstruction": {"model": "mvae", "unimodal_reconstruction": "unweighted"},
    }
    assert set(other) | set(more) | {"dataset", "data_hash"} == set(TrainingConfig.model_fields)
    base = {"dataset": "mnist_svhn_text", "model": "mopoe"}
    found = {Cell(TrainingConfig.model_validate(base | {field: value})).id for field, value in other.items()}
    assert len(found | {Cell(TrainingConfig.model_validate(base)).id}) == len(other) + 1
    for field, values in more.items():
        without = {key: value for key, value in values.items() if key != field}
        one, other_one = (TrainingConfig.model_validate(base | v) for v in (values, without))
        assert Cell(one).id != Cell(other_one).id, field
    assert ids(changed(resources={"cpu": 2, "gpu": 0.5}, storage="elsewhere")) == ids(GOOD)


def test_a_raised_recipe_makes_every_trial_new(monkeypatch):
    """The hand-bumped recipe number is part of every id."""
    before = ids(GOOD)
    monkeypatch.setattr(trial, "RECIPE", 99)
    assert not set(before) & set(ids(GOOD))


def test_all_examples_spelled_out_are_all_examples():
    """The number of examples that there are, as a number or as text, gives the id of leaving it out."""
    base = {"dataset": "mnist_svhn_text", "model": "mopoe"}
    short = Cell(TrainingConfig.model_validate(base)).id
    for spelled in ({"train_examples": 80_000}, {"test_examples": "20000"}, {"train_examples": 80_000, "test_examples": 20_000}):
        assert Cell(TrainingConfig.model_validate(base | spelled)).id == short


def test_eq5_is_mopoe_with_every_component_decoded():
    """Two spellings, one identity."""
    spelled = TrainingConfig.model_validate(
        {"dataset": "mnist_svhn_text", "model": "mopoe", "estimator": "enumerate", "kl": "sum"}
    )
    assert TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": "eq5"}) == spelled


PAPERS = {"mst": 90, "polymnist": 15, "celeba": 15, "table7": 10}


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("scale", [None, "paper", "small", "smoke"])
def test_the_papers_sweeps_stand_at_every_scale(name, scale):
    """As many trials as the paper's experiments have, each at the scale that was asked for, and the file's own is the paper's."""
    every = sweep_file.load(SWEEPS / f"{name}.yaml", scale).trials
    assert len({one.id for one in every}) == PAPERS[name]
    assert {one.config.scale for one in every} == {scale or "paper"}
    below = scale in ("small", "smoke")
    assert {one.config.source for one in every} == {"embedded" if below else "original"}
    assert not below or {one.config.networks for one in every} == {"small"}


def test_the_papers_sweeps_at_full_scale_are_the_papers_settings():
    """Nothing deviates from what the paper states; at a smaller scale something does, and is named."""
    for name in PAPERS:
        for scale in ("paper", "small"):
            found = {words for one in sweep_file.load(SWEEPS / f"{name}.yaml", scale).cells for words in deviations(one.config)}
            assert (not found) == (scale == "paper"), (name, found)


def test_what_two_of_the_papers_sweeps_share_is_trained_once():
    """MoPoE at beta 2.5 in table7.yaml is MoPoE at beta 2.5 in mst.yaml, seed by seed, at every scale."""
    for scale in ("paper", "small", "smoke"):
        mst, table7 = ({one.id for one in sweep_file.load(SWEEPS / f"{n}.yaml", scale).trials} for n in ("mst", "table7"))
        assert len(mst & table7) == 5


def test_a_scale_takes_the_place_of_what_the_file_says_of_sizes():
    """Epochs and examples of base and include give way, also where an exclude rule named them; what varies in a grid is refused."""
    raw = changed(include=[{"model": "mopoe", "beta": 7, "epochs": 3}], exclude=[{"model": "mvae", "beta": 1, "epochs": 60}])
    small = sweep_file.parse(rescaling.rescaled(raw, "smoke"))
    assert small.name == "mst-smoke"
    assert {one.config.epochs for one in small.cells} == {2}
    assert len(small.cells) == 9
    with pytest.raises(SpecError, match=r"^grid\.epochs: .*--scale\b"):
        rescaling.rescaled(changed(grid={"epochs": [1, 2]}), "smoke")
    with pytest.raises(SpecError, match=r"^--scale: 'smal' .*'small'"):
        rescaling.rescaled(GOOD, "smal")
    for section in ("include", "exclude"):
        with pytest.raises(SpecError, match=rf"^{section}\[0\]: .*\bepochs\b.*--scale\b"):
            rescaling.rescaled(changed(**{section: [{"epochs": 3}]}), "smoke")


def test_a_search_at_another_scale_starts_from_sweeps_at_that_scale():
    """The names in `warm_start` are those that the sweeps have at this scale."""
    search = {"space": {"beta": [1, 2]}, "cells": 2, "warm_start": ["before", "mst"]}
    names = [sweep_file.parse(rescaling.rescaled(changed(name=name), "smoke")).name for name in search["warm_start"]]
    scaled = sweep_file.parse(
        rescaling.rescaled({"name": "x", "base": GOOD["base"] | {"model": "mopoe"}, "search": search}, "smoke")
    )
    assert scaled.search.warm_start == names


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", ["mnist_svhn_text", "polymnist", "celeba"])
def test_a_configuration_is_what_its_fields_say(dataset, preset):
    """Written out and read back, as a worker and the ledger do, it is the same, whatever preset, scale and split it came from."""
    splits = ("test", "validation") if dataset == "celeba" else ("test",)
    for model, scale, split in product([*MODELS, "eq5"], [None, "paper", "small", "smoke"], splits):
        fields = {"dataset": dataset, "model": model, "preset": preset, "scale": scale, "evaluate_on": split}
        config = TrainingConfig.model_validate({name: value for name, value in fields.items() if value})
        assert TrainingConfig.model_validate(config.model_dump()) == config
        assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config
        assert (
            config.scale != "paper"
            or config.epochs
            == {
                "mnist_svhn_text": {"paper": 150, "released_code": 200},
                "polymnist": {"paper": 300, "released_code": 300},
                "celeba": {"paper": 200, "released_code": 250},
            }[dataset][preset]
        )


def test_a_size_that_a_scale_means_may_be_written_beside_it():
    """As a whole number, as a decimal, or as the number of all examples."""
    small = {"dataset": "mnist_svhn_text", "model": "mopoe", "scale": "small"}
    assert ids({"name": "x", "base": small}) == ids({"name": "x", "base": small | {"epochs": "24.0", "train_examples": 32_000}})
    paper = small | {"scale": "paper"}
    assert ids({"name": "x", "base": paper}) == ids({"name": "x", "base": paper | {"train_examples": 1_121_360, "epochs": 150}})


def test_a_preset_weights_no_private_latents_that_are_not_there():
    """The released code's weights of CelebA's private latents go with them."""
    base = {"dataset": "celeba", "model": "mopoe", "preset": "released_code", "private_dim": 0}
    (cell,) = sweep_file.parse({"name": "x", "base": base}).cells
    assert (cell.config.beta_private, cell.config.private_weights) == (1, ())


def test_what_the_paper_does_not_have_deviates_from_it():
    """A model of others, and a scale that is left out on all of the original data, are each named."""
    (mvtcae,) = deviations(TrainingConfig(dataset="polymnist", model="mvtcae", scale="paper"))
    assert not unnamed(mvtcae, "model mvtcae")
    (unscaled,) = deviations(TrainingConfig(dataset="polymnist", model="mopoe", source="original"))
    assert not unnamed(unscaled, "scale", "paper")
    assert not deviations(TrainingConfig(dataset="mnist_svhn_text", model="eq5", scale="paper"))


def test_a_preset_leaves_no_trace():
    """What it fills in, written out by hand, is the same trial; what is written beside it wins."""
    preset = {"name": "x", "base": {"dataset": "polymnist", "model": "mopoe", "preset": "released_code"}}
    by_hand = {
        "dataset": "polymnist", "model": "mopoe", "latent_dim": 512, "beta": 2.5, "epochs": 300, "learning_rate": 5e-4, "kl": "sum",
        "estimator": "slices", "prior_expert": "full", "importance_samples": 12,
    }  # fmt: skip
    assert ids(preset) == ids({"name": "x", "base": by_hand})
    preset["base"]["beta"] = 1
    assert sweep_file.parse(preset).cells[0].config.beta == 1


def test_an_exclude_rule_sees_what_a_preset_filled_in():
    """A rule on the number of latent dimensions finds the cells whose preset says so."""
    raw = {"name": "x", "base": {"model": "mopoe"}, "grid": {"dataset": ["polymnist", "mnist_svhn_text"]}}
    (left,) = sweep_file.parse(raw | {"exclude": [{"latent_dim": 512}]}).cells
    assert left.config.dataset == "mnist_svhn_text"


def test_zip_varies_fields_together_and_crosses_the_grid():
    """Two zipped rows and three models are six cells."""
    raw = changed(grid={"model": ["mvae", "mmvae", "mopoe"]}, zip={"latent_dim": [10, 20], "beta": [1, 2]})
    found = {(c.config.model, c.config.latent_dim, c.config.beta) for c in sweep_file.parse(raw).cells}
    assert found == {(m, d, b) for m in ("mvae", "mmvae", "mopoe") for d, b in ((10, 1), (20, 2))}


def test_include_adds_cells_and_exclude_takes_some_away():
    """Both are counted, and an exclusion is compared by value."""
    raw = changed(include=[{"model": "eq5", "beta": 2.5}], exclude=[{"model": "mvae", "beta": "5e-1"}, {"beta": 1.0}])
    assert len(sweep_file.parse(raw).cells) == 9 - 1 - 3 + 1


def test_a_combination_that_would_be_refused_can_be_excluded():
    """MVAE has no estimator to choose: excluding it lets the others vary theirs."""
    raw = changed(grid={"model": ["mvae", "mopoe"], "estimator": ["stratified", "slices"]}, exclude=[{"model": "mvae"}])
    assert len(sweep_file.parse(raw).cells) == 2


@pytest.mark.parametrize(
    ("dataset", "field", "few", "number"),
    [
        ("polymnist", "modality_count", 2, 5),
        ("mnist_svhn_text", "test_examples", 100, 20_000),
        ("mnist_svhn_text", "train_examples", 1000, 80_000),
    ],
)
def test_an_exclude_rule_may_name_all_as_a_number_or_as_null(dataset, field, few, number):
    """The grid writes the number of all that there are. The rule writes it too, or null. Also cells that would be refused match."""
    base = {"dataset": dataset, "networks": "small"}
    grid = {"model": ["mvae", "mopoe"], field: [few, number]}
    left = [("mvae", few), ("mopoe", few), ("mopoe", None)]
    for rule in ({"model": "mvae", field: number}, {"model": "mvae", field: str(number)}, {"model": "mvae", field: None}):
        cells = sweep_file.parse({"name": "x", "base": base, "grid": grid, "exclude": [rule]}).cells
        assert [(cell.config.model, getattr(cell.config, field)) for cell in cells] == left
        refused = {"name": "x", "base": base, "grid": grid | {"estimator": ["stratified", "slices"]}}
        assert len(sweep_file.parse(refused | {"exclude": [rule, {"model": "mvae", field: few}]}).cells) == 4


def test_an_exclude_rule_on_a_model_keeps_its_alias():
    """`{model: mopoe}` keeps `eq5`, and `{model: eq5}` keeps `mopoe`. A rule with the fields of the alias is a rule on the alias."""

    def left(*rules):
        raw = changed(grid={"model": ["mopoe", "eq5"], "beta": [1, 2]}, exclude=list(rules))
        return {(cell.config.published_model, cell.config.beta) for cell in sweep_file.parse(raw).cells}

    mopoe_1, mopoe_2, eq5_1, eq5_2 = (("mopoe", 1), ("mopoe", 2), ("eq5", 1), ("eq5", 2))
    assert left({"model": "mopoe", "beta": 2}) == {mopoe_1, eq5_1, eq5_2}
    assert left({"model": "eq5", "beta": 2}) == {mopoe_1, mopoe_2, eq5_1}
    assert left({"model": "mopoe", "estimator": "enumerate", "kl": "sum", "beta": 2}) == {mopoe_1, mopoe_2, eq5_1}
    assert left({"model": ["mopoe", "eq5"], "beta": 2}) == {mopoe_1, eq5_1}
    assert left({"beta": 2}) == {mopoe_1, eq5_1}


def test_an_exclude_rule_on_an_alias_finds_the_model_with_its_fields():
    """`{model: eq5}` leaves out MoPoE that is written with the fields of eq5, and no other MoPoE."""
    raw = changed(grid={"model": ["mopoe"], "estimator": ["stratified", "enumerate"], "kl": ["sum", "mixture"]})
    cells = sweep_file.parse(raw | {"exclude": [{"model": "eq5"}]}).cells
    assert {(cell.config.estimator, cell.config.kl) for cell in cells} == {PLAIN, ALL, ("stratified", "sum")}


def test_a_list_in_an_exclude_rule_stands_for_each_of_its_values():
    """A rule with lists leaves out what a rule for each combination would. `null` may be in a list."""
    fields = {"model": ["mvae", "mopoe"], "beta": [0.5, "1e0"], "train_examples": [1000, None]}
    raw = changed(grid={"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 1, 2.5], "train_examples": [1000, 2000, 80_000]})
    apart = [dict(zip(fields, values, strict=True)) for values in product(*fields.values())]
    assert len(apart) == 8
    together = sweep_file.parse(raw | {"exclude": [fields]}).cells
    assert len(together) == 27 - 8
    assert together == sweep_file.parse(raw | {"exclude": apart}).cells


def test_a_list_of_weights_in_an_exclude_rule_is_one_value():
    """It leaves out the cell with these weights."""
    raw = changed(grid={"model": ["mopoe"], "reconstruction_weights": ["size", [1, 2, 3], [1, 1, 1]]})
    cells = sweep_file.parse(raw | {"exclude": [{"reconstruction_weights": [1, "2.0", 3]}]}).cells
    assert [cell.config.reconstruction_weights for cell in cells] == ["size", (1, 1, 1)]


SUM, PLAIN, ALL = ("enumerate", "sum"), ("stratified", "mixture"), ("enumerate", "mixture")


@pytest.mark.parametrize(
    ("field", "values", "wrong", "left"),
    [
        ("kl", ["sum", "mixture"], "mixture", {("stratified", "sum"), PLAIN, SUM}),
        ("estimator", ["stratified", "enumerate"], "stratified", {PLAIN, ALL, SUM}),
    ],
)
def test_an_exclude_rule_may_name_what_an_alias_contradicts(field, values, wrong, left):
    """`{model: eq5, kl: mixture}` leaves out that point, and neither the sound eq5 nor MoPoE with the same value."""
    raw = changed(grid={"model": ["mopoe", "eq5"], field: values}, exclude=[{"model": "eq5", field: wrong}])
    assert {(cell.config.estimator, cell.config.kl) for cell in sweep_file.parse(raw).cells} == left


def test_more_seeds_keep_the_ids_of_those_before():
    """Raising `seeds` by one adds one trial a cell and renames none."""
    assert set(ids(GOOD)) < set(ids(changed(seeds=3)))
    assert len(ids(changed(seeds=3))) == 27


BAD = {
    "unknown top-level key": (changed(gird={}), "gird", "'grid'"),
    "no name": ({"base": GOOD["base"]}, "name"),
    "name that is no folder": (changed(name="../up"), "name", "'../up'"),
    "misspelt model": (changed(grid={"model": ["mopeo"]}), "grid.model", "'mopeo'", "'mopoe'"),
    "dataset not offered": (
        changed(base={"dataset": "polymist"}),
        "base.dataset",
        "'polymist'",
        "'polymnist'",
    ),
    "unknown field": (changed(base={"datset": "x"}), "base.datset", "'dataset'"),
    "no dataset": (changed(base={}), "base.dataset"),
    "negative beta": (changed(grid={"model": ["mvae"], "beta": [-1]}), "grid.beta", -1, re.compile(r"\b0(\.0)?\b")),
    "beta that is no number": (changed(grid={"model": ["mvae"], "beta": ["big"]}), "grid.beta", "'big'"),
    "beta that is yes": (changed(grid={"model": ["mvae"], "beta": [True]}), "grid.beta", "True"),
    "infinite beta": (changed(grid={"model": ["mvae"], "beta": [math.inf]}), "grid.beta", "inf"),
    "empty grid": (changed(grid={}), "grid"),
    "grid without a value": (changed(grid=None), "grid"),
    "too many seeds": (changed(seeds=10**14), "seeds", 10**14, 10000),
    "seeds that are no numbers": (changed(seeds=["a"]), "seeds"),
    "too many epochs": (
        changed(base={"dataset": "mnist_svhn_text", "epochs": 10**20}),
        "base.epochs",
        10**20,
        10**6,
    ),
    "empty list": (changed(grid={"beta": []}), "grid.beta"),
    "grid value that is no list": (changed(grid={"beta": 1}), "grid.beta", 1, "list"),
    "same field in base and grid": (changed(base=GOOD["base"] | {"beta": 1}), "grid.beta", "base"),
    "duplicate cell": (
        changed(grid={"model": ["mvae"], "beta": [1, "1e0"]}),
        "grid",
        re.compile(r"\(model: mvae, beta: 1e0\):.*grid \(model: mvae, beta: 1\)"),
    ),
    "exclude without effect": (changed(exclude=[{"beta": 7}]), "exclude[0]", "{'beta': 7}"),
    "everything excluded": (changed(exclude=[{"networks": "small"}]), "exclude"),
    "wrong value in a list of exclude": (changed(exclude=[{"beta": [1, "big"]}]), "exclude[0].beta[1]", "'big'"),
    "empty list in exclude": (changed(exclude=[{"beta": []}]), "exclude[0].beta"),
    "empty exclude": (changed(exclude=[{}]), "exclude[0]"),
    "lists of different length": (changed(zip={"latent_dim": [1, 2], "epochs": [1]}), "zip.epochs", "base"),
    "zip of different length": (changed(zip={"latent_dim": [1, 2], "batch_size": [8]}), "zip", "latent_dim: 2", "batch_size: 1"),
    "misspelt model in exclude": (
        changed(exclude=[{"model": "mvea"}]),
        "exclude[0].model",
        "'mvea'",
        "'mvae'",
    ),
    "grid beyond measure": (
        changed(grid={"beta": list(range(999)), "latent_dim": list(range(1, 999))}),
        "grid",
        1994004,
        "beta: 999",
        "latent_dim: 998",
        "2 seeds",
        100000,
    ),
    "a number of 400 digits": (changed(grid={"model": ["mvae"], "beta": ["9" * 400]}), "grid.beta", re.compile(r"\b9{3,}\.\.\.")),
    "full product of a model without one": (
        changed(base=GOOD["base"] | {"prior_expert": "full"}, grid={"model": ["mmvae"]}),
        "base.prior_expert",
        "'full'",
        "'mmvae'",
    ),
    "no seed": (changed(seeds=0), "seeds", 0),
    "half a seed": (changed(seeds=1.5), "seeds", 1.5),
    "seed twice": (changed(seeds=[1, 1]), "seeds", 1),
    "seed in base": (changed(base=GOOD["base"] | {"seed": 1}), "base.seed", re.compile(r"\bseeds\b")),
    "misspelt metric": (
        changed(objectives=[{"metric": "coherence/jiont", "goal": "max"}, {"metric": "probe/mnist", "goal": "max"}]),
        "objectives[0].metric",
        "'coherence/jiont'",
        "'coherence/joint'",
        "`mopoe metrics FILE`",
    ),
    "goal": (changed(objectives=[{"metric": "coherence/joint", "goal": "up"}] * 2), "objectives[0].goal", "'up'"),
    "one objective": (changed(objectives=[{"metric": "coherence/joint", "goal": "max"}]), "objectives"),
    "resource": (changed(resources={"cpus": 1}), "resources.cpus", "'cpu'"),
    "no cpu": (changed(resources={"cpu": 0}), "resources.cpu", 0, 1),
    "cpus of 350 digits": (changed(resources={"cpu": int("9" * 350)}), "resources.cpu", 10**6),
    "gpus of 350 digits": (changed(resources={"gpu": int("9" * 350)}), "resources.gpu", "large"),
    "gpus beyond measure": (changed(resources={"gpu": 1e30}), "resources.gpu", "1e+30", re.compile(r"\b1000000(\.0)?\b")),
    "retries beyond whole numbers": (changed(resources={"retries": 1e30}), "resources.retries", "1e+30", "large"),
    "trials at once beyond measure": (changed(resources={"at_once": 10**19}), "resources.at_once", 10**19, 10**6),
    "yes for true": (changed(resources={"cpu_will_do": "yes"}), "resources.cpu_will_do", "'yes'", "true"),
    "off for false": (changed(resources={"cpu_will_do": "off"}), "resources.cpu_will_do", "'off'", "false"),
    "one for true": (changed(resources={"cpu_will_do": 1}), "resources.cpu_will_do", 1, "true"),
    "less of a gpu than Ray hands out": (changed(resources={"gpu": 0.00005}), "resources.gpu", "5e-05", "0.0001"),
    "one and a half gpus": (changed(resources={"gpu": 1.5}), "resources.gpu", 1.5),
    "estimator without mixture": (
        changed(base=GOOD["base"] | {"estimator": "slices"}),
        "base.estimator",
        "'slices'",
    ),
    "slices of too small a batch": (
        changed(base=GOOD["base"] | {"estimator": "slices", "batch_size": 4}, grid={"model": ["mopoe"]}),
        "base.batch_size",
        4,
        "'slices'",
    ),
    "more examples than there are": (
        changed(base=GOOD["base"] | {"train_examples": 10**6}),
        "base.train_examples",
        10**6,
    ),
    "zero epochs": (changed(base={"dataset": "mnist_svhn_text", "epochs": 0}), "base.epochs", 0, 1),
    "size beside a scale": (
        changed(base=GOOD["base"] | {"scale": "small"}),
        "base.epochs",
        60,
        "'small'",
        24,
    ),
    "empty preset": (changed(base=GOOD["base"] | {"preset": None}), "base.preset", "empty", "released_code"),
    "unknown preset": (
        changed(base=GOOD["base"] | {"preset": "papers"}),
        "base.preset",
        "'papers'",
        "'paper'",
    ),
    "preset in exclude": (changed(exclude=[{"preset": "paper"}]), "exclude[0].preset"),
    "weights of other modalities": (
        changed(base=GOOD["base"] | {"reconstruction_weights": [1, 2]}),
        "base.reconstruction_weights",
        2,
        3,
        "mnist",
        "svhn",
        "text",
    ),
    "weights that are no weights": (
        changed(base=GOOD["base"] | {"reconstruction_weights": "sizes"}),
        "base.reconstruction_weights",
        "'sizes'",
        "'size'",
        "size",
        "equal",
    ),
    "one weight that is none": (
        changed(base=GOOD["base"] | {"reconstruction_weights": [1, 2, -1]}),
        "base.reconstruction_weights[2]",
        -1,
        0,
    ),
    "fewer samples than members": (
        changed(base=GOOD["base"] | {"importance_samples": 2}, grid={"model": ["mmvae"]}),
        "base.importance_samples",
        2,
        "'mmvae'",
        3,
    ),
    "setting against an alias": (
        changed(base=GOOD["base"] | {"kl": "mixture"}, grid={"model": ["eq5"]}),
        "base.kl",
        "'mixture'",
        "'eq5'",
        "sum",
    ),
    "a list": ([1, 2], "a sweep", "list"),
    "nothing": (None, "a sweep", "empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_in_one_line(case):
    """The message gives the field, the value found, and what is allowed or near, in one line."""
    raw, field, *named = BAD[case]
    with pytest.raises(SpecError) as caught:
        sweep_file.parse(raw)
    lines = str(caught.value).split("\n")
    assert any(re.match(rf"{re.escape(field)}[ :]", line) and not unnamed(line, *named) for line in lines), lines
    assert all(re.match(r"[a-z_]+[^:]*: |a sweep ", line) for line in lines)


BROKEN_FILES = {
    "name: [": (":1: ", "column 8"),
    "name: a\nname: b": (":2: ", "'name'", "line 1"),
    "name: a\nno: 1": (":2: no: ",),
    'name: a\n"gr\\nid": 1': (":2: ", r"'gr\nid'"),
    "name: a\nbase: {x: &b {beta: 1}}\ngrid: {<<: *b}": (":3: ", "(<<)"),
    "name: a\nseeds: " + "9" * 5001: (":2: seeds: ", 5001),
    "name: !!python/object/apply:os.getcwd []": (":1: name: ", "tag"),
    "\x00": (":1: ", "YAML"),
    "name: " + "[" * 3000: (": ", "nested"),
}


@pytest.mark.parametrize("text", BROKEN_FILES)
def test_a_broken_file_is_named_with_its_place(text, tmp_path):
    """Malformed YAML, a key twice, a key that YAML reads as a boolean, and an executable tag each get one line."""
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        sweep_file.load(tmp_path / "broken.yaml")
    lines = str(caught.value).split("\n")
    start, *named = BROKEN_FILES[text]
    assert any(line.startswith(f"{tmp_path / 'broken.yaml'}{start}") and not unnamed(line, *named) for line in lines), lines
    assert all(line.startswith(f"{tmp_path / 'broken.yaml'}:") for line in lines)


def test_a_sweep_is_expanded_once(monkeypatch):
    """Read, and asked for cells, trials, seeds and labels, it builds its cells once."""
    expanded = []
    expand = expansion.expand
    monkeypatch.setattr(expansion, "expand", lambda *asked: (expanded.append(asked), expand(*asked))[1])
    spec = sweep_file.parse(GOOD)
    for _ in range(2):
        assert len(spec.trials) == len(spec.wanted) == sum(map(len, spec.seeds_by_cell.values()))
        assert spec.labels.keys() == {cell.id for cell in spec.cells}
    assert len(expanded) == 1


def test_a_search_with_more_cells_is_another_sweep():
    """It has the given cells and seeds, and wants no trial of a stopped cell. The search that it was made from stays as it was."""
    base = {"dataset": "mnist_svhn_text", "model": "mopoe"}
    before = sweep_file.parse({"name": "x", "base": base, "search": {"space": {"beta": [1, 2, 3]}, "cells": 3}})
    first, second = (before.cell_of({"beta": beta}) for beta in (1, 2))
    after = before.with_cells([PlannedCell(first, (0, 1)), PlannedCell(second, (0,), stopped=True)])
    assert (before.cells, before.trials) == ((), ())
    assert after.cells == (first, second)
    assert [(trial.cell, trial.seed) for trial in after.trials] == [(first, 0), (first, 1), (second, 0)]
    assert [(trial.cell, trial.seed) for trial in after.wanted] == [(first, 0), (first, 1)]
