"""What the paper claims, as quantities of a sweep's trials: what C1 to C11 measure. Pure."""

import math
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mopoe_core import names
from orchestrator.claim_contrasts import FAR, FLAT, MATCH, POLY, Contrast, Found, at_beta, nats, table_beta, view
from orchestrator.comparisons import Measured
from orchestrator.groups import THE_PAPERS, Group, Sample
from orchestrator.trial import Cell, spelled

JOINT_COHERENCE, JOINT_LIKELIHOOD = f"{names.COHERENCE}/{names.JOINT}", f"{names.LOG_LIKELIHOOD}/{names.JOINT}"
EQ5_BETA = 2.5
FEWEST_BETAS = 3  # with two, a rank correlation is a coin

Floats = NDArray[np.float64]


def c1(group: Group) -> Found:
    """MMVAE below MVAE and below MoPoE."""
    return at_beta(
        group, table_beta(group), [Contrast((m, JOINT_LIKELIHOOD), ("mmvae", JOINT_LIKELIHOOD)) for m in ("mvae", "mopoe")]
    )


def c2(group: Group) -> Found:
    """MoPoE within the margin of MVAE."""
    one = Contrast(("mopoe", JOINT_LIKELIHOOD), ("mvae", JOINT_LIKELIHOOD), nats(group.config))
    return at_beta(group, table_beta(group), [one])


def c3(group: Group) -> Found:
    """MoPoE within the margin of MMVAE, given one modality."""
    metrics = [f"{kind}/{names.given(1)}" for kind in (names.PROBE, names.COHERENCE)]
    return at_beta(group, table_beta(group), [Contrast(("mopoe", metric), ("mmvae", metric), MATCH) for metric in metrics])


def c4(group: Group) -> Found:
    """MoPoE above MMVAE for every pair of modalities, in every kind of metric."""
    modalities = group.config.modalities
    pairs = [subset for subset in names.subsets(modalities) if len(subset) == 2]
    metrics = [f"{names.PROBE}/{names.subset_name(pair)}" for pair in pairs]
    metrics += [f"{names.COHERENCE}/{names.subset_name(p)}/{target}" for p in pairs for target in modalities if target not in p]
    metrics += [f"{names.LOG_LIKELIHOOD}/{names.likelihood_subset_name(pair, modalities)}" for pair in pairs]
    return at_beta(group, table_beta(group), [Contrast(("mopoe", metric), ("mmvae", metric)) for metric in metrics])


def c5(group: Group) -> Found:
    """MoPoE gains, MMVAE stays within the margin; Table 2 has the probe alone, so the rest is only shown there."""
    M, contrasts = group.config.M, []
    for kind, most, margin in (
        (names.PROBE, M, FLAT),
        (names.COHERENCE, M - 1, FLAT),
        (names.LOG_LIKELIHOOD, M, nats(group.config)),
    ):
        last, first = f"{kind}/{names.given(most)}", f"{kind}/{names.given(1)}"
        counts = kind == names.PROBE or group.config.dataset == POLY
        contrasts.append(Contrast(("mopoe", last), ("mopoe", first), counts=counts))
        contrasts.append(Contrast(("mmvae", last), ("mmvae", first), margin, counts=counts))
    return at_beta(group, table_beta(group), contrasts)


def c6(group: Group) -> Found:
    """MVAE above both where SVHN is made from the other two, below both where SVHN alone is given."""
    best, alone = "coherence/mnist.text/svhn", ("coherence/svhn/mnist", "coherence/svhn/text")
    contrasts = [Contrast(("mvae", best), (other, best)) for other in ("mmvae", "mopoe")]
    contrasts += [Contrast((other, metric), ("mvae", metric)) for metric in alone for other in ("mmvae", "mopoe")]
    return at_beta(group, table_beta(group), contrasts)


def c7(group: Group) -> Found:
    """MMVAE and MoPoE above `FAR` times MVAE; the plain differences are shown."""
    metric, contrasts = JOINT_COHERENCE, []
    for times, counts in ((FAR, True), (1.0, False)):
        contrasts += [Contrast((m, metric), ("mvae", metric), times=times, counts=counts) for m in ("mmvae", "mopoe")]
    return at_beta(group, table_beta(group), contrasts)


def c8(group: Group) -> Found:
    """Rank correlation (Kendall's tau-b) of beta with coherence and log-likelihood, for each model and seed."""
    measured, few = [], []
    for model in THE_PAPERS:
        line = group.line(model)
        if len(line) < FEWEST_BETAS:
            few.append(model)
            continue
        for metric, side in ((JOINT_COHERENCE, 1), (JOINT_LIKELIHOOD, -1), (view(JOINT_LIKELIHOOD), -1)):
            sample = trend(group, line, metric)
            if sample:
                counts = metric != view(JOINT_LIKELIHOOD)
                measured.append(Measured(f"{model}: tau of β and {metric}", "tau", sample, side, counts=counts))
    if not measured:
        return Found(missing=f"needs a model with a completed seed at each of {FEWEST_BETAS} or more betas")
    note = "an interval of no width means that all seeds have the same tau"
    return Found(tuple(measured), note + (f"; fewer than {FEWEST_BETAS} betas: {', '.join(few)}" if few else ""))


def c9(group: Group) -> Found:
    """MoPoE's hypervolume minus each other model's, seed by seed, and how many of their mean points its front dominates."""
    lines = {model: group.line(model) for model in THE_PAPERS}
    absent = [model for model, line in lines.items() if not line]
    if absent:
        return Found(missing=f"needs {' and '.join(absent)}")
    betas = sorted(set.intersection(*(set(line) for line in lines.values())))
    if len(betas) < 2:
        return Found(missing="needs two or more betas that mvae, mmvae and mopoe share")
    measured: list[Measured] = []
    notes = [f"betas {', '.join(spelled(beta) for beta in betas)}"]
    for likelihood in (JOINT_LIKELIHOOD, view(JOINT_LIKELIHOOD)):
        counts = likelihood == JOINT_LIKELIHOOD
        points = {model: _points(group, [lines[model][beta] for beta in betas], likelihood) for model in THE_PAPERS}
        volumes = hypervolumes(points)
        for other in ("mvae", "mmvae"):
            shared = sorted(volumes["mopoe"].keys() & volumes[other].keys())
            sample = {seed: volumes["mopoe"][seed] - volumes[other][seed] for seed in shared}
            if sample:
                what = f"mopoe − {other}: hypervolume of {JOINT_COHERENCE} and {likelihood}"
                measured.append(Measured(what, "share of the box", sample, counts=counts))
        if counts:
            notes += [note for other in ("mvae", "mmvae") if (note := _dominated(points["mopoe"], points[other], other))]
    if not any(found.counts for found in measured):
        return Found(missing=f"needs a seed that completed all of betas {', '.join(spelled(beta) for beta in betas)}")
    return Found(tuple(measured), "; ".join(notes))


def c10(group: Group) -> Found:
    """MoPoE within the margin of Eq. (5), log-likelihood given each subset."""
    modalities = group.config.modalities
    of = [f"{names.LOG_LIKELIHOOD}/{names.likelihood_subset_name(subset, modalities)}" for subset in names.subsets(modalities)]
    margin = nats(group.config)
    return at_beta(group, EQ5_BETA, [Contrast(("mopoe", metric), ("eq5", metric), margin) for metric in of])


def c11(group: Group) -> Found:
    """MMVAE above MoPoE above MVAE."""
    ordered = (("mmvae", "mopoe"), ("mopoe", "mvae"))
    return at_beta(group, table_beta(group), [Contrast((a, JOINT_COHERENCE), (b, JOINT_COHERENCE)) for a, b in ordered])


def trend(group: Group, line: dict[float, Cell], metric: str) -> Sample:
    """Kendall's tau-b of beta and the metric for each seed that completed every beta; 0 where the metric never changes."""
    samples = [group.sample(cell, metric) for cell in line.values()]
    found = {}
    for seed in sorted(set.intersection(*(set(sample) for sample in samples))):
        tau = float(stats.kendalltau(list(line), [sample[seed] for sample in samples]).statistic)
        found[seed] = 0.0 if math.isnan(tau) else tau
    return found


def hypervolumes(points: dict[str, dict[int, Floats]]) -> dict[str, Sample]:
    """Each model's hypervolume for each of its seeds, (betas, 2) points each, larger is better on both axes.

    The reference is the worst value of all points on each axis, the unit the box between the worst and the best values.
    """
    every = [array for by_seed in points.values() for array in by_seed.values()]
    if not every:
        return {model: {} for model in points}
    worst, best = np.concatenate(every).min(0), np.concatenate(every).max(0)
    box = np.where(best > worst, best - worst, 1.0)
    return {
        model: {
            s: float(moocore.hypervolume((array - worst) / box, ref=[0.0, 0.0], maximise=True)) for s, array in by_seed.items()
        }
        for model, by_seed in points.items()
    }


def dominated(front_A2: Floats, others_B2: Floats) -> int:
    """How many of the others some point of the front equals or beats on both axes and beats on one."""
    as_good = (front_A2[:, None] >= others_B2).all(2)
    better = (front_A2[:, None] > others_B2).any(2)
    return int((as_good & better).any(0).sum())


def _dominated(ours: dict[int, Floats], theirs: dict[int, Floats], name: str) -> str:
    if not ours or not theirs:
        return ""
    front, others = (np.mean(list(by_seed.values()), 0) for by_seed in (ours, theirs))
    return f"MoPoE's means dominate {dominated(front, others)} of {len(others)} of {name}"


def _points(group: Group, cells: Sequence[Cell], likelihood: str) -> dict[int, Floats]:
    """(cells, 2) coherence and log-likelihood for each seed that completed all of them."""
    columns = [(group.sample(cell, JOINT_COHERENCE), group.sample(cell, likelihood)) for cell in cells]
    seeds = set.intersection(*(set(x) & set(y) for x, y in columns))
    return {seed: np.array([(x[seed], y[seed]) for x, y in columns]) for seed in sorted(seeds)}
