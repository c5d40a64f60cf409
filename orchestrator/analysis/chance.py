"""Computes the coherence that arises by chance, without any model. Pure."""

import math
from collections.abc import Sequence

from mopoe_core import metric_names
from orchestrator.analysis.intervals import mean
from orchestrator.ledger.result import TrialResult


def agreement(shares: Sequence[Sequence[float]], attributes: bool) -> float:
    """Returns the joint coherence that modalities with these shares of classes would have if they were generated independently.

    `shares` has a row for each modality and a column for each class. With `attributes`, it is the mean over the attributes; modalities
    agree on an attribute if all show it, or none does.
    """
    all_show = [math.prod(column) for column in zip(*shares, strict=True)]
    if not attributes:
        return math.fsum(all_show)
    none_shows = [math.prod(1 - share for share in column) for column in zip(*shares, strict=True)]
    return mean([agree_on + agree_off for agree_on, agree_off in zip(all_show, none_shows, strict=True)])


def generated_shares(result: TrialResult, modality: str) -> list[float]:
    """Returns the share of each class among a modality's draws from the prior; empty if the trial does not report all of them."""
    return _shares(result, f"{metric_names.GENERATED}/{modality}")


def label_shares(result: TrialResult) -> list[float]:
    """Returns the share of each class among the test examples; empty if the trial does not report all of them."""
    return _shares(result, metric_names.LABELS)


def joint_coherence(result: TrialResult) -> float | None:
    """Returns the joint coherence of modalities that draw independently from the test examples' classes; None if not reported."""
    shares = label_shares(result)
    config = result.trial.config
    return agreement([shares] * len(config.modalities), bool(config.attributes)) if shares else None


def conditional_coherence(result: TrialResult, attribute: str = "") -> float | None:
    """Returns the conditional coherence of a generator that ignores the given modalities; None if the trial does not report the classes.

    For classes, it is the share of the commonest class. If labels are attributes, coherence is an average precision. Scores that know
    nothing have an average precision of the `attribute`'s share; without an attribute, of the mean share over all attributes.
    """
    shares, attributes = label_shares(result), result.trial.config.attributes
    if not shares:
        return None
    if not attributes:
        return max(shares)
    return shares[attributes.index(attribute)] if attribute else mean(shares)


def _shares(result: TrialResult, prefix: str) -> list[float]:
    config = result.trial.config
    shares = [result.value(f"{prefix}/{name}") for name in metric_names.class_names(config.attributes, config.card.classes)]
    return [share for share in shares if share is not None] if None not in shares else []
