"""The objective against an independent implementation, its identities, and its estimators."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, MixtureSameFamily, Normal

from mopoe_core import objective
from mopoe_core.objective import Draws, Gaussians, Objective, draw, kl_divergence, products
from tests.naive import Naive, powerset
from tests.toys import LATENT, MODELS, TOYS, toy_batch, toy_model

BATCH = 14


def draws_for(model, batch=BATCH, seed=3):
    """Chance for a model, in float64."""
    chance = torch.Generator().manual_seed(seed)
    drawn = draw(model.objective.spec, batch, LATENT, chance)
    return Draws(drawn.position_B, drawn.noise.double())


def experts(modalities=3, batch=6, seed=0):
    """Random unimodal posteriors."""
    chance = torch.Generator().manual_seed(seed)
    shape = (modalities, batch, LATENT)
    mu = torch.randn(shape, generator=chance, dtype=torch.float64)
    return Gaussians(mu, torch.randn(shape, generator=chance, dtype=torch.float64) - 0.5)


@pytest.mark.parametrize("likelihood", ["laplace", "normal", "bernoulli"])
@pytest.mark.parametrize("modalities", [2, 3, 5])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_equals_a_loop_over_examples_and_subsets(name, modalities, likelihood):
    """For every model and number of modalities the loss is that of a loop with torch.distributions, to 1e-5 of its size."""
    model, x = toy_model(name, modalities, likelihood=likelihood), toy_batch(modalities, BATCH)
    drawn, naive = draws_for(model), Naive(model, x)
    if name == "mvae":
        expected = naive.mvae(drawn.noise)
    else:
        subsets = [(m,) for m in range(modalities)] if name == "mmvae" else powerset(modalities)
        chosen = None if name == "eq5" else [min(int(u * len(subsets)), len(subsets) - 1) for u in drawn.position_B.tolist()]
        expected = naive.mixture(subsets, chosen, drawn.noise)
    torch.testing.assert_close(model.loss(x, drawn).total, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name):
    """One backward pass gives every weight of every encoder and decoder a gradient that is not zero."""
    model = toy_model(name, 3)
    model.loss(toy_batch(3, 64), draws_for(model, 64)).total.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_full_subset_alone_is_mvaes_joint_term():
    """A mixture whose only subset is the full one, with the prior expert, is the first row of MVAE."""
    full = objective._mixture("full", 3, [(0, 1, 2)], "all", "product")
    joint = objective.mvae(3)
    assert (full.experts_CE[0], full.decoded_CM[0]) == (joint.experts_CE[0], joint.decoded_CM[0])
    assert (full.weights_C[0], full.kl_CR[0]) == (joint.weights_C[0], joint.kl_CR[0])


def test_mopoe_restricted_to_singletons_is_mmvae():
    """The rows of MoPoE that name one modality are MMVAE's components."""
    singles = [row for row in objective.mopoe(4).experts_CE if sum(row) == 1]
    assert tuple(singles) == objective.mmvae(4).experts_CE


def test_a_product_of_one_expert_is_that_expert():
    """The product with exponent 1 for one expert and 0 for the others is that expert."""
    given = experts()
    alone = products(given, torch.tensor([[0.0, 0, 1, 0]], dtype=torch.float64))
    torch.testing.assert_close(alone.mu[0], given.mu[1])
    torch.testing.assert_close(alone.logvar[0], given.logvar[1])


def test_products_equal_normalised_products_of_densities():
    """The density of a product is proportional to the product of the experts' densities, on a grid."""
    given = experts(batch=1)
    row = torch.tensor([[1.0, 0.5, 2.0, 0.0]], dtype=torch.float64)
    product = products(given, row)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None].expand(-1, LATENT)
    log_density = -0.5 * z**2
    for exponent, mu, logvar in zip(row[0, 1:], given.mu[:, 0], given.logvar[:, 0], strict=True):
        log_density = log_density + exponent * Normal(mu, torch.exp(logvar / 2)).log_prob(z)
    normalised = log_density - torch.logsumexp(log_density, 0) - math.log(16 / 4000)
    expected = Normal(product.mu[0, 0], torch.exp(product.logvar[0, 0] / 2)).log_prob(z)
    inside = expected > -20
    torch.testing.assert_close(normalised[inside], expected[inside], rtol=1e-3, atol=1e-3)


def test_kl_divergence_is_that_of_torch_distributions():
    """The closed form agrees with torch's for two arbitrary Gaussians."""
    q, r = experts(seed=1), experts(seed=2)
    ours = kl_divergence(q, r)
    theirs = torch.distributions.kl_divergence(Normal(q.mu, torch.exp(q.logvar / 2)), Normal(r.mu, torch.exp(r.logvar / 2)))
    torch.testing.assert_close(ours, theirs.sum(-1))


@pytest.mark.parametrize("name", ["mmvae", "mopoe"])
def test_mixture_kl_lies_between_sum_minus_log_c_and_sum(name):
    """Lemma 3: KL(mixture || p) <= mean of the KLs, and by no more than log C nats; the estimate agrees with torch's mixture."""
    spec, given, samples = objective.NAMED[name](3), experts(batch=1, seed=5), 40_000
    target = Objective(spec, dtype=torch.float64)
    copies = Gaussians(given.mu.expand(-1, samples, -1), given.logvar.expand(-1, samples, -1))
    components = products(copies, target.experts_CE)
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(components.mu.shape, generator=chance, dtype=torch.float64)
    scale = target.scale_CB(None, samples)
    weights = target.weights_C[:, None].expand(-1, samples)
    mixture = target.mixture_kl_B(components, components.sample(noise), weights, scale).mean()
    summed = target.kl_B(components, copies, scale)[0]
    assert 0 <= summed - mixture <= math.log(len(spec.weights_C))
    parts = products(given, target.experts_CE)
    q = MixtureSameFamily(
        TorchCategorical(probs=target.weights_C), Independent(Normal(parts.mu[:, 0], torch.exp(parts.logvar[:, 0] / 2)), 1)
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        z = q.sample((samples,))
    differences = q.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert abs(mixture - differences.mean()) < 4 * math.sqrt(2 * float(differences.var()) / samples)


@pytest.mark.parametrize("estimator", ["stratified", "categorical"])
@pytest.mark.parametrize("name", ["mmvae", "mopoe"])
def test_sampled_estimators_are_unbiased_for_the_enumerated_loss(name, estimator):
    """Averaged over many draws, one component an example gives the loss that decodes all components."""
    model, x = toy_model(name, 3, estimator=estimator), toy_batch(3, 8)
    chance = torch.Generator().manual_seed(0)
    losses = []
    with torch.no_grad():
        for _ in range(1500):
            drawn = draw(model.objective.spec, 8, LATENT, chance)
            losses.append(model.loss(x, Draws(drawn.position_B, drawn.noise.double())).total)
        model.objective.spec = replace(model.objective.spec, estimator="enumerate")
        every = []
        for _ in range(500):
            drawn = draw(model.objective.spec, 8, LATENT, chance)
            every.append(model.loss(x, Draws(None, drawn.noise.double())).total)
    sampled, enumerated = torch.stack(losses), torch.stack(every)
    spread = math.sqrt(float(sampled.var()) / len(sampled) + float(enumerated.var()) / len(enumerated))
    assert abs(float(sampled.mean() - enumerated.mean())) < 4 * spread


def test_stratified_gives_every_component_its_share():
    """Over a batch of 256, each of MoPoE's 7 components has 36 or 37 examples, in no fixed place."""
    model = toy_model("mopoe", 3)
    seen = []
    for seed in range(5):
        drawn = draws_for(model, 256, seed)
        component = model.objective.assign_B(drawn, model.objective.scale_CB(None, 256))
        counts = torch.bincount(component, minlength=7)
        assert int(counts.min()) >= 36
        assert int(counts.max()) <= 37
        seen.append(component)
    assert not torch.equal(seen[0], seen[1])


def test_slices_are_contiguous_and_the_last_takes_the_rest():
    """As released: floor(B / C) examples a component in order, so PolyMNIST's full set gets 16 of 256 and not 8."""
    spec = replace(objective.mopoe(5), estimator="slices")
    drawn = draw(spec, 256, LATENT, torch.Generator().manual_seed(0))
    target = Objective(spec)
    component = target.assign_B(drawn, target.scale_CB(None, 256))
    assert torch.bincount(component).tolist() == [8] * 30 + [16]
    assert torch.equal(component, component.sort().values)


ESTIMATORS = [("mvae", "enumerate")] + [(n, e) for n in ("mmvae", "mopoe") for e in ("stratified", "categorical", "enumerate")]


@pytest.mark.parametrize(("name", "estimator"), ESTIMATORS)
def test_a_hidden_modality_has_no_influence(name, estimator):
    """Whatever stands where a modality is hidden, NaN included, neither loss nor gradients change."""
    model, x = toy_model(name, 3, estimator=estimator), toy_batch(3, BATCH)
    present = torch.rand(BATCH, 3, generator=torch.Generator().manual_seed(1)) > 0.4
    present[~present.any(1), 0] = True
    drawn = draws_for(model)
    outcomes = []
    for filling in (0.3, float("nan")):
        spoilt = {}
        for i, modality in enumerate(TOYS[:3]):
            spoilt[modality.name] = x[modality.name].clone()
            spoilt[modality.name][~present[:, i]] = filling
        model.zero_grad()
        loss = model.loss(spoilt, drawn, present).total
        loss.backward()
        outcomes.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for first, second in zip(*outcomes, strict=True):
        assert torch.isfinite(first).all()
        assert torch.equal(first, second)


def test_components_that_use_a_hidden_modality_are_never_chosen_and_weights_are_renormalised():
    """With one modality hidden, MoPoE falls back to the subsets of the others, with weights that still add up to one."""
    target = Objective(objective.mopoe(3))
    present = torch.tensor([[True, True, False]] * 300)
    scale = target.scale_CB(present, 300)
    torch.testing.assert_close((target.weights_C[:, None] * scale).sum(0), torch.ones(300))
    drawn = draw(target.spec, 300, LATENT, torch.Generator().manual_seed(0))
    counts = torch.bincount(target.assign_B(drawn, scale), minlength=7)
    assert counts.tolist() == [100, 100, 0, 100, 0, 0, 0]


def test_with_everything_present_a_mask_changes_nothing():
    """A mask of ones gives the loss without a mask."""
    model, x = toy_model("mopoe", 3), toy_batch(3, BATCH)
    drawn = draws_for(model)
    everything = torch.ones(BATCH, 3, dtype=torch.bool)
    torch.testing.assert_close(model.loss(x, drawn, everything).total, model.loss(x, drawn).total)


def test_the_prior_expert_joins_the_products_that_it_is_asked_for():
    """`none`, `full` and `all` put exponent 1 on the prior in no row, in the full set's, and in every row."""
    for choice, expected in (("none", 0), ("full", 1), ("all", 7)):
        rows = objective.mopoe(3, choice).experts_CE
        assert sum(row[0] for row in rows) == expected
    assert objective.mopoe(3, "full").experts_CE[-1] == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("prior_expert", ["none", "full", "all"])
@pytest.mark.parametrize("given", powerset(3))
def test_the_posterior_given_what_is_present_is_the_product_of_that_subset(given, prior_expert):
    """For every subset the masked posterior is torch's product of its experts, and NaN in a hidden modality changes nothing."""
    model, x = toy_model("mopoe", 3, prior_expert=prior_expert), toy_batch(3, 5)
    present = torch.tensor([[m in given for m in range(3)]] * 5)
    naive = Naive(model, x)
    spoilt = {m.name: x[m.name] if i in given else torch.full_like(x[m.name], float("nan")) for i, m in enumerate(TOYS[:3])}
    found = model.posterior(spoilt, present)
    with_prior = prior_expert == "all" or (prior_expert == "full" and len(given) == 3)
    for b in range(5):
        expected = naive.subset(given, b, with_prior)
        torch.testing.assert_close(found.mu[b], expected.mean)
        torch.testing.assert_close(torch.exp(found.logvar[b] / 2), expected.stddev)


def test_mmvaes_masked_posterior_is_one_present_member():
    """With mnist's place hidden, the two other members serve by position, and a missing position is an error."""
    model, x = toy_model("mmvae", 3), toy_batch(3, 2)
    present = torch.tensor([[False, True, True]] * 2)
    found = model.posterior(x, present, torch.tensor([0.1, 0.9]))
    experts_ = model.encode(x)
    torch.testing.assert_close(found.mu, torch.stack([experts_.mu[1, 0], experts_.mu[2, 1]]))
    with pytest.raises(ValueError, match="position_B: is missing"):
        model.posterior(x, present)
