"""Tells how often a rule supports its claim on sweeps that are drawn from the paper's own numbers. Pure.

`python -m benchmarks.quality.claims` simulates the sweeps and writes `claim_power.csv`.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATH = Path(__file__).with_name("claim_power.csv")
PAPER = "paper"
NO_NUMBERS = "no numbers printed"


@dataclass(frozen=True)
class Power:
    """How often a rule supported and contradicted its claim on simulated sweeps of one kind."""

    claim: str
    dataset: str
    seeds: int
    numbers: str
    """The numbers that the sweeps are drawn from: `paper`, `noise`, `chance` or `reversed`."""
    supported: int
    """The number of repetitions in which the claim was supported."""
    contradicted: int
    repetitions: int


@cache
def powers() -> tuple[Power, ...]:
    """Returns the results of all simulations."""
    with PATH.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Power(
                claim=row["claim"],
                dataset=row["dataset"],
                seeds=int(row["seeds"]),
                numbers=row["numbers"],
                supported=int(row["supported"]),
                contradicted=int(row["contradicted"]),
                repetitions=int(row["repetitions"]),
            )
            for row in csv.DictReader(lines)
        )


def power_on_the_paper(claim: str, dataset: str, planned: int) -> Power | None:
    """Returns the power for the largest simulated number of seeds up to `planned`.

    Returns None if the paper prints no numbers, or if only more seeds were simulated.
    """
    simulated = [power for power in _on_the_paper(claim, dataset) if power.seeds <= planned]
    return max(simulated, key=lambda power: power.seeds, default=None)


def _on_the_paper(claim: str, dataset: str) -> list[Power]:
    """Returns the powers of a claim on sweeps that are drawn from the paper's numbers, one for each number of seeds."""
    return [power for power in powers() if (power.claim, power.dataset, power.numbers) == (claim, dataset, PAPER)]


def power_text(claim: str, dataset: str, planned: int) -> str:
    """Returns the power as a table shows it: `98 % (5 seeds)`."""
    if not _on_the_paper(claim, dataset):
        return NO_NUMBERS
    power = power_on_the_paper(claim, dataset, planned)
    if power is None:
        return "not known for so few seeds"
    return f"{100 * power.supported / power.repetitions:.3g} % ({power.seeds} seeds)"
