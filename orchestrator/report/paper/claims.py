"""The paper's claims C1 to C11, each checked on a sweep's trials and their seeds. Pure.

`claim_rules` measures the quantities, `claim_contrasts` has the margins, `analysis.significance.hypotheses` decides, and `claim_tables`
writes the tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import CONTRADICTED, Comparison, judge, verdict
from orchestrator.report.paper import claim_rules as rules
from orchestrator.report.paper.claim_contrasts import FAR, FLAT, MATCH, MST, POLY, Found

NOT_TESTED = "not tested"
ABOVE = "paired difference over seeds; each 95 % t interval above 0"
NEAR = "two one-sided tests (2.5 % each) on the paired difference over seeds; each 95 % t interval inside"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, on the trials of one group of cells."""

    id: str
    """`C1` to `C11`."""
    statement: str
    where: str
    """The paper's table or figure."""
    group: str
    """Label of the cells: dataset, source, scale, networks."""
    test: str
    """When it is supported, in words."""
    comparisons: tuple[Comparison, ...]
    """Those that enter the verdict first, then those that are only shown."""
    verdict: str
    """`supported`, `contradicted`, `undecided`, or `not tested`."""
    note: str
    """Which beta, and which seeds are missing; or what would be needed."""

    @property
    def decides(self) -> Comparison | None:
        """The comparison that is least favourable: its effect, interval and n stand for the claim. None if not tested.

        Its outcome is the claim's verdict.
        """
        counted = [comparison for comparison in self.comparisons if comparison.counts]
        return min(counted, key=lambda comparison: comparison.favour, default=None)


@dataclass(frozen=True)
class Rule:
    """A claim before any trial."""

    id: str
    statement: str
    where: Mapping[str, str]
    """Where the paper makes it, by dataset: on others it is not asked."""
    test: str
    measure: Callable[[ModelGroup], Found]


RULES = (
    Rule(
        "C1",
        "MMVAE's joint log-likelihood given all modalities is below MVAE's and MoPoE's",
        {MST: "Table 4, column X", POLY: "Figure 3, right"},
        ABOVE,
        rules.c1,
    ),
    Rule(
        "C2",
        "MoPoE's joint log-likelihood given all modalities is close to MVAE's",
        {MST: "Table 4, column X", POLY: "Figure 3, right"},
        f"{NEAR} a quarter of the 151 nats that separate MVAE and MMVAE in Table 4, scaled with the data's dimensions",
        rules.c2,
    ),
    Rule(
        "C3",
        "Given one modality, MoPoE's latent classification and coherence match MMVAE's",
        {MST: "Tables 2 and 3", POLY: "Figure 3"},
        f"{NEAR} ± {MATCH}, as means over the modalities given",
        rules.c3,
    ),
    Rule(
        "C4",
        "Given two modalities, MoPoE beats MMVAE in latent classification, coherence and log-likelihood",
        {MST: "Tables 2, 3 and 4"},
        f"{ABOVE}, for every pair of modalities",
        rules.c4,
    ),
    Rule(
        "C5",
        "MoPoE gains from more input modalities; MMVAE stays flat",
        {MST: "Table 2", POLY: "Figure 3"},
        f"MoPoE: {ABOVE}. MMVAE: {NEAR} ± {FLAT}, which Table 2's own fall just touches, and the margin of C2 for log-likelihood",
        rules.c5,
    ),
    Rule(
        "C6",
        "MVAE generates SVHN best from MNIST and Text, and is worst where SVHN alone is given",
        {MST: "Table 3"},
        ABOVE,
        rules.c6,
    ),
    Rule(
        "C7",
        "MMVAE and MoPoE are far above MVAE in joint coherence",
        {MST: "Table 3", POLY: "Figure 3, caption"},
        f"far: more than {FAR:g} times as much, which nothing can be where MVAE has {1 / FAR:g} or more. {ABOVE}; contradicted by the "
        "plain difference alone, below 0",
        rules.c7,
    ),
    Rule(
        "C8",
        "Lower beta gives higher log-likelihood and lower coherence",
        {MST: "Figure 1"},
        "Kendall's tau between beta and the metric within each seed; the mean over seeds on the claimed side, each with an exact "
        "one-sided p ≤ 2.5 % among random orders; the t intervals are only shown",
        rules.c8,
    ),
    Rule(
        "C9",
        "MoPoE's front of coherence and log-likelihood has a larger hypervolume than the others' (the paper: it dominates them)",
        {MST: "Figure 1"},
        f"hypervolume of each model's points within each seed, from the worst values of all trials; {ABOVE}; that each of the others' "
        "points is dominated is not asked, but counted",
        rules.c9,
    ),
    Rule(
        "C10",
        "Optimising Definition 1 reaches what optimising Eq. (5) reaches",
        {MST: "Table 7"},
        "not below by the margin of C2 (Table 7's largest difference is 27 nats), for every subset given: one one-sided test (2.5 %) on "
        "the paired difference over seeds; each 95 % t interval above minus the margin",
        rules.c10,
    ),
    Rule(
        "C11",
        "On PolyMNIST joint coherence is ordered MMVAE > MoPoE > MVAE",
        {POLY: "Figure 3, caption"},
        ABOVE,
        rules.c11,
    ),
)


def evaluate(groups: Sequence[ModelGroup]) -> list[Claim]:
    """Every claim that the paper makes about the sweep's datasets, for each group of cells, in the order of groups and ids.

    A claim whose models, betas or metrics are absent has the verdict `not tested` and a note that says what it needs.
    """
    return [_claim(rule, group) for group in groups for rule in RULES if group.config.dataset in rule.where]


def _claim(rule: Rule, group: ModelGroup) -> Claim:
    found = rule.measure(group)
    among = sum(measured.counts for measured in found.measured)
    comparisons = tuple(judge(measured, len(group.seeds), among) for measured in found.measured)
    decided = NOT_TESTED if found.missing else verdict(comparisons)
    note = found.missing or _note(found, comparisons)
    return Claim(rule.id, rule.statement, rule.where[group.config.dataset], group.label, rule.test, comparisons, decided, note)


def _note(found: Found, comparisons: Sequence[Comparison]) -> str:
    """What was measured where, on which side of a margin it fell, and which seeds are missing."""
    counted = [comparison for comparison in comparisons if comparison.counts]
    outside = [c for c in counted if c.outcome == CONTRADICTED and c.claimed.two_sided]
    lacking = [comparison for comparison in counted if comparison.lacks_seeds]
    said = [found.note, *(f"{c.what} lies {'above' if c.effect > 0 else 'below'} ± {c.claimed.high:.3g}" for c in outside)]
    if lacking:
        least = min(lacking, key=lambda comparison: comparison.n)
        seeds = f"the least has {least.n} of {least.n_planned} seeds"
        said.append(f"comparisons not decided for want of seeds: {len(lacking)} of {len(counted)} ({seeds})")
    return "; ".join(said)
