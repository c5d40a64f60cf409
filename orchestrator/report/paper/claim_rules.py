"""What the paper claims, as quantities of a sweep's trials: what C1 to C11 measure. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mopoe_core import metric_names
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.dominance import Floats, dominated_count
from orchestrator.analysis.hypervolume import shares_of_the_box
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import ABOVE, BELOW, ERROR, Measured, Region, not_below, within
from orchestrator.analysis.significance.rank_correlation import is_exact, tau, tau_p
from orchestrator.report.paper.claim_contrasts import (
    FAR,
    FLAT,
    MATCH,
    POLY,
    Contrast,
    Found,
    at_beta,
    kept,
    nats,
    table_beta,
    view,
)
from orchestrator.spec.trial import Cell, spelled

JOINT_COHERENCE, JOINT_LIKELIHOOD = metric_names.JOINT_COHERENCE, metric_names.JOINT_LIKELIHOOD
EQ5_BETA = 2.5
FEWEST_BETAS = 3  # with two, a rank correlation is a coin


def c1(group: ModelGroup) -> Found:
    """MMVAE below MVAE and below MoPoE."""
    return at_beta(
        group, table_beta(group), [Contrast((m, JOINT_LIKELIHOOD), ("mmvae", JOINT_LIKELIHOOD)) for m in ("mvae", "mopoe")]
    )


def c2(group: ModelGroup) -> Found:
    """MoPoE within the margin of MVAE."""
    one = Contrast(("mopoe", JOINT_LIKELIHOOD), ("mvae", JOINT_LIKELIHOOD), within(nats(group.config)))
    return at_beta(group, table_beta(group), [one])


def c3(group: ModelGroup) -> Found:
    """MoPoE within the margin of MMVAE, given one modality."""
    metrics = [f"{kind}/{metric_names.given(1)}" for kind in (metric_names.PROBE, metric_names.COHERENCE)]
    return at_beta(
        group, table_beta(group), [Contrast(("mopoe", metric), ("mmvae", metric), within(MATCH)) for metric in metrics]
    )


def c4(group: ModelGroup) -> Found:
    """MoPoE above MMVAE for every pair of modalities, in every kind of metric."""
    modalities = group.config.modalities
    pairs = [subset for subset in metric_names.subsets(modalities) if len(subset) == 2]
    metrics = [f"{metric_names.PROBE}/{metric_names.subset_name(pair)}" for pair in pairs]
    metrics += [
        f"{metric_names.COHERENCE}/{metric_names.subset_name(p)}/{target}"
        for p in pairs
        for target in modalities
        if target not in p
    ]
    metrics += [f"{metric_names.LOG_LIKELIHOOD}/{metric_names.likelihood_subset_name(pair, modalities)}" for pair in pairs]
    return at_beta(group, table_beta(group), [Contrast(("mopoe", metric), ("mmvae", metric)) for metric in metrics])


def c5(group: ModelGroup) -> Found:
    """MoPoE gains, MMVAE stays within the margin; Table 2 has the probe alone, so the rest is only shown there.

    Coherence is of modalities that are not given: of two modalities it has one size and no gain.
    """
    M, contrasts = group.config.M, []
    for kind, most, margin in (
        (metric_names.PROBE, M, FLAT),
        (metric_names.COHERENCE, M - 1, FLAT),
        (metric_names.LOG_LIKELIHOOD, M, nats(group.config)),
    ):
        if most < 2:
            continue
        last, first = f"{kind}/{metric_names.given(most)}", f"{kind}/{metric_names.given(1)}"
        counts = kind == metric_names.PROBE or group.config.dataset == POLY
        contrasts.append(Contrast(("mopoe", last), ("mopoe", first), counts=counts))
        contrasts.append(Contrast(("mmvae", last), ("mmvae", first), within(margin), counts=counts))
    return at_beta(group, table_beta(group), contrasts)


def c6(group: ModelGroup) -> Found:
    """MVAE above both where SVHN is made from the other two, below both where SVHN alone is given."""
    best, alone = "coherence/mnist.text/svhn", ("coherence/svhn/mnist", "coherence/svhn/text")
    contrasts = [Contrast(("mvae", best), (other, best)) for other in ("mmvae", "mopoe")]
    contrasts += [Contrast((other, metric), ("mvae", metric)) for metric in alone for other in ("mmvae", "mopoe")]
    return at_beta(group, table_beta(group), contrasts)


def c7(group: ModelGroup) -> Found:
    """MMVAE and MoPoE above `FAR` times MVAE; contradicted by the plain differences, which are shown."""
    metric, contrasts = JOINT_COHERENCE, []
    for times, counts in ((FAR, True), (1.0, False)):
        contrasts += [Contrast((m, metric), ("mvae", metric), times=times, counts=counts) for m in ("mmvae", "mopoe")]
    return at_beta(group, table_beta(group), contrasts)


def c8(group: ModelGroup) -> Found:
    """Rank correlation (Kendall's tau) of beta with coherence and log-likelihood, for each model and seed."""
    measured: list[Measured] = []
    lines = {model: group.line(model) for model in PAPER_MODELS if group.line(model)}
    for model, line in lines.items():
        for metric, side in ((JOINT_COHERENCE, ABOVE), (JOINT_LIKELIHOOD, BELOW), (view(JOINT_LIKELIHOOD), BELOW)):
            ranked = by_beta(group, line, metric) if len(line) >= FEWEST_BETAS else {}
            measured.append(_trend(f"{model}: tau of β and {metric}", ranked, side, metric != view(JOINT_LIKELIHOOD)))
    needs = f"needs a model with a completed seed at each of {FEWEST_BETAS} or more betas"
    return kept(measured, "; ".join(_betas_said(lines, len(group.seeds))), needs)


def c9(group: ModelGroup) -> Found:
    """MoPoE's hypervolume minus each other model's, seed by seed, and how many of their mean points its front dominates."""
    lines = {model: group.line(model) for model in PAPER_MODELS}
    absent = [model for model, line in lines.items() if not line]
    if absent:
        return Found(missing=f"needs {' and '.join(absent)}")
    betas = sorted(set.intersection(*(set(line) for line in lines.values())))
    if len(betas) < 2:
        return Found(missing="needs two or more betas that mvae, mmvae and mopoe share")
    measured: list[Measured] = []
    notes = [f"betas {_listed(betas)}"]
    for likelihood in (JOINT_LIKELIHOOD, view(JOINT_LIKELIHOOD)):
        counts = likelihood == JOINT_LIKELIHOOD
        points = {model: _points(group, [lines[model][beta] for beta in betas], likelihood) for model in PAPER_MODELS}
        volumes = shares_of_the_box(points)
        for other in ("mvae", "mmvae"):
            shared = sorted(volumes["mopoe"].keys() & volumes[other].keys())
            sample = {seed: volumes["mopoe"][seed] - volumes[other][seed] for seed in shared}
            what = f"mopoe − {other}: hypervolume of {JOINT_COHERENCE} and {likelihood}"
            measured.append(Measured(what, "share of the box", sample, counts=counts))
        if counts:
            notes += [note for other in ("mvae", "mmvae") if (note := _dominated(points["mopoe"], points[other], other))]
    return kept(measured, "; ".join(notes), f"needs a seed that completed all of betas {_listed(betas)}")


def c10(group: ModelGroup) -> Found:
    """MoPoE not below Eq. (5) by the margin, log-likelihood given each subset."""
    modalities, claimed = group.config.modalities, not_below(nats(group.config))
    of = [
        f"{metric_names.LOG_LIKELIHOOD}/{metric_names.likelihood_subset_name(subset, modalities)}"
        for subset in metric_names.subsets(modalities)
    ]
    made = at_beta(group, EQ5_BETA, [Contrast(("mopoe", m), ("eq5", m), claimed) for m in of], ("eq5", "mopoe"))
    kl = {cell.config.kl for model in ("eq5", "mopoe") for cell in group.line(model).values()}
    return replace(made, note=f"{made.note}; the KL differs as well as the estimator") if len(kl) > 1 else made


def c11(group: ModelGroup) -> Found:
    """MMVAE above MoPoE above MVAE."""
    ordered = (("mmvae", "mopoe"), ("mopoe", "mvae"))
    return at_beta(group, table_beta(group), [Contrast((a, JOINT_COHERENCE), (b, JOINT_COHERENCE)) for a, b in ordered])


def by_beta(group: ModelGroup, line: Mapping[float, Cell], metric: str) -> dict[int, list[float]]:
    """The metric at each beta, ascending, for each seed that completed every beta."""
    samples = [group.sample(cell, metric) for cell in line.values()]
    shared = sorted(set.intersection(*(set(sample) for sample in samples)))
    return {seed: [sample[seed] for sample in samples] for seed in shared}


def _trend(what: str, ranked: Mapping[int, Sequence[float]], side: Region, counts: bool) -> Measured:
    samples, taus = list(ranked.values()), {seed: tau(values) for seed, values in ranked.items()}
    p = tau_p(samples) if ranked else None
    return Measured(what, "tau", taus, side, p=p, counts=counts, exact=is_exact(samples))


def _betas_said(lines: Mapping[str, Mapping[float, Cell]], seeds: int) -> list[str]:
    """Which betas each model has, what is too few of them, and where no order at all could decide."""
    by_betas: dict[str, list[str]] = {}
    for model, line in lines.items():
        by_betas.setdefault(_listed(list(line)), []).append(model)
    said = [f"{', '.join(models)}: betas {betas}" for betas, models in by_betas.items()]
    few = [model for model, line in lines.items() if len(line) < FEWEST_BETAS]
    weak = [m for m, line in lines.items() if m not in few and math.factorial(len(line)) ** seeds < 2 / ERROR]
    said += [f"fewer than {FEWEST_BETAS} betas, so not decided: {', '.join(few)}"] if few else []
    return said + ([f"too few seeds and betas to reach p ≤ 2.5 %: {', '.join(weak)}"] if weak else [])


def _listed(betas: Sequence[float]) -> str:
    return ", ".join(spelled(beta) for beta in betas)


def _dominated(ours: dict[int, Floats], theirs: dict[int, Floats], name: str) -> str:
    if not ours or not theirs:
        return ""
    front, others = (np.mean(list(by_seed.values()), 0) for by_seed in (ours, theirs))
    return f"MoPoE's means dominate {dominated_count(front, others)} of {len(others)} of {name}"


def _points(group: ModelGroup, cells: Sequence[Cell], likelihood: str) -> dict[int, Floats]:
    """(cells, 2) coherence and log-likelihood for each seed that completed all of them."""
    columns = [(group.sample(cell, JOINT_COHERENCE), group.sample(cell, likelihood)) for cell in cells]
    seeds = set.intersection(*(set(x) & set(y) for x, y in columns))
    return {seed: np.array([(x[seed], y[seed]) for x, y in columns]) for seed in sorted(seeds)}
