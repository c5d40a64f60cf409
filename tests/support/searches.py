"""Searches made by hand: proposals and results as a driver leaves them, without Optuna's choice and without training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.ledger import proposals
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals
from orchestrator.ledger.result import TrialResult
from orchestrator.report import report
from orchestrator.search.distributions import of_fields
from orchestrator.search.outcomes import ProposedCell, of_search
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial
from tests.support.builders import COHERENCE, LIKELIHOOD, metric, result

SPACE = {
    "beta": {"low": 0.1, "high": 20, "log": True},
    "latent_dim": {"low": 2, "high": 64},
    "model": ["mopoe", "mvae", "mvtcae"],
    "alpha": {"low": 0, "high": 1, "when": {"model": "mvtcae"}},
}
OBJECTIVES = [
    {"metric": COHERENCE, "goal": "max", "reference": 0},
    {"metric": LIKELIHOOD, "goal": "max", "reference": -2000},
]


def raw(objectives: Sequence[Mapping[str, Any]] = OBJECTIVES, seeds: Any = 2, **search: Any) -> dict[str, Any]:
    """A sweep file with a search."""
    return {
        "name": "hunt",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 10},
        "search": {"space": SPACE, "cells": 20, **search},
        "seeds": seeds,
        "objectives": list(objectives),
    }


@dataclass
class Hunt:
    """A search whose cells and results the test says."""

    storage: Path
    raw: dict[str, Any]

    @property
    def spec(self) -> SweepSpec:
        """With the cells so far."""
        return proposals.resolve(parse(self.raw), self.storage)

    @property
    def ledger(self) -> Ledger:
        """Of its storage."""
        return Ledger(self.storage)

    def propose(self, source: str = "", **fields: Any) -> Cell:
        """One more cell."""
        kept, whole = Proposals(self.storage, "hunt"), parse(self.raw)
        assert whole.search is not None
        drawn, spelled = of_fields(Space(whole.search), fields)
        cell, every = whole.cell_of(fields), kept.every()
        same = next((p.number for p in every if p.cell_id == cell.id), None)
        kept.add(Proposal(len(every), cell.id, fields, drawn, spelled, {}, same, source))
        return cell

    def complete(self, cell: Cell, *values: Mapping[str, float]) -> None:
        """A result a seed, with these metrics."""
        for seed, metrics in enumerate(values):
            self.record(result(cell, seed, metrics))

    def diverge(self, cell: Cell, seed: int) -> None:
        """A seed's loss was not finite."""
        self.record(result(cell, seed, {}, "diverged"))

    def record(self, found: TrialResult) -> None:
        """As a worker does."""
        self.ledger.begin(found.trial)
        self.ledger.record(found)

    def stop(self, cell: Cell, epoch: int, why: str, *values: Mapping[str, float]) -> None:
        """Stop a cell whose seeds had these metrics then."""
        for seed, metrics in enumerate(values):
            self.ledger.begin(Trial(cell, seed))
            self.ledger.note_epoch(Trial(cell, seed), epoch, [metric(name, value) for name, value in metrics.items()])
        Proposals(self.storage, "hunt").stop(cell.id, epoch, why)

    def fail(self, cell: Cell, seed: int) -> None:
        """A seed was given up."""
        self.ledger.begin(Trial(cell, seed))
        self.ledger.fail(Trial(cell, seed), "ValueError: no")

    @property
    def results(self) -> list[TrialResult]:
        """Of all its trials."""
        return self.ledger.results_of(self.spec.trials)

    @property
    def proposed(self) -> list[ProposedCell]:
        """What has come of its cells."""
        states = {trial.id: self.ledger.state(trial).status for trial in self.spec.trials}
        return of_search(self.spec, self.storage, self.results, {key for key, status in states.items() if status == "failed"})

    def report(self, folder: Path) -> report.ReportPaths:
        """Its report, with no pictures."""
        every = self.spec.trials
        states = {trial.id: self.ledger.state(trial).status for trial in every}
        return report.write(
            self.spec, self.results, states, {}, "python -m orchestrator report x.yaml", folder, proposed=self.proposed
        )


def of(coherence: float, likelihood: float, **more: float) -> dict[str, float]:
    """A trial's metrics."""
    return {COHERENCE: coherence, LIKELIHOOD: likelihood, **more}


__all__ = ["OBJECTIVES", "SPACE", "Hunt", "of", "raw"]
