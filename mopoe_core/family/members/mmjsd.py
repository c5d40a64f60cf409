"""mmJSD (Sutter et al. 2020): the mixture of the unimodal posteriors and the prior, with KLs to their geometric mean."""

from collections.abc import Sequence
from dataclasses import replace

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, prior_row, uniform_mixture


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """One component for each modality, then the prior."""
    modalities = len(weights_M)
    share = 1 / (modalities + 1)
    subsets = [*((m,) for m in range(modalities)), ()]
    mixture = uniform_mixture("mmjsd", modalities, subsets, config.prior_expert, "mixture")
    return replace(
        mixture,
        experts_CE=(*mixture.experts_CE[:-1], prior_row(modalities)),
        references_RE=((share,) * (modalities + 1),),
        kl_CR=((share,),) * (modalities + 1),
    )


MODEL = ModelCard(name="mmjsd", title="mmJSD", rows=rows, place=4)
