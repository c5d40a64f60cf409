"""CRMVAE (2024): the product of all experts decodes everything, each expert alone its own modality; only the product is pulled.

Source: MultiVae, `models/crmvae`. There an example with hidden modalities keeps the weights 1/(2(M + 1)) and 1/(M + 1) of a complete one;
here, as for every model, it has the loss of a model of the k modalities that it has.
"""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, expert_rows, own_modality_rows, prior_row, product_row


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """The product first; its KLs to the prior and to each expert weigh 1/(M + 1)."""
    modalities = len(weights_M)
    share, none = 1 / (modalities + 1), (0.0,) * (modalities + 1)
    return Specification(
        name="crmvae",
        experts_CE=(
            product_row(modalities, range(modalities), config.prior_expert),
            *expert_rows(modalities, config.prior_expert),
        ),
        weights_C=(share / 2,) * (modalities + 1),
        decoded_CM=((1.0,) * modalities, *own_modality_rows(modalities)),
        references_RE=(prior_row(modalities), *expert_rows(modalities)),
        kl_CR=((share,) * (modalities + 1), *(none,) * modalities),
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
        factor_when_present_M=tuple((modalities + 1) / (k + 1) for k in range(1, modalities + 1)),
        kl_factors_when_present_M2=tuple(
            ((modalities + 1) / (k + 1), k * (modalities + 1) / ((k + 1) * modalities)) for k in range(1, modalities + 1)
        ),
    )


MODEL = ModelCard(
    name="crmvae",
    title="CRMVAE",
    rows=rows,
    place=6,
    step_factor=1.6,  # it decodes every modality twice, as MVAE does
)
