"""How often each rule finds the paper's claim supported or contradicted: on the paper's own numbers, on noise, and at chance.

    python -m benchmarks.quality.claims

Writes `orchestrator/report/paper/claim_power.csv`, which the report reads, and the table in `docs/claims.md`. `published_sweeps` has the
simulated sweeps. The rules are those of the report, on the same objects.
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
    """Printed numbers that rules are tried on."""

    dataset: str
    tables: tuple[str, ...]
    rules: tuple[str, ...]
    """Ids of the rules for which the paper prints all numbers; for those of a grid of betas, the numbers without any claim."""
    has_claims: bool = True
    """Whether the numbers show what the rules claim."""

    @property
    def distributions(self) -> Distributions:
        """What is drawn."""
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
"""What makes a claim wrong: two models exchanged, or for C1 all numbers mirrored. That MoPoE reaches Eq. (5) has no such opposite."""


def powers(repetitions: int, seeds: Sequence[int] = SEEDS, first_seed: int = FIRST_SEED) -> list[Power]:
    """How often each rule decides what, for each source of numbers, scenario and number of seeds."""
    tried: list[Power] = []
    for source in SOURCES:
        for scenario, change, ids in _scenarios(source):
            rules = [rule for rule in RULES if rule.id in ids]
            for count in seeds:
                rng = np.random.default_rng([first_seed, len(tried)])
                tried += _tried(source, scenario, change, rules, count, repetitions, rng)
    order = {(rule.id, dataset): place for place, (rule, dataset) in enumerate((r, d) for r in RULES for d in r.where)}
    return sorted(tried, key=lambda power: order[power.claim, power.dataset])


def _scenarios(source: Source) -> list[tuple[str, Scenario, Sequence[str]]]:
    """Name, change of the distributions, and the rules that are tried."""
    none: list[tuple[str, Scenario, Sequence[str]]] = [(NOISE, noise, source.rules), (CHANCE, at_chance, source.rules)]
    if not source.has_claims:
        return none
    opposites = [(REVERSED, OPPOSITES[name], (name,)) for name in source.rules if name in OPPOSITES]
    return [(PAPER, lambda distributions, _: distributions, source.rules), *none, *opposites]


def _tried(
    source: Source,
    scenario: str,
    change: Scenario,
    rules: Sequence[Rule],
    seeds: int,
    repetitions: int,
    rng: np.random.Generator,
) -> list[Power]:
    counts = {rule.id: Counter[str]() for rule in rules}
    for group in drawn(source.dataset, source.distributions, change, seeds, repetitions, rng):
        for rule in rules:
            counts[rule.id][check(rule, group).verdict] += 1
    return [
        Power(name, source.dataset, seeds, scenario, times[SUPPORTED], times[CONTRADICTED], repetitions)
        for name, times in counts.items()
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
"""Seeds, kind of numbers and outcome of each column of the page's table."""


def table(simulated: Sequence[Power]) -> str:
    """A row for each claim and dataset that has numbers: how often it is supported, or contradicted where the column says so."""
    by_key = {(power.claim, power.dataset, power.seeds, power.numbers): power for power in simulated}
    keys = list(dict.fromkeys((power.claim, power.dataset) for power in simulated))
    rows = [
        (
            claim,
            DATASET_TITLES[name],
            *(_share(by_key.get((claim, name, seeds, kind)), outcome) for seeds, kind, outcome in COLUMNS.values()),
        )
        for claim, name in keys
    ]
    return markdown.table(("claim", "dataset", *COLUMNS), rows)


def _share(power: Power | None, outcome: str) -> str:
    if power is None:
        return "–"
    return f"{100 * (power.supported if outcome == SUPPORTED else power.contradicted) / power.repetitions:.1f} %"


def with_table(page: str, text: str) -> str:
    """The page with this table between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Simulate, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="simulated sweeps of each kind")
    asked = parser.parse_args()
    as_in_a_worker()
    simulated = powers(asked.repetitions)
    pd.DataFrame(simulated).to_csv(claim_power.PATH, index=False)
    text = table(simulated)
    if PAGE.exists():
        write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), text))
    print(text)


if __name__ == "__main__":
    main()
