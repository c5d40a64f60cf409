"""MMVM (Sutter et al. 2024): one VAE for each modality, with KLs to all unimodal posteriors, which pull it towards their mixture."""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, expert_rows, own_modality_rows


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """One component for each modality; it decodes that modality only."""
    modalities = len(weights_M)
    return Specification(
        name="mmvm",
        experts_CE=expert_rows(modalities, config.prior_expert),
        weights_C=(1.0,) * modalities,
        decoded_CM=own_modality_rows(modalities),
        references_RE=expert_rows(modalities, config.prior_expert),
        kl_CR=((1 / modalities,) * modalities,) * modalities,
        is_mixture=False,
        conditional="mixture",
        prior_expert=config.prior_expert,
        estimator="enumerate",
    )


MODEL = ModelCard(name="mmvm", title="MMVM", rows=rows, place=5)
