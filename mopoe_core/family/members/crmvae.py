"""CRMVAE (2024): the product of all experts decodes every modality, each expert alone decodes its own; only the product has KLs.

Source: MultiVae, `models/crmvae`. Its docstring has 1/(M + 1) as the weight of both reconstructions, its `forward` 1/(2(M + 1)), as
here. There an example with hidden modalities keeps the weights 1/(2(M + 1)) and 1/(M + 1) of a complete
example. Here, as for every model, an example with k modalities has the loss of a model with k modalities.
"""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, expert_rows, own_modality_rows, prior_row, product_row


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """The product is the first component; its KLs to the prior and to each expert have weight 1/(M + 1)."""
    modalities = len(weights_M)
    share = 1 / (modalities + 1)
    no_kl = (0.0,) * (modalities + 1)
    present_counts = range(1, modalities + 1)
    return Specification(
        name="crmvae",
        experts_CE=(
            product_row(modalities, range(modalities), config.prior_expert),
            *expert_rows(modalities, config.prior_expert),
        ),
        weights_C=(share / 2,) * (modalities + 1),
        decoded_CM=((1.0,) * modalities, *own_modality_rows(modalities)),
        references_RE=(prior_row(modalities), *expert_rows(modalities)),
        kl_CR=((share,) * (modalities + 1), *(no_kl,) * modalities),
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
        factor_when_present_M=tuple((modalities + 1) / (k + 1) for k in present_counts),
        kl_factors_when_present_M2=tuple(
            ((modalities + 1) / (k + 1), k * (modalities + 1) / ((k + 1) * modalities)) for k in present_counts
        ),
    )


MODEL = ModelCard(
    name="crmvae",
    title="CRMVAE",
    rows=rows,
    place=6,
    step_factor=1.6,  # like MVAE, it decodes every modality twice
)
