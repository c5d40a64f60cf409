"""The evaluation as research code is usually written: one pass over the test examples for each kind of metric, and a loop over subsets.

Probes, coherences and log-likelihoods each encode the test examples again. For the log-likelihoods, data and posteriors are repeated K
times. Protocol, names of metrics, training examples of the probes and classifiers are those of `mopoe_core.metrics.evaluation`, so the
numbers can be compared: deterministic ones are equal up to rounding, the others agree within Monte-Carlo error. The log-likelihood is the
importance-weighted bound, and not the released code's number, which mixes examples.

Shape suffixes: B batch, K importance sample, D latent dimension, N examples.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.reference.models import (
    Item,
    Posterior,
    Reference,
    mixture_log_prob,
    ordered_loader,
    prior_log_prob,
    reparameterise,
    select_slices,
)
from mopoe_core import metric_names
from mopoe_core.data.types import Dataset, Split
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.random_streams import generator
from mopoe_core.training.run import SELECTION_SEED

PROBE_EXAMPLES = 500
PROBE_ITERATIONS = 1000
PRIOR_SAMPLES = 5000
BATCH = 256

Subset = tuple[int, ...]


@torch.no_grad()
def evaluate(model: Reference, seed: int, dataset: Dataset, judges: Classifiers, num_workers: int = 0) -> dict[str, float]:
    """Returns the metrics by their names in `mopoe_core.metric_names`, without `log_likelihood_paper_view` and the counts of classes.

    `seed` chooses the probes' training examples; all other random numbers come from the global generator. Raises ValueError if labels are
    attributes.
    """
    if dataset.attributes:
        raise ValueError(f"dataset: {dataset.name} has attributes; the reference judges classes only")
    model.eval()
    train = dataset.train.take(model.config.train_examples, SELECTION_SEED)
    test = dataset.test.take(model.config.test_examples or len(dataset.test), SELECTION_SEED)
    test_loader = ordered_loader(test, BATCH, num_workers)
    metrics = {metric_names.JOINT_COHERENCE: joint_coherence(model, judges)}
    metrics |= conditional_coherences(model, test_loader, judges)
    metrics |= probes(model, probe_loader(train, seed, num_workers), test_loader)
    metrics |= mean_log_likelihoods(model, log_likelihoods(model, test_loader))
    return metrics


def all_subsets(model: Reference) -> list[Subset]:
    """Returns every non-empty subset of modality indices, small ones first."""
    order = [m.name for m in model.modalities]
    return [tuple(order.index(name) for name in subset) for subset in metric_names.subsets(order)]


def subset_name(model: Reference, subset: Subset) -> str:
    """Returns the name of a subset of modality indices: `mnist.text` for `(0, 2)`."""
    return metric_names.subset_name([model.modalities[m].name for m in subset])


def components(model: Reference, experts: Sequence[Posterior], subset: Subset) -> list[Posterior]:
    """Returns the components of q(z|X_S): the product, or for MMVAE the posterior of each modality in S."""
    if model.config.model == "mmvae":
        return [model.product(experts, (m,)) for m in subset]
    return [model.product(experts, subset)]


def probe_loader(train: Split, seed: int, num_workers: int = 0) -> DataLoader[Item]:
    """Returns a loader of the 500 training examples on which `mopoe_core.metrics.evaluation` fits the probes of this seed."""
    rng = generator(torch.device("cpu"), seed, "probe")
    rows = torch.randperm(len(train), generator=rng)[:PROBE_EXAMPLES].tolist()
    return ordered_loader(train, BATCH, num_workers, rows)


def posterior_means(model: Reference, loader: DataLoader[Item]) -> tuple[dict[Subset, Tensor], Tensor]:
    """Returns the posterior means (N, D) by subset, and the classes (N,). For a mixture, takes one member's mean for each example."""
    means: dict[Subset, list[Tensor]] = {subset: [] for subset in all_subsets(model)}
    labels = []
    for x, label_B in loader:
        experts = model.encode(x)
        for subset, parts in means.items():
            parts.append(select_slices(components(model, experts, subset)).mu)
        labels.append(label_B)
    return {subset: torch.cat(parts) for subset, parts in means.items()}, torch.cat(labels)


def probes(model: Reference, fit_loader: DataLoader[Item], test_loader: DataLoader[Item]) -> dict[str, float]:
    """Returns the test accuracy of a logistic regression on each subset's posterior means, and the means over subsets of one size."""
    fit_means, fit_labels = posterior_means(model, fit_loader)
    test_means, test_labels = posterior_means(model, test_loader)
    accuracy = {}
    for subset in all_subsets(model):
        classifier = LogisticRegression(max_iter=PROBE_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(fit_means[subset].numpy(), fit_labels.numpy())
        accuracy[subset] = float(classifier.score(test_means[subset].numpy(), test_labels.numpy()))
    metrics = {f"{metric_names.PROBE}/{subset_name(model, subset)}": value for subset, value in accuracy.items()}
    for size in range(1, len(model.modalities) + 1):
        of_size = [value for subset, value in accuracy.items() if len(subset) == size]
        metrics[f"{metric_names.PROBE}/{metric_names.given(size)}"] = fmean(of_size)
    return metrics


def joint_coherence(model: Reference, judges: Classifiers) -> float:
    """Returns the share of 5,000 draws from the prior whose decoded modalities all show the same class."""
    agreements = 0
    for start in range(0, PRIOR_SAMPLES, BATCH):
        z_BD = torch.randn(min(BATCH, PRIOR_SAMPLES - start), model.config.latent_dim)
        classes = [judges.classify(m.name, model.generate(m, z_BD)) for m in model.modalities]
        agree_B = torch.ones(len(z_BD), dtype=torch.bool)
        for class_B in classes[1:]:
            agree_B &= class_B == classes[0]
        agreements += int(agree_B.sum().item())
    return agreements / PRIOR_SAMPLES


def conditional_coherences(model: Reference, loader: DataLoader[Item], judges: Classifiers) -> dict[str, float]:
    """Returns for each subset and target the share of examples whose decoded target shows the example's class.

    Also returns the means over the subsets of one size and the targets outside them.
    """
    correct = {(subset, m.name): 0 for subset in all_subsets(model) for m in model.modalities}
    count = 0
    for x, label_B in loader:
        experts = model.encode(x)
        for subset in all_subsets(model):
            z_BD = reparameterise(select_slices(components(model, experts, subset)))
            for modality in model.modalities:
                class_B = judges.classify(modality.name, model.generate(modality, z_BD))
                correct[subset, modality.name] += int((class_B == label_B).sum().item())
        count += len(label_B)
    share = {key: number / count for key, number in correct.items()}
    metrics = {
        f"{metric_names.COHERENCE}/{subset_name(model, subset)}/{target}": value for (subset, target), value in share.items()
    }
    order = [m.name for m in model.modalities]
    for size in range(1, len(order)):
        outside = [
            value for (subset, target), value in share.items() if len(subset) == size and order.index(target) not in subset
        ]
        metrics[f"{metric_names.COHERENCE}/{metric_names.given(size)}"] = fmean(outside)
    return metrics


def log_likelihoods(model: Reference, loader: DataLoader[Item]) -> dict[Subset, Tensor]:
    """Returns by subset S the importance-weighted bounds on log p(X) of all modalities, (N,), in nats, with q(z|X_S) as proposal."""
    bounds: dict[Subset, list[Tensor]] = {subset: [] for subset in all_subsets(model)}
    samples = model.config.importance_samples
    for x, _ in loader:
        experts = model.encode(x)
        repeated = {name: value.repeat(samples, *[1] * (value.ndim - 1)) for name, value in x.items()}
        for subset, parts in bounds.items():
            parts.append(importance_weighted(model, repeated, components(model, experts, subset)))
    return {subset: torch.cat(parts) for subset, parts in bounds.items()}


def importance_weighted(model: Reference, repeated: Mapping[str, Tensor], proposals: Sequence[Posterior]) -> Tensor:
    """Returns the log of an unbiased estimate of p(X), (B,), with the uniform mixture of the proposals; `repeated` is the batch K times.

    Each member of the mixture gives K / members samples; the first members give one more each if there is a remainder.
    """
    samples, members = model.config.importance_samples, len(proposals)
    shares = [samples // members + (i < samples % members) for i in range(members)]
    copies = Posterior(
        torch.cat([q.mu.repeat(share, 1, 1) for q, share in zip(proposals, shares, strict=True)]),
        torch.cat([q.logvar.repeat(share, 1, 1) for q, share in zip(proposals, shares, strict=True)]),
    )
    z_KBD = reparameterise(copies)
    log_p_KB = prior_log_prob(z_KBD)
    for modality in model.modalities:
        likelihood = model.likelihood(modality, z_KBD.flatten(0, 1))
        log_prob = likelihood.log_prob(repeated[modality.name])
        log_p_KB = log_p_KB + log_prob.flatten(1).sum(-1).view(log_p_KB.shape)
    log_share_K1 = torch.tensor([-math.log(members * share) for share in shares for _ in range(share)])[:, None]
    return torch.logsumexp(log_p_KB - mixture_log_prob(proposals, z_KBD) + log_share_K1, dim=0)


def mean_log_likelihoods(model: Reference, bounds: Mapping[Subset, Tensor]) -> dict[str, float]:
    """Returns the means over the examples, by subset and by size of subset."""
    mean = {subset: float(values.double().mean()) for subset, values in bounds.items()}
    order = [m.name for m in model.modalities]
    metrics = {}
    for subset, value in mean.items():
        name = metric_names.likelihood_subset_name([order[m] for m in subset], order)
        metrics[f"{metric_names.LOG_LIKELIHOOD}/{name}"] = value
    for size in range(1, len(order) + 1):
        of_size = [value for subset, value in mean.items() if len(subset) == size]
        metrics[f"{metric_names.LOG_LIKELIHOOD}/{metric_names.given(size)}"] = fmean(of_size)
    return metrics
