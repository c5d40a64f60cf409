"""Differences between models at one beta, seed by seed, and the margins of claims that say "close", "matches" or "flat". Pure.

The margins come from the paper's own numbers:

    NATS      a quarter of the 151 nats that separate MVAE from MMVAE in Table 4 (MoPoE's own difference there is 29, the largest of
              Table 7 is 27), a dimension of the data; so 38 nats on MNIST-SVHN-Text
    MATCH     0.02 of accuracy or coherence, averaged over subsets; Tables 2 and 3 give 0.003 and 0.013
    FLAT      0.05 of accuracy or coherence: what MMVAE loses in Table 2 from one modality to three
    FAR       "far above" is more than twice as much; the paper's ratios are 2.3 and more
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core import metric_names
from mopoe_core.config.presets import PAPER
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.model_groups import ModelGroup, Sample
from orchestrator.analysis.significance.hypotheses import ABOVE, Measured, Region
from orchestrator.spec.trial import Cell, spelled

MST, POLY = "mnist_svhn_text", "polymnist"
DIMENSIONS = {MST: 784 + 3072 + 8, POLY: 5 * 3 * 28 * 28}
NATS = 151 / 4 / DIMENSIONS[MST]
MATCH, FLAT, FAR = 0.02, 0.05, 2.0


@dataclass(frozen=True)
class Found:
    """What a rule measured."""

    measured: tuple[Measured, ...] = ()
    note: str = ""
    missing: str = ""
    """What would be needed to measure it; empty if it was measured."""


@dataclass(frozen=True)
class Contrast:
    """first - times x second, each a model and a metric, seed by seed."""

    first: tuple[str, str]
    second: tuple[str, str]
    claimed: Region = ABOVE
    times: float = 1.0
    """Another number than 1 can only support or leave open; what contradicts is the plain difference."""
    counts: bool = True

    @property
    def what(self) -> str:
        """In words, as short as what the two have in common allows."""
        (a, metric), (b, other) = self.first, self.second
        if a == b:
            return f"{a}: {metric} − {other}"
        return f"{a} − {'' if self.times == 1 else f'{self.times:g} × '}{b}: {metric}"

    def sample(self, group: ModelGroup, cells: Mapping[str, Cell]) -> Sample:
        """The difference for each seed that both have."""
        first, second = (group.sample(cells[model], metric) for model, metric in (self.first, self.second))
        return {seed: first[seed] - self.times * second[seed] for seed in sorted(first.keys() & second.keys())}


def at_beta(group: ModelGroup, beta: float, contrasts: Sequence[Contrast], among: Sequence[str] = PAPER_MODELS) -> Found:
    """Contrasts between cells of one beta: this one, or the one that stands for it in the table whose models are `among` (`common_beta`).

    Each contrast of log-likelihoods is measured again on the released code's numbers, for showing alone.
    """
    models = list(dict.fromkeys(model for contrast in contrasts for model, _ in (contrast.first, contrast.second)))
    absent = [model for model in models if not group.line(model)]
    if absent:
        return Found(missing=f"needs {' and '.join(absent)}")
    own = group.beta(beta, models, among)
    if own is None:
        return Found(missing=f"needs a beta that {' and '.join(models)} share")
    cells = {model: group.line(model)[own] for model in models}
    likelihoods = [contrast for contrast in contrasts if contrast.first[1].startswith(f"{metric_names.LOG_LIKELIHOOD}/")]
    measured = [_measured(contrast, group, cells) for contrast in (*contrasts, *map(_viewed, likelihoods))]
    said = "" if own == beta else f", of those that most of its table's models have the nearest to the paper's {spelled(beta)}"
    counted = "; ".join(contrast.what for contrast in contrasts if contrast.counts)
    return kept(measured, f"β = {spelled(own)}{said}", f"needs completed trials at β = {spelled(own)} with {counted}")


def kept(measured: Sequence[Measured], note: str, needs: str) -> Found:
    """What counts, with or without seeds, and of the rest what some seed reports; nothing where no seed reports what counts."""
    if not any(one.sample for one in measured if one.counts):
        return Found(missing=needs)
    return Found(tuple(one for one in measured if one.counts or one.sample), note)


def table_beta(group: ModelGroup) -> float:
    """The beta of the paper's tables for the group's dataset."""
    return float(PAPER[group.config.dataset]["beta"])


def nats(config: TrainingConfig) -> float:
    """The margin of a log-likelihood: `NATS` for each dimension of the data."""
    share = config.M / len(config.card.modalities)  # fewer of PolyMNIST's modalities, which are all of one size
    return NATS * DIMENSIONS[config.dataset] * share


def _viewed(contrast: Contrast) -> Contrast:
    (a, metric), (b, other) = contrast.first, contrast.second
    return replace(contrast, first=(a, view(metric)), second=(b, view(other)), counts=False)


def view(metric: str) -> str:
    """The same log-likelihood as the released code computes it."""
    return metric.replace(metric_names.LOG_LIKELIHOOD, metric_names.LOG_LIKELIHOOD_PAPER_VIEW, 1)


def _measured(contrast: Contrast, group: ModelGroup, cells: Mapping[str, Cell]) -> Measured:
    unit = metric_names.UNITS[contrast.first[1].partition("/")[0]]
    opposed = None if contrast.times == 1 else replace(contrast, times=1.0).sample(group, cells)
    return Measured(contrast.what, unit, contrast.sample(group, cells), contrast.claimed, opposed, counts=contrast.counts)
