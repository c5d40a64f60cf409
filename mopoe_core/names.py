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
AVERAGE_PRECISION = "average precision"
"""Unit of probe and conditional coherence where labels are attributes; `UNITS` has the units otherwise."""
JOINT_COHERENCE, JOINT_LIKELIHOOD = f"{COHERENCE}/{JOINT}", f"{LOG_LIKELIHOOD}/{JOINT}"
UNITS = {
    COHERENCE: "share",
    PROBE: "accuracy",
    LOG_LIKELIHOOD: "nats",
    LOG_LIKELIHOOD_PAPER_VIEW: "nats",
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


def metric_names(modalities: Sequence[str], attributes: Sequence[str] = ()) -> list[str]:
    """Every final metric that a trial on these modalities reports, in the order of the long table.

    `attributes` names those of a dataset whose labels are attributes; each has its own average precision beside their mean.
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
    return names


@dataclass(frozen=True)
class Metric:
    """One row of the long table: a final metric of one trained model."""

    name: str
    """Full name, as above."""
    kind: str
    """`coherence`, `probe`, `log_likelihood` or `log_likelihood_paper_view`."""
    subset: str
    """What the latent was inferred from: `mnist.svhn`; `prior` for none; `given_2` for a mean over subsets."""
    target: str
    """The modality that was generated, or empty."""
    value: float
    mc_error: float
    """Standard error of `value` from the finite number of test examples and samples; not the spread over seeds."""
    n: int
    """Examples (or draws from the prior) that `value` is a mean over."""
    unit: str
    attribute: str = ""
    """The one attribute that `value` is about, where labels are attributes; empty for their mean."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training reported."""

    epoch: int
    """1 for the first."""
    timestamp_ms: int
    """When it ended, in milliseconds since 1970. Kept for ever, so that telling it twice tells the same thing."""
    values: dict[str, float]
    """`train/loss` and its parts in nats an example; `train/seconds`."""
