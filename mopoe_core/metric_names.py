"""Names of subsets and metrics. Pure: no torch, so that a specification can be checked before anything heavy is imported.

A metric's full name is `kind/subset/target/attribute`, with the parts that do not apply left out:

    coherence/joint                  z from the prior, all modalities decoded: do they agree?
    coherence/mnist.text/svhn        svhn decoded from q(z | mnist, text): does it show the input's class?
    coherence/given_2                mean over all subsets of 2 modalities and the targets outside them
    log_likelihood/joint             log p(X), proposal q(z | all modalities)
    log_likelihood/mnist             log p(X), proposal q(z | mnist)
    probe/mnist.svhn                 linear probe on the means of q(z | mnist, svhn)
    probe/given_1                    mean over the subsets of 1 modality
    log_likelihood/given_1           likewise
    probe/image/Smiling              average precision of one attribute, where labels are attributes; `probe/image` is their mean
    coherence/text/image/Smiling     likewise, of the classifier's scores on what was generated
    generated/svhn/3                 z from the prior, svhn decoded: how often does it show class 3 (or an attribute, by its name)?
    effective_classes/svhn           how many classes are generated, effectively: the exponential of the entropy of their shares
    effective_classes/labels         likewise of the test examples
    labels/3                         share of the test examples that are of class 3 (or have an attribute)

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
"""A kind of metric, and the target of the test examples' own effective classes: no modality can have this name."""
OF_THE_PRIOR = (GENERATED, EFFECTIVE_CLASSES)
"""Kinds that are of draws from the prior alone, which their names therefore do not say."""
MOST_CLASSES = 100
"""Of more classes than this, single ones have no metric: thousands would swamp every store of metrics."""
AVERAGE_PRECISION = "average precision"
"""Unit of probe and conditional coherence where labels are attributes; `UNITS` has the units otherwise."""
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
    """Every non-empty subset, small ones first, each in the dataset's order of modalities."""
    return [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]


def subset_name(subset: Sequence[str]) -> str:
    """`("mnist", "svhn")` as `mnist.svhn`."""
    return ".".join(subset)


def given(size: int) -> str:
    """The name under which the mean over all subsets of `size` modalities is reported."""
    return f"given_{size}"


def likelihood_subset_name(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """As `subset_name`, but the full set is `joint`: the log-likelihood column X of the paper's Table 4."""
    return JOINT if len(subset) == len(modalities) else subset_name(subset)


def class_names(attributes: Sequence[str], classes: int) -> list[str]:
    """What each class (or attribute) is called in a metric's name; none where there are more than `MOST_CLASSES`."""
    every = list(attributes) or [str(number) for number in range(classes)]
    return every if len(every) <= MOST_CLASSES else []


def metric_names(modalities: Sequence[str], attributes: Sequence[str] = (), classes: int = 0) -> list[str]:
    """Every final metric that a trial on these modalities reports, in the order of the long table.

    `attributes` names those of a dataset whose labels are attributes; each has its own average precision beside their mean. `classes` is
    the number of classes otherwise; of neither, what is generated is not counted.
    """
    every = subsets(modalities)
    sizes = range(1, len(modalities) + 1)
    names = [JOINT_COHERENCE]
    names += [f"{COHERENCE}/{subset_name(subset)}/{target}" for subset in every for target in modalities]
    names += [f"{COHERENCE}/{given(size)}" for size in sizes[:-1]]
    names += [f"{PROBE}/{subset_name(subset)}" for subset in every]
    names += [f"{PROBE}/{given(size)}" for size in sizes]
    for kind in (LOG_LIKELIHOOD, LOG_LIKELIHOOD_PAPER_VIEW):
        names += [f"{kind}/{likelihood_subset_name(subset, modalities)}" for subset in every]
        names += [f"{kind}/{given(size)}" for size in sizes]
    for attribute in attributes:
        names += [f"{COHERENCE}/{subset_name(subset)}/{target}/{attribute}" for subset in every for target in modalities]
        names += [f"{PROBE}/{subset_name(subset)}/{attribute}" for subset in every]
    if not attributes and not classes:
        return names
    shown = class_names(attributes, classes)
    names += [f"{GENERATED}/{modality}/{name}" for modality in modalities for name in shown]
    names += [f"{EFFECTIVE_CLASSES}/{target}" for target in (*modalities, LABELS)]
    return names + [f"{LABELS}/{name}" for name in shown]


@dataclass(frozen=True)
class Metric:
    """One row of the long table: a final metric of one trained model."""

    name: str
    """Full name, as above."""
    kind: str
    """One of `UNITS`."""
    subset: str
    """What the latent was inferred from: `mnist.svhn`; `prior` for none; `given_2` for a mean over subsets; empty for labels."""
    target: str
    """The modality that was generated, or empty; `labels` for the test examples' own effective classes."""
    value: float
    mc_error: float
    """Standard error of `value` from the finite number of test examples and samples; not the spread over seeds."""
    n: int
    """Examples (or draws from the prior) that `value` is a mean over."""
    unit: str
    attribute: str = ""
    """The one class or attribute that `value` is about; empty for a mean over them."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training reported."""

    epoch: int
    """1 for the first."""
    timestamp_ms: int
    """When it ended, in milliseconds since 1970. Kept for ever, so that telling it twice tells the same thing."""
    values: dict[str, float]
    """`train/loss` and its parts in nats an example; `train/seconds`."""
