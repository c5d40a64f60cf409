"""The objective against an independent implementation, its identities, and its estimators."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, MixtureSameFamily, Normal

from mopoe_core.family.registry import MODELS as CARDS
from mopoe_core.family.specification import uniform_mixture
from mopoe_core.models import gaussians, objective
from mopoe_core.models.draws import draw
from mopoe_core.models.gaussians import Gaussians, kl_divergence, products
from mopoe_core.models.objective import Objective
from tests.support.naive import Naive, powerset
from tests.support.naming import unnamed
from tests.support.toys import LATENT, MODELS, TOYS, config, spoilt, toy_batch, toy_draws, toy_mask, toy_model

BATCH = 14


def experts(modalities=3, batch=6, seed=0):
    """Random unimodal posteriors."""
    chance = torch.Generator().manual_seed(seed)
    shape = (modalities, batch, LATENT)
    mu = torch.randn(shape, generator=chance, dtype=torch.float64)
    return Gaussians(mu, torch.randn(shape, generator=chance, dtype=torch.float64) - 0.5)


def specified(name, modalities=3, **changes):
    """The rows of a model, of modalities with weight 1."""
    return objective.specification(config(name, **changes), (1.0,) * modalities)


def assert_same_loss(model, x, drawn, present=None):
    """The loss, its terms and the gradient of every parameter are those of the loops, to 1e-5 of their size."""
    parameters = list(model.parameters())
    shown = x if present is None else spoilt(x, present)
    found = model.loss(shown, drawn, present)
    expected = Naive(model, shown, drawn, present).terms()
    close = {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close(
        found.reconstruction_M * torch.tensor(model.weights_M).double(), torch.stack(expected.reconstruction), **close
    )
    torch.testing.assert_close(found.kl, expected.kl, **close)
    torch.testing.assert_close(found.private_kl, expected.private_kl, **close)
    torch.testing.assert_close(found.total, expected.loss(model.config), **close)
    ours = torch.autograd.grad(found.total, parameters)
    theirs = torch.autograd.grad(expected.loss(model.config), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()) + 1e-12)


@pytest.mark.parametrize("likelihood", ["laplace", "normal", "bernoulli"])
@pytest.mark.parametrize("modalities", [2, 3, 5])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_equals_a_loop_over_examples_and_subsets(name, modalities, likelihood):
    """For every model and number of modalities the loss is that of a loop with torch.distributions, to 1e-5 of its size."""
    model, x = toy_model(name, modalities, likelihood=likelihood, kl="sum"), toy_batch(modalities, BATCH)
    drawn = toy_draws(model, BATCH)
    expected = Naive(model, x, drawn).terms().loss(model.config)
    torch.testing.assert_close(model.loss(x, drawn).total, expected, rtol=1e-5, atol=1e-5)


FAMILY = [
    *(
        {"model": "mvae", "prior_expert": p, "unimodal_reconstruction": u}
        for p, u in (("all", "weighted"), ("all", "unweighted"), ("full", "weighted"), ("none", "unweighted"))
    ),
    *(
        {"model": m, "estimator": e, "kl": k}
        for m in ("mmvae", "mopoe")
        for e in ("stratified", "categorical", "slices", "enumerate")
        for k in ("sum", "mixture")
    ),
    {"model": "mmvae", "prior_expert": "all", "kl": "sum"},
    {"model": "mmvae", "prior_expert": "all", "kl": "mixture", "estimator": "enumerate"},
    *({"model": "mopoe", "prior_expert": p, "kl": k} for p in ("full", "all") for k in ("sum", "mixture")),
    *({"model": "mmjsd", "estimator": e} for e in ("stratified", "categorical", "slices", "enumerate")),
    {"model": "mmjsd", "prior_expert": "all"},
    *({"model": "mvtcae", "alpha": a, "prior_expert": p} for a, p in ((5 / 6, "none"), (0.3, "full"), (0, "none"), (1, "all"))),
    *({"model": "mmvm", "prior_expert": p} for p in ("none", "all")),
]
FAMILY += [{"model": name} for name in CARDS if not any(settings["model"] == name for settings in FAMILY)]
WEIGHTS = {"reconstruction_weights": (0.5, 3.0, 2.0)}
PRIVATE = {"private_dim": 3, "private_weights": (1.0, 5.0, 0.5), "beta_private": 2.0}
MASKED = [settings for settings in FAMILY if settings.get("estimator") != "slices"]


@pytest.mark.parametrize("more", [{}, WEIGHTS | PRIVATE], ids=["no private latents", "private latents and weights"])
@pytest.mark.parametrize("settings", FAMILY, ids=lambda s: " ".join(map(str, s.values())))
def test_every_member_of_the_family_is_its_formula(settings, more):
    """Terms and gradients of every model, estimator and KL, with and without private latents, are those of its written-out formula."""
    model = toy_model(modalities=3, **settings | more)
    assert_same_loss(model, toy_batch(3, 8), toy_draws(model, 8))


@pytest.mark.parametrize("more", [{}, WEIGHTS | PRIVATE], ids=["no private latents", "private latents and weights"])
@pytest.mark.parametrize("settings", MASKED, ids=lambda s: " ".join(map(str, s.values())))
def test_every_member_of_the_family_is_its_formula_under_a_mask(settings, more):
    """With modalities hidden, and NaN in their place, terms and gradients are those of a formula that never looks at them."""
    model, present = toy_model(modalities=3, **settings | more), toy_mask(3, 8)
    assert_same_loss(model, toy_batch(3, 8), toy_draws(model, 8), present)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name):
    """One backward pass gives every weight of every encoder and decoder a gradient that is not zero."""
    model = toy_model(name, 3)
    model.loss(toy_batch(3, 64), toy_draws(model, 64)).total.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_full_subset_alone_is_mvaes_joint_term():
    """A mixture whose only subset is the full one, with the prior expert, is the first row of MVAE."""
    full = uniform_mixture("full", 3, [(0, 1, 2)], "all", "product")
    joint = specified("mvae")
    assert (full.experts_CE[0], full.decoded_CM[0]) == (joint.experts_CE[0], joint.decoded_CM[0])
    assert (full.weights_C[0], full.kl_CR[0]) == (joint.weights_C[0], joint.kl_CR[0])


def test_mopoe_restricted_to_singletons_is_mmvae():
    """The rows of MoPoE that name one modality are MMVAE's components."""
    singles = [row for row in specified("mopoe", 4).experts_CE if sum(row) == 1]
    assert tuple(singles) == specified("mmvae", 4).experts_CE


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
    spec, given, samples = specified(name), experts(batch=1, seed=5), 40_000
    target = Objective(spec, dtype=torch.float64)
    copies = Gaussians(given.mu.expand(-1, samples, -1), given.logvar.expand(-1, samples, -1))
    components = products(copies, target.experts_CE)
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(components.mu.shape, generator=chance, dtype=torch.float64)
    scale = target.scale_CB(None, samples)
    weights = target.weights_C[:, None].expand(-1, samples)
    mixture = target.mixture_kl_B(copies, components.sample(noise), weights, scale).mean()
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
            losses.append(model.loss(x, toy_draws(model, 8, chance)).total)
        model.objective.spec = replace(model.objective.spec, estimator="enumerate")
        every = []
        for _ in range(500):
            every.append(model.loss(x, toy_draws(model, 8, chance)).total)
    sampled, enumerated = torch.stack(losses), torch.stack(every)
    spread = math.sqrt(float(sampled.var()) / len(sampled) + float(enumerated.var()) / len(enumerated))
    assert abs(float(sampled.mean() - enumerated.mean())) < 4 * spread


def test_stratified_gives_every_component_its_share():
    """Over a batch of 256, each of MoPoE's 7 components has 36 or 37 examples, in no fixed place."""
    model = toy_model("mopoe", 3)
    seen = []
    for seed in range(5):
        drawn = toy_draws(model, 256, seed)
        component = model.objective.assign_B(drawn, model.objective.scale_CB(None, 256))
        counts = torch.bincount(component, minlength=7)
        assert int(counts.min()) >= 36
        assert int(counts.max()) <= 37
        seen.append(component)
    assert not torch.equal(seen[0], seen[1])


def test_slices_are_contiguous_and_the_last_takes_the_rest():
    """As released: floor(B / C) examples a component in order, so PolyMNIST's full set gets 16 of 256 and not 8."""
    spec = specified("mopoe", 5, estimator="slices")
    drawn = draw(spec, 256, LATENT, torch.Generator().manual_seed(0))
    target = Objective(spec)
    component = target.assign_B(drawn, target.scale_CB(None, 256))
    assert torch.bincount(component).tolist() == [8] * 30 + [16]
    assert torch.equal(component, component.sort().values)


ESTIMATORS = [(name, "enumerate") for name in CARDS]
ESTIMATORS += [(name, e) for name, card in CARDS.items() if card.is_mixture for e in ("stratified", "categorical")]


@pytest.mark.parametrize("private", [0, 3])
@pytest.mark.parametrize(("name", "estimator"), ESTIMATORS)
def test_a_hidden_modality_has_no_influence(name, estimator, private):
    """Whatever stands where a modality is hidden, NaN included, neither loss nor gradients change."""
    model, x = toy_model(name, 3, estimator=estimator, private_dim=private), toy_batch(3, BATCH)
    present = torch.rand(BATCH, 3, generator=torch.Generator().manual_seed(1)) > 0.4
    present[~present.any(1), 0] = True
    drawn = toy_draws(model, BATCH)
    outcomes = []
    for filling in (0.3, float("nan")):
        model.zero_grad()
        loss = model.loss(spoilt(x, present, filling), drawn, present).total
        loss.backward()
        outcomes.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for first, second in zip(*outcomes, strict=True):
        assert torch.isfinite(first).all()
        assert torch.equal(first, second)


def test_components_that_use_a_hidden_modality_are_never_chosen_and_weights_are_renormalised():
    """With one modality hidden, MoPoE falls back to the subsets of the others, with weights that still add up to one."""
    target = Objective(specified("mopoe"))
    present = torch.tensor([[True, True, False]] * 300)
    scale = target.scale_CB(present, 300)
    torch.testing.assert_close((target.weights_C[:, None] * scale).sum(0), torch.ones(300))
    drawn = draw(target.spec, 300, LATENT, torch.Generator().manual_seed(0))
    counts = torch.bincount(target.assign_B(drawn, scale), minlength=7)
    assert counts.tolist() == [100, 100, 0, 100, 0, 0, 0]


def test_with_everything_present_a_mask_changes_nothing():
    """A mask of ones gives the loss without a mask."""
    model, x = toy_model("mopoe", 3), toy_batch(3, BATCH)
    drawn = toy_draws(model, BATCH)
    everything = torch.ones(BATCH, 3, dtype=torch.bool)
    torch.testing.assert_close(model.loss(x, drawn, everything).total, model.loss(x, drawn).total)


def test_the_prior_expert_joins_the_products_that_it_is_asked_for():
    """`none`, `full` and `all` put exponent 1 on the prior in no row, in the full set's, and in every row."""
    for choice, expected in (("none", 0), ("full", 1), ("all", 7)):
        rows = specified("mopoe", prior_expert=choice).experts_CE
        assert sum(row[0] for row in rows) == expected
    assert specified("mopoe", prior_expert="full").experts_CE[-1] == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("prior_expert", ["none", "full", "all"])
@pytest.mark.parametrize("given", powerset(3))
def test_the_posterior_given_what_is_present_is_the_product_of_that_subset(given, prior_expert):
    """For every subset the masked posterior is torch's product of its experts, and NaN in a hidden modality changes nothing."""
    model, x = toy_model("mopoe", 3, prior_expert=prior_expert), toy_batch(3, 5)
    present = torch.tensor([[m in given for m in range(3)]] * 5)
    naive = Naive(model, x, None)
    found = model.posterior(spoilt(x, present), present)
    for b in range(5):
        expected = naive.posterior(given, b)
        torch.testing.assert_close(found.mu[b], expected.mean)
        torch.testing.assert_close(torch.exp(found.logvar[b] / 2), expected.stddev)


def test_mmvaes_masked_posterior_is_one_present_member():
    """With mnist's place hidden, the two other members serve by position, and a missing position is an error."""
    model, x = toy_model("mmvae", 3), toy_batch(3, 2)
    present = torch.tensor([[False, True, True]] * 2)
    found = model.posterior(x, present, torch.tensor([0.1, 0.9]))
    experts_ = model.encode(x).shared
    torch.testing.assert_close(found.mu, torch.stack([experts_.mu[1, 0], experts_.mu[2, 1]]))
    with pytest.raises(ValueError, match="position_B"):
        model.posterior(x, present)


@pytest.mark.parametrize(("name", "estimator"), ESTIMATORS)
def test_a_modality_that_is_hidden_everywhere_learns_nothing(name, estimator):
    """Its decoder and its encoder get no gradient at all, while those of the others do."""
    model, x = toy_model(name, 3, estimator=estimator, private_dim=2), toy_batch(3, BATCH)
    present = torch.tensor([[True, False, True]] * BATCH)
    loss = model.loss(x, toy_draws(model, BATCH), present)
    loss.total.backward()
    assert loss.reconstruction_M[1].item() == 0
    for part in (model.encoders, model.decoders):
        assert all(not p.grad.any() for p in part["word"].parameters() if p.grad is not None)
        for name in ("grey", "colour"):
            assert all(p.grad.any() for p in part[name].parameters())


@pytest.mark.parametrize("private", [0, 3])
@pytest.mark.parametrize("kept", [(0,), (0, 2), (1, 2)])
@pytest.mark.parametrize(
    "settings",
    [
        {"model": "mmvae", "estimator": "enumerate", "kl": "sum"},
        {"model": "mmvae", "estimator": "enumerate", "kl": "mixture"},
        {"model": "mopoe", "estimator": "enumerate", "kl": "sum"},
        {"model": "mopoe", "estimator": "enumerate", "kl": "mixture"},
        {"model": "mopoe", "estimator": "enumerate", "prior_expert": "all"},
        {"model": "mmjsd", "estimator": "enumerate"},
        {"model": "mmjsd", "estimator": "enumerate", "prior_expert": "all"},
        *({"model": name} for name, card in CARDS.items() if not card.is_mixture),
        {"model": "mmvm", "prior_expert": "all"},
        {"model": "mvae", "prior_expert": "none"},
        {"model": "mvae", "unimodal_reconstruction": "unweighted"},
        {"model": "mvtcae", "prior_expert": "all", "alpha": 0.4},
        *(
            {"model": name, "estimator": estimator}
            for name in ("mmvae", "mopoe", "mmjsd")
            for estimator in ("stratified", "categorical")
        ),
    ],
    ids=lambda s: " ".join(map(str, s.values())),
)
def test_hiding_a_modality_is_the_model_without_it(settings, kept, private):
    """The loss with modalities hidden everywhere is that of the same networks without them, to rounding, for every model."""
    whole = toy_model(modalities=3, reconstruction_weights="equal", private_dim=private, **settings)
    part = toy_model(modalities=3, reconstruction_weights="equal", private_dim=private, **settings)
    part.modalities = tuple(TOYS[m] for m in kept)
    weights = (1.0,) * len(kept)
    part.weights_M, part.private_weights_M = weights, weights
    part.objective = Objective(objective.specification(part.config, weights), dtype=torch.float64)
    x, present = toy_batch(3, BATCH), torch.tensor([[m in kept for m in range(3)]] * BATCH)
    drawn = toy_draws(whole, BATCH)
    noise = drawn.noise if drawn.position_B is not None else drawn.noise[left_without(whole, kept)]
    fewer = replace(drawn, noise=noise, private_noise_MBP=drawn.private_noise_MBP[list(kept)])
    found, expected = whole.loss(x, drawn, present), part.loss(x, fewer)
    for of_whole, of_part in ((found.total, expected.total), (found.kl, expected.kl), (found.private_kl, expected.private_kl)):
        torch.testing.assert_close(of_whole, of_part, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.reconstruction_M[list(kept)], expected.reconstruction_M, rtol=1e-12, atol=1e-12)


def left_without(model, kept):
    """The components of a model that a model of the kept modalities has too: the joint one, where it is the first, always."""
    rows = [[m for m in range(3) if row[1 + m]] for row in model.objective.spec.experts_CE]
    joint = len(rows[0]) == 3
    return [c for c, members in enumerate(rows) if set(members) <= set(kept) or (joint and c == 0)]


@pytest.mark.parametrize("name", ["mvae", "mmvae", "mopoe", "mmvm", "mvtcae", "crmvae"])
def test_the_weight_of_the_kl_is_that_of_a_model_of_what_is_present(name):
    """Where all components and experts are one Gaussian, the term is its KL to the prior times: 1 + k for MVAE with k modalities, 1 for a
    mixture, 1 - alpha for MVTCAE, 1 / (k + 1) for CRMVAE, and 0 for MMVM, whose references are the experts."""
    target = Objective(specified(name, kl="sum"), dtype=torch.float64)
    present = toy_mask(3, 40)
    q = Gaussians(torch.full((1, 1, LATENT), 0.7).double(), torch.full((1, 1, LATENT), -0.3).double())
    components = Gaussians(*(part.expand(len(target.weights_C), 40, -1) for part in (q.mu, q.logvar)))
    experts_ = Gaussians(*(part.expand(3, 40, -1) for part in (q.mu, q.logvar)))
    each = torch.distributions.kl_divergence(Normal(q.mu, torch.exp(q.logvar / 2)), Normal(0.0, 1.0)).sum()
    found = target.kl_B(components, experts_, target.scale_CB(present, 40), present)
    k = present.double().sum(1)
    total = {"mvae": 1 + k, "mmvm": 0 * k, "mvtcae": 1 / 6 + 0 * k, "crmvae": 1 / (k + 1)}.get(name, 1 + 0 * k)
    torch.testing.assert_close(found, total * each)


@pytest.mark.parametrize("stacked", [(), (3,)])
def test_densities_of_all_products_are_those_of_each(stacked):
    """At any point, the log densities of all products agree with torch's normal of each product, and so do their gradients, also of a
    stack, and whatever is made at a time."""
    chance = torch.Generator().manual_seed(0)
    mu, logvar = (torch.randn(*stacked, 3, 50, LATENT, generator=chance, dtype=torch.float64, requires_grad=True) for _ in "ab")
    z = torch.randn(*stacked, 50, LATENT, generator=chance, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor(specified("mopoe", prior_expert="full").experts_CE, dtype=torch.float64).expand(*stacked, -1, -1)
    upstream = torch.randn(*stacked, 7, 50, generator=chance, dtype=torch.float64)
    parts = products(Gaussians(mu, logvar), rows)
    plain = Normal(parts.mu, torch.exp(parts.logvar / 2)).log_prob(z.unsqueeze(-3)).sum(-1)
    wanted = torch.autograd.grad((plain * upstream).sum(), [mu, logvar, z])
    for at_a_time in (gaussians.CACHED, 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gaussians, "CACHED", at_a_time)
            found = gaussians.products_log_prob(Gaussians(mu, logvar), rows, z)
            torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)
            gradients = torch.autograd.grad((found * upstream).sum(), [mu, logvar, z])
        torch.testing.assert_close(gradients, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mmvae", "mopoe"])
def test_lemma_3_holds_example_by_example_under_a_mask(name):
    """0 <= sum - mixture <= log of the number of components that can be computed, by many samples, with every pattern of hiding."""
    spec, samples = specified(name, kl="mixture", estimator="enumerate"), 20_000
    target, given = Objective(spec, dtype=torch.float64), experts(batch=1, seed=5)
    copies = Gaussians(given.mu.expand(-1, samples, -1), given.logvar.expand(-1, samples, -1))
    components = products(copies, target.experts_CE)
    noise = torch.randn(components.mu.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for kept in powerset(3):
        present = torch.tensor([[m in kept for m in range(3)]]).expand(samples, -1)
        scale = target.scale_CB(present, samples)
        weights = target.weights_C[:, None] * scale
        usable = int((scale[:, 0] > 0).sum())
        mixture_B = target.mixture_kl_B(copies, components.sample(noise), weights, scale)
        gap = target.kl_B(components, copies, scale, present)[0] - mixture_B
        assert usable == (len(kept) if name == "mmvae" else 2 ** len(kept) - 1)
        error = 4 * float(gap.std()) / math.sqrt(samples)
        assert -error <= float(gap.mean()) <= math.log(usable) + error


def test_a_models_loss_with_one_subset_is_mvaes_joint_elbo():
    """MVAE's loss without its unimodal ELBOs is that of a mixture of one product, the full one with the prior, in value."""
    model, x = toy_model("mvae", 3), toy_batch(3, BATCH)
    drawn = toy_draws(model, BATCH)
    alone = toy_model("mopoe", 3, prior_expert="all", kl="sum", estimator="enumerate")
    full = replace(uniform_mixture("full", 3, [(0, 1, 2)], "all", "product"), estimator="enumerate")
    alone.objective = Objective(full, dtype=torch.float64)
    joint = replace(drawn, noise=drawn.noise[:1])
    unimodal = Naive(model, x, drawn)
    expected = Naive(model, x, drawn).terms().loss(model.config)
    for b in range(BATCH):
        for m in range(3):
            q, one = unimodal.posterior((m,), b), unimodal.nothing()
            unimodal.decode(one, 1.0, unimodal.sampled(q, drawn.noise[1 + m, b]), b, (m,))
            one.kl = torch.distributions.kl_divergence(q, unimodal.prior()).sum()
            expected = expected - one.loss(model.config) / BATCH
    torch.testing.assert_close(alone.loss(x, joint).total, expected)


@pytest.mark.parametrize("prior_expert", ["none", "full", "all"])
def test_conditionals_have_the_prior_where_the_configuration_says(prior_expert):
    """q(z|X_S) has exponent 1 on the prior in no subset, the full one, or every subset; of mixtures, in every member or in none."""
    spec = specified("mopoe", prior_expert=prior_expert)
    for subset in powerset(3):
        with_prior = prior_expert == "all" or (prior_expert == "full" and len(subset) == 3)
        assert spec.conditional_rows(subset) == ((float(with_prior), *(float(m in subset) for m in range(3))),)
    if prior_expert != "full":
        for name in ("mmvae", "mmjsd", "mmvm"):
            rows = specified(name, prior_expert=prior_expert).conditional_rows([0, 2])
            prior = float(prior_expert == "all")
            assert rows == ((prior, 1.0, 0.0, 0.0), (prior, 0.0, 0.0, 1.0))


def test_a_weight_of_zero_cannot_be_taken_out_of_the_unimodal_elbos():
    """MVAE with `unimodal_reconstruction: unweighted` and a modality of weight 0 is refused, by the field's name."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the message is looked at below
        config("mvae", unimodal_reconstruction="unweighted", reconstruction_weights=(0.0, 1.0, 1.0))
    assert not unnamed(caught.value, "reconstruction_weights", 0)


def test_an_unknown_estimator_is_refused():
    """A specification with an estimator that there is not draws nothing."""
    with pytest.raises(ValueError, match="estimator: 'strata'"):
        draw(replace(specified("mopoe"), estimator="strata"), 8, LATENT, torch.Generator())
