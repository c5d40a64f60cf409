"""Final metrics of a trained model: linear probe, coherence, log-likelihood, for every subset of modalities (Appendix B).

The test set streams through in batches: each is encoded once, all subsets' posteriors come from that one encoding, and nothing is kept
but one number an example and metric, from which the means and their Monte-Carlo errors follow.

q(z|X_S) is a uniform mixture of products (`Specification.conditional_rows`): one product for MVAE and MoPoE, the members of S for
MMVAE. Where a single sample or mean is wanted, an MMVAE example uses one member of S, chosen at random, as released.

Log-likelihood, K samples a subset:

    log_likelihood             importance-weighted bound: z from q(z|X_S), weights against the density of q(z|X_S) itself. A mixture
                               is sampled by strata, K / |S| from each member, which keeps the estimate of p(X) unbiased.
    log_likelihood_paper_view  the released code's number: weights laid out as (K, B), flattened and read as (B, K), so that each
                               log-mean-exp runs over different examples. Not a bound. MMVAE takes one member an example, in slices.

Shape suffixes: B batch, M modality, R distinct product, S subset, K importance sample, D latent dimension, N examples.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mopoe_core import names
from mopoe_core.classifiers import Judges
from mopoe_core.data.types import Dataset, Split
from mopoe_core.model import MultimodalVAE
from mopoe_core.names import Metric
from mopoe_core.objective import Gaussians, products
from mopoe_core.streams import generator
from mopoe_core.training import SELECTION_SEED

IMPORTANCE_SAMPLES = 15
PROBE_EXAMPLES = 500
PROBE_ITERATIONS = 1000
PRIOR_SAMPLES = 5000
BATCH = 256


@dataclass(frozen=True)
class _Proposals:
    """The distinct products that the subsets' posteriors are mixtures of."""

    subsets: list[tuple[str, ...]]
    exponents_RE: Tensor
    members: list[list[int]]
    """For each subset, the rows of `exponents_RE` that it is the uniform mixture of."""


@torch.no_grad()
def evaluate(model: MultimodalVAE, seed: int, dataset: Dataset, judges: Judges, device: torch.device) -> tuple[Metric, ...]:
    """The long table of a trained model: every metric of `names.metric_names`, in that order.

    All chance comes from `seed`. Raises FloatingPointError where the model's posteriors are not finite.
    """
    config = model.config
    # In random order also where all are taken: they lie sorted by class, and paper_view mixes the examples of a batch.
    test = dataset.test.take(config.test_examples or len(dataset.test), SELECTION_SEED).to(device)
    train = dataset.train.take(config.train_examples, SELECTION_SEED)
    chance = generator(device, seed, "evaluation")
    proposals = _proposals(model)
    probes = _fit_probes(model, train, seed, proposals, chance, device)
    prior_right_N = _joint_coherence(model, judges, chance, config.latent_dim)
    parts = [_batch(model, test, rows, proposals, probes, judges, chance) for rows in _batches(len(test), device)]
    numbers = {kind: torch.cat([part[kind] for part in parts], -1).double().cpu() for kind in parts[0]}
    return tuple(_table(model, proposals, prior_right_N, numbers))


def _batches(count: int, device: torch.device) -> Sequence[Tensor]:
    return list(torch.arange(count, device=device).split(BATCH))


def _proposals(model: MultimodalVAE) -> _Proposals:
    order = [m.name for m in model.modalities]
    rows: list[tuple[float, ...]] = []
    members = []
    for subset in names.subsets(order):
        wanted = model.objective.spec.conditional_rows([order.index(name) for name in subset])
        rows += [row for row in wanted if row not in rows]
        members.append([rows.index(row) for row in wanted])
    return _Proposals(names.subsets(order), model.objective.experts_CE.new_tensor(rows), members)


def _one_member(products_RBD: Gaussians, members: list[int], chance: torch.Generator) -> Gaussians:
    """For each example one member of a subset's mixture, each member as often as the others: (B, D)."""
    if len(members) == 1:
        return Gaussians(products_RBD.mu[members[0]], products_RBD.logvar[members[0]])
    batch = products_RBD.mu.shape[1]
    order_B = torch.randperm(batch, generator=chance, device=chance.device)
    member_B = torch.tensor(members, device=chance.device)[order_B % len(members)]
    return products_RBD.select(member_B)


def _subset_posteriors(products_RBD: Gaussians, proposals: _Proposals, chance: torch.Generator) -> Gaussians:
    """(S, B, D): each subset's posterior, one member an example where it is a mixture.

    Raises FloatingPointError where one is not finite.
    """
    if not torch.isfinite(products_RBD.mu).all():
        raise FloatingPointError("a posterior mean is not finite: the model has diverged")
    chosen = [_one_member(products_RBD, members, chance) for members in proposals.members]
    return Gaussians(torch.stack([q.mu for q in chosen]), torch.stack([q.logvar for q in chosen]))


def _fit_probes(
    model: MultimodalVAE, train: Split, seed: int, proposals: _Proposals, chance: torch.Generator, device: torch.device
) -> list[LogisticRegression]:
    """For each subset a logistic regression (L-BFGS) on the posterior means of 500 training examples."""
    rows = torch.randperm(len(train), generator=generator(torch.device("cpu"), seed, "probe"))[:PROBE_EXAMPLES]
    x = {name: values.to(device) for name, values in train.batch(rows).items()}
    means_SBD = _subset_posteriors(products(model.encode(x), proposals.exponents_RE), proposals, chance).mu
    labels = train.labels[rows].numpy()
    with warnings.catch_warnings():
        # The protocol stops at 1000 iterations; a probe that is not converged then is what the paper reports as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [LogisticRegression(max_iter=PROBE_ITERATIONS).fit(means.cpu().numpy(), labels) for means in means_SBD]


def _joint_coherence(model: MultimodalVAE, judges: Judges, chance: torch.Generator, latent: int) -> Tensor:
    """For each of 5,000 draws from the prior, whether all classifiers see the same class in what is decoded."""
    agree = []
    for rows in torch.arange(PRIOR_SAMPLES).split(BATCH):
        z = torch.randn(len(rows), latent, generator=chance, device=chance.device)
        classes_MB = torch.stack([judges.classify(m.name, model.generate(z, m)) for m in model.modalities])
        agree.append((classes_MB == classes_MB[0]).all(0))
    return torch.cat(agree).double().cpu()


def _batch(
    model: MultimodalVAE,
    test: Split,
    rows: Tensor,
    proposals: _Proposals,
    probes: list[LogisticRegression],
    judges: Judges,
    chance: torch.Generator,
) -> dict[str, Tensor]:
    """Every number of one batch of test examples, examples last."""
    x, labels_B = test.batch(rows), test.labels[rows]
    products_RBD = products(model.encode(x), proposals.exponents_RE)
    posteriors_SBD = _subset_posteriors(products_RBD, proposals, chance)
    predicted = [torch.from_numpy(p.predict(mu.cpu().numpy())) for p, mu in zip(probes, posteriors_SBD.mu, strict=True)]
    noise = torch.randn(posteriors_SBD.mu.shape, generator=chance, device=chance.device)
    likelihood_SB, paper_view_SB = log_likelihoods(model, x, products_RBD, proposals.members, chance)
    return {
        names.PROBE: torch.stack(predicted) == labels_B.cpu(),
        names.COHERENCE: _coherence(model, judges, posteriors_SBD.sample(noise), labels_B),
        names.LOG_LIKELIHOOD: likelihood_SB,
        names.LOG_LIKELIHOOD_PAPER_VIEW: paper_view_SB,
    }


def _coherence(model: MultimodalVAE, judges: Judges, z_SBD: Tensor, labels_B: Tensor) -> Tensor:
    """(S, M, B): whether the classifier sees the input's class in each decoded target."""
    seen = [judges.classify(m.name, model.generate(z_SBD, m).flatten(0, 1)).view(z_SBD.shape[:2]) for m in model.modalities]
    return torch.stack(seen, 1) == labels_B


def log_likelihoods(
    model: MultimodalVAE,
    x: dict[str, Tensor],
    products_RBD: Gaussians,
    members: list[list[int]],
    chance: torch.Generator,
    samples: int = IMPORTANCE_SAMPLES,
) -> tuple[Tensor, Tensor]:
    """`log_likelihood` and `log_likelihood_paper_view` of every subset, each (S, B), in nats.

    Each distinct product is sampled and decoded once: the mixtures of MMVAE reuse their members' samples.
    """
    z_RKBD, log_p_RKB = [], []
    for mu, logvar in zip(products_RBD.mu, products_RBD.logvar, strict=True):
        noise = torch.randn(samples, *mu.shape, generator=chance, device=chance.device)
        z_KBD = Gaussians(mu, logvar).sample(noise)
        z_RKBD.append(z_KBD)
        log_p_KB = -0.5 * (z_KBD**2 + math.log(2 * math.pi)).sum(-1)
        for modality in model.modalities:
            log_p_KB = log_p_KB + model.log_likelihood(z_KBD, x, modality)
        log_p_RKB.append(log_p_KB)
    own_RKB = [Gaussians(products_RBD.mu[r], products_RBD.logvar[r]).log_prob(z) for r, z in enumerate(z_RKBD)]
    bounds = [_bound(products_RBD, rows, z_RKBD, log_p_RKB) for rows in members]
    views = [_paper_view([log_p_RKB[r] - own_RKB[r] for r in rows]) for rows in members]
    return torch.stack(bounds), torch.stack(views)


def _bound(products_RBD: Gaussians, rows: list[int], z_RKBD: list[Tensor], log_p_RKB: list[Tensor]) -> Tensor:
    """log of an unbiased estimate of p(X), (B,): the members' strata of one mixture, K samples in all."""
    share, more = divmod(len(z_RKBD[0]), len(rows))
    terms = []
    for place, row in enumerate(rows):
        count = share + (place < more)
        z_KBD = z_RKBD[row][:count]
        log_q_KB = torch.logsumexp(
            torch.stack([Gaussians(products_RBD.mu[r], products_RBD.logvar[r]).log_prob(z_KBD) for r in rows]), 0
        ) - math.log(len(rows))
        terms.append(log_p_RKB[row][:count] - log_q_KB - math.log(count * len(rows)))
    return torch.logsumexp(torch.cat(terms), 0)


def _paper_view(log_weights_RKB: list[Tensor]) -> Tensor:
    """(K, B) weights flattened and read as (B, K), as released; of several members each takes a slice of the batch."""
    samples, batch = log_weights_RKB[0].shape
    slices_B = (torch.arange(batch) // max(1, batch // len(log_weights_RKB))).clamp(max=len(log_weights_RKB) - 1)
    stacked_RKB = torch.stack(log_weights_RKB)
    weights_BK = stacked_RKB[slices_B.to(stacked_RKB.device), :, torch.arange(batch, device=stacked_RKB.device)]
    return torch.logsumexp(weights_BK.T.reshape(-1).view(batch, samples), 1) - math.log(samples)


def _table(model: MultimodalVAE, proposals: _Proposals, prior_right_N: Tensor, numbers: dict[str, Tensor]) -> list[Metric]:
    """Means over examples, in the order of `names.metric_names`."""
    targets, every = [m.name for m in model.modalities], proposals.subsets
    sizes = range(1, len(targets) + 1)
    right_SMN, probe_SN = numbers[names.COHERENCE], numbers[names.PROBE]
    rows = [_metric(names.COHERENCE, "prior", "", prior_right_N, names.JOINT)]
    for s, subset in enumerate(every):
        for m, target in enumerate(targets):
            rows.append(_metric(names.COHERENCE, names.subset_name(subset), target, right_SMN[s, m]))
    for size in sizes[:-1]:
        outside = [right_SMN[s, m] for s, S in enumerate(every) if len(S) == size for m, t in enumerate(targets) if t not in S]
        rows.append(_metric(names.COHERENCE, names.given(size), "", torch.stack(outside).mean(0)))
    rows += [_metric(names.PROBE, names.subset_name(subset), "", probe_SN[s]) for s, subset in enumerate(every)]
    for size in sizes:
        of_size = [probe_SN[s] for s, subset in enumerate(every) if len(subset) == size]
        rows.append(_metric(names.PROBE, names.given(size), "", torch.stack(of_size).mean(0)))
    for kind in (names.LOG_LIKELIHOOD, names.LOG_LIKELIHOOD_PAPER_VIEW):
        for s, subset in enumerate(every):
            short = names.likelihood_subset_name(subset, targets)
            rows.append(_metric(kind, names.subset_name(subset), "", numbers[kind][s], short))
    return rows


def _metric(kind: str, subset: str, target: str, values_N: Tensor, short: str = "") -> Metric:
    """The mean over examples with its standard error; `short` stands for the subset in the name."""
    name = "/".join(part for part in (kind, short or subset, target) if part)
    n = len(values_N)
    error = float(values_N.std()) / math.sqrt(n)
    return Metric(name, kind, subset, target, float(values_N.mean()), error, n, names.UNITS[kind])
