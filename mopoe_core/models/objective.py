"""One objective for the whole family: each model of `mopoe_core.family` gives the numbers in this formula.

Experts e = 0..M: e = 0 is the prior N(0, I), e = m is q_m(z|x_m), with precisions Lambda_e = 1 / v_e. A component c is a product of
experts with exponents A_c (products of experts, Definition 1):

    Lambda_c = sum_e A_ce Lambda_e        mu_c = Lambda_c^-1 sum_e A_ce Lambda_e mu_e

    loss = sum_c lambda_c E_{z ~ q_c}[ -sum_m D_cm w_m log p_m(x_m|z) ] + beta sum_c sum_r B_cr KL(q_c || r)

If lambda are the weights of a mixture (MMVAE, MoPoE), the first term is an expectation under q(z|X) = sum_c lambda_c q_c(z|X). It has
four estimators:

    stratified    each example gets one component, and each component gets its share of the batch (lowest variance for one decoding)
    categorical   each example draws its component independently
    slices        each component gets a contiguous slice of the batch, and the last also gets the remainder (the released code; biased
                  if the batch is not a multiple of the number of components)
    enumerate     every component is decoded (Eq. 5): no component is drawn, at the cost of C decodings

The KL term of a mixture has two forms: `sum`, the components' weighted KLs (Eq. 12, an upper bound), and `mixture`, the KL of the mixture
itself (Eq. 6), estimated by Monte Carlo at the same samples.

An example with a hidden modality has the loss of a model without that modality. The modality is not reconstructed, and no product
includes its expert:

    a mixture          drops the components that use a hidden expert, and scales up the weights of the others to the same total
    a sum of ELBOs     keeps its components, without the hidden expert. It drops a component whose experts are all hidden, and leaves
                       the weights of the others unchanged

The references of the KLs lose the hidden expert too: the exponents of their other experts are scaled up to the same total. A reference
without experts is dropped, and the weights of the others are scaled up. With `prior_expert: full`, the prior belongs only to the product
of all the dataset's modalities, as in the released code.

The methods that the loss calls also take the tensors of a stack, which have a leading axis of trials: (T, C, B, D) for (C, B, D). So axes
are counted from the last.

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
from mopoe_core.models.gaussians import Gaussians, kl_divergence, products, products_by_example, products_log_prob


def specification(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """The specification of a configuration's model, for modalities with these reconstruction weights."""
    return replace(MODELS[config.model].rows(config, weights_M), estimator=config.estimator, kl=config.kl)


class Objective:
    """A specification as tensors on one device. Its methods compute the terms of the loss from experts and samples.

    It may also be made from the specifications of a stack, which share their `layout`; each tensor then has a leading axis of trials.
    """

    def __init__(
        self,
        spec: Specification | Sequence[Specification],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        specs = [spec] if isinstance(spec, Specification) else list(spec)
        self.spec = specs[0]
        self._has_factors = any(trial_spec.factor_when_present_M for trial_spec in specs)
        self._has_kl_factors = any(trial_spec.kl_factors_when_present_M2 for trial_spec in specs)

        def numbers(field: Callable[[Specification], Any]) -> Tensor:
            values = [field(trial_spec) for trial_spec in specs]
            return torch.tensor(values[0] if isinstance(spec, Specification) else values, device=device, dtype=dtype)

        self.experts_CE = numbers(lambda spec: spec.experts_CE)
        self.weights_C = numbers(lambda spec: spec.weights_C)
        self.decoded_CM = numbers(lambda spec: spec.decoded_CM)
        self.references_RE = numbers(lambda spec: spec.references_RE)
        self.kl_CR = numbers(lambda spec: spec.kl_CR)
        self._prior_needs_all = numbers(lambda spec: float(spec.prior_expert == "full"))
        self._factor_M = numbers(lambda spec: spec.factor_when_present_M or (1.0,) * spec.modalities)
        self._kl_factors_M2 = numbers(lambda spec: spec.kl_factors_when_present_M2 or ((1.0, 1.0),) * spec.modalities)
        self._ones_C1 = torch.ones_like(self.weights_C)[..., None]
        self.total = numbers(lambda spec: sum(spec.weights_C))
        """The sum of `weights_C`."""
        self.decoding_rows = [
            torch.tensor([c for c, row in enumerate(self.spec.decoded_CM) if row[m]], device=device)
            for m in range(self.spec.modalities)
        ]
        """For each modality, the components that reconstruct it. They are on the device, because an index from the host stalls a GPU."""

    def scale_CB(self, present_BM: Tensor | None, batch: int) -> Tensor:
        """The factor on each component's weights: 0 if the component is dropped. Otherwise it is 1, or, for a mixture, the number that
        keeps the example's total weight.
        """
        if present_BM is None:
            return self._ones_C1.expand(*self.weights_C.shape, batch)
        uses_CM = (self.experts_CE[..., 1:] > 0).to(self.weights_C.dtype)
        present_MB = present_BM.to(self.weights_C.dtype).mT
        hidden_CB = uses_CM @ (1 - present_MB)
        if not self.spec.is_mixture:
            return ((uses_CM @ present_MB > 0) | (hidden_CB == 0)).to(self.weights_C.dtype)
        usable_CB = (hidden_CB == 0).to(self.weights_C.dtype)
        usable_total_1B = self.weights_C[..., None, :] @ usable_CB
        return usable_CB * (self.total[..., None, None] / usable_total_1B)

    def reconstruction_scale_CB(self, present_BM: Tensor | None, scale_CB: Tensor) -> Tensor:
        """`scale_CB` for the reconstruction, whose weight may also depend on how many modalities are present."""
        if present_BM is None or not self._has_factors:
            return scale_CB
        factor_B = torch.take_along_dim(self._factor_M, present_BM.sum(-1) - 1, -1)
        return scale_CB * factor_B.unsqueeze(-2)

    def components(self, experts_MBD: Gaussians, present_BM: Tensor | None = None) -> Gaussians:
        """Each component's posterior: (C, B, D). The numbers of a component that `scale_CB` drops are finite and mean nothing."""
        if present_BM is None or self.spec.is_mixture:
            return products(experts_MBD, self.experts_CE)
        exponents_CBE = self.experts_CE[..., None, :] * _with_prior(present_BM, self.experts_CE.dtype)[..., None, :, :]
        lost_CB = (exponents_CBE.sum(-1) < self.experts_CE.sum(-1, keepdim=True)).to(exponents_CBE.dtype)
        keeps_prior_CB = 1 - lost_CB * self._prior_needs_all[..., None, None]
        exponents_CBE = torch.cat([exponents_CBE[..., :1] * keeps_prior_CB[..., None], exponents_CBE[..., 1:]], -1)
        return products_by_example(experts_MBD, _prior_where_empty(exponents_CBE))

    def decodings_BM(self, scale_CB: Tensor) -> Tensor:
        """The total weight of the components that decode each modality: the weight of its private latent's KL."""
        return (self.weights_C[..., None] * scale_CB).mT @ (self.decoded_CM > 0).to(self.weights_C.dtype)

    def assign_B(self, draws: Draws, scale_CB: Tensor) -> Tensor:
        """The component of each example, by its position on the cumulated weights. A dropped component is never assigned."""
        assert draws.position_B is not None
        cumulated_CB = torch.cumsum(self.share_CB(scale_CB), -2)
        # Not beyond the last component whose weight is not 0: rounding may leave the sum below 1.
        index_C1 = torch.arange(scale_CB.shape[-2], device=scale_CB.device)[:, None]
        last_B = (scale_CB > 0).to(torch.int64).mul(index_C1).amax(-2)
        return torch.minimum((cumulated_CB <= draws.position_B[..., None, :]).sum(-2), last_B)

    def share_CB(self, scale_CB: Tensor) -> Tensor:
        """Each component's weight in the mixture; the weights add up to 1."""
        return self.weights_C[..., None] * scale_CB / self.total[..., None, None]

    def kl_B(
        self, components_CBD: Gaussians, experts_MBD: Gaussians, scale_CB: Tensor, present_BM: Tensor | None = None
    ) -> Tensor:
        """sum_c sum_r B_cr KL(q_c || r) in nats, for each example."""
        q = Gaussians(components_CBD.mu.unsqueeze(-3), components_CBD.logvar.unsqueeze(-3))
        if present_BM is None:
            kl_CRB = kl_divergence(q, _each(products(experts_MBD, self.references_RE)))
            return torch.einsum("...cr,...cb,...crb->...b", self.kl_CR, scale_CB, kl_CRB)
        references_RBD, usable_RB = self._present_references(experts_MBD, present_BM)
        weights_CRB = self._present_kl_CRB(usable_RB) * scale_CB.unsqueeze(-2)
        if self._has_kl_factors:
            weights_CRB = weights_CRB * self._kl_factor_RB(present_BM).unsqueeze(-3)
        return (weights_CRB * kl_divergence(q, _each(references_RBD))).sum((-3, -2))

    def _present_kl_CRB(self, usable_RB: Tensor) -> Tensor:
        """The weights B of the KLs. The weight of a dropped reference goes to the other references that contain experts, and not to
        the prior.
        """
        has_experts_R1 = (self.references_RE[..., 1:].sum(-1, keepdim=True) > 0).to(usable_RB.dtype)
        weights_CRB = self.kl_CR[..., None] * usable_RB.unsqueeze(-3)
        total_C1 = self.kl_CR @ has_experts_R1
        usable_total_CB = self.kl_CR @ (usable_RB * has_experts_R1)
        increase_CB = total_C1 / usable_total_CB.clamp(min=torch.finfo(usable_total_CB.dtype).tiny)
        return weights_CRB * torch.where(has_experts_R1.unsqueeze(-3) > 0, increase_CB.unsqueeze(-2), 1.0)

    def _kl_factor_RB(self, present_BM: Tensor) -> Tensor:
        """The factor on the KLs to each reference; it depends on how many modalities an example has."""
        factors_B2 = torch.take_along_dim(self._kl_factors_M2, (present_BM.sum(-1) - 1)[..., None], -2)
        has_experts_R1 = self.references_RE[..., 1:].sum(-1, keepdim=True) > 0
        return torch.where(has_experts_R1, factors_B2[..., None, :, 1], factors_B2[..., None, :, 0])

    def _present_references(self, experts_MBD: Gaussians, present_BM: Tensor) -> tuple[Gaussians, Tensor]:
        """The references (R, B, D) without the experts of hidden modalities, and (R, B): 1 for a reference that can be used, else 0."""
        exponents_RBE = self.references_RE[..., None, :] * _with_prior(present_BM, self.references_RE.dtype)[..., None, :, :]
        present_total_RB = exponents_RBE.sum(-1)
        # A reference with experts is dropped when all of them are hidden, even if the prior expert remains.
        has_present_RB = exponents_RBE[..., 1:].sum(-1) > 0
        usable_RB = (has_present_RB | (self.references_RE[..., 1:].sum(-1, keepdim=True) == 0)).to(present_total_RB.dtype)
        total_R1 = self.references_RE.sum(-1, keepdim=True)
        exponents_RBE = exponents_RBE * (total_R1 / torch.where(present_total_RB > 0, present_total_RB, 1.0))[..., None]
        return products_by_example(experts_MBD, _prior_where_empty(exponents_RBE)), usable_RB

    def mixture_kl_B(self, experts_MBD: Gaussians, z_SBD: Tensor, weights_SB: Tensor, scale_CB: Tensor) -> Tensor:
        """KL(sum_c pi_c q_c || N(0, I)) in nats for each example, estimated by Monte Carlo at weighted samples z."""
        log_pi_CB = torch.log(self.share_CB(scale_CB))
        log_q_SB = [  # sample by sample: all at once would need S x C x B x D numbers
            torch.logsumexp(products_log_prob(experts_MBD, self.experts_CE, z_BD) + log_pi_CB, -2) for z_BD in z_SBD.unbind(-3)
        ]
        log_p_SB = -0.5 * (z_SBD**2 + math.log(2 * math.pi)).sum(-1)
        return (weights_SB * (torch.stack(log_q_SB, -2) - log_p_SB)).sum(-2)


def _with_prior(present_BM: Tensor, dtype: torch.dtype) -> Tensor:
    """1 for each expert that an example has, (B, E); every example has the prior."""
    return torch.nn.functional.pad(present_BM.to(dtype), (1, 0), value=1.0)


def _prior_where_empty(exponents_CBE: Tensor) -> Tensor:
    """The exponents, with the prior in each product that has no expert: its weight is 0, but its numbers must be finite."""
    empty_CB1 = (exponents_CBE.sum(-1, keepdim=True) == 0).to(exponents_CBE.dtype)
    prior_E = torch.eye(exponents_CBE.shape[-1], dtype=exponents_CBE.dtype, device=empty_CB1.device)[0]
    return exponents_CBE + empty_CB1 * prior_E


def _each(references_RBD: Gaussians) -> Gaussians:
    """The references with an axis of components, (1, R, B, D), so that they broadcast against every component."""
    return Gaussians(references_RBD.mu.unsqueeze(-4), references_RBD.logvar.unsqueeze(-4))
