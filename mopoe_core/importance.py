"""Importance-sampled log-likelihoods: log p(X) of all modalities, with proposals q(z|X_S).

    log_likelihood             importance-weighted bound: z from q(z|X_S), weights against the density of q(z|X_S) itself. A mixture
                               is sampled by strata, K / |S| from each member, which keeps the estimate of p(X) unbiased.
    log_likelihood_paper_view  the released code's number: weights laid out as (K, B), flattened and read as (B, K), so that each
                               log-mean-exp runs over different examples. Not a bound. MMVAE takes one member an example, in slices.

Private latents are proposed by q(s_m|x_m) where modality m is in S, and by the prior where it is not, as released: what is given says
all that the proposals know.

Shape suffixes: B batch, M modality, R distinct product, S subset, K importance sample, D latent dimension, P private dimension.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mopoe_core.data.types import Modality
from mopoe_core.model import Encoded, MultimodalVAE
from mopoe_core.objective import Gaussians

DECODED_AT_ONCE = 10_000_000  # numbers: all samples of a batch of digits, a few of a batch of faces


def log_likelihoods(
    model: MultimodalVAE,
    x: Mapping[str, Tensor],
    encoded: Encoded,
    products_RBD: Gaussians,
    members: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    chance: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """`log_likelihood` and `log_likelihood_paper_view` of every subset, each (S, B), in nats.

    For each subset, `members` holds the rows of `products_RBD` that its posterior is the uniform mixture of, and `given` its modalities
    by index. Each distinct product is sampled once: the mixtures of MMVAE reuse their members' samples.
    """
    samples = model.config.importance_samples
    each_BD = [Gaussians(mu, logvar) for mu, logvar in zip(products_RBD.mu, products_RBD.logvar, strict=True)]
    z_RKBD = [q.sample(torch.randn(samples, *q.mu.shape, generator=chance, device=chance.device)) for q in each_BD]
    joint = _Joint(model, x, encoded.private, z_RKBD, chance)
    bounds, views = [], []
    for rows, subset in zip(members, given, strict=True):
        log_p = {row: joint.log_weight(row, subset) for row in rows}
        bounds.append(_bound(products_RBD, rows, z_RKBD, log_p))
        views.append(_paper_view([log_p[row] - each_BD[row].log_prob(z_RKBD[row]) for row in rows]))
    return torch.stack(bounds), torch.stack(views)


class _Joint:
    """log p(z) + sum_m log p(x_m|z, s_m) p(s_m) / q(s_m) at each product's samples z and fresh private samples s.

    A modality is decoded once a product for all subsets that hold it, and with private latents once more for those that do not.
    """

    def __init__(
        self,
        model: MultimodalVAE,
        x: Mapping[str, Tensor],
        private_MBP: Gaussians,
        z_RKBD: Sequence[Tensor],
        chance: torch.Generator,
    ) -> None:
        self._model, self._x, self._private_MBP, self._z_RKBD, self._chance = model, x, private_MBP, z_RKBD, chance
        self._terms: dict[tuple[int, int, bool], Tensor] = {}

    def log_weight(self, row: int, given: Sequence[int]) -> Tensor:
        """(K, B), for a product and the modalities whose private latents are proposed by their own posteriors."""
        log_p_KB = _standard_normal(self._z_RKBD[row])
        for m in range(len(self._model.modalities)):
            key = row, m, m in given or not self._model.config.private_dim
            if key not in self._terms:
                self._terms[key] = self._term(*key)
            log_p_KB = log_p_KB + self._terms[key]
        return log_p_KB

    def _term(self, row: int, m: int, is_given: bool) -> Tensor:
        z_KBD, private_BP = self._z_RKBD[row], Gaussians(self._private_MBP.mu[m], self._private_MBP.logvar[m])
        noise_KBP = torch.randn(len(z_KBD), *private_BP.mu.shape, generator=self._chance, device=self._chance.device)
        s_KBP = private_BP.sample(noise_KBP) if is_given else noise_KBP
        decoded_KB = _decoded(self._model, self._x, self._model.modalities[m], torch.cat([z_KBD, s_KBP], -1))
        return decoded_KB + _standard_normal(s_KBP) - private_BP.log_prob(s_KBP) if is_given else decoded_KB


def _decoded(model: MultimodalVAE, x: Mapping[str, Tensor], modality: Modality, latents_KBL: Tensor) -> Tensor:
    """log p(x_m|latents), (K, B), a few samples at a time where a decoded batch is large."""
    at_once = max(1, DECODED_AT_ONCE // (latents_KBL.shape[1] * modality.elements))
    return torch.cat([model.log_likelihood(part, x, modality) for part in latents_KBL.split(at_once)])


def _standard_normal(z: Tensor) -> Tensor:
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)


def _bound(products_RBD: Gaussians, rows: Sequence[int], z_RKBD: Sequence[Tensor], log_p: Mapping[int, Tensor]) -> Tensor:
    """log of an unbiased estimate of p(X), (B,): the members' strata of one mixture, K samples in all, at least one from each."""
    share, more = divmod(len(z_RKBD[0]), len(rows))
    terms = []
    for place, row in enumerate(rows):
        count = share + (place < more)
        z_KBD = z_RKBD[row][:count]
        log_q_KB = torch.logsumexp(
            torch.stack([Gaussians(products_RBD.mu[r], products_RBD.logvar[r]).log_prob(z_KBD) for r in rows]), 0
        ) - math.log(len(rows))
        terms.append(log_p[row][:count] - log_q_KB - math.log(count * len(rows)))
    return torch.logsumexp(torch.cat(terms), 0)


def _paper_view(log_weights_RKB: list[Tensor]) -> Tensor:
    """(K, B) weights flattened and read as (B, K), as released; of several members each takes a slice of the batch."""
    samples, batch = log_weights_RKB[0].shape
    slices_B = (torch.arange(batch) // max(1, batch // len(log_weights_RKB))).clamp(max=len(log_weights_RKB) - 1)
    stacked_RKB = torch.stack(log_weights_RKB)
    weights_BK = stacked_RKB[slices_B.to(stacked_RKB.device), :, torch.arange(batch, device=stacked_RKB.device)]
    return torch.logsumexp(weights_BK.T.reshape(-1).view(batch, samples), 1) - math.log(samples)
