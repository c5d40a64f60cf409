"""Lists the differences between a configuration and the paper's. Pure."""

from typing import Any

from mopoe_core.config import presets
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.family.registry import PAPER_NAMES


def deviations(config: TrainingConfig) -> tuple[str, ...]:
    """Returns, in words, how a configuration differs from the paper's for its dataset and model; empty if it is a reproduction.

    Differences in model, beta, estimator of Eq. (5) and seed do not count, because the paper varies them.
    """
    if config.dataset not in presets.PAPER:
        return ("a dataset that the paper does not have",)
    other_model = () if config.published_model in PAPER_NAMES else (f"model {config.model}, which it does not have",)
    varied = {"dataset": config.dataset, "model": config.published_model, "beta": config.beta, "scale": "paper"}
    paper = TrainingConfig.model_validate(varied).model_dump()
    ours = config.model_dump()
    differences = [
        f"{field} {_spelled(field, ours[field])} instead of {_spelled(field, paper[field])}"
        for field in ours
        if ours[field] != paper[field]
    ]
    return (*other_model, *differences)


def _spelled(field: str, value: Any) -> str:
    """Returns a value in words: a size that is left out is `all`."""
    if value is None:
        return "all" if field in fields_with(Role.SIZE) else "left out"
    return str(value)
