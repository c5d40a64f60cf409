"""The Optuna study of a search: a projection of the ledger and of the proposals (`orchestrator.ledger.proposals`).

When a search begins, the study is compared with them, and built again if it differs. So a search survives a killed driver, a lost file,
further seeds and changed objectives.

The study is a journal file in storage, or in a local folder if storage is remote. A journal is an append-only log. It also works on
network mounts, where SQLite's locks do not work, and `optuna-dashboard` opens it. Each proposal comes from a new sampler (`samplers`), so
that the same history leads to the same proposal.
"""

import json
import logging
import random
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.ledger.proposals import Proposal
from orchestrator.search.distributions import cell_value, contains, distribution_of, distributions_of, draw, of_fields
from orchestrator.search.outcomes import CellOutcome
from orchestrator.search.samplers import sampler_for_next
from orchestrator.spec.search_block import Search
from orchestrator.spec.search_space import Space, without_rounding_error
from orchestrator.spec.sections import Objective

for noisy in ("optuna", "alembic"):
    logging.getLogger(noisy).setLevel(logging.ERROR)
optuna.logging.set_verbosity(optuna.logging.ERROR)

CONSTRAINT = "constraints"
"""The prefix of Optuna's attributes for constraints."""

History = Sequence[tuple[Proposal, CellOutcome]]
"""All proposals of a search in their order, each with its outcome."""


class Study:
    """The study of one search."""

    def __init__(
        self, path: Path, name: str, search: Search, space: Space, objectives: Sequence[Objective], history: History
    ) -> None:
        self._path, self._name, self._search, self._space = path, name, search, space
        self._directions = directions(objectives)
        history = [self._in_current_space(proposal, outcome) for proposal, outcome in history]
        path.parent.mkdir(parents=True, exist_ok=True)
        for lock in path.parent.glob(f"{path.name}.lock*"):
            lock.unlink(missing_ok=True)  # a killed driver leaves it, and Optuna would wait half a minute for it
        try:
            self._study = self._opened()
            agrees = self._agrees(history)
        except Exception:  # a damaged journal can raise anything
            agrees = False
        if not agrees:
            self._rebuild(history)

    def ask(self) -> Proposal | None:
        """Returns the next proposal, without the id of its cell; None if a grid has no more cells."""
        if self._search.sampler == "grid":
            point = self._next_on_grid()
            if point is None:
                return None
            self._study.enqueue_trial(point)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers warn that they are experimental, or that they fall back to another
            self._study.sampler = sampler_for_next(self._study, self._search, self._space)
            trial = self._study.ask()
            fields, drawn = self._draw_fields(trial)
        frozen = self._trial(trial.number)
        distributions = {name: distribution_to_json(distribution) for name, distribution in frozen.distributions.items()}
        return Proposal(trial.number, "", fields, drawn, distributions, dict(frozen.system_attrs))

    def _draw_fields(self, trial: optuna.Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw a value for each field that the cell has; returns the cell's values and the drawn values, by field."""
        fields: dict[str, Any] = {}
        drawn: dict[str, Any] = {}
        for name in self._space.order:
            if self._space.active(name, fields):
                dimension = self._space.dimensions[name]
                drawn[name] = draw(trial, name, dimension)
                fields[name] = cell_value(dimension, drawn[name])
        return fields, drawn

    def add(self, proposal: Proposal, outcome: CellOutcome) -> None:
        """Add a cell with its outcome that was not drawn here."""
        self._study.add_trial(_as_trial(proposal, outcome))

    def next_number(self) -> int:
        """Returns the number of the next proposal."""
        return len(self._study.get_trials(deepcopy=False))

    def tell(self, proposal: Proposal, outcome: CellOutcome) -> None:
        """Tell Optuna the outcome of a proposal, once."""
        proposal, outcome = self._in_current_space(proposal, outcome)
        # Optuna calls the sampler when it makes a Trial object of an asked trial; a RandomSampler does nothing then.
        self._study.sampler = RandomSampler()
        trial = optuna.Trial(self._study, self._trial(proposal.number)._trial_id)
        for name, excess in outcome.excess.items():
            trial.set_constraint(name, excess)
        for epoch, value in outcome.epochs.items():
            trial.report(value, epoch)
        for name, value in _notes(proposal, outcome).items():
            trial.set_user_attr(name, value)
        values = list(outcome.values) if outcome.kind == "completed" else None
        self._study.tell(proposal.number, values, trial_state(outcome))

    def _in_current_space(self, proposal: Proposal, outcome: CellOutcome) -> tuple[Proposal, CellOutcome]:
        """Returns a proposal with the distributions of the current space, and its outcome; without values, and failed, if it is outside.

        Optuna refuses a list of choices that changes, and treats a field whose range changes as unknown. Earlier versions drew a grid's
        last value with a rounding error, above the range: such a value is taken back to the range.
        """
        current = {
            name: distribution_of(self._space.dimensions[name]) for name in proposal.drawn if name in self._space.dimensions
        }
        drawn = {
            name: value if name not in current or contains(current[name], value) else self._without_rounding_error(name, value)
            for name, value in proposal.drawn.items()
        }
        if all(contains(distribution, drawn[name]) for name, distribution in current.items()):
            as_json = {name: distribution_to_json(distribution) for name, distribution in current.items()}
            return replace(proposal, drawn=drawn, distributions=proposal.distributions | as_json), outcome
        outside = replace(proposal, drawn={}, distributions={})
        return outside, outcome if outcome.kind == "open" else CellOutcome("failed")

    def _next_on_grid(self) -> dict[str, Any] | None:
        """Returns the first cell of the grid that was not proposed before. The seed of the search determines the order of the grid."""
        grid = [of_fields(self._space, fields)[0] for fields in self._space.grid()]
        random.Random(self._search.seed).shuffle(grid)
        proposed = [
            {name: self._without_rounding_error(name, value) for name, value in trial.params.items()}
            for trial in self._study.get_trials(deepcopy=False)
        ]
        return next((drawn for drawn in grid if drawn not in proposed), None)

    def _without_rounding_error(self, name: str, drawn: Any) -> Any:
        dimension = self._space.dimensions.get(name)
        return drawn if dimension is None else without_rounding_error(dimension, drawn)

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _opened(self) -> optuna.Study:
        """Returns the study of the journal, or a new one.

        It tries to load first, because Optuna adds a line to the journal each time it is asked to create a study, even if there is one.
        """
        storage = JournalStorage(JournalFileBackend(str(self._path)))
        with suppress(KeyError):
            return optuna.load_study(storage=storage, study_name=self._name)
        return optuna.create_study(storage=storage, study_name=self._name, directions=self._directions)

    def _agrees(self, history: History) -> bool:
        """Returns whether the study has this history. If only outcomes are missing in it, they are told now."""
        trials = self._study.get_trials(deepcopy=False)
        if self._study.directions != self._directions or len(trials) != len(history):
            return False
        untold = []
        for trial, (proposal, outcome) in zip(trials, history, strict=True):
            if trial.state == TrialState.RUNNING and outcome.kind != "open" and trial.params == proposal.drawn:
                untold.append((proposal, outcome))
            elif not _has_outcome(trial, proposal, outcome):
                return False
        for proposal, outcome in untold:
            self.tell(proposal, outcome)
        return True

    def _rebuild(self, history: History) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._study = self._opened()
        for proposal, outcome in history:
            self._study.add_trial(_as_trial(proposal, outcome))


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """Returns Optuna's direction of each objective."""
    return [StudyDirection.MAXIMIZE if objective.goal == "max" else StudyDirection.MINIMIZE for objective in objectives]


def trial_state(outcome: CellOutcome) -> TrialState:
    """Returns Optuna's state for an outcome.

    A diverged cell has no number: in Optuna it is pruned and breaks a constraint. Samplers that use such trials then stay away from it.
    """
    states = {"completed": TrialState.COMPLETE, "failed": TrialState.FAIL, "open": TrialState.RUNNING}
    return states.get(outcome.kind, TrialState.PRUNED)


def importances(history: History, objectives: Sequence[Objective]) -> dict[str, dict[str, float]]:
    """Returns the share of an objective's variance over the completed cells that each field explains, by metric and field.

    Computed by fANOVA (Hutter et al. 2014). A metric is missing if there are too few cells, or if no field is in all of them. A cell
    with a value outside the range that it was drawn from does not count: earlier versions drew such values, by a rounding error.
    """
    study = optuna.create_study(directions=directions(objectives))
    for proposal, outcome in history:
        if outcome.kind == "completed":
            with suppress(ValueError):
                study.add_trial(_as_trial(proposal, outcome))
    by_metric = {}
    for index, objective in enumerate(objectives):
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)

        def target(trial: FrozenTrial, index: int = index) -> float:
            return float(trial.values[index])

        with suppress(ValueError, RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
            by_metric[objective.metric] = {name: float(share) for name, share in shares.items()}
    return by_metric


def _has_outcome(trial: FrozenTrial, proposal: Proposal, outcome: CellOutcome) -> bool:
    """Returns whether Optuna's trial has the proposal's fields and this outcome."""
    same_fields = trial.params == proposal.drawn and trial.distributions == distributions_of(proposal)
    same_end = trial.state == trial_state(outcome) and trial.constraints == dict(outcome.excess)
    same_values = outcome.kind != "completed" or trial.values == list(outcome.values)
    return same_fields and same_end and same_values


def _as_trial(proposal: Proposal, outcome: CellOutcome) -> FrozenTrial:
    return create_trial(
        state=trial_state(outcome),
        params=proposal.drawn,
        distributions=distributions_of(proposal),
        values=list(outcome.values) if outcome.kind == "completed" else None,
        system_attrs={**proposal.notes, **_constraint_attributes(outcome.excess)},
        user_attrs=_notes(proposal, outcome),
        intermediate_values=dict(outcome.epochs),
    )


def _constraint_attributes(excess: Mapping[str, float]) -> dict[str, float]:
    return {f"{CONSTRAINT}:{name}": value for name, value in excess.items()}


def _notes(proposal: Proposal, outcome: CellOutcome) -> dict[str, Any]:
    """Returns the attributes that Optuna's dashboard shows beside the values of a trial."""
    notes = {"cell_id": proposal.cell_id, "cell": json.dumps(proposal.fields), "source": proposal.source, "ended": outcome.kind}
    return {name: value for name, value in notes.items() if value}
