"""Networks with batch norm see what the published code shows them: one component at a time, and no example without the modality."""

import copy

import pytest
import torch
from torch import nn

from mopoe_core.models.gaussians import Gaussians, products
from mopoe_core.networks.networks import Encoder
from mopoe_core.networks.single_value_batch_norm import by_running_statistics
from mopoe_core.networks.stacked_layers import NotStackable
from mopoe_core.networks.stacking import mixes_examples
from mopoe_core.training.run import Run
from mopoe_core.training.stack import check_stackable
from tests.core.training.test_stack import CPU, config, residual_networks
from tests.support.toys import TOYS, random_dataset, toy_batch, toy_draws, toy_mask, toy_model

BATCH = 12


def normed_networks(modality, kind, latent):
    """Perceptrons with batch norm, without dropout."""
    width = modality.elements
    encoder = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(width, 6), nn.BatchNorm1d(6), nn.ReLU()), 6, latent)
    decoder = nn.Sequential(
        nn.Linear(latent, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, width), nn.Unflatten(1, modality.shape)
    )
    return encoder, decoder


@pytest.fixture
def with_batch_norm(monkeypatch):
    """Every model that is made has networks with batch norm."""
    monkeypatch.setattr("mopoe_core.models.model.networks", normed_networks)


@pytest.mark.parametrize("settings", [{"model": "mvae"}, {"model": "eq5"}, {"model": "mmvm"}], ids=lambda s: s["model"])
def test_each_component_is_decoded_in_a_pass_of_its_own(with_batch_norm, settings):
    """Where several components are decoded, the reconstruction is that of one call of the decoder for each."""
    model, x = toy_model(modalities=3, reconstruction_weights="equal", **settings), toy_batch(3, BATCH)
    model.train()
    drawn = toy_draws(model, BATCH)
    found = model.loss(x, drawn).reconstruction_M
    spec = model.objective.spec
    experts = model.encode(x).shared
    for m, modality in enumerate(model.modalities):
        expected = torch.zeros((), dtype=torch.float64)
        for c, row in enumerate(spec.experts_CE):
            if spec.decoded_CM[c][m]:
                q = products(experts, torch.tensor([row], dtype=torch.float64))
                z = q.mu[0] + torch.exp(q.logvar[0] / 2) * drawn.noise[c]
                log_p = model.likelihoods[modality.name].log_prob(
                    model.decoders[modality.name](z), x[modality.name], len(modality.shape)
                )
                expected = expected - spec.weights_C[c] * spec.decoded_CM[c][m] * log_p.mean()
        torch.testing.assert_close(found[m], expected, rtol=1e-12, atol=1e-12)


def test_the_components_together_would_be_something_else(with_batch_norm):
    """Two components in one call have another mean and variance than each alone, so that the test above can fail."""
    model = toy_model("mvae", 3).train()
    z = torch.randn(2, BATCH, model.config.latent_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z * torch.tensor([1.0, 3.0]).double()[:, None, None]
    decoder = model.decoders[model.modalities[0].name]
    together = decoder(z.flatten(0, 1)).unflatten(0, (2, BATCH))
    assert not torch.allclose(together[0], decoder(z[0]), rtol=1e-3)


@pytest.mark.parametrize("name", ["mvae", "mmvae", "mopoe", "mvtcae", "mmjsd", "mmvm"])
def test_a_batch_norm_does_not_see_examples_without_the_modality(with_batch_norm, name):
    """The statistics of a modality's networks are those of the examples that have it: as many further examples as one likes, without it,
    change neither the running means and variances nor the posterior."""
    seen = toy_batch(3, BATCH)
    present = toy_mask(3, BATCH)
    present[:, 0] = True
    more = {key: torch.cat([x, torch.rand_like(x)]) for key, x in seen.items()}
    without = torch.tensor([[False, True, True]]).expand(BATCH, -1)
    states, posteriors = [], []
    for x, mask in ((seen, present), (more, torch.cat([present, without]))):
        model = toy_model(name, 3).train()
        posteriors.append(model.encode(x, mask).shared.mu[0, :BATCH])
        states.append({key: value.clone() for key, value in model.encoders[TOYS[0].name].state_dict().items()})
    torch.testing.assert_close(posteriors[0], posteriors[1], rtol=1e-12, atol=1e-12)
    for key in states[0]:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=1e-12, atol=1e-12)


def test_a_decoder_decodes_only_examples_that_have_the_modality(with_batch_norm):
    """The reconstruction of a modality is that of its decoder on the latents of the examples that have it, and on no others."""
    model, x, present = toy_model("mmvm", 3).train(), toy_batch(3, BATCH), toy_mask(3, BATCH)
    drawn = toy_draws(model, BATCH)
    found = model.loss(x, drawn, present).reconstruction_M
    for m, modality in enumerate(model.modalities):
        rows = present[:, m]
        mu, logvar = model.encoders[modality.name](x[modality.name][rows])
        z = Gaussians(mu, logvar).sample(drawn.noise[m][rows])
        log_p = model.likelihoods[modality.name].log_prob(
            model.decoders[modality.name](z), x[modality.name][rows], len(modality.shape)
        )
        torch.testing.assert_close(found[m], -log_p.sum() / BATCH, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [{"model": "eq5"}, *({"model": name, "estimator": "enumerate"} for name in ("mmvae", "mopoe", "mmjsd"))],
    ids=lambda s: s["model"],
)
def test_a_decoder_decodes_a_component_only_for_examples_that_have_its_experts(with_batch_norm, settings):
    """The reconstruction and the decoder's running statistics are those of passes, one for each component, over the examples that have
    all modalities of the component and the decoded one. An example's usable components count alike. One example has all modalities."""
    model, x, present = (
        toy_model(modalities=3, reconstruction_weights="equal", **settings).train(),
        toy_batch(3, BATCH),
        toy_mask(3, BATCH),
    )
    present[1:, 2] &= ~present[1:, :2].all(1)
    decoders = copy.deepcopy(model.decoders)
    drawn = toy_draws(model, BATCH)
    found = model.loss(x, drawn, present).reconstruction_M
    members = [[m for m in range(3) if row[m + 1]] for row in model.objective.spec.experts_CE]
    usable = torch.stack([present[:, needed].all(1) for needed in members])
    experts = model.encode(x, present).shared
    for m, modality in enumerate(model.modalities):
        expected = torch.zeros((), dtype=torch.float64)
        for c, row in enumerate(model.objective.spec.experts_CE):
            rows = usable[c] & present[:, m]
            q = products(Gaussians(experts.mu[:, rows], experts.logvar[:, rows]), torch.tensor([row], dtype=torch.float64))
            z = q.mu[0] + torch.exp(q.logvar[0] / 2) * drawn.noise[c][rows]
            with by_running_statistics(decoders[modality.name]):
                raw = decoders[modality.name](z)
            log_p = model.likelihoods[modality.name].log_prob(raw, x[modality.name][rows], len(modality.shape))
            expected = expected - (log_p / usable.sum(0)[rows]).sum() / BATCH
        torch.testing.assert_close(found[m], expected, rtol=1e-12, atol=1e-12)
        for key, value in decoders[modality.name].state_dict().items():
            torch.testing.assert_close(model.decoders[modality.name].state_dict()[key], value, rtol=1e-12, atol=1e-12)


def test_a_modality_that_no_example_has_is_not_encoded(with_batch_norm):
    """A batch in which nobody has a modality has a finite loss, and leaves the statistics of its networks as they were."""
    model = toy_model("mvae", 3).train()
    kept = {key: value.clone() for key, value in model.encoders[TOYS[1].name].state_dict().items()}
    present = torch.tensor([[True, False, True]] * BATCH)
    assert torch.isfinite(model.loss(toy_batch(3, BATCH), toy_draws(model, BATCH), present).total)
    assert all(torch.equal(value, kept[key]) for key, value in model.encoders[TOYS[1].name].state_dict().items())


def test_a_single_example_with_a_modality_is_normalised_as_in_evaluation(with_batch_norm):
    """Its posterior and reconstruction are those of the networks in evaluation mode, whose running statistics stay as they were.
    The gradient reaches the networks."""
    model, x = toy_model("mmvm", 3).train(), toy_batch(3, BATCH)
    drawn = toy_draws(model, BATCH)
    name = TOYS[1].name
    present = torch.tensor([[True, False, True]] * BATCH)
    present[3, 1] = True
    networks = model.encoders[name], model.decoders[name]
    kept = [{key: value.clone() for key, value in network.state_dict().items()} for network in networks]
    found = model.loss(x, drawn, present)
    for network, before in zip(networks, kept, strict=True):
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert all(layer.training and not layer._forward_hooks and not layer._forward_pre_hooks for layer in network.modules())
    found.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (*networks[0].parameters(),) if p.ndim == 2)
    model.eval()
    mu, logvar = networks[0](x[name][3:4])
    z = Gaussians(mu, logvar).sample(drawn.noise[1][3:4])
    log_p = model.likelihoods[name].log_prob(networks[1](z), x[name][3:4], len(TOYS[1].shape))
    torch.testing.assert_close(found.reconstruction_M[1], -log_p.sum() / BATCH, rtol=1e-12, atol=1e-12)


def test_several_values_of_a_single_example_are_normalised_as_in_training():
    """A channel with several values has a variance, also in one example."""
    norm, x = nn.BatchNorm2d(2), torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    with by_running_statistics(norm):
        found = norm(x)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    assert norm.num_batches_tracked == 1


def test_batch_norm_and_unknown_layers_count_as_mixing():
    """Linear layers, convolutions and dropout treat each example alone; batch norm does not, and a user's own layer need not."""

    class Centred(nn.Module):
        """Takes the batch's mean away."""

        def forward(self, x):
            """(B, ...)."""
            return x - x.mean(0)

    alone = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout(), nn.LayerNorm(2), nn.Sequential(nn.Conv1d(1, 1, 1)))
    assert not mixes_examples(alone)
    for layer in (nn.BatchNorm1d(2), nn.BatchNorm2d(2), Centred(), nn.SyncBatchNorm(2)):
        assert mixes_examples(nn.Sequential(nn.Linear(2, 2), layer))


def test_trials_with_hidden_modalities_and_batch_norm_do_not_stack(monkeypatch):
    """They are trained one by one, which the reason says; without hidden modalities, or without batch norm, they stack."""
    dataset = random_dataset(TOYS[:3])
    check_stackable(Run(config(missing=0.3), 0, dataset, CPU).model, hides=True)
    monkeypatch.setattr("mopoe_core.models.model.networks", residual_networks)
    model = Run(config(), 0, dataset, CPU).model
    check_stackable(model, hides=False)
    with pytest.raises(NotStackable, match="batch norm"):
        check_stackable(model, hides=True)
