"""MVAE (Wu and Goodman 2018): the ELBO of the product of all experts plus one ELBO for each modality alone."""

from collections.abc import Sequence

from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.specification import ModelFields, Specification, product_row, to_prior


def rows(config: ModelFields, weights_M: Sequence[float]) -> Specification:
    """`unimodal_reconstruction: unweighted` takes the reconstruction weights out of the unimodal ELBOs, as the released code does."""
    modalities = len(weights_M)
    subsets = [list(range(modalities)), *([m] for m in range(modalities))]
    weights = (1.0,) * (modalities + 1)
    references, kl = to_prior(modalities, weights)
    unimodal_M = [1.0 if config.unimodal_reconstruction == "weighted" else 1 / weight for weight in weights_M]
    unimodal_MM = tuple(tuple(unimodal_M[m] * (m == n) for n in range(modalities)) for m in range(modalities))
    return Specification(
        name="mvae",
        experts_CE=tuple(product_row(modalities, subset, config.prior_expert) for subset in subsets),
        weights_C=weights,
        decoded_CM=((1.0,) * modalities, *unimodal_MM),
        references_RE=references,
        kl_CR=kl,
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
    )


MODEL = ModelCard(
    name="mvae",
    title="MVAE",
    rows=rows,
    place=0,
    own_defaults={"prior_expert": "all"},
    own_fields=("unimodal_reconstruction",),
    presets={"released_code": {"unimodal_reconstruction": "unweighted"}},
    in_paper=True,
    step_factor=1.6,  # it decodes every modality twice: a step takes 300 ms, and 187 ms for MoPoE
)
