"""Final metrics of a trained model: linear probe, coherence and log-likelihood for every subset of modalities (Appendix B).

The test set is evaluated in batches. Each batch is encoded once, and the posteriors of all subsets are computed from that encoding as one
tensor. Latents are decoded and classified in parts of bounded size (`mopoe_core.metrics.decoding`), and only a few numbers of each
example are stored. `mopoe_core.metrics.metric_table` computes the metrics and their Monte-Carlo errors from these numbers. The numbers
stay on the device until the last batch: apart from the fits of the probes, the host waits for the device once.

q(z|X_S) is a uniform mixture of products (`Specification.conditional_rows`): one product for MVAE, MoPoE and MVTCAE, and one for each
modality in S for MMVAE, mmJSD and MMVM. As in the released code, one member is chosen at random if a single sample or mean of a mixture
is needed, and private latents for decoding come from the prior. With `given_private: posterior`, the private latent of a given modality
comes from its own posterior.

If labels are attributes, probe and coherence are average precisions of scores: one for each attribute, and their mean (Appendix E.2). The
released code computes them from hard decisions, batch by batch.

Shape suffixes: B batch, M modality, R distinct product, S subset, D latent dimension, P private dimension, A class or attribute, N
examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mopoe_core import metric_names
from mopoe_core.data.types import Dataset, Split
from mopoe_core.metric_names import Metric
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.metrics.decoding import class_logits, with_fast_decoders, with_fast_networks
from mopoe_core.metrics.importance_weights import log_likelihoods
from mopoe_core.metrics.metric_table import MetricTable
from mopoe_core.metrics.probes import Probes, fit_probes
from mopoe_core.models.gaussians import Gaussians, products
from mopoe_core.models.loss import with_private
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.random_streams import generator
from mopoe_core.training.run import SELECTION_SEED

PROBE_EXAMPLES = 500
PRIOR_SAMPLES = 5000
BATCH = 256
FINITE = "finite"
"""A key in a batch's numbers, besides the kinds of metrics: whether an example's posterior means are finite."""

Array = NDArray[Any]


@dataclass(frozen=True)
class _Proposals:
    """The distinct products of experts, and of which of them each subset's posterior is a mixture."""

    subsets: list[tuple[str, ...]]
    exponents_RE: Tensor
    members: list[list[int]]
    """For each subset, the rows of `exponents_RE` of which its posterior is the uniform mixture."""
    member_tensors: list[Tensor]
    """`members` on the device."""
    given: list[list[int]]
    """For each subset, the indices of its modalities."""
    given_SM: Tensor
    """`given` as booleans on the device."""


@torch.no_grad()
def evaluate(
    model: MultimodalVAE, seed: int, dataset: Dataset, classifiers: Classifiers, device: torch.device
) -> tuple[Metric, ...]:
    """Returns the long table of a trained model: every metric of `metric_names.metric_names`, in that order.

    All random numbers come from `seed`. Raises FloatingPointError if a posterior of the model, or a number computed from it, is not
    finite.
    """
    config, model = model.config, with_fast_decoders(model, device)
    classifiers = with_fast_networks(classifiers, dataset.modalities, device)
    # In random order even if all are taken: test examples are sorted by class, and `paper_view` mixes the examples of a batch.
    test = dataset.test.take(config.test_examples or len(dataset.test), SELECTION_SEED).to(device)
    train = dataset.train.take(config.train_examples, SELECTION_SEED)
    rng = generator(device, seed, "evaluation")
    proposals = _proposals(model)
    probes = _fit_probes(model, train, seed, proposals, rng, device)
    seen_MNA = _seen_from_prior(model, classifiers, dataset, rng)
    agreement_N = _joint_coherence(seen_MNA)
    parts = [_batch(model, test, rows, proposals, probes, classifiers, rng) for rows in _batches(len(test), device)]
    # Examples are on the last axis, or on the one before it for scores of attributes.
    axis = {kind: -2 if dataset.attributes and kind in (metric_names.PROBE, metric_names.COHERENCE) else -1 for kind in parts[0]}
    numbers = {kind: torch.cat([part[kind] for part in parts], axis[kind]).double().cpu().numpy() for kind in parts[0]}
    _check_finite(numbers.pop(FINITE))
    table = MetricTable(dataset, test, [m.name for m in model.modalities], proposals.subsets)
    return table.metrics(seen_MNA.cpu().numpy(), agreement_N.cpu().numpy(), numbers)


def _batches(count: int, device: torch.device) -> Sequence[Tensor]:
    return list(torch.arange(count, device=device).split(BATCH))


def _check_finite(finite_B: Array) -> None:
    if not finite_B.all():
        raise FloatingPointError("a posterior mean is not finite: the model has diverged")


def _proposals(model: MultimodalVAE) -> _Proposals:
    order = [m.name for m in model.modalities]
    rows: list[tuple[float, ...]] = []
    members = []
    subsets = metric_names.subsets(order)
    given = [[order.index(name) for name in subset] for subset in subsets]
    for indices in given:
        subset_rows = model.objective.spec.conditional_rows(indices)
        rows += [row for row in subset_rows if row not in rows]
        members.append([rows.index(row) for row in subset_rows])
    exponents_RE = model.objective.experts_CE.new_tensor(rows)
    device = exponents_RE.device
    member_tensors = [torch.tensor(subset_members, device=device) for subset_members in members]
    given_SM = torch.tensor([[m in indices for m in range(len(order))] for indices in given], device=device)
    return _Proposals(subsets, exponents_RE, members, member_tensors, given, given_SM)


def _one_member(products_RBD: Gaussians, members: Tensor, rng: torch.Generator) -> Gaussians:
    """Returns (B, D): for each example one member of a subset's mixture, each member equally often."""
    batch = products_RBD.mu.shape[1]
    order_B = torch.randperm(batch, generator=rng, device=rng.device)
    return products_RBD.select(members[order_B % len(members)])


def _subset_posteriors(products_RBD: Gaussians, proposals: _Proposals, rng: torch.Generator) -> Gaussians:
    """Returns (S, B, D): each subset's posterior; for a mixture, one member for each example."""
    if all(len(members) == 1 for members in proposals.members):
        rows_S = torch.cat(proposals.member_tensors)
        return Gaussians(products_RBD.mu[rows_S], products_RBD.logvar[rows_S])
    posteriors = []
    for members, member_tensor in zip(proposals.members, proposals.member_tensors, strict=True):
        if len(members) == 1:
            posteriors.append(Gaussians(products_RBD.mu[members[0]], products_RBD.logvar[members[0]]))
        else:
            posteriors.append(_one_member(products_RBD, member_tensor, rng))
    return Gaussians(torch.stack([q.mu for q in posteriors]), torch.stack([q.logvar for q in posteriors]))


def _fit_probes(
    model: MultimodalVAE, train: Split, seed: int, proposals: _Proposals, rng: torch.Generator, device: torch.device
) -> Probes:
    """Returns a probe for each subset, fitted on the posterior means of 500 training examples."""
    rows = torch.randperm(len(train), generator=generator(torch.device("cpu"), seed, "probe"))[:PROBE_EXAMPLES]
    x = {name: values.to(device) for name, values in train.batch(rows).items()}
    experts_MBD = model.encode(x).shared
    means_SBD = _subset_posteriors(products(experts_MBD, proposals.exponents_RE), proposals, rng).mu
    _check_finite(torch.isfinite(means_SBD).cpu().numpy())
    return fit_probes(means_SBD, train.labels[rows])


def _seen_from_prior(model: MultimodalVAE, classifiers: Classifiers, dataset: Dataset, rng: torch.Generator) -> Tensor:
    """Returns the class that each modality's classifier sees in each of 5,000 draws from the prior, (M, N, 1).

    For attributes returns booleans (M, N, A): a classifier sees an attribute that is more likely than not.
    """
    latents_MNL = _prior_latents(model, rng)
    seen_of_each = []
    for modality, latents_NL in zip(model.modalities, latents_MNL, strict=True):
        logits = class_logits(model, classifiers, latents_NL, modality)
        seen_of_each.append(logits > 0 if dataset.attributes else logits.argmax(-1, keepdim=True))
    return torch.stack(seen_of_each)


def _joint_coherence(seen_MNA: Tensor) -> Tensor:
    """Returns for each draw (N,) whether all classifiers see the same class; for attributes, the share on which all agree."""
    return (seen_MNA == seen_MNA[0]).all(0).double().mean(-1)


def _prior_latents(model: MultimodalVAE, rng: torch.Generator) -> list[Tensor]:
    """Returns latents (5000, D + P) for each modality: the same z for all modalities, and separate private latents."""
    latents_of_each: list[list[Tensor]] = [[] for _ in model.modalities]
    for start in range(0, PRIOR_SAMPLES, BATCH):
        count = min(BATCH, PRIOR_SAMPLES - start)
        z = torch.randn(count, model.config.latent_dim, generator=rng, device=rng.device)
        for latents in latents_of_each:
            private = torch.randn(count, model.config.private_dim, generator=rng, device=rng.device)
            latents.append(with_private(z, private))
    return [torch.cat(latents) for latents in latents_of_each]


def _batch(
    model: MultimodalVAE,
    test: Split,
    rows: Tensor,
    proposals: _Proposals,
    probes: Probes,
    classifiers: Classifiers,
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Returns the numbers of each example of one batch, by kind of metric."""
    x, labels = test.batch(rows), test.labels[rows]
    encoded = model.encode(x)
    products_RBD = products(encoded.shared, proposals.exponents_RE)
    posteriors_SBD = _subset_posteriors(products_RBD, proposals, rng)
    noise = torch.randn(posteriors_SBD.mu.shape, generator=rng, device=rng.device)
    z_SBD = posteriors_SBD.sample(noise)
    private_noise_MBP = torch.randn(encoded.private.mu.shape, generator=rng, device=rng.device)
    private_MBP = model.private_of_given(encoded.private, private_noise_MBP)
    likelihood_SB, paper_view_SB = log_likelihoods(model, x, encoded, products_RBD, proposals.members, proposals.given, rng)
    return {
        FINITE: torch.isfinite(products_RBD.mu).all(-1).all(0),
        metric_names.PROBE: probes.correct_or_scores(posteriors_SBD.mu, labels),
        metric_names.COHERENCE: _coherence(model, classifiers, proposals.given_SM, z_SBD, private_MBP, labels, rng),
        metric_names.LOG_LIKELIHOOD: likelihood_SB,
        metric_names.LOG_LIKELIHOOD_PAPER_VIEW: paper_view_SB,
    }


def _coherence(
    model: MultimodalVAE,
    classifiers: Classifiers,
    given_SM: Tensor,
    z_SBD: Tensor,
    private_MBP: Tensor,
    labels: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Returns whether the classifier sees the input's class in each decoded target, (S, M, B); for attributes scores (S, M, B, A)."""
    logits = []
    for m, modality in enumerate(model.modalities):
        prior_BP = torch.randn(private_MBP[m].shape, generator=rng, device=rng.device)
        private_SBP = torch.where(given_SM[:, m, None, None], private_MBP[m], prior_BP)
        latents_SBL = with_private(z_SBD, private_SBP)
        logits.append(class_logits(model, classifiers, latents_SBL.flatten(0, 1), modality).unflatten(0, z_SBD.shape[:2]))
    logits_SMBA = torch.stack(logits, 1)
    return logits_SMBA if labels.ndim == 2 else logits_SMBA.argmax(-1) == labels
