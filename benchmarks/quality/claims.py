"""Measures how often each rule finds the paper's claim supported or contradicted: on the paper's numbers, on noise, and at chance level.

    python -m benchmarks.quality.claims

Writes `orchestrator/report/paper/claim_power.csv`, which the report reads, and the table in `docs/claims.md`. The sweeps are simulated by
`published_sweeps`. The rules are the report's own, applied to the same objects.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.quality import published_sweeps
from benchmarks.quality.published_sweeps import (
    MST,
    POLY,
    Distributions,
    Scenario,
    at_chance,
    drawn,
    exchanged,
    mirrored,
    noise,
    printed,
)
from benchmarks.speed.measure import as_in_a_worker
from mopoe_core.storage.whole_files import write_text
from orchestrator.analysis.significance.hypotheses import CONTRADICTED, SUPPORTED
from orchestrator.report.paper import claim_power
from orchestrator.report.paper.claim_power import PAPER, Power
from orchestrator.report.paper.claim_rules import RULES, Rule
from orchestrator.report.paper.claims import check
from orchestrator.report.render import markdown
from orchestrator.spec.proper_names import DATASET_TITLES

PAGE = Path("docs/claims.md")
BEGIN, END = "<!-- power: begin -->", "<!-- power: end -->"
NOISE, CHANCE, REVERSED = "noise", "chance", "reversed"
SEEDS = (3, 5)
REPETITIONS = 1000
FIRST_SEED = 2021


@dataclass(frozen=True)
class Source:
    """Printed numbers on which rules are tried."""

    dataset: str
    tables: tuple[str, ...]
    rules: tuple[str, ...]
    """Ids of the rules that are tried. They need no number that is missing."""
    has_claims: bool = True
    """Whether the rules' claims hold in the printed numbers; False for a grid of betas on which beta changes nothing."""

    @property
    def distributions(self) -> Distributions:
        """The distributions from which the numbers of a simulated sweep are drawn."""
        numbers = printed(self.tables)
        return numbers if self.has_claims else published_sweeps.over_betas(numbers)


SOURCES = (
    Source(MST, ("table2", "table6", "table4", "table7"), ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C10")),
    Source(MST, ("table6", "table4"), ("C8", "C9"), has_claims=False),
    Source(POLY, ("figure3",), ("C7", "C11")),
)
OPPOSITES: dict[str, Scenario] = {
    "C1": mirrored,
    "C2": exchanged("mopoe", "mmvae"),
    "C3": exchanged("mopoe", "mvae"),
    "C4": exchanged("mopoe", "mmvae"),
    "C5": exchanged("mopoe", "mmvae"),
    "C6": exchanged("mvae", "mopoe"),
    "C7": exchanged("mvae", "mmvae"),
    "C11": exchanged("mmvae", "mvae"),
}
"""The change that makes each claim wrong: two models exchanged, or for C1 all numbers mirrored. C10, that MoPoE reaches Eq. (5), has no
such opposite."""


def powers(repetitions: int, seeds: Sequence[int] = SEEDS, first_seed: int = FIRST_SEED) -> list[Power]:
    """Returns how often each rule decides what, for each source of numbers, scenario and number of seeds."""
    simulated: list[Power] = []
    for source in SOURCES:
        for scenario, change, ids in _scenarios(source):
            rules = [rule for rule in RULES if rule.id in ids]
            for count in seeds:
                rng = np.random.default_rng([first_seed, len(simulated)])
                simulated += _simulated(source, scenario, change, rules, count, repetitions, rng)
    keys = [(rule.id, dataset) for rule in RULES for dataset in rule.where]
    return sorted(simulated, key=lambda power: keys.index((power.claim, power.dataset)))


def _scenarios(source: Source) -> list[tuple[str, Scenario, Sequence[str]]]:
    """Returns the name of each scenario, its change of the distributions, and the rules that are tried."""
    without_effect: list[tuple[str, Scenario, Sequence[str]]] = [
        (NOISE, noise, source.rules),
        (CHANCE, at_chance, source.rules),
    ]
    if not source.has_claims:
        return without_effect
    opposites = [(REVERSED, OPPOSITES[name], (name,)) for name in source.rules if name in OPPOSITES]
    return [(PAPER, lambda distributions, _: distributions, source.rules), *without_effect, *opposites]


def _simulated(
    source: Source,
    scenario: str,
    change: Scenario,
    rules: Sequence[Rule],
    seeds: int,
    repetitions: int,
    rng: np.random.Generator,
) -> list[Power]:
    """Returns how often each rule decides what in simulated sweeps of one scenario."""
    counts = {rule.id: Counter[str]() for rule in rules}
    for group in drawn(source.dataset, source.distributions, change, seeds, repetitions, rng):
        for rule in rules:
            counts[rule.id][check(rule, group).verdict] += 1
    return [
        Power(claim, source.dataset, seeds, scenario, verdicts[SUPPORTED], verdicts[CONTRADICTED], repetitions)
        for claim, verdicts in counts.items()
    ]


COLUMNS = {
    "paper, 5 seeds": (5, PAPER, SUPPORTED),
    "paper, 3 seeds": (3, PAPER, SUPPORTED),
    "noise": (5, NOISE, SUPPORTED),
    "noise, contradicted": (5, NOISE, CONTRADICTED),
    "chance": (5, CHANCE, SUPPORTED),
    "chance, contradicted": (5, CHANCE, CONTRADICTED),
    "reversed, contradicted": (5, REVERSED, CONTRADICTED),
}
"""Seeds, scenario and verdict of each column of the page's table."""


def table(simulated: Sequence[Power]) -> str:
    """Returns the table as Markdown: for each claim and dataset, how often it is supported or, in some columns, contradicted."""
    by_key = {(power.claim, power.dataset, power.seeds, power.numbers): power for power in simulated}
    keys = list(dict.fromkeys((power.claim, power.dataset) for power in simulated))
    rows = []
    for claim, dataset in keys:
        shares = [_share(by_key.get((claim, dataset, seeds, kind)), verdict) for seeds, kind, verdict in COLUMNS.values()]
        rows.append((claim, DATASET_TITLES[dataset], *shares))
    return markdown.table(("claim", "dataset", *COLUMNS), rows)


def _share(power: Power | None, verdict: str) -> str:
    if power is None:
        return "–"
    count = power.supported if verdict == SUPPORTED else power.contradicted
    return f"{100 * count / power.repetitions:.1f} %"


def with_table(page: str, text: str) -> str:
    """Returns the page with `text` between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Simulates the sweeps and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="simulated sweeps of each kind")
    arguments = parser.parse_args()
    as_in_a_worker()
    simulated = powers(arguments.repetitions)
    pd.DataFrame(simulated).to_csv(claim_power.PATH, index=False)
    text = table(simulated)
    if PAGE.exists():
        write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), text))
    print(text)


if __name__ == "__main__":
    main()
