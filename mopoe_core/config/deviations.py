"""How a configuration differs from the paper's. Pure."""

from typing import Any

from mopoe_core.config import presets
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.family.registry import PAPER_NAMES


def deviations(config: TrainingConfig) -> tuple[str, ...]:
    """How a configuration differs from the paper's own for its dataset and model, in words; empty for a reproduction's setting.

    Model, beta, estimator of Eq. (5) and seed are what the paper varies.
    """
    if config.dataset not in presets.PAPER:
        return ("a dataset that the paper does not have",)
    foreign = () if config.published_model in PAPER_NAMES else (f"model {config.model}, which it does not have",)
    varied = {"dataset": config.dataset, "model": config.published_model, "beta": config.beta, "scale": "paper"}
    paper = TrainingConfig.model_validate(varied).model_dump()
    ours = config.model_dump()
    differing = [field for field in ours if ours[field] != paper[field]]
    return (
        *foreign,
        *(f"{field} {_spelled(field, ours[field])} instead of {_spelled(field, paper[field])}" for field in differing),
    )


def _spelled(field: str, value: Any) -> str:
    if value is None:
        return "all" if field in fields_with(Role.SIZE) else "left out"
    return str(value)
