"""How long training and evaluation take: the time of one core of a 2026 server, scaled to a configuration. Pure.

The numbers of MNIST-SVHN-Text and PolyMNIST are those of `docs/performance.md` (commit 7b15198): seconds of one thread without a GPU.
Those of CelebA were measured on a busy machine, for decoders and classifiers alone; its training is taken as six times its decoding, as
it is for the published networks of the other two. They serve to compare two configurations, and to give an order of magnitude. `plan`
scales them by the times of past trials in the ledger.
"""

from dataclasses import dataclass

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import DATASETS
from mopoe_core.family.registry import MODELS

TRAIN_SECONDS = {
    ("mnist_svhn_text", "paper"): 0.25e-3,
    ("mnist_svhn_text", "small"): 0.04e-3,
    ("polymnist", "paper"): 0.62e-3,
    ("polymnist", "small"): 0.13e-3,
    ("celeba", "paper"): 80e-3,
    ("celeba", "small"): 1.5e-3,
}
"""Seconds of an optimiser step with MoPoE, for each example and modality."""
DECODE_SECONDS = {
    ("mnist_svhn_text", "paper"): 41e-6,
    ("mnist_svhn_text", "small"): 5e-6,
    ("polymnist", "paper"): 102e-6,
    ("polymnist", "small"): 12.7e-6,
    ("celeba", "paper"): 13e-3,
    ("celeba", "small"): 250e-6,
}
"""Seconds to decode one modality from a latent and compare it with the data, on average over the modalities."""
CLASSIFY_SECONDS = {"mnist_svhn_text": 43e-6, "polymnist": 15e-6, "celeba": 500e-6}
"""Seconds to classify a decoded item."""
FURTHER_COMPONENT = 0.5
"""What a further decoded component adds to a step of MoPoE, as a share of that step. With three modalities and seven components, Eq. (5)
took 3.8 times as long as MoPoE with small networks and 4.6 times with the paper's; with five modalities and 31 components 14.6 times."""
PROBE_SECONDS = 0.057
"""Seconds of a linear probe of a subset; for a dataset with attributes, of one attribute."""
PRIOR_SAMPLES = 5_000


@dataclass(frozen=True)
class Evaluation:
    """How much work one evaluation is."""

    subsets: int
    test_examples: int
    samples: int
    """Importance samples for each example and subset."""


def evaluation(config: TrainingConfig) -> Evaluation:
    """Returns how much work the evaluation of a trial is."""
    available = config.card.evaluation_examples(config.evaluate_on)
    return Evaluation(2**config.M - 1, config.test_examples or available[config.source], config.importance_samples)


def evaluation_seconds(config: TrainingConfig) -> float:
    """Returns the seconds that one core should need to evaluate a trial."""
    work = evaluation(config)
    kind = _kind(config)
    proposals = config.M if MODELS[config.model].chooses_a_member else work.subsets
    compared_items = work.test_examples * proposals * work.samples * config.M
    classified_items = work.test_examples * work.subsets * config.M + PRIOR_SAMPLES * config.M
    decode = DECODE_SECONDS[kind]
    classify = CLASSIFY_SECONDS[kind[0]]
    return compared_items * decode + classified_items * (decode + classify) + work.subsets * _probes(config) * PROBE_SECONDS


def training_seconds(config: TrainingConfig, epochs: int | None = None) -> float:
    """Returns the seconds that one core should need to train a trial for `epochs` epochs; for all of its epochs if None."""
    examples = (config.epochs if epochs is None else epochs) * config.steps_per_epoch * config.batch_size
    return examples * config.M * TRAIN_SECONDS[_kind(config)] * MODELS[config.model].step_factor * _enumeration_factor(config)


def _enumeration_factor(config: TrainingConfig) -> float:
    """Returns how many times as long a step takes if every component of a mixture is decoded, and not one sample of the mixture."""
    card = MODELS[config.model]
    if config.estimator != "enumerate" or not card.is_mixture:
        return 1.0
    components = len(card.rows(config, (1.0,) * config.M).experts_CE)
    return 1.0 + FURTHER_COMPONENT * (components - 1)


def _probes(config: TrainingConfig) -> int:
    """Returns how many probes a subset has: one, or one for each attribute."""
    return max(1, len(config.attributes))


def _kind(config: TrainingConfig) -> tuple[str, str]:
    """Returns the dataset and networks whose times to use; a user's own dataset counts as MNIST-SVHN-Text."""
    return (config.dataset if config.dataset in DATASETS else "mnist_svhn_text"), config.networks
