"""The JSON schema of sweep files agrees with what reads them, as far as a schema can."""

import copy
import json
import random
from pathlib import Path

import jsonschema
import pytest
import yaml

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.errors import SpecError
from orchestrator.spec.json_schema import NOT_IN_FILES, json_schema
from orchestrator.spec.sweep_file import parse
from tests.support.commands import typed_here

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "sweeps").glob("*.yaml"), *(ROOT / "examples").glob("*.yaml")])
SOUND = {
    "name": "sound",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 3, "batch_size": 64, "learning_rate": 0.001},
    "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2.5]},
    "seeds": 2,
    "objectives": [
        {"metric": "coherence/joint", "goal": "max", "reference": 0},
        {"metric": "log_likelihood/joint", "goal": "max", "reference": -2600},
    ],
    "resources": {"cpu": 1, "gpu": 0, "retries": 2, "stack": 2},
    "keep": "last",
    "storage": "runs",
}
WRONG_VALUES = (-1, {}, True, "nonsense!", [[]], None)


@pytest.fixture(scope="module")
def validator():
    """Of the schema, which is a schema."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def places(value, path=()):
    """The path of every mapping's key below a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def misspelled(word, chance):
    """Two letters exchanged, one left out, or one doubled."""
    at = chance.randrange(len(word) - 1)
    return chance.choice(
        [word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :], word[: at + 1] + word[at:]]
    )


def mistake(number):
    """A sound file with one mistake, the same for the same number: a misspelled field, or a value that the field cannot have."""
    chance = random.Random(number)
    raw = copy.deepcopy(SOUND)
    *above, key = chance.choice([path for path in places(SOUND) if isinstance(path[-1], str)])
    holder = raw
    for step in above:
        holder = holder[step]
    wrong = misspelled(key, chance)
    if number % 2 and wrong != key:
        holder[wrong] = holder.pop(key)
    else:
        holder[key] = chance.choice(WRONG_VALUES[:4])
    return raw


def is_refused(raw):
    """Whether reading refuses a file, with one line a mistake that begins with a field."""
    try:
        parse(raw)
    except SpecError as error:
        lines = str(error).split("\n")
    else:
        return False
    assert all(":" in line for line in lines), lines
    return True


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_each_file_of_the_repository_agrees_with_the_schema(validator, path):
    """And names it for editors."""
    text = path.read_text(encoding="utf-8")
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []
    named = text.split("\n")[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == ROOT / "sweeps/schema.json"


def test_the_file_of_the_schema_is_what_the_command_prints():
    """So that editors know the fields of this version."""
    assert json.loads((ROOT / "sweeps/schema.json").read_text(encoding="utf-8")) == json.loads(typed_here("schema").stdout)


def test_every_field_of_a_cell_is_in_the_schema(validator):
    """In base, grid and zip, and none that no file may set."""
    properties = validator.schema["properties"]
    for section in ("base", "grid", "zip"):
        assert set(properties[section]["properties"]) == set(TrainingConfig.model_fields) - set(NOT_IN_FILES) | {"preset"}


@pytest.mark.parametrize(
    ("rule", "is_sound"),
    [
        ({"model": "mvae", "beta": [1, 2.5]}, True),
        ({"model": ["mvae"], "beta": 1}, True),
        ({"train_examples": [None, 1000]}, True),
        ({"reconstruction_weights": [1, 1, 1]}, True),
        ({"beta": []}, False),
        ({"beta": [[1]]}, False),
        ({"reconstruction_weights": ["size", "equal"]}, False),
        ({"reconstruction_weights": [[1, 1, 1]]}, False),
        ({"preset": "paper"}, False),
    ],
)
def test_the_schema_and_the_reader_accept_the_same_exclude_rules(validator, rule, is_sound):
    """A list stands for any of its values where the field has no lists; else it is one value."""
    weights = {"reconstruction_weights": ["size", [1, 1, 1]], "train_examples": [1000, 2000]}
    raw = SOUND | {"grid": SOUND["grid"] | weights, "exclude": [rule]}
    assert validator.is_valid(raw) == is_sound
    assert is_refused(raw) != is_sound


def test_whatever_the_schema_flags_in_a_file_with_a_mistake_the_reader_refuses(validator):
    """Of two hundred changed files, the reader refuses all but a few whose new value is possible (`resources: {}`, a reference of -1).
    The schema alone flags nine of ten of these.
    """
    assert not is_refused(SOUND)
    assert validator.is_valid(SOUND)
    flagged = {number for number in range(200) if not validator.is_valid(mistake(number))}
    refused = {number for number in range(200) if is_refused(mistake(number))}
    assert flagged <= refused
    assert len(flagged) >= 0.9 * len(refused)
    assert len(refused) > 180
