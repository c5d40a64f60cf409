"""Optuna's samplers, seeded so that the same history leads to the same proposal.

Some of Optuna's samplers keep state in themselves or in the study, so a study that is built again would get other proposals. The classes
here derive that state from the history.
"""

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.distributions import distribution_of
from orchestrator.spec.search_block import Search
from orchestrator.spec.search_space import Space
from orchestrator.spec.trial import digest


def sampler_for_next(study: optuna.Study, search: Search, space: Space) -> BaseSampler:
    """Returns the sampler for the next proposal of a search.

    Sobol's sequence has one seed for the whole search. Every other sampler gets a new seed for each proposal.

    `tpe` and `gp` begin with Sobol's sequence, too: it tries every value of a list within few cells. A Gaussian process learns nothing
    from a cell without a number, such as a diverged one, and would propose it again for ever. So a random cell follows a repeated one.
    """
    trials = study.get_trials(deepcopy=False)
    seed = _seed({"seed": search.seed, "number": len(trials)})
    has_model = search.sampler in ("tpe", "gp")
    if search.sampler == "qmc" or (has_model and _count_ended(trials) < search.startup_cells):
        return _Sobol(space, _seed({"seed": search.seed}))
    if search.sampler == "gp" and not (trials and trials[-1].state == TrialState.FAIL):
        return GPSampler(seed=seed, n_startup_trials=1)
    if search.sampler == "nsga2":
        return _Nsga2(seed=seed, population_size=search.generation)
    if search.sampler == "nsga3":
        return _Nsga3(seed=seed, population_size=search.generation)
    if search.sampler == "tpe":
        return TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True)
    return RandomSampler(seed=seed)


class _ParentsFromHistory:
    """A genetic sampler that selects its parents from the history.

    Optuna selects them when a generation begins and keeps them in the study, so a study that is built again would select others.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Returns the best trials of all earlier generations."""
        return self.select_parent(study, generation) if generation else []  # type: ignore[attr-defined]


class _Nsga2(_ParentsFromHistory, NSGAIISampler):
    pass


class _Nsga3(_ParentsFromHistory, NSGAIIISampler):
    pass


class _Sobol(QMCSampler):
    """Sobol's sequence over all fields. Fields of a point that its cell does not have are not used.

    The number of a proposal determines its point. Optuna itself counts in the study how often the sampler was asked, so a study that is
    built again would begin with the first point.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, scramble=True)
        self._distributions = {name: distribution_of(dimension) for name, dimension in space.dimensions.items()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns the distributions of all fields."""
        return self._distributions

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return len(study.get_trials(deepcopy=False)) - 1


def _seed(content: dict[str, int]) -> int:
    return int(digest(content)[:8], 16)


def _count_ended(trials: list[FrozenTrial]) -> int:
    """Returns the number of trials that a model can learn from."""
    return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
