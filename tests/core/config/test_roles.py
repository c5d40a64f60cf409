"""Every field of the configuration has its roles, and the lists that are derived from them."""

import json

import pytest

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with, role_of
from orchestrator.spec.trial import Cell, Trial

IDS = {
    "mvae mnist_svhn_text paper None": "bf001c90de7d7c7f",
    "mmvae mnist_svhn_text released_code small": "8e21d9f607d98e3a",
    "mopoe polymnist paper paper": "3723486772ff11c8",
    "eq5 mnist_svhn_text paper small": "76fb02c5884eea68",
    "mvtcae polymnist paper smoke": "16ae7f33dc6229ad",
    "mmjsd celeba released_code None": "a4f259361809f00f",
    "mmvm celeba paper small": "b6eae358ae17d039",
}
"""Ids of trials with seed 1, as they were before fields had roles and models had files."""


@pytest.mark.parametrize("field", TrainingConfig.model_fields)
def test_every_field_has_decided_its_roles(field):
    """Each field's annotation has exactly one `Role`, and a field that is not stackable belongs to the shape of a stack."""
    role = role_of(field, TrainingConfig.model_fields[field].metadata)
    shape = json.loads(TrainingConfig(dataset="mnist_svhn_text", model="mopoe").shape)
    assert (field in shape) == (Role.STACKABLE not in role)
    assert Role.STACKABLE not in role or Role.NO_EFFECT_ON_SPEED not in role


def test_a_field_without_a_role_or_with_two_is_refused():
    """The author of a new field must choose its role."""
    for metadata in ([], [Role.NONE, Role.SIZE]):
        with pytest.raises(TypeError, match="fresh"):
            role_of("fresh", metadata)


@pytest.mark.parametrize("role", Role)
def test_every_role_is_one_of_some_field(role):
    """Each role has at least one field, and fields come in the order of the configuration."""
    fields = fields_with(role)
    assert fields
    assert sorted(fields, key=list(TrainingConfig.model_fields).index) == list(fields)


@pytest.mark.parametrize("setting", IDS)
def test_ids_are_those_of_earlier_versions(setting):
    """A configuration of each model has the id that earlier versions gave it."""
    model, dataset, preset, scale = setting.split()
    fields = {"dataset": dataset, "model": model, "preset": preset, "networks": "small"}
    config = TrainingConfig.model_validate(fields | ({"scale": scale} if scale != "None" else {}))
    assert Trial(Cell(config), 1).id == IDS[setting]
