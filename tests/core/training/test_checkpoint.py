"""A checkpoint's header answers for its state, and old and new readers read old and new checkpoints."""

import subprocess
import sys

import pytest
import torch

from mopoe_core.errors import CheckpointError
from mopoe_core.training.checkpoint import history_in, opened, packed, progress_in, weights_in
from mopoe_core.training.training import train
from tests.core.training.test_stack import CPU, config
from tests.support.toys import TOYS, random_dataset

SETTINGS = config(epochs=2, private_dim=2, private_weights=(1.0, 2.0, 0.5))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A trial's checkpoint after two epochs, and its state as torch alone reads it."""
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.pt"
    train(SETTINGS, 3, random_dataset(TOYS[:3]), CPU, path, trial="mine")
    return path, torch.load(path, weights_only=True)


@pytest.fixture
def without_torch_load(monkeypatch):
    """Whoever loads a state fails."""

    def refuse(*_, **__):
        raise AssertionError("a state was loaded")

    monkeypatch.setattr(torch, "load", refuse)


@pytest.mark.usefixtures("without_torch_load")
def test_epochs_and_owner_are_read_without_the_weights(written):
    """History, divergence and the owner come from the header: those of the state, and another trial is refused."""
    path, state = written
    found = progress_in(path, SETTINGS, 3, "mine")
    assert [vars(epoch) for epoch in history_in(path, SETTINGS, 3, "mine")] == state["history"]
    assert (found.epochs, found.diverged) == (2, False)
    for other in ((SETTINGS, 4, "mine"), (SETTINGS, 3, "another"), (SETTINGS.model_copy(update={"beta": 9.0}), 3, "mine")):
        with pytest.raises(CheckpointError):
            history_in(path, *other)


def test_a_question_about_epochs_does_not_import_torch(written):
    """A process that asks for the history answers without torch."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom mopoe_core.config.training_config import TrainingConfig\n"
        "from mopoe_core.training.checkpoint import history_in\n"
        f"config = TrainingConfig.model_validate_json({SETTINGS.model_dump_json()!r})\n"
        f"print(len(history_in(Path({str(written[0])!r}), config, 3, 'mine')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_a_checkpoint_without_a_header_is_read_as_one_with(written, tmp_path):
    """What an earlier version wrote has the same history, weights and owner."""
    path, state = written
    torch.save(state, tmp_path / "old.pt")
    assert progress_in(tmp_path / "old.pt", SETTINGS, 3, "mine") == progress_in(path, SETTINGS, 3, "mine")
    assert opened(tmp_path / "old.pt")[0].keys() == opened(path)[0].keys()
    assert all(torch.equal(value, state["model"][name]) for name, value in weights_in(tmp_path / "old.pt").items())


def test_a_changed_byte_anywhere_makes_it_unusable(written, tmp_path):
    """A flipped byte in weights or header is noticed: nothing is said of the epochs."""
    path, spoilt = written[0], tmp_path / "spoilt.pt"
    content = path.read_bytes()
    for place in (content.index(b'"diverged_at_step"'), content.index(state_bytes(written[1]))):
        spoilt.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert progress_in(spoilt, SETTINGS, 3, "mine") is None
        assert opened(spoilt) is None


def state_bytes(state):
    """The bytes of the first weight."""
    return next(iter(state["model"].values())).numpy().tobytes()


def test_the_same_state_is_the_same_bytes(written):
    """Packed twice, a state gives one digest."""
    assert bytes(packed(written[1])) == bytes(packed(written[1]))
