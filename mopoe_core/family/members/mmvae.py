"""MMVAE (Shi et al. 2019; Eq. 10): the mixture of the unimodal posteriors."""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, uniform_mixture


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """One component for each modality; it decodes every modality."""
    modalities = len(weights_M)
    return uniform_mixture("mmvae", modalities, [(m,) for m in range(modalities)], config.prior_expert, "mixture")


MODEL = ModelCard(
    name="mmvae",
    title="MMVAE",
    rows=rows,
    place=1,
    presets={"paper": {"kl": "mixture"}, "released_code": {"estimator": "slices"}},  # Eq. (6) has the KL of the mixture itself
    in_paper=True,
)
