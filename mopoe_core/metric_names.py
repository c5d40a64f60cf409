"""Names of subsets and metrics. Pure: no torch, so that a specification can be checked before anything heavy is imported.

A metric's full name is `kind/subset/target/attribute`, with the parts that do not apply left out:

    coherence/joint                  z from the prior, all modalities decoded: do they agree?
    coherence/mnist.text/svhn        svhn decoded from q(z | mnist, text): does it show the input's class?
    coherence/given_2                mean over all subsets of 2 modalities and the targets outside them
    log_likelihood/joint             log p(X), proposal q(z | all modalities)
    log_likelihood/mnist             log p(X), proposal q(z | mnist)
    probe/mnist.svhn                 linear probe on the means of q(z | mnist, svhn)
    probe/given_1                    mean over the subsets of 1 modality
    log_likelihood/given_1           mean over the subsets of 1 modality
    probe/image/Smiling              if labels are attributes: average precision of one; `probe/image` is the mean over all
    coherence/text/image/Smiling     if labels are attributes: average precision of the classifier's scores on generated images
    generated/svhn/3                 z from the prior, svhn decoded: how often does it show class 3 (or an attribute, by its name)?
    effective_classes/svhn           effective number of generated classes: the exponential of the entropy of their shares
    effective_classes/labels         effective number of classes of the test examples
    labels/3                         share of the test examples that have class 3 (or an attribute)

Only characters that MLflow accepts in a metric's name are used (alphanumerics, `_-. :/`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

JOINT = "joint"
COHERENCE = "coherence"
PROBE = "probe"
LOG_LIKELIHOOD = "log_likelihood"
LOG_LIKELIHOOD_PAPER_VIEW = "log_likelihood_paper_view"
GENERATED = "generated"
EFFECTIVE_CLASSES = "effective_classes"
LABELS = "labels"
"""A kind of metric. It is also the target of the effective classes of the test examples, so no modality can have this name."""
OF_THE_PRIOR = (GENERATED, EFFECTIVE_CLASSES)
"""Kinds of metrics that always use z from the prior, so that their names have no subset."""
MOST_CLASSES = 100
"""If there are more classes than this, single classes have no metrics: thousands would flood every store of metrics."""
AVERAGE_PRECISION = "average precision"
"""Unit of probe and conditional coherence if labels are attributes; `UNITS` has the units if labels are classes."""
JOINT_COHERENCE, JOINT_LIKELIHOOD = f"{COHERENCE}/{JOINT}", f"{LOG_LIKELIHOOD}/{JOINT}"
UNITS = {
    COHERENCE: "share",
    PROBE: "accuracy",
    LOG_LIKELIHOOD: "nats",
    LOG_LIKELIHOOD_PAPER_VIEW: "nats",
    GENERATED: "share",
    EFFECTIVE_CLASSES: "classes",
    LABELS: "share",
}


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns all non-empty subsets, small ones first, each in the dataset's order of modalities."""
    return [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]


def subset_name(subset: Sequence[str]) -> str:
    """Returns `mnist.svhn` for `("mnist", "svhn")`."""
    return ".".join(subset)


def given(size: int) -> str:
    """Returns the name of the mean over all subsets of `size` modalities."""
    return f"given_{size}"


def likelihood_subset_name(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """Returns the subset's name; for the full set `joint`, which is the log-likelihood column X of the paper's Table 4."""
    return JOINT if len(subset) == len(modalities) else subset_name(subset)


def class_names(attributes: Sequence[str], classes: int) -> list[str]:
    """Returns the names of the classes (or attributes) in metrics; none if there are more than `MOST_CLASSES`."""
    names = list(attributes) or [str(number) for number in range(classes)]
    return names if len(names) <= MOST_CLASSES else []


def metric_names(modalities: Sequence[str], attributes: Sequence[str] = (), classes: int = 0) -> list[str]:
    """Returns the names of all final metrics that a trial on these modalities reports, in the order of the long table.

    `attributes` are the names of the attributes if labels are attributes. Each has its own average precision, beside the mean over all.
    `classes` is the number of classes if labels are classes. Without both, there are no metrics on the classes of generated samples.
    """
    all_subsets = subsets(modalities)
    sizes = range(1, len(modalities) + 1)
    names = [JOINT_COHERENCE]
    names += [f"{COHERENCE}/{subset_name(subset)}/{target}" for subset in all_subsets for target in modalities]
    names += [f"{COHERENCE}/{given(size)}" for size in sizes[:-1]]
    names += [f"{PROBE}/{subset_name(subset)}" for subset in all_subsets]
    names += [f"{PROBE}/{given(size)}" for size in sizes]
    for kind in (LOG_LIKELIHOOD, LOG_LIKELIHOOD_PAPER_VIEW):
        names += [f"{kind}/{likelihood_subset_name(subset, modalities)}" for subset in all_subsets]
        names += [f"{kind}/{given(size)}" for size in sizes]
    for attribute in attributes:
        names += [f"{COHERENCE}/{subset_name(subset)}/{target}/{attribute}" for subset in all_subsets for target in modalities]
        names += [f"{PROBE}/{subset_name(subset)}/{attribute}" for subset in all_subsets]
    return names + _class_metric_names(modalities, attributes, classes)


def _class_metric_names(modalities: Sequence[str], attributes: Sequence[str], classes: int) -> list[str]:
    """Returns the names of the metrics on the classes (or attributes) of generated samples and test examples."""
    if not attributes and not classes:
        return []
    single = class_names(attributes, classes)
    return [
        *(f"{GENERATED}/{modality}/{name}" for modality in modalities for name in single),
        *(f"{EFFECTIVE_CLASSES}/{target}" for target in (*modalities, LABELS)),
        *(f"{LABELS}/{name}" for name in single),
    ]


@dataclass(frozen=True)
class Metric:
    """One row of the long table: a final metric of one trained model."""

    name: str
    """Full name, as in the table at the head of this module."""
    kind: str
    """One of `UNITS`."""
    subset: str
    """What the latent was inferred from: `mnist.svhn`; `prior` if from nothing; `given_2` for a mean over subsets; empty for labels."""
    target: str
    """The modality that was generated, or empty; `labels` for the effective classes of the test examples."""
    value: float
    mc_error: float
    """Standard error of `value` due to the finite number of test examples and samples. It is not the spread over seeds."""
    n: int
    """Examples (or draws from the prior) that `value` is a mean over."""
    unit: str
    attribute: str = ""
    """The class or attribute that `value` is about; empty for a mean over all."""


@dataclass(frozen=True)
class Epoch:
    """The record of one epoch of training."""

    epoch: int
    """Number of the epoch, from 1 on."""
    timestamp_ms: int
    """When it ended, in milliseconds since 1970. It is stored, so that reporting the epoch twice reports the same time."""
    values: dict[str, float]
    """`train/loss` and its parts in nats per example; `train/seconds`."""
