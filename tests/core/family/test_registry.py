"""Every registered model has all that the rest of the program asks of a model, and the registry alone lists models."""

import ast
from pathlib import Path

import pytest

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family import members, registry
from mopoe_core.family.registry import ALIASES, MODELS, PAPER_NAMES, TITLES
from orchestrator.report.paper.published import FILES, published
from tests.support.naive import Naive

ROOT = Path(__file__).parents[3]
FIELDS = (ROOT / "docs/sweep-file.md").read_text(encoding="utf-8")
ROWS = (ROOT / "docs/models.md").read_text(encoding="utf-8")


def test_every_file_of_the_folder_is_a_model_of_its_name():
    """The registry has one model a file, under the file's name."""
    files = {path.stem for path in Path(members.__path__[0]).glob("*.py")} - {"__init__"}
    assert files == set(MODELS)


def test_places_in_legends_differ():
    """The order of models is one order: no two share a place, and the paper's come first."""
    places = [card.place for card in MODELS.values()]
    assert sorted(set(places)) == places == list(range(len(places)))
    assert [card.in_paper for card in MODELS.values()] == sorted((card.in_paper for card in MODELS.values()), reverse=True)


@pytest.mark.parametrize("name", [*MODELS, *ALIASES])
def test_a_model_has_a_title_a_formula_and_a_row_in_the_readme(name):
    """Its title is its own; `Naive` writes out its loss; the docs have it in the list of values and in the table of rows."""
    assert [title for title in TITLES.values()].count(TITLES[name]) == 1
    assert callable(getattr(Naive, ALIASES.get(name, {"model": name})["model"], None))
    assert f"`{name}`" in FIELDS
    assert f"\n| {TITLES[name]} |" in ROWS


@pytest.mark.parametrize("name", MODELS)
def test_what_a_card_names_are_fields_that_accept_it(name):
    """Defaults, fields and presets of a card are fields of the configuration, and make a configuration of that model."""
    card = MODELS[name]
    said = {*card.own_defaults, *card.own_fields, *(field for preset in card.presets.values() for field in preset)}
    assert said <= set(TrainingConfig.model_fields)
    config = TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": name, **card.defaults})
    assert card.rows(config, (1.0,) * 3).name == name


def test_published_numbers_are_those_of_the_papers_models():
    """Each model that says that the paper trains it has numbers in its tables, and no other has."""
    assert {number.model for table in FILES for number in published(table)} == set(PAPER_NAMES)


def test_nothing_but_the_registry_lists_models():
    """No tuple, list, set or dictionary elsewhere has three names of models."""
    found = []
    for path in [*ROOT.glob("mopoe_core/**/*.py"), *ROOT.glob("orchestrator/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            entries = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            names = {entry.value for entry in entries if isinstance(entry, ast.Constant)} & set(registry.TITLES)
            found += [f"{path}:{node.lineno}"] if len(names) > 2 else []
    assert found == []
