"""Measures claim C9: whether MoPoE's front of coherence and log-likelihood dominates the others'. Pure.

Within a seed, the points of MoPoE's front are compared with those of another model's front, pair by pair. The means of the other seeds
decide which betas are on a front. If the seed itself decided, the model that scatters most would win by noise alone: in a simulation with
the spreads of Tables 4 and 6, MoPoE won in 7 % of sweeps.
"""

import numpy as np

from mopoe_core import metric_names
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.dominance import Floats, dominated_count, net_dominance, non_dominated
from orchestrator.analysis.hypervolume import shares_of_the_box
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import DECIDES, SHOWN, Measured
from orchestrator.report.paper.claim_measurements import Measurement, with_seeds
from orchestrator.report.paper.claim_quantities import MEMBER, MIXTURE, VIEW, likelihood, of
from orchestrator.report.paper.claim_trends import along_betas, listed, shared_betas

OTHERS = ("mvae", "mmvae")
LARGER_IS_BETTER = np.ones(2, dtype=bool)
Points = dict[int, Floats]
"""By seed, an array (betas, 2) of coherence and log-likelihood. Only seeds that completed all betas are there."""


def fronts(group: ModelGroup) -> Measurement:
    """Measures how much more often a point of MoPoE's front dominates one of another front than the reverse. Also shows hypervolumes."""
    absent = [model for model in PAPER_MODELS if not group.line(model)]
    if absent:
        return Measurement(missing=f"needs {' and '.join(absent)}")
    betas = shared_betas(group, PAPER_MODELS)
    if len(betas) < 2:
        return Measurement(missing=f"needs two or more betas that {' and '.join(PAPER_MODELS)} share")
    points = {kind: {model: _points(group, betas, model, kind) for model in PAPER_MODELS} for kind in (MEMBER, MIXTURE, VIEW)}
    measured = [
        *(_lead(points[MEMBER], other, "", DECIDES) for other in OTHERS),
        _lead(points[MIXTURE], "mmvae", ", with MMVAE's whole mixture", SHOWN),
        *(_lead(points[VIEW], other, ", log-likelihood as released", SHOWN) for other in OTHERS),
        *(_larger(points[MEMBER], other) for other in OTHERS),
    ]
    counts = [count for other in OTHERS if (count := _dominated(points[MEMBER], other))]
    needs = f"needs a seed that completed all of betas {listed(betas)}"
    return with_seeds(measured, "; ".join([f"betas {listed(betas)}", *counts]), needs)


def _points(group: ModelGroup, betas: list[float], model: str, kind: str) -> Points:
    modalities = group.config.modalities
    coherence = along_betas(group, betas, of(model, metric_names.JOINT_COHERENCE))
    likelihoods = along_betas(group, betas, likelihood(model, len(modalities), modalities, kind))
    return {seed: np.array([coherence[seed], likelihoods[seed]]).T for seed in sorted(coherence.keys() & likelihoods.keys())}


def _lead(points: dict[str, Points], other: str, suffix: str, role: str) -> Measured:
    ours, theirs = points["mopoe"], points[other]
    shared = sorted(ours.keys() & theirs.keys())
    sample = {seed: net_dominance(_front(ours, seed), _front(theirs, seed)) for seed in shared}
    return Measured(
        f"pairs in which mopoe's front dominates − in which {other}'s does{suffix}", "share of pairs", sample, role=role
    )


def _front(points: Points, seed: int) -> Floats:
    """Returns (P, 2): the points of one seed at the betas that are on the front of the means over the other seeds."""
    other_seeds = [of_seed for other, of_seed in points.items() if other != seed] or [points[seed]]
    return points[seed][non_dominated(np.mean(other_seeds, 0), LARGER_IS_BETTER)]


def _larger(points: dict[str, Points], other: str) -> Measured:
    volumes = shares_of_the_box(points)
    shared = sorted(volumes["mopoe"].keys() & volumes[other].keys())
    sample = {seed: volumes["mopoe"][seed] - volumes[other][seed] for seed in shared}
    return Measured(f"mopoe − {other}: hypervolume from the worst values of all", "share of the box", sample, role=SHOWN)


def _dominated(points: dict[str, Points], other: str) -> str:
    """Returns how many of the other model's means MoPoE's dominate, and the reverse, in words; empty if a model has none."""
    if not points["mopoe"] or not points[other]:
        return ""
    ours, theirs = (np.mean(list(points[model].values()), 0) for model in ("mopoe", other))
    return f"MoPoE's means dominate {dominated_count(ours, theirs)} of {len(theirs)} of {other}, and {other}'s " + (
        f"{dominated_count(theirs, ours)} of {len(ours)} of MoPoE"
    )
