"""How often a rule supports its claim on sweeps that are drawn from the paper's own numbers. Pure.

`python -m benchmarks.quality.claims` simulates them and writes `claim_power.csv`.
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
    """How often a rule decided what, on simulated sweeps of one kind."""

    claim: str
    dataset: str
    seeds: int
    numbers: str
    """What the sweeps are drawn from: `paper`, `noise`, `chance` or `reversed`."""
    supported: int
    contradicted: int
    repetitions: int


@cache
def powers() -> tuple[Power, ...]:
    """Everything that was simulated."""
    with PATH.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Power(
                row["claim"],
                row["dataset"],
                int(row["seeds"]),
                row["numbers"],
                *(int(row[name]) for name in ("supported", "contradicted", "repetitions")),
            )
            for row in csv.DictReader(lines)
        )


def power_on_the_paper(claim: str, dataset: str, planned: int) -> Power | None:
    """The power with the most seeds that are no more than planned; None if the paper prints no numbers, or for too few seeds."""
    simulated = [p for p in powers() if (p.claim, p.dataset, p.numbers) == (claim, dataset, PAPER) and p.seeds <= planned]
    return max(simulated, key=lambda power: power.seeds, default=None)


def power_text(claim: str, dataset: str, planned: int) -> str:
    """The power as a table has it: `98 % (5 seeds)`."""
    if not any((power.claim, power.dataset, power.numbers) == (claim, dataset, PAPER) for power in powers()):
        return NO_NUMBERS
    power = power_on_the_paper(claim, dataset, planned)
    if power is None:
        return "not known for so few seeds"
    return f"{100 * power.supported / power.repetitions:.3g} % ({power.seeds} seeds)"
