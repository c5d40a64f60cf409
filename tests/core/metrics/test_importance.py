"""Importance-sampled log-likelihoods against a linear-Gaussian model, where log p(X) is known."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from mopoe_core.data.types import Modality
from mopoe_core.metrics import decoding, importance_weights
from mopoe_core.metrics.importance_weights import log_likelihoods
from mopoe_core.models.gaussians import Gaussians
from mopoe_core.models.loss import Encoded
from mopoe_core.models.model import MultimodalVAE
from tests.support.toys import config, in_float64

LATENT, PRIVATE, BATCH = 3, 2, 40
PARTS = (Modality("a", "image", (1, 2, 2)), Modality("b", "image", (1, 1, 3)), Modality("c", "image", (1, 1, 2)))


def linear_gaussian(samples=15, private=0, batch=BATCH):
    """A model whose decoders are linear and whose likelihood is Normal: log p(x) and p(z|x) are known."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = in_float64(MultimodalVAE(config("mopoe", likelihood="normal", latent_dim=LATENT, private_dim=private), PARTS))
        for part in PARTS:
            linear = nn.Linear(LATENT + private, part.elements)
            built.decoders[part.name] = nn.Sequential(linear, nn.Unflatten(1, part.shape)).double()
        x = {part.name: torch.randn(batch, *part.shape, dtype=torch.float64) for part in PARTS}
    built.config = built.config.model_copy(update={"importance_samples": samples})  # more than a configuration allows
    return built.requires_grad_(False), x


def linear_map(model):
    """W (elements, D + 3 P) and b: each modality has its own private latents."""
    rows, private = [], model.config.private_dim
    for i, part in enumerate(PARTS):
        weight = model.decoders[part.name][0].weight
        blocks = [weight[:, LATENT:] if i == j else torch.zeros(len(weight), private) for j in range(len(PARTS))]
        rows.append(torch.cat([weight[:, :LATENT], *blocks], 1))
    return torch.cat(rows), torch.cat([model.decoders[part.name][0].bias for part in PARTS])


def closed_form(model, x):
    """log p(x): x is Gaussian with mean b and covariance W W^T + scale^2 I."""
    w, b = linear_map(model)
    covariance = w @ w.T + 0.75**2 * torch.eye(len(b), dtype=torch.float64)
    return MultivariateNormal(b, covariance).log_prob(torch.cat([x[part.name].flatten(1) for part in PARTS], 1))


def proposals(rows, spread=0.3, batch=BATCH, dimensions=LATENT, seed=9):
    """Arbitrary proposals, wide enough for importance sampling."""
    chance = torch.Generator().manual_seed(seed)
    mu = 0.2 * torch.randn(rows, batch, dimensions, generator=chance, dtype=torch.float64)
    return Gaussians(mu, torch.full_like(mu, spread))


def encoded(private=0, batch=BATCH):
    """Arbitrary posteriors of the private latents; the shared ones play no part."""
    return Encoded(proposals(3, batch=batch), proposals(3, 0.2, batch, private, seed=10))


def estimates(model, x, products_RBD, members, seed=0, given=(0, 1, 2), posteriors=None):
    """Both numbers, with these modalities given."""
    chance = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed
    posteriors = posteriors or encoded(model.config.private_dim, products_RBD.mu.shape[1])
    return log_likelihoods(model, x, posteriors, products_RBD, members, [given] * len(members), chance)


@pytest.mark.parametrize("members", [[[0]], [[0, 1]], [[0, 1, 2]]], ids=["one product", "a mixture of 2", "a mixture of 3"])
def test_the_estimate_converges_to_the_linear_gaussian_log_likelihood(members):
    """With many samples the importance-weighted estimate is log p(x), for single products and for mixtures."""
    model, x = linear_gaussian(samples=60_000)
    ours, _ = estimates(model, x, proposals(3), members)
    torch.testing.assert_close(ours[0], closed_form(model, x), rtol=0, atol=0.05)


@pytest.mark.parametrize("given", [(0, 1, 2), (1,), (0, 2)])
def test_the_estimate_converges_with_private_latents(given):
    """As above, with private latents that the modality's own posterior proposes, or the prior: log p(x) is integrated over them."""
    model, x = linear_gaussian(samples=60_000, private=PRIVATE, batch=10)
    ours, _ = estimates(model, x, proposals(3, batch=10), [[0], [0, 1]], given=given)
    torch.testing.assert_close(ours, closed_form(model, x).expand(2, -1), rtol=0, atol=0.1)


def test_the_estimate_is_exact_for_the_true_posterior():
    """Where the proposal is p(z|x), every weight is p(x): 15 samples give it to rounding."""
    model, x = linear_gaussian()
    w = torch.linalg.qr(torch.randn(9, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).Q * 1.3
    start = 0
    for part in PARTS:  # orthogonal columns make the posterior's covariance diagonal
        model.decoders[part.name][0].weight.copy_(w[start : start + part.elements])
        start += part.elements
    b = torch.cat([model.decoders[part.name][0].bias for part in PARTS])
    stacked = torch.cat([x[part.name].flatten(1) for part in PARTS], 1) - b
    precision = 1 + 1.3**2 / 0.75**2
    mu = stacked @ w / 0.75**2 / precision
    posterior = Gaussians(mu[None], torch.full_like(mu, -math.log(precision))[None])
    ours, _ = estimates(model, x, posterior, [[0]])
    torch.testing.assert_close(ours[0], closed_form(model, x))


def test_fifteen_samples_give_a_lower_bound_and_more_samples_a_tighter_one():
    """On average over repetitions the bound is below log p(x), and rises with the number of samples (Burda et al. 2016)."""
    chance, bounds = torch.Generator().manual_seed(0), []
    for samples in (3, 15, 75):
        model, x = linear_gaussian(samples)
        repeated = [estimates(model, x, proposals(3, 1.5), [[0, 1, 2]], chance)[0].mean() for _ in range(30)]
        bounds.append(torch.stack(repeated).mean())
    assert bounds[0] < bounds[1] < bounds[2] < closed_form(model, x).mean()


@pytest.mark.parametrize("private", [0, PRIVATE])
@pytest.mark.parametrize(("samples", "members"), [(15, [0, 1]), (15, [1, 0]), (7, [0, 1, 2]), (15, [0])])
def test_the_estimate_of_p_of_x_is_unbiased_also_with_strata_of_different_sizes(samples, members, private):
    """15 samples over two members are 8 and 7: exp(bound) / p(x) is 1 on average, though one member alone would be far off."""
    repeats = 30_000
    model, one = linear_gaussian(samples, private, batch=1)
    x = {name: values.expand(repeats, *values.shape[1:]) for name, values in one.items()}
    # The first proposal covers the posterior, the others lie far from it: nearly all of p(x) comes through the first.
    mu = torch.tensor([0.0, 6.0, -6.0], dtype=torch.float64)[:, None, None].expand(3, repeats, LATENT)
    logvar = torch.tensor([0.3, -1.0, -1.0], dtype=torch.float64)[:, None, None].expand(3, repeats, LATENT)
    bound, _ = estimates(model, x, Gaussians(mu, logvar), [members])
    ratio = torch.exp(bound[0] - closed_form(model, one))
    error = float(ratio.std()) / math.sqrt(repeats)
    assert error < 0.012  # a share of 8/15 for the first member would put the mean at 1.067
    assert abs(float(ratio.mean()) - 1) < 4 * error


def test_what_is_not_given_proposes_nothing():
    """The private posterior of a modality changes both numbers where the modality is given, and neither where it is not."""
    model, x = linear_gaussian(private=PRIVATE)
    first = encoded(PRIVATE)
    moved = Encoded(
        first.shared, Gaussians(first.private.mu + torch.tensor([0.0, 0.0, 3.0]).reshape(3, 1, 1), first.private.logvar)
    )
    for given, same in (((0, 1), True), ((0, 2), False)):
        before, after = (estimates(model, x, proposals(3), [[0], [0, 1]], given=given, posteriors=q) for q in (first, moved))
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == same


def test_decoding_in_parts_changes_nothing(monkeypatch):
    """However few numbers are decoded at once, both estimates are the same."""
    model, x = linear_gaussian(private=PRIVATE)
    whole = estimates(model, x, proposals(3), [[0], [0, 1, 2]])
    monkeypatch.setattr(decoding, "CPU_AT_ONCE", 1)
    for ours, expected in zip(estimates(model, x, proposals(3), [[0], [0, 1, 2]]), whole, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("private", [0, PRIVATE])
@pytest.mark.parametrize(("members", "samples"), [([[0], [1], [2]], 5), ([[0], [0, 1], [0, 1, 2]], 7)])
def test_the_estimate_is_what_a_loop_over_samples_gives(members, samples, private):
    """Every weight written out with torch's own densities: the same draws, one example and sample after another."""
    model, x = linear_gaussian(samples, private, batch=6)
    q, own = proposals(3, batch=6), encoded(private, batch=6).private
    bounds, _ = estimates(model, x, q, members)
    chance = torch.Generator().manual_seed(0)
    z = [
        q.mu[r] + torch.exp(0.5 * q.logvar[r]) * torch.empty(samples, 6, LATENT).double().normal_(generator=chance)
        for r in range(3)
    ]
    decoded = {}
    for bound_B, rows in zip(bounds, members, strict=True):
        weights = []
        for place, row in enumerate(rows):
            for m, part in enumerate(PARTS):
                if (row, m) not in decoded:
                    decoded[row, m] = written_out(model, x[part.name], part, z[row], own.mu[m], own.logvar[m], chance)
            count = samples // len(rows) + (place < samples % len(rows))
            standard = Normal(torch.zeros(()).double(), 1).log_prob(z[row]).sum(-1)
            density = [Normal(q.mu[r], torch.exp(0.5 * q.logvar[r])).log_prob(z[row]).sum(-1) for r in rows]
            log_q = torch.logsumexp(torch.stack(density), 0) - math.log(len(rows))
            log_p = standard + sum(decoded[row, m] for m in range(3))
            weights += list((log_p - log_q - math.log(count * len(rows)))[:count])
        torch.testing.assert_close(bound_B, torch.logsumexp(torch.stack(weights), 0), rtol=1e-10, atol=1e-10)


def written_out(model, x, part, z_KBD, mu_BP, logvar_BP, chance):
    """log p(x|z, s) p(s) / q(s), (K, B), of a modality that is given."""
    deviation = torch.exp(0.5 * logvar_BP)
    s = mu_BP + deviation * torch.randn(len(z_KBD), *mu_BP.shape, generator=chance)
    standard = Normal(torch.zeros(()).double(), 1)
    rows = []
    for z_BD, s_BP in zip(z_KBD, s, strict=True):
        mean = torch.stack([model.decoders[part.name](torch.cat([a, b])[None])[0] for a, b in zip(z_BD, s_BP, strict=True)])
        likelihood = Normal(mean, 0.75).log_prob(x).flatten(1).sum(1)
        rows.append(likelihood + standard.log_prob(s_BP).sum(1) - Normal(mu_BP, deviation).log_prob(s_BP).sum(1))
    return torch.stack(rows)


def test_paper_view_is_the_released_reshape():
    """(K, B) log-weights are flattened, read as (B, K) and averaged along K, so rows mix examples."""
    log_weights = torch.randn(15, 6, generator=torch.Generator().manual_seed(0))
    flat = log_weights.flatten().tolist()
    expected = [math.log(sum(math.exp(w) for w in flat[row * 15 : row * 15 + 15]) / 15) for row in range(6)]
    torch.testing.assert_close(importance_weights.paper_view([log_weights]), torch.tensor(expected))


def test_paper_view_gives_each_member_of_a_mixture_a_slice_of_the_batch():
    """As released: of 7 examples and 2 members the first takes 3 and the second the remaining 4."""
    first, second = torch.zeros(1, 7), torch.ones(1, 7)
    assert importance_weights.paper_view([first, second]).tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_the_number_of_samples_is_the_configurations():
    """With one sample the two numbers agree: there is nothing to mix. With two they do not."""
    for samples in (1, 2):
        model, x = linear_gaussian(samples)
        bound, view = estimates(model, x, proposals(3), [[0]])
        assert torch.allclose(bound, view) == (samples == 1)
