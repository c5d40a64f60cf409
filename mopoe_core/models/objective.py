"""One objective for the whole family: every model of `mopoe_core.family` is rows of numbers in it.

Experts e = 0..M: e = 0 is the prior N(0, I), e = m is q_m(z|x_m), with precisions Lambda_e = 1 / v_e. A component c is a product of
experts with exponents A_c (products of experts, Definition 1):

    Lambda_c = sum_e A_ce Lambda_e        mu_c = Lambda_c^-1 sum_e A_ce Lambda_e mu_e

    loss = sum_c lambda_c E_{z ~ q_c}[ -sum_m D_cm w_m log p_m(x_m|z) ] + beta sum_c sum_r B_cr KL(q_c || r)

Where lambda are the weights of a mixture (MMVAE, MoPoE), the first term is an expectation under q(z|X) = sum_c lambda_c q_c(z|X),
and its estimator is a choice:

    stratified    each example is given one component; over a batch every component is given its share (lowest variance for one
                  decoding)
    categorical   each example draws its component independently
    slices        contiguous slices of the batch, the last taking what is left over (the released code; biased where the batch is
                  not a multiple of the number of components)
    enumerate     every component is decoded (Eq. 5): no choice left to chance, C decodings

and so is its KL: `sum`, the components' weighted KLs (Eq. 12, an upper bound), or `mixture`, the KL of the mixture itself (Eq. 6), by
Monte Carlo at the same samples.

An example with a hidden modality has the loss of a model without that modality. The modality is not reconstructed, and its expert is
in no product:

    a mixture          loses the components that use a hidden expert; the weights of the others are scaled up to the same total
    a sum of ELBOs     keeps its components without the hidden expert; one whose experts are all hidden is dropped, and the others keep
                       their weights

The references of the KLs lose the hidden expert too: the exponents of the others are scaled up to the same total, and a reference without
experts is dropped, with the weights of the others scaled up. `prior_expert: full` stays with the product of all the dataset's modalities,
as released.

What the loss calls here also takes the tensors of a stack, which have one more leading axis, of its trials: (T, C, B, D) for
(C, B, D). So axes are counted from the last.

Shape suffixes: T stacked trial, B batch, M modality, E expert (prior first), C component, R reference of a KL, D latent dimension.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import MODELS
from mopoe_core.family.specification import Specification
from mopoe_core.models.draws import Draws
from mopoe_core.models.gaussians import Gaussians, kl_divergence, products, products_each, products_log_prob


def specification(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """The member of the family that a configuration names, for modalities with these reconstruction weights."""
    return replace(MODELS[config.model].rows(config, weights_M), estimator=config.estimator, kl=config.kl)


class Objective:
    """A specification as tensors on one device, ready to turn experts and samples into the terms of the loss.

    Of several specifications with the same `layout`, which make one stack, each tensor has a leading axis of trials.
    """

    def __init__(
        self,
        spec: Specification | Sequence[Specification],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec if isinstance(spec, Specification) else spec[0]

        def numbers(field: Callable[[Specification], Any]) -> Tensor:
            values = field(spec) if isinstance(spec, Specification) else [field(one) for one in spec]
            return torch.tensor(values, device=device, dtype=dtype)

        self.experts_CE = numbers(lambda one: one.experts_CE)
        self.weights_C = numbers(lambda one: one.weights_C)
        self.decoded_CM = numbers(lambda one: one.decoded_CM)
        self.references_RE = numbers(lambda one: one.references_RE)
        self.kl_CR = numbers(lambda one: one.kl_CR)
        self._prior_needs_all = numbers(lambda one: float(one.prior_expert == "full"))
        self._factor_M = numbers(lambda one: one.factor_when_present_M or (1.0,) * one.modalities)
        self._kl_factors_M2 = numbers(lambda one: one.kl_factors_when_present_M2 or ((1.0, 1.0),) * one.modalities)
        self._ones_C1 = torch.ones_like(self.weights_C)[..., None]
        self.total = numbers(lambda one: sum(one.weights_C))
        self.decoding_rows = [
            torch.tensor([c for c, row in enumerate(self.spec.decoded_CM) if row[m]], device=device)
            for m in range(self.spec.modalities)
        ]
        """For each modality, the components that reconstruct it; on the device, because an index from the host stalls a GPU."""

    def scale_CB(self, present_BM: Tensor | None, batch: int) -> Tensor:
        """Factor on each component's weights: 0 if it is dropped; else 1, or for a mixture what keeps the example's total."""
        if present_BM is None:
            return self._ones_C1.expand(*self.weights_C.shape, batch)
        uses_CM = (self.experts_CE[..., 1:] > 0).to(self.weights_C.dtype)
        present_MB = present_BM.to(self.weights_C.dtype).mT
        hidden_CB = uses_CM @ (1 - present_MB)
        if not self.spec.is_mixture:
            return ((uses_CM @ present_MB > 0) | (hidden_CB == 0)).to(self.weights_C.dtype)
        usable_CB = (hidden_CB == 0).to(self.weights_C.dtype)
        kept_1B = self.weights_C[..., None, :] @ usable_CB
        return usable_CB * (self.total[..., None, None] / kept_1B)

    def reconstruction_scale_CB(self, present_BM: Tensor | None, scale_CB: Tensor) -> Tensor:
        """`scale_CB` for the reconstruction, of which one model's weight depends on how many modalities are present."""
        if present_BM is None or not self.spec.factor_when_present_M:
            return scale_CB
        factor_B = torch.take_along_dim(self._factor_M, present_BM.sum(-1) - 1, -1)
        return scale_CB * factor_B.unsqueeze(-2)

    def components(self, experts_MBD: Gaussians, present_BM: Tensor | None = None) -> Gaussians:
        """Each component's posterior, (C, B, D). Those that `scale_CB` drops have numbers that are finite and mean nothing."""
        if present_BM is None or self.spec.is_mixture:
            return products(experts_MBD, self.experts_CE)
        exponents_CBE = self.experts_CE[..., None, :] * _with_prior(present_BM, self.experts_CE.dtype)[..., None, :, :]
        lost_CB = (exponents_CBE.sum(-1) < self.experts_CE.sum(-1, keepdim=True)).to(exponents_CBE.dtype)
        kept_CB = 1 - lost_CB * self._prior_needs_all[..., None, None]
        exponents_CBE = torch.cat([exponents_CBE[..., :1] * kept_CB[..., None], exponents_CBE[..., 1:]], -1)
        return products_each(experts_MBD, _prior_where_empty(exponents_CBE))

    def decodings_BM(self, scale_CB: Tensor) -> Tensor:
        """How much weight each modality is decoded with, (B, M): what its private latent pays for."""
        return (self.weights_C[..., None] * scale_CB).mT @ (self.decoded_CM > 0).to(self.weights_C.dtype)

    def assign_B(self, draws: Draws, scale_CB: Tensor) -> Tensor:
        """The component of each example, by its position on the cumulated weights; an unusable one is never chosen."""
        assert draws.position_B is not None
        cumulated_CB = torch.cumsum(self.share_CB(scale_CB), -2)
        # Up to the last component whose weight is not zero: rounding may leave the sum short of 1.
        places_C1 = torch.arange(scale_CB.shape[-2], device=scale_CB.device)[:, None]
        last_B = (scale_CB > 0).to(torch.int64).mul(places_C1).amax(-2)
        return torch.minimum((cumulated_CB <= draws.position_B[..., None, :]).sum(-2), last_B)

    def share_CB(self, scale_CB: Tensor) -> Tensor:
        """Each component's weight in the mixture; they add up to 1."""
        return self.weights_C[..., None] * scale_CB / self.total[..., None, None]

    def kl_B(
        self, components_CBD: Gaussians, experts_MBD: Gaussians, scale_CB: Tensor, present_BM: Tensor | None = None
    ) -> Tensor:
        """sum_c sum_r B_cr KL(q_c || r), in nats an example."""
        q = Gaussians(components_CBD.mu.unsqueeze(-3), components_CBD.logvar.unsqueeze(-3))
        if present_BM is None:
            kl_CRB = kl_divergence(q, _each(products(experts_MBD, self.references_RE)))
            return torch.einsum("...cr,...cb,...crb->...b", self.kl_CR, scale_CB, kl_CRB)
        references_RBD, usable_RB = self._present_references(experts_MBD, present_BM)
        weights_CRB = self._present_kl_CRB(usable_RB) * scale_CB.unsqueeze(-2)
        if self.spec.kl_factors_when_present_M2:
            weights_CRB = weights_CRB * self._kl_factor_RB(present_BM)
        return (weights_CRB * kl_divergence(q, _each(references_RBD))).sum((-3, -2))

    def _present_kl_CRB(self, usable_RB: Tensor) -> Tensor:
        """The weights B of the KLs: a dropped reference leaves its weight to the others that hold experts, and none to the prior."""
        of_experts_R1 = (self.references_RE[..., 1:].sum(-1, keepdim=True) > 0).to(usable_RB.dtype)
        weights_CRB = self.kl_CR[..., None] * usable_RB.unsqueeze(-3)
        whole_C1 = self.kl_CR @ of_experts_R1
        kept_CB = self.kl_CR @ (usable_RB * of_experts_R1)
        more_CB = whole_C1 / kept_CB.clamp(min=torch.finfo(kept_CB.dtype).tiny)
        return weights_CRB * torch.where(of_experts_R1.unsqueeze(-3) > 0, more_CB.unsqueeze(-2), 1.0)

    def _kl_factor_RB(self, present_BM: Tensor) -> Tensor:
        """The factor on the KLs to each reference, by how many modalities an example has, (R, B)."""
        factors_B2 = torch.take_along_dim(self._kl_factors_M2, (present_BM.sum(-1) - 1)[..., None], -2)
        of_experts_R1 = self.references_RE[..., 1:].sum(-1, keepdim=True) > 0
        return torch.where(of_experts_R1, factors_B2[..., None, :, 1], factors_B2[..., None, :, 0])

    def _present_references(self, experts_MBD: Gaussians, present_BM: Tensor) -> tuple[Gaussians, Tensor]:
        """The references (R, B, D) without the experts of hidden modalities, and 1 for those that have an expert left, (R, B)."""
        exponents_RBE = self.references_RE[..., None, :] * _with_prior(present_BM, self.references_RE.dtype)[..., None, :, :]
        left_RB = exponents_RBE.sum(-1)
        # A modality's own reference goes with it, also where the prior expert would be left of it.
        seen_RB = exponents_RBE[..., 1:].sum(-1) > 0
        usable_RB = (seen_RB | (self.references_RE[..., 1:].sum(-1, keepdim=True) == 0)).to(left_RB.dtype)
        whole_R1 = self.references_RE.sum(-1, keepdim=True)
        exponents_RBE = exponents_RBE * (whole_R1 / torch.where(left_RB > 0, left_RB, 1.0))[..., None]
        return products_each(experts_MBD, _prior_where_empty(exponents_RBE)), usable_RB

    def mixture_kl_B(self, experts_MBD: Gaussians, z_SBD: Tensor, weights_SB: Tensor, scale_CB: Tensor) -> Tensor:
        """KL(sum_c pi_c q_c || N(0, I)) in nats an example, by Monte Carlo at samples z with weights."""
        log_pi_CB = torch.log(self.share_CB(scale_CB))
        log_q_SB = [  # sample by sample: all at once would hold S x C x B x D numbers
            torch.logsumexp(products_log_prob(experts_MBD, self.experts_CE, z_BD) + log_pi_CB, -2) for z_BD in z_SBD.unbind(-3)
        ]
        log_p_SB = -0.5 * (z_SBD**2 + math.log(2 * math.pi)).sum(-1)
        return (weights_SB * (torch.stack(log_q_SB, -2) - log_p_SB)).sum(-2)


def _with_prior(present_BM: Tensor, dtype: torch.dtype) -> Tensor:
    """1 for the experts that an example has, (B, E): the prior always."""
    return torch.nn.functional.pad(present_BM.to(dtype), (1, 0), value=1.0)


def _prior_where_empty(exponents_CBE: Tensor) -> Tensor:
    """Exponents of which those of a product without experts are set to the prior's: its weight is zero, its numbers must be finite."""
    empty_CB1 = (exponents_CBE.sum(-1, keepdim=True) == 0).to(exponents_CBE.dtype)
    return exponents_CBE + empty_CB1 * torch.eye(exponents_CBE.shape[-1], dtype=exponents_CBE.dtype, device=empty_CB1.device)[0]


def _each(references_RBD: Gaussians) -> Gaussians:
    """References against every component: (1, R, B, D)."""
    return Gaussians(references_RBD.mu.unsqueeze(-4), references_RBD.logvar.unsqueeze(-4))
