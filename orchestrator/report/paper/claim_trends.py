"""Measures claim C8: whether coherence rises and log-likelihood falls with beta. Pure."""

import math
from collections.abc import Sequence
from statistics import fmean

from mopoe_core import metric_names
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.model_groups import ModelGroup, Sample
from orchestrator.analysis.significance.hypotheses import ABOVE, BELOW, DECIDES, ERROR, SHOWN, Measured, Region
from orchestrator.analysis.significance.rank_correlation import is_exact, tau, tau_p
from orchestrator.report.paper.claim_measurements import Measurement, with_seeds
from orchestrator.report.paper.claim_quantities import MEMBER, MIXTURE, VIEW, Quantity, likelihood, of
from orchestrator.spec.trial import spelled

FEWEST_BETAS = 3  # with two, a rank correlation is only 1 or -1


def trends(group: ModelGroup) -> Measurement:
    """Measures Kendall's tau of beta with coherence and with log-likelihood, as a mean over the models. Each model's tau is shown."""
    models = [model for model in PAPER_MODELS if group.line(model)]
    betas = shared_betas(group, models)
    named = " and ".join(models) or "a model"
    if len(betas) < FEWEST_BETAS:
        return Measurement(missing=f"needs {FEWEST_BETAS} or more betas that {named} {'share' if len(models) > 1 else 'has'}")
    modalities = group.config.modalities
    coherence = {model: of(model, metric_names.JOINT_COHERENCE) for model in models}
    member, mixture, view = (
        {model: likelihood(model, len(modalities), modalities, kind) for model in models} for kind in (MEMBER, MIXTURE, VIEW)
    )
    several = len(models) > 1
    different_mixture = {model: quantity for model, quantity in mixture.items() if quantity != member[model]}
    measured = [
        _trend("coherence", group, betas, coherence, ABOVE),
        _trend("log-likelihood", group, betas, member, BELOW),
        *(_single_trends(group, betas, coherence, ABOVE) if several else []),
        *(_single_trends(group, betas, member, BELOW) if several else []),
        *_single_trends(group, betas, different_mixture, BELOW),
        *_single_trends(group, betas, view, BELOW),
    ]
    needs = f"needs a seed in which {named} completed all of betas {listed(betas)}"
    return with_seeds(measured, _note(models, betas, len(group.seeds)), needs)


def shared_betas(group: ModelGroup, models: Sequence[str]) -> list[float]:
    """Returns the betas that all of these models have, ascending; none if there are no models."""
    return sorted(set.intersection(*(set(group.line(model)) for model in models))) if models else []


def listed(betas: Sequence[float]) -> str:
    """Returns the betas as a part of a sentence."""
    return ", ".join(spelled(beta) for beta in betas)


def along_betas(group: ModelGroup, betas: Sequence[float], quantity: Quantity) -> dict[int, list[float]]:
    """Returns the quantity at each beta, by seed. Only seeds with which its models completed all betas are there."""
    samples = [quantity.sample(group, {model: group.line(model)[beta] for model in quantity.models}) for beta in betas]
    seeds = sorted(set.intersection(*(set(sample) for sample in samples)))
    return {seed: [sample[seed] for sample in samples] for seed in seeds}


def _trend(
    kind: str, group: ModelGroup, betas: Sequence[float], by_model: dict[str, Quantity], side: Region, role: str = DECIDES
) -> Measured:
    """Measures the mean of tau over the models, for each seed that all models completed. The p-value is of all their orders together."""
    values = [along_betas(group, betas, quantity) for quantity in by_model.values()]
    seeds = sorted(set.intersection(*(set(of_model) for of_model in values)))
    sample: Sample = {seed: fmean(tau(of_model[seed]) for of_model in values) for seed in seeds}
    orders = [of_model[seed] for of_model in values for seed in seeds]
    what = f"mean tau of β and {kind} over {', '.join(by_model)}" if kind else f"tau of β and {next(iter(by_model.values()))}"
    return Measured(what, "tau", sample, side, p=tau_p(orders) if orders else None, role=role, exact=is_exact(orders))


def _single_trends(group: ModelGroup, betas: Sequence[float], by_model: dict[str, Quantity], side: Region) -> list[Measured]:
    """Measures the trend of each model alone, to be shown."""
    return [_trend("", group, betas, {model: quantity}, side, SHOWN) for model, quantity in by_model.items()]


def _note(models: Sequence[str], betas: Sequence[float], seeds: int) -> str:
    note = f"{', '.join(models)}: betas {listed(betas)}"
    if math.factorial(len(betas)) ** (seeds * len(models)) < 2 / ERROR:
        note += "; too few seeds and betas to reach p ≤ 2.5 %"
    return note
