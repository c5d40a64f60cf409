"""MVTCAE (Hwang et al. 2021): one product of all experts, with KLs to the prior and to each unimodal posterior."""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, expert_rows, prior_row, product_row


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """The reconstruction's weight, (k - alpha) / k, depends on the number k of modalities that an example has."""
    modalities, alpha = len(weights_M), config.alpha
    weight_M = tuple((present - alpha) / present for present in range(1, modalities + 1))
    return Specification(
        name="mvtcae",
        experts_CE=(product_row(modalities, range(modalities), config.prior_expert),),
        weights_C=weight_M[-1:],
        decoded_CM=((1.0,) * modalities,),
        references_RE=(prior_row(modalities), *expert_rows(modalities)),
        kl_CR=((1 - alpha, *(alpha / modalities,) * modalities),),
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
        factor_when_present_M=tuple(weight / weight_M[-1] for weight in weight_M) if modalities > 1 else (),
    )


MODEL = ModelCard(name="mvtcae", title="MVTCAE", rows=rows, place=3, own_fields=("alpha",))
