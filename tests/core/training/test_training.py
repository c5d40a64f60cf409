"""Training: repeatable to the bit, resumable anywhere, and honest about divergence."""

import pytest
import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.random_streams import seed_of
from mopoe_core.training.run import Run, new_model, observed_mask
from mopoe_core.training.trained_model import load_on
from mopoe_core.training.training import train

CPU = torch.device("cpu")


def settings(**changes):
    """A run of a few dozen small steps."""
    fields = {
        "dataset": "mnist_svhn_text",
        "model": "mopoe",
        "networks": "small",
        "epochs": 3,
        "batch_size": 64,
        "train_examples": 640,
    }
    return TrainingConfig.model_validate({**fields, **changes})


def weights(model):
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def losses(trained):
    """The history without times."""
    return [{k: v for k, v in epoch.values.items() if k != "train/seconds"} for epoch in trained.history]


@pytest.mark.parametrize(
    "changes", [{"model": "mvae"}, {"model": "mmvae"}, {}, {"model": "eq5"}, {"kl": "mixture"}, {"missing": 0.3}], ids=str
)
def test_a_run_repeats_to_the_last_bit(changes, dataset, tmp_path):
    """The same configuration and seed give bit-equal weights and losses, whatever the global generator did in between."""
    first = train(settings(**changes), 3, dataset, CPU, tmp_path / "a.pt")
    torch.rand(17)
    second = train(settings(**changes), 3, dataset, CPU, tmp_path / "b.pt")
    assert torch.equal(weights(first.model), weights(second.model))
    assert losses(first) == losses(second)


def test_seeds_differ(dataset, tmp_path):
    """Another seed gives another model."""
    first, second = (train(settings(epochs=1), seed, dataset, CPU, tmp_path / f"{seed}.pt") for seed in (0, 1))
    assert not torch.equal(weights(first.model), weights(second.model))


def test_the_global_generator_is_left_alone(dataset, tmp_path):
    """Training neither reads nor moves torch's global random state."""
    before = torch.random.get_rng_state()
    train(settings(epochs=1), 0, dataset, CPU, tmp_path / "a.pt")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_resumed_run_equals_one_that_was_never_cut(dataset, tmp_path):
    """Stopping after the second of four epochs and going on gives the same weights, history and number of epochs."""
    whole = train(settings(epochs=4), 0, dataset, CPU, tmp_path / "whole.pt")

    class Cut(Exception):
        pass

    def cut(epoch):
        if epoch.epoch == 2:
            raise Cut

    with pytest.raises(Cut):
        train(settings(epochs=4), 0, dataset, CPU, tmp_path / "cut.pt", cut)
    told = []
    resumed = train(settings(epochs=4), 0, dataset, CPU, tmp_path / "cut.pt", told.append)
    assert torch.equal(weights(whole.model), weights(resumed.model))
    assert losses(whole) == losses(resumed)
    assert [epoch.epoch for epoch in told] == [1, 2, 3, 4]


def flipped(content: bytes) -> bytes:
    """The same with one bit of the weights turned."""
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


DAMAGE = {"empty": lambda c: b"", "a start": lambda c: c[:1000], "no end": lambda c: c[:-1000], "a turned bit": flipped}


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_damaged_checkpoint_nothing_is_used_and_one_epoch_is_lost(damage, dataset, tmp_path):
    """Training goes on from the checkpoint before, trains only the last epoch again, and ends where it would have; where that is damaged
    as well, it starts over and ends there too.
    """
    whole = train(settings(epochs=3), 0, dataset, CPU, tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(DAMAGE[damage]((tmp_path / "a.pt").read_bytes()))
    again = train(settings(epochs=3), 0, dataset, CPU, tmp_path / "a.pt")
    assert torch.equal(weights(whole.model), weights(again.model))
    assert [one == other for one, other in zip(whole.history, again.history, strict=True)] == [True, True, False]
    for name in ("a.pt", "a.before"):
        (tmp_path / name).write_bytes(DAMAGE[damage]((tmp_path / name).read_bytes()))
    over = train(settings(epochs=3), 0, dataset, CPU, tmp_path / "a.pt")
    assert torch.equal(weights(whole.model), weights(over.model))
    assert whole.history[0] != over.history[0]


def test_the_loss_falls(dataset, tmp_path):
    """Thirty steps bring the loss down from where it starts."""
    history = train(settings(), 0, dataset, CPU, tmp_path / "a.pt").history
    assert history[-1].values["train/loss"] < history[0].values["train/loss"]


def test_the_reported_loss_is_the_sum_of_its_parts(dataset, tmp_path):
    """loss = sum of weighted reconstructions + beta KL, from the values that are logged."""
    values = train(settings(beta=2.5), 0, dataset, CPU, tmp_path / "a.pt").history[-1].values
    parts = {"mnist": 3072 / 784, "svhn": 1.0, "text": 3072 / 8}
    expected = sum(w * values[f"train/reconstruction/{name}"] for name, w in parts.items()) + 2.5 * values["train/kl"]
    assert values["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_divergence_is_reported_with_its_step(dataset, tmp_path):
    """A learning rate of 1e18 makes a loss that is not finite; the step is kept, and no further epoch is trained."""
    trained = train(settings(learning_rate=1e18), 0, dataset, CPU, tmp_path / "a.pt")
    assert 1 < trained.diverged_at_step <= 10
    assert len(trained.history) == 1
    again = train(settings(learning_rate=1e18), 0, dataset, CPU, tmp_path / "a.pt")
    assert again.diverged_at_step == trained.diverged_at_step


def test_weights_broken_by_the_last_step_are_divergence(dataset, tmp_path):
    """One step with an absurd learning rate has a finite loss and leaves weights that are not: step 1 diverged."""
    changes = {"learning_rate": 1e38, "epochs": 1, "batch_size": 500, "train_examples": 500}
    trained = train(settings(**changes), 0, dataset, CPU, tmp_path / "a.pt")
    assert all(abs(value) < 1e9 for value in trained.history[0].values.values())
    assert trained.diverged_at_step == 1


def test_a_checkpoint_can_be_loaded_as_a_model(dataset, tmp_path):
    """`load_on` gives the trained weights, from a file that holds tensors and plain values only."""
    trained = train(settings(epochs=1), 0, dataset, CPU, tmp_path / "a.pt")
    assert torch.equal(weights(load_on(tmp_path / "a.pt", dataset, CPU)), weights(trained.model))


def test_training_moves_every_parameter(dataset):
    """After one epoch of the paper's networks no weight tensor is what it was."""
    run = Run(settings(networks="paper", train_examples=500, epochs=1), 0, dataset, CPU)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.epoch()
    assert [name for name, p in run.model.named_parameters() if torch.equal(p, before[name])] == []


def test_hidden_modalities_have_the_asked_share_and_never_all(dataset):
    """About 40 % of the entries are hidden, every example keeps one, and the choice is the seed's."""
    split = dataset.train.take(5000, 0)
    present = observed_mask(split, 0.4, 0)
    assert present.any(1).all()
    expected = 0.6 + 0.4**3 / 3  # the entry that is given back where all three were hidden
    assert float(present.double().mean()) == pytest.approx(expected, abs=0.02)
    assert torch.equal(present, observed_mask(split, 0.4, 0))
    assert observed_mask(split, 0.0, 0) is None


def test_a_new_model_leaves_the_generators_of_gpus_alone(dataset, monkeypatch):
    """It does not seed them, and has the weights that torch's own seeding of all devices gives on a CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(5, "initialisation"))
        expected = weights(MultimodalVAE(settings(), dataset.modalities))
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    assert torch.equal(weights(new_model(settings(), 5, dataset, CPU)), expected)
    assert not seeded


def test_initialisation_depends_on_the_seed_alone(dataset):
    """Models of different beta share their initial weights when they share their seed."""
    one, other = (new_model(settings(beta=beta), 5, dataset, CPU) for beta in (1, 10))
    assert torch.equal(weights(one), weights(other))
