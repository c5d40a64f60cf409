"""Optuna: which cell to try next. The only importer of Optuna, used by the driver and the report.

The study is a projection of the ledger and of the proposals (`orchestrator.ledger.proposals`), as MLflow's runs are. It is compared with
them when a search begins, goes on where it agrees, and is made anew where it does not. So it survives a killed driver, a lost file,
further seeds and other objectives.

It lies in a journal file in or near storage: an append-only log that also works on network mounts, where SQLite's locks do not, and that
`optuna-dashboard` opens. Each question is put to a sampler with a seed of its own, so that the same history gets the same answer.
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
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.ledger.proposals import Proposal
from orchestrator.search.outcomes import Telling
from orchestrator.spec.search_block import Choice, Range, Search
from orchestrator.spec.search_space import Space, label
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import digest

for noisy in ("optuna", "alembic"):
    logging.getLogger(noisy).setLevel(logging.ERROR)
optuna.logging.set_verbosity(optuna.logging.ERROR)

DIGITS = 4
"""Significant digits of a number in a cell: what a sampler draws has sixteen, of which nobody has use for more."""
STEPPED_DIGITS = 12
"""Of a number that is so many steps above another: all but the last, which are the error of adding them up."""
CONSTRAINT = "constraints"
"""The prefix of Optuna's attributes that hold constraints."""


def state_of(telling: Telling) -> TrialState:
    """As Optuna calls it. A diverged cell is pruned and infeasible: samplers that look at such trials then stay away from it, and it has
    no number.
    """
    states = {"completed": TrialState.COMPLETE, "failed": TrialState.FAIL, "open": TrialState.RUNNING}
    return states.get(telling.kind, TrialState.PRUNED)


class _Uncached:
    """A genetic sampler whose parents follow from the history. Optuna keeps those that it chose when a generation began in the study, so
    that one that was made anew would choose others.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The best of all generations before."""
        return self.select_parent(study, generation) if generation else []  # type: ignore[attr-defined]


class _Nsga2(_Uncached, NSGAIISampler):
    pass


class _Nsga3(_Uncached, NSGAIIISampler):
    pass


class _Sobol(QMCSampler):
    """Sobol's sequence over all fields, of which those that are not searched at a point go unused. Which point follows from a proposal's
    number: Optuna counts in the study how often it was asked, so that one that was made anew would begin again.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, scramble=True)
        self._kinds = {name: distribution(dimension) for name, dimension in space.dimensions.items()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every field."""
        return self._kinds

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return len(study.get_trials(deepcopy=False)) - 1


class Study:
    """The study of one search."""

    def __init__(
        self,
        path: Path,
        name: str,
        search: Search,
        space: Space,
        objectives: Sequence[Objective],
        told: Sequence[tuple[Proposal, Telling]],
    ) -> None:
        """`told` has all proposals in their order, with what has come of them."""
        self._search, self._space = search, space
        told = [self._as_now(proposal, telling) for proposal, telling in told]
        self._directions = directions(objectives)
        path.parent.mkdir(parents=True, exist_ok=True)
        for lock in path.parent.glob(f"{path.name}.lock*"):
            lock.unlink(missing_ok=True)  # of a killed driver: Optuna would wait half a minute for it
        self._path, self._name = path, name
        try:
            self._study = self._opened()
            agrees = self._agrees(told)
        except Exception:  # whatever a damaged journal leads to
            agrees = False
        if not agrees:
            self._rebuild(told)

    def ask(self) -> Proposal | None:
        """A new proposal, without the id of its cell; None where a grid has no more."""
        if self._search.sampler == "grid":
            wanted = self._next_on_grid()
            if wanted is None:
                return None
            self._study.enqueue_trial(wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samplers that are experimental, or fall back
            self._study.sampler = self._sampler(self.next_number())
            trial = self._study.ask()
            chosen: dict[str, Any] = {}
            drawn: dict[str, Any] = {}
            for name in self._space.order:
                if self._space.active(name, chosen):
                    dimension = self._space.dimensions[name]
                    drawn[name] = _suggest(trial, name, dimension)
                    chosen[name] = cell_value(dimension, drawn[name])
        frozen = self._frozen(trial.number)
        spelled = {name: distribution_to_json(kind) for name, kind in frozen.distributions.items()}
        return Proposal(trial.number, "", chosen, drawn, spelled, dict(frozen.system_attrs))

    def add(self, proposal: Proposal, telling: Telling) -> None:
        """A cell that was there before."""
        self._study.add_trial(_stored(proposal, telling))

    def next_number(self) -> int:
        """The number of the proposal that comes next."""
        return len(self._study.get_trials(deepcopy=False))

    def tell(self, proposal: Proposal, telling: Telling) -> None:
        """Say what came of a proposal, once."""
        proposal, telling = self._as_now(proposal, telling)
        self._study.sampler = RandomSampler()  # which has nothing to say where a trial is taken up again
        trial = optuna.Trial(self._study, self._frozen(proposal.number)._trial_id)
        for name, excess in telling.excess.items():
            trial.set_constraint(name, excess)
        for epoch, value in telling.epochs.items():
            trial.report(value, epoch)
        for name, said in _about(proposal, telling).items():
            trial.set_user_attr(name, said)
        values = list(telling.values) if telling.kind == "completed" else None
        self._study.tell(proposal.number, values, state_of(telling))

    def _as_now(self, proposal: Proposal, telling: Telling) -> tuple[Proposal, Telling]:
        """A proposal as drawn from the space as it is now; of one that lies outside nothing is said, because Optuna refuses choices that
        change, and takes a field for unknown whose range does.
        """
        now = {name: distribution(self._space.dimensions[name]) for name in proposal.drawn if name in self._space.dimensions}
        if all(_can_be(kind, proposal.drawn[name]) for name, kind in now.items()):
            spelled = {name: distribution_to_json(kind) for name, kind in now.items()}
            return replace(proposal, distributions=proposal.distributions | spelled), telling
        outside = replace(proposal, drawn={}, distributions={})
        return outside, telling if telling.kind == "open" else Telling("failed")

    def _next_on_grid(self) -> dict[str, Any] | None:
        """The first of the grid, in an order that the search's seed determines, that was not proposed before."""
        grid = [of_fields(self._space, fields)[0] for fields in self._space.grid()]
        random.Random(self._search.seed).shuffle(grid)
        known = [trial.params for trial in self._study.get_trials(deepcopy=False)]
        return next((drawn for drawn in grid if drawn not in known), None)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _opened(self) -> optuna.Study:
        """The study in its file, or an empty one: to ask Optuna to create one that is there would add a line to the file each time."""
        storage = JournalStorage(JournalFileBackend(str(self._path)))
        with suppress(KeyError):
            return optuna.load_study(storage=storage, study_name=self._name)
        return optuna.create_study(storage=storage, study_name=self._name, directions=self._directions)

    def _agrees(self, told: Sequence[tuple[Proposal, Telling]]) -> bool:
        """Whether the study has just these proposals; what it was not told yet it is told now."""
        known = self._study.get_trials(deepcopy=False)
        if self._study.directions != self._directions or len(known) != len(told):
            return False
        late = []
        for trial, (proposal, telling) in zip(known, told, strict=True):
            if trial.state == TrialState.RUNNING and telling.kind != "open" and trial.params == proposal.drawn:
                late.append((proposal, telling))
            elif not _is_told(trial, proposal, telling):
                return False
        for proposal, telling in late:
            self.tell(proposal, telling)
        return True

    def _rebuild(self, told: Sequence[tuple[Proposal, Telling]]) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._study = self._opened()
        for proposal, telling in told:
            self._study.add_trial(_stored(proposal, telling))

    def _sampler(self, number: int) -> BaseSampler:
        """Sobol's sequence is one for the whole search; other samplers have a seed for each question.

        Samplers with a model begin with that sequence, too: of few cells it leaves no value of a list untried. A Gaussian process learns
        nothing of a cell without a number, such as one that has diverged, and would propose it again for ever: after a repeated cell
        comes one at random.
        """
        search = self._search
        seed = int(digest({"seed": search.seed, "number": number})[:8], 16)
        modelled = search.sampler in ("tpe", "gp")
        if search.sampler == "qmc" or (modelled and self._ended() < search.startup_cells):
            return _Sobol(self._space, int(digest({"seed": search.seed})[:8], 16))
        if search.sampler == "gp" and not self._last_failed(number):
            return GPSampler(seed=seed, n_startup_trials=1)
        if search.sampler == "nsga2":
            return _Nsga2(seed=seed, population_size=search.generation)
        if search.sampler == "nsga3":
            return _Nsga3(seed=seed, population_size=search.generation)
        if search.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True)
        return RandomSampler(seed=seed)

    def _ended(self) -> int:
        """Cells that a model could learn from."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return len(self._study.get_trials(deepcopy=False, states=states))

    def _last_failed(self, number: int) -> bool:
        return number > 0 and self._frozen(number - 1).state == TrialState.FAIL


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """As Optuna has them."""
    return [StudyDirection.MAXIMIZE if objective.goal == "max" else StudyDirection.MINIMIZE for objective in objectives]


def distribution(dimension: Range | Choice) -> BaseDistribution:
    """A dimension as Optuna has it."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution([label(value) for value in dimension.choices])
    if isinstance(dimension.low, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _can_be(kind: BaseDistribution, value: Any) -> bool:
    try:
        return kind._contains(kind.to_internal_repr(value))
    except ValueError:
        return False


def cell_value(dimension: Range | Choice, drawn: Any) -> Any:
    """What was drawn as a cell has it: a choice as it was written, a number with four significant digits and within its range; one of a
    stepped range as one would write it, 0.3 and not 0.30000000000000004.
    """
    if isinstance(dimension, Choice):
        return next(value for value in dimension.choices if label(value) == drawn and type(label(value)) is type(drawn))
    if isinstance(drawn, int):
        return drawn
    digits = DIGITS if dimension.step is None else STEPPED_DIGITS
    return min(max(float(f"{drawn:.{digits}g}"), dimension.low), dimension.high)


def of_fields(space: Space, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A cell that was not drawn, as if it had been: values, and what they could have been drawn from."""
    found = {name: space.dimensions[name] for name in space.order if name in fields}
    drawn = {name: label(fields[name]) if isinstance(kind, Choice) else fields[name] for name, kind in found.items()}
    return drawn, {name: distribution_to_json(distribution(kind)) for name, kind in found.items()}


def importances(told: Sequence[tuple[Proposal, Telling]], objectives: Sequence[Objective]) -> dict[str, dict[str, float]]:
    """How much of the variance of each objective each field explains among the completed cells (fANOVA, Hutter et al. 2014), by metric;
    empty where there are too few cells, or fields that not all of them have.
    """
    study = optuna.create_study(directions=directions(objectives))
    for proposal, telling in told:
        if telling.kind == "completed":
            study.add_trial(_stored(proposal, telling))
    found = {}
    for index, objective in enumerate(objectives):
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)

        def target(trial: FrozenTrial, index: int = index) -> float:
            return float(trial.values[index])

        with suppress(ValueError, RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
            found[objective.metric] = {name: float(share) for name, share in shares.items()}
    return found


def _is_told(trial: FrozenTrial, proposal: Proposal, telling: Telling) -> bool:
    same = (trial.params, trial.state, trial.constraints) == (proposal.drawn, state_of(telling), dict(telling.excess))
    same &= trial.distributions == _distributions(proposal)
    return same and (telling.kind != "completed" or trial.values == list(telling.values))


def _suggest(trial: optuna.Trial, name: str, dimension: Range | Choice) -> Any:
    kind = distribution(dimension)
    if isinstance(kind, CategoricalDistribution):
        return trial.suggest_categorical(name, kind.choices)
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
    assert isinstance(kind, FloatDistribution)
    return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)


def _stored(proposal: Proposal, telling: Telling) -> FrozenTrial:
    return create_trial(
        state=state_of(telling),
        params=proposal.drawn,
        distributions=_distributions(proposal),
        values=list(telling.values) if telling.kind == "completed" else None,
        system_attrs={**proposal.notes, **_excess(telling)},
        user_attrs=_about(proposal, telling),
        intermediate_values=dict(telling.epochs),
    )


def _distributions(proposal: Proposal) -> dict[str, BaseDistribution]:
    return {name: json_to_distribution(kind) for name, kind in proposal.distributions.items()}


def _excess(telling: Telling) -> dict[str, float]:
    return {f"{CONSTRAINT}:{name}": value for name, value in telling.excess.items()}


def _about(proposal: Proposal, telling: Telling) -> dict[str, Any]:
    """What the dashboard shows beside values."""
    about = {"cell_id": proposal.cell_id, "cell": json.dumps(proposal.fields), "source": proposal.source, "ended": telling.kind}
    return {name: value for name, value in about.items() if value}
