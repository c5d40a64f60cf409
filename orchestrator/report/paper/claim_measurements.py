"""Measures what a rule needs on a group of cells: contrasts between models at one beta. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mopoe_core.config.presets import PAPER
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.hypotheses import Measured
from orchestrator.report.paper.claim_quantities import Contrast
from orchestrator.spec.trial import spelled


@dataclass(frozen=True)
class Measurement:
    """The quantities that a rule measured, or the data that it lacks."""

    measured: tuple[Measured, ...] = ()
    note: str = ""
    """The betas, and what else a reader should know."""
    missing: str = ""
    """The cells or trials that the rule needs; empty if it was measured."""


Measure = Callable[[ModelGroup], Measurement]
Contrasts = Callable[[TrainingConfig], Sequence[Contrast]]


def at_table_beta(contrasts: Contrasts) -> Measure:
    """Returns a function that measures these contrasts at the beta of the paper's tables for a group's dataset."""
    return lambda group: at_beta(group, float(PAPER[group.config.dataset]["beta"]), contrasts(group.config))


def at_beta(group: ModelGroup, beta: float, contrasts: Sequence[Contrast], among: Sequence[str] = PAPER_MODELS) -> Measurement:
    """Measures contrasts between cells of one beta: this one, or if the models do not share it their `common_beta`.

    `among` has the models of the paper's table, which decide on the common beta together with the models of the contrasts.
    """
    counting = [contrast for contrast in contrasts if contrast.counts]
    models = list(dict.fromkeys(model for contrast in counting for model in contrast.quantity.models))
    absent = [model for model in models if not group.line(model)]
    if absent:
        return Measurement(missing=f"needs {' and '.join(absent)}")
    shared = group.beta(beta, models, among)
    if shared is None:
        return Measurement(missing=f"needs a beta that {' and '.join(models)} share")
    cells = {model: group.line(model)[shared] for model in models}
    measured = [contrast.measured(group, cells) for contrast in dict.fromkeys(contrasts)]
    deviation = "" if shared == beta else f", the beta of most models that is nearest to the paper's {spelled(beta)}"
    formulas = "; ".join(str(contrast.quantity) for contrast in counting)
    return with_seeds(
        measured, f"β = {spelled(shared)}{deviation}", f"needs completed trials at β = {spelled(shared)} with {formulas}"
    )


def with_seeds(measured: Sequence[Measured], note: str, needs: str) -> Measurement:
    """Returns the measurement of all quantities that count, and of those only shown that have a seed.

    If no quantity that counts has a seed, the measurement is `missing`, with the text `needs`.
    """
    if not any(quantity.sample for quantity in measured if quantity.counts):
        return Measurement(missing=needs)
    return Measurement(tuple(quantity for quantity in measured if quantity.counts or quantity.sample), note)
