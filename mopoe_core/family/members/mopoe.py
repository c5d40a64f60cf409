"""MoPoE (Definition 1): the mixture of the products over every non-empty subset. `eq5` decodes every component (Eq. 5)."""

from collections.abc import Sequence
from itertools import combinations

from mopoe_core.family.model_card import Alias, ModelCard
from mopoe_core.family.specification import ModelFields, Specification, uniform_mixture


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """One component for each subset; it decodes every modality."""
    modalities = len(weights_M)
    subsets = [subset for size in range(1, modalities + 1) for subset in combinations(range(modalities), size)]
    return uniform_mixture("mopoe", modalities, subsets, config.prior_expert, "product")


MODEL = ModelCard(
    name="mopoe",
    title="MoPoE",
    rows=rows,
    place=2,
    presets={
        "paper": {"kl": "mixture"},  # Eq. (9) has the KL of the mixture itself
        "released_code": {"estimator": "slices", "prior_expert": "full"},
    },
    in_paper=True,
    aliases={"eq5": Alias("Eq. (5)", {"estimator": "enumerate", "kl": "sum"}, in_paper=True)},
)
