"""The paper's claims as rules: the reading of each claim, and its measurement. Pure. `docs/claims.md` explains them.

A new rule is one entry in `RULES`, and a function that returns its contrasts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mopoe_core import metric_names
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import ANYWHERE, CONDITION, DECIDES, SHOWN, Region
from orchestrator.report.paper.claim_fronts import fronts
from orchestrator.report.paper.claim_margins import ABOVE_CHANCE, CLOSE, FAR, GAIN, chance, joint_chance
from orchestrator.report.paper.claim_measurements import Measure, Measurement, at_beta, at_table_beta
from orchestrator.report.paper.claim_quantities import (
    MEMBER,
    MIXTURE,
    VIEW,
    Contrast,
    Quantity,
    likelihood,
    likelihood_given,
    mean_over_size,
    of,
)
from orchestrator.report.paper.claim_trends import trends

MST, POLY = "mnist_svhn_text", "polymnist"
EQ5_BETA = 2.5
JUDGED = (metric_names.PROBE, metric_names.COHERENCE)
READINGS = {MEMBER: DECIDES, MIXTURE: SHOWN, VIEW: SHOWN}
"""The role of each way to measure a log-likelihood."""


@dataclass(frozen=True)
class Rule:
    """A claim of the paper and its test, without any trial."""

    id: str
    statement: str
    where: Mapping[str, str]
    """The paper's table or figure with the claim, by dataset. The claim is not tested on other datasets."""
    reading: str
    """The interpretation of the claim, in one plain sentence."""
    test: str
    """When the claim is supported and when it is contradicted, in words."""
    measure: Measure
    """Measures the rule's quantities on a group of cells."""


def c1(config: TrainingConfig) -> list[Contrast]:
    """Claims MVAE and MoPoE above MMVAE, given all modalities."""
    return [
        Contrast(
            likelihood(model, config.M, config.modalities, kind) - likelihood("mmvae", config.M, config.modalities, kind),
            role=role,
        )
        for kind, role in READINGS.items()
        for model in ("mvae", "mopoe")
    ]


def c2(config: TrainingConfig) -> list[Contrast]:
    """Claims MoPoE close to MVAE, on the scale of the distance from MVAE down to MMVAE."""
    contrasts = []
    for kind, role in READINGS.items():
        mvae, mmvae, mopoe = (likelihood(model, config.M, config.modalities, kind) for model in PAPER_MODELS)
        contrasts += _close(mopoe, mvae, mvae - mmvae, role)
    return contrasts


def c3(config: TrainingConfig) -> list[Contrast]:
    """Claims MoPoE close to MMVAE given one modality, on the scale of the distance from MMVAE down to MVAE; MMVAE above chance."""
    contrasts = []
    for kind in JUDGED:
        mvae, mmvae, mopoe = (of(model, mean_over_size(kind, 1, config.modalities)) for model in PAPER_MODELS)
        contrasts += [
            *_close(mopoe, mmvae, mmvae - mvae),
            Contrast(mmvae, Region(low=ABOVE_CHANCE * chance(config)), role=CONDITION),
        ]
    return contrasts


def c4(config: TrainingConfig) -> list[Contrast]:
    """Claims MoPoE above MMVAE, as means over the pairs that are given. Each pair is also shown."""
    names = config.modalities
    pairs = [subset for subset in metric_names.subsets(names) if len(subset) == 2]
    pair_metrics = [f"{metric_names.PROBE}/{metric_names.subset_name(pair)}" for pair in pairs]
    pair_metrics += [
        f"{metric_names.COHERENCE}/{metric_names.subset_name(pair)}/{target}"
        for pair in pairs
        for target in names
        if target not in pair
    ]
    return [
        *(_ahead(mean_over_size(kind, 2, names)) for kind in JUDGED),
        *(
            Contrast(likelihood("mopoe", 2, names, kind) - likelihood("mmvae", 2, names, kind), role=role)
            for kind, role in READINGS.items()
        ),
        *(_ahead(metric, SHOWN) for metric in pair_metrics),
        *(
            Contrast(likelihood_given("mopoe", pair, names) - likelihood_given("mmvae", pair, names), role=SHOWN)
            for pair in pairs
        ),
    ]


def c5(config: TrainingConfig) -> list[Contrast]:
    """Claims that MoPoE gains from one given modality to the most, and MMVAE does not.

    On MNIST-SVHN-Text only the probe decides, because Table 2 has nothing else; the rest is shown. Coherence is measured on modalities
    that are not given. So with two modalities it has a single size, and no gain. MMVAE's log-likelihood, as the paper measures it, is the
    same for every size, so that only MoPoE's decides.
    """
    contrasts: list[Contrast] = []
    for kind, largest in zip(JUDGED, (config.M, config.M - 1), strict=True):
        if largest < 2:
            continue
        role = DECIDES if kind == metric_names.PROBE or config.dataset == POLY else SHOWN
        last, first = (mean_over_size(kind, size, config.modalities) for size in (largest, 1))
        contrasts.append(Contrast(of("mopoe", last) - of("mopoe", first), Region(low=GAIN), role=role))
        contrasts.append(Contrast(of("mmvae", last) - of("mmvae", first), Region(high=GAIN), role=role))
    mopoe = _likelihood_gain("mopoe", config, MEMBER)
    contrasts.append(Contrast(mopoe, role=DECIDES if config.dataset == POLY else SHOWN))
    return [*contrasts, Contrast(mopoe - _likelihood_gain("mmvae", config, MIXTURE), role=SHOWN)]


def c6(_: TrainingConfig) -> list[Contrast]:
    """Claims MVAE above both others if SVHN is generated from the other two modalities, and below both if only SVHN is given."""
    best, alone = "coherence/mnist.text/svhn", ("coherence/svhn/mnist", "coherence/svhn/text")
    others = ("mmvae", "mopoe")
    return [
        *(Contrast(of("mvae", best) - of(other, best)) for other in others),
        *(Contrast(of(other, metric) - of("mvae", metric)) for metric in alone for other in others),
    ]


def c7(config: TrainingConfig) -> list[Contrast]:
    """Claims MMVAE and MoPoE above `FAR` times MVAE, and above chance. The plain differences can contradict, and are shown."""
    contrasts = []
    mvae, mmvae, mopoe = (of(model, metric_names.JOINT_COHERENCE) for model in PAPER_MODELS)
    for ours in (mmvae, mopoe):
        plain, floor = ours - mvae, Region(low=ABOVE_CHANCE * joint_chance(config))
        contrasts += [
            Contrast(ours - FAR * mvae, opposed=(plain,)),
            Contrast(ours, floor, role=CONDITION),
            Contrast(plain, role=SHOWN),
        ]
    return contrasts


def c10(group: ModelGroup) -> Measurement:
    """Claims MoPoE close to Eq. (5) for each number of given modalities, on the scale of Eq. (5)'s gain from one to all."""
    names, contrasts = group.config.modalities, []
    for kind, role in ((MEMBER, DECIDES), (VIEW, SHOWN)):
        gain = _likelihood_gain("eq5", group.config, kind)
        for size in range(1, len(names) + 1):
            closeness, condition, lag = _close(
                likelihood("mopoe", size, names, kind), likelihood("eq5", size, names, kind), gain, role
            )
            contrasts += [closeness, lag, *([condition] if size == 1 else [])]
    measurement = at_beta(group, EQ5_BETA, contrasts, ("eq5", "mopoe"))
    kls = {cell.config.kl for model in ("eq5", "mopoe") for cell in group.line(model).values()}
    if len(kls) == 1:
        return measurement
    return replace(measurement, note=f"{measurement.note}; the KL differs as well as the estimator")


def c11(_: TrainingConfig) -> list[Contrast]:
    """Claims MMVAE above MoPoE, and MoPoE above MVAE."""
    mvae, mmvae, mopoe = (of(model, metric_names.JOINT_COHERENCE) for model in PAPER_MODELS)
    return [Contrast(mmvae - mopoe), Contrast(mopoe - mvae)]


def _ahead(metric: str, role: str = DECIDES) -> Contrast:
    """Claims MoPoE above MMVAE."""
    return Contrast(of("mopoe", metric) - of("mmvae", metric), role=role)


def _likelihood_gain(model: str, config: TrainingConfig, kind: str) -> Quantity:
    """Returns the gain in log-likelihood from one given modality to all."""
    return likelihood(model, config.M, config.modalities, kind) - likelihood(model, 1, config.modalities, kind)


def _close(ours: Quantity, reference: Quantity, distance: Quantity, role: str = DECIDES) -> list[Contrast]:
    """Claims that ours is below the reference by less than a third of the distance, or is above it.

    Returns this contrast, the condition that the distance is above 0, and the difference, which is shown. The claim is contradicted if
    ours is below by more than that share, for either sign of the distance.
    """
    lag, allowed = ours - reference, CLOSE * distance
    condition = Contrast(distance, role=CONDITION if role == DECIDES else SHOWN)
    return [
        Contrast(lag + allowed, opposed=(lag + allowed, lag - allowed), role=role),
        condition,
        Contrast(lag, ANYWHERE, role=SHOWN),
    ]


PAIRED = "Paired differences over seeds. Supported: each 95 % t interval lies on the claimed side"
ON_A_SCALE = (
    "Paired differences over seeds. Supported: each 95 % t interval of the shortfall stays within a third of the distance, and the "
    "distance is above 0"
)

RULES = (
    Rule(
        "C1",
        "MMVAE's joint log-likelihood given all modalities is below MVAE's and MoPoE's",
        {MST: "Table 4, column X", POLY: "Figure 3, right"},
        "Given all modalities, MMVAE's log-likelihood is below MVAE's and below MoPoE's, with one member of MMVAE's mixture as the "
        "proposal, as the paper measures it.",
        PAIRED,
        at_table_beta(c1),
    ),
    Rule(
        "C2",
        "MoPoE's joint log-likelihood given all modalities is close to MVAE's",
        {MST: "Table 4, column X", POLY: "Figure 3, right"},
        "Given all modalities, MoPoE falls short of MVAE's log-likelihood by less than a third of MMVAE's shortfall.",
        ON_A_SCALE,
        at_table_beta(c2),
    ),
    Rule(
        "C3",
        "Given one modality, MoPoE's latent classification and coherence match MMVAE's",
        {MST: "Tables 2 and 3", POLY: "Figure 3"},
        "Given one modality, MoPoE falls short of MMVAE in probe and in coherence by less than a third of MVAE's shortfall, "
        "or is better.",
        f"{ON_A_SCALE}; MMVAE is above twice chance",
        at_table_beta(c3),
    ),
    Rule(
        "C4",
        "Given two modalities, MoPoE beats MMVAE in latent classification, coherence and log-likelihood",
        {MST: "Tables 2, 3 and 4"},
        "Averaged over the pairs of modalities that can be given, MoPoE is above MMVAE in probe, in coherence and in log-likelihood.",
        f"{PAIRED}; single pairs are shown",
        at_table_beta(c4),
    ),
    Rule(
        "C5",
        "MoPoE gains from more input modalities; MMVAE stays flat",
        {MST: "Table 2", POLY: "Figure 3"},
        f"From one given modality to the most, MoPoE gains more than {GAIN}, and MMVAE gains less than {GAIN} or loses; of "
        "log-likelihood, MoPoE gains more than nothing.",
        f"{PAIRED}; a gain of MoPoE is contradicted below 0",
        at_table_beta(c5),
    ),
    Rule(
        "C6",
        "MVAE generates SVHN best from MNIST and Text, and is worst where SVHN alone is given",
        {MST: "Table 3"},
        "MVAE's coherence is above both others' where SVHN is generated from MNIST and Text, and below both where MNIST or Text is "
        "generated from SVHN.",
        PAIRED,
        at_table_beta(c6),
    ),
    Rule(
        "C7",
        "MMVAE and MoPoE are far above MVAE in joint coherence, from the prior",
        {MST: "Table 3", POLY: "Figure 3, caption"},
        f"MMVAE's and MoPoE's joint coherence of draws from the prior are each more than {FAR:g} times MVAE's.",
        f"{PAIRED}, and both are above twice chance; contradicted by the plain difference, below 0",
        at_table_beta(c7),
    ),
    Rule(
        "C8",
        "Lower beta typically gives higher log-likelihood and lower coherence",
        {MST: "Figure 1"},
        "Over the grid of beta, as a mean over the models, the rank correlation of beta is above 0 with joint coherence and below 0 with "
        "log-likelihood.",
        "Kendall's tau within each model and seed. Supported: both means have an exact one-sided p ≤ 2.5 % among random orders of the "
        "betas; the t intervals and the single models are only shown",
        trends,
    ),
    Rule(
        "C9",
        "MoPoE's front of joint coherence and log-likelihood dominates the others'",
        {MST: "Figure 1"},
        "Pair by pair, points of MoPoE's front dominate points of MVAE's front, and of MMVAE's, more often than the reverse.",
        f"Fronts over beta within each seed. {PAIRED.replace('Paired d', 'D')}; hypervolumes are shown",
        fronts,
    ),
    Rule(
        "C10",
        "Optimising Definition 1 reaches what optimising Eq. (5) reaches",
        {MST: "Table 7"},
        "For each number of given modalities, MoPoE falls short of Eq. (5)'s log-likelihood by less than a third of what Eq. (5) gains "
        "from one given modality to all.",
        ON_A_SCALE,
        c10,
    ),
    Rule(
        "C11",
        "On PolyMNIST joint coherence, from the prior, is ordered MMVAE > MoPoE > MVAE",
        {POLY: "Figure 3, caption"},
        "Joint coherence of draws from the prior is higher for MMVAE than for MoPoE, and higher for MoPoE than for MVAE.",
        PAIRED,
        at_table_beta(c11),
    ),
)
