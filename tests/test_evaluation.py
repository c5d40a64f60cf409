"""Metrics against closed forms, brute force and scikit-learn."""

import math
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.distributions import MultivariateNormal

from mopoe_core import evaluation, names
from mopoe_core.config import TrainingConfig
from mopoe_core.data.types import Modality
from mopoe_core.evaluation import evaluate, log_likelihoods
from mopoe_core.model import MultimodalVAE
from mopoe_core.objective import Gaussians, products
from mopoe_core.training import new_model
from tests.toys import config

LATENT, BATCH = 3, 40
PARTS = (Modality("a", "image", (1, 2, 2)), Modality("b", "image", (1, 1, 3)), Modality("c", "image", (1, 1, 2)))


def linear_gaussian(model: str = "mopoe", seed: int = 0):
    """A model whose decoders are linear and whose likelihood is Normal: log p(x) and p(z|x) are known."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = MultimodalVAE(config(model, likelihood="normal", latent_dim=LATENT), PARTS).double()
        for part in PARTS:
            built.decoders[part.name] = nn.Sequential(nn.Linear(LATENT, part.elements), nn.Unflatten(1, part.shape)).double()
        x = {part.name: torch.randn(BATCH, *part.shape, dtype=torch.float64) for part in PARTS}
    built.objective = type(built.objective)(built.objective.spec, dtype=torch.float64)
    return built.requires_grad_(False), x


def closed_form(model: MultimodalVAE, x: dict[str, torch.Tensor]) -> torch.Tensor:
    """log p(x): x is Gaussian with mean b and covariance W W^T + scale^2 I."""
    w = torch.cat([model.decoders[part.name][0].weight for part in PARTS])
    b = torch.cat([model.decoders[part.name][0].bias for part in PARTS])
    covariance = w @ w.T + 0.75**2 * torch.eye(len(b), dtype=torch.float64)
    return MultivariateNormal(b, covariance).log_prob(torch.cat([x[part.name].flatten(1) for part in PARTS], 1))


def proposals(rows: int, spread: float = 0.3) -> Gaussians:
    """Arbitrary proposals, wide enough for importance sampling."""
    chance = torch.Generator().manual_seed(9)
    mu = 0.2 * torch.randn(rows, BATCH, LATENT, generator=chance, dtype=torch.float64)
    return Gaussians(mu, torch.full_like(mu, spread))


@pytest.mark.parametrize("members", [[[0]], [[0, 1]], [[0, 1, 2]]], ids=["one product", "a mixture of 2", "a mixture of 3"])
def test_the_estimate_converges_to_the_linear_gaussian_log_likelihood(members):
    """With many samples the importance-weighted estimate is log p(x), for single products and for mixtures."""
    model, x = linear_gaussian()
    ours, _ = log_likelihoods(model, x, proposals(3), members, torch.Generator().manual_seed(0), samples=60_000)
    torch.testing.assert_close(ours[0], closed_form(model, x), rtol=0, atol=0.05)


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
    ours, _ = log_likelihoods(model, x, posterior, [[0]], torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours[0], closed_form(model, x))


def test_fifteen_samples_give_a_lower_bound_and_more_samples_a_tighter_one():
    """On average over repetitions the bound is below log p(x), and rises with the number of samples (Burda et al. 2016)."""
    model, x = linear_gaussian()
    truth = closed_form(model, x).mean()
    chance = torch.Generator().manual_seed(0)
    bounds = []
    for samples in (3, 15, 75):
        repeated = [log_likelihoods(model, x, proposals(3, 1.5), [[0, 1, 2]], chance, samples)[0].mean() for _ in range(30)]
        bounds.append(torch.stack(repeated).mean())
    assert bounds[0] < bounds[1] < bounds[2] < truth


def test_paper_view_is_the_released_reshape():
    """(K, B) log-weights are flattened, read as (B, K) and averaged along K, so rows mix examples."""
    log_weights = torch.randn(15, 6)
    flat = log_weights.flatten().tolist()
    expected = [math.log(sum(math.exp(w) for w in flat[row * 15 : row * 15 + 15]) / 15) for row in range(6)]
    torch.testing.assert_close(evaluation._paper_view([log_weights]), torch.tensor(expected))


def test_paper_view_gives_each_member_of_a_mixture_a_slice_of_the_batch():
    """As released: of 7 examples and 2 members the first takes 3 and the second the remaining 4."""
    first, second = torch.zeros(1, 7), torch.ones(1, 7)
    assert evaluation._paper_view([first, second]).tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_an_mmvae_subset_uses_each_member_for_its_share_of_examples():
    """Where one sample an example is wanted, the members of a subset serve equally many examples, in no fixed order."""
    posteriors = Gaussians(torch.arange(3.0)[:, None, None].expand(3, 12, 1), torch.zeros(3, 12, 1))
    chosen = evaluation._one_member(posteriors, [0, 2], torch.Generator().manual_seed(0)).mu[:, 0]
    assert sorted(chosen.tolist()) == [0.0] * 6 + [2.0] * 6
    assert chosen.tolist() != sorted(chosen.tolist())


@pytest.fixture(scope="module")
def evaluated(dataset, jury):
    """An untrained MoPoE and its long table."""
    settings = TrainingConfig(dataset="mnist_svhn_text", networks="small", model="mopoe", train_examples=1000, test_examples=300)
    model = new_model(settings, 0, dataset, torch.device("cpu")).eval()
    return model, evaluate(model, 0, dataset, jury, torch.device("cpu"))


def test_the_long_table_holds_every_metric_once_in_order(evaluated):
    """The names are those that a specification may use as objectives, each with n, unit and a finite error."""
    _, table = evaluated
    assert [metric.name for metric in table] == names.metric_names(("mnist", "svhn", "text"))
    assert all(metric.n == (5000 if metric.name == "coherence/joint" else 300) for metric in table)
    assert all(math.isfinite(metric.value) and metric.mc_error >= 0 for metric in table)


def test_evaluation_repeats_to_the_last_bit(evaluated, dataset, jury):
    """The same model and seed give the same table; another seed another one."""
    model, table = evaluated
    assert evaluate(model, 0, dataset, jury, torch.device("cpu")) == table
    assert evaluate(model, 1, dataset, jury, torch.device("cpu")) != table


def test_the_probe_is_scikit_learns(evaluated, dataset):
    """The probe's accuracy equals that of a logistic regression fitted here on the same 500 posterior means."""
    model, table = evaluated
    train, test = dataset.train.take(1000, 0), dataset.test.take(300, 0)
    rows = torch.randperm(1000, generator=evaluation.generator(torch.device("cpu"), 0, "probe"))[:500]
    with torch.no_grad():
        fit = model.encode(train.batch(rows)).mu[0].numpy()
        judged = model.encode(test.batch(torch.arange(300))).mu[0].numpy()
    probe = LogisticRegression(max_iter=1000).fit(fit, train.labels[rows].numpy())
    expected = probe.score(judged, test.labels.numpy())
    assert next(m.value for m in table if m.name == "probe/mnist") == pytest.approx(expected, abs=1e-12)


def test_summaries_are_means_of_their_parts(evaluated):
    """given_k is the mean over subsets of k modalities, for coherence over the targets outside the subset."""
    _, table = evaluated
    value = {metric.name: metric.value for metric in table}
    pairs = [("mnist.svhn", "text"), ("mnist.text", "svhn"), ("svhn.text", "mnist")]
    assert value["coherence/given_2"] == pytest.approx(sum(value[f"coherence/{s}/{t}"] for s, t in pairs) / 3)
    assert value["probe/given_2"] == pytest.approx(sum(value[f"probe/{s}"] for s, _ in pairs) / 3)


def test_coherence_counts_what_a_judge_that_always_says_3_would_see(evaluated, dataset):
    """With judges that see a 3 in everything, conditional coherence is the share of threes and joint coherence is 1."""
    model, _ = evaluated

    class Three:
        def classify(self, modality, x):
            return torch.full((len(x),), 3)

    table = evaluate(model, 0, dataset, Three(), torch.device("cpu"))
    threes = float((dataset.test.take(300, 0).labels == 3).double().mean())
    shares = {metric.value for metric in table if metric.kind == names.COHERENCE and metric.subset != "prior"}
    assert all(share == pytest.approx(threes) for share in shares)
    assert next(m for m in table if m.name == "coherence/joint").value == 1


def test_log_likelihood_of_a_mixture_is_at_least_its_members_mean(dataset, jury):
    """MMVAE's bound given all modalities is no worse than the mean of its members' bounds by more than log 3 and noise."""
    settings = TrainingConfig(dataset="mnist_svhn_text", networks="small", model="mmvae", train_examples=1000, test_examples=100)
    model = new_model(settings, 0, dataset, torch.device("cpu")).eval()
    value = {m.name: m.value for m in evaluate(model, 0, dataset, jury, torch.device("cpu"))}
    members = [value[f"log_likelihood/{name}"] for name in ("mnist", "svhn", "text")]
    assert value["log_likelihood/joint"] >= sum(members) / 3 - math.log(3) - 5


def test_the_prior_expert_changes_the_conditional_posterior():
    """With the prior expert in all products, q(z|x_m) is that of MVAE: precisions gain one."""
    model = MultimodalVAE(config("mvae", latent_dim=LATENT), PARTS).double()
    rows = model.objective.spec.conditional_rows([1])
    experts = proposals(3)
    with_prior = products(experts, torch.tensor(rows, dtype=torch.float64))
    torch.testing.assert_close(torch.exp(-with_prior.logvar[0]), 1 + torch.exp(-experts.logvar[1]))
    assert replace(model.objective.spec, prior_expert="none").conditional_rows([1]) == ((0.0, 0.0, 1.0, 0.0),)
