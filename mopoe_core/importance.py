"""Importance-sampled log-likelihoods: log p(X) of all modalities, with proposals q(z|X_S).

    log_likelihood             importance-weighted bound: z from q(z|X_S), weights against the density of q(z|X_S) itself. A mixture
                               is sampled by strata, K / |S| from each member, which keeps the estimate of p(X) unbiased.
    log_likelihood_paper_view  the released code's number: weights laid out as (K, B), flattened and read as (B, K), so that each
                               log-mean-exp runs over different examples. Not a bound. MMVAE takes one member an example, in slices.

Private latents are proposed by every modality's own posterior q(s_m|x_m), whatever S is: the estimate of p(X) stays unbiased.

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
    chance: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """`log_likelihood` and `log_likelihood_paper_view` of every subset, each (S, B), in nats.

    `members` holds, for each subset, the rows of `products_RBD` that its posterior is the uniform mixture of. Each distinct product
    is sampled and decoded once: the mixtures of MMVAE reuse their members' samples.
    """
    samples = model.config.importance_samples
    z_RKBD, log_p_RKB = [], []
    for mu, logvar in zip(products_RBD.mu, products_RBD.logvar, strict=True):
        noise = torch.randn(samples, *mu.shape, generator=chance, device=chance.device)
        z_RKBD.append(Gaussians(mu, logvar).sample(noise))
        log_p_RKB.append(_log_joint(model, x, encoded.private, z_RKBD[-1], chance))
    own_RKB = [Gaussians(products_RBD.mu[r], products_RBD.logvar[r]).log_prob(z) for r, z in enumerate(z_RKBD)]
    bounds = [_bound(products_RBD, rows, z_RKBD, log_p_RKB) for rows in members]
    views = [_paper_view([log_p_RKB[r] - own_RKB[r] for r in rows]) for rows in members]
    return torch.stack(bounds), torch.stack(views)


def _log_joint(
    model: MultimodalVAE, x: Mapping[str, Tensor], private_MBP: Gaussians, z_KBD: Tensor, chance: torch.Generator
) -> Tensor:
    """log p(z) + sum_m log p(x_m|z, s_m) p(s_m) / q(s_m|x_m), (K, B), at fresh private samples."""
    log_p_KB = _standard_normal(z_KBD)
    for m, modality in enumerate(model.modalities):
        private_BP = Gaussians(private_MBP.mu[m], private_MBP.logvar[m])
        noise = torch.randn(len(z_KBD), *private_BP.mu.shape, generator=chance, device=chance.device)
        s_KBP = private_BP.sample(noise)
        decoded_KB = _decoded(model, x, modality, torch.cat([z_KBD, s_KBP], -1))
        log_p_KB = log_p_KB + decoded_KB + _standard_normal(s_KBP) - private_BP.log_prob(s_KBP)
    return log_p_KB


def _decoded(model: MultimodalVAE, x: Mapping[str, Tensor], modality: Modality, latents_KBL: Tensor) -> Tensor:
    """log p(x_m|latents), (K, B), a few samples at a time where a decoded batch is large."""
    at_once = max(1, DECODED_AT_ONCE // (latents_KBL.shape[1] * modality.elements))
    return torch.cat([model.log_likelihood(part, x, modality) for part in latents_KBL.split(at_once)])


def _standard_normal(z: Tensor) -> Tensor:
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)


def _bound(products_RBD: Gaussians, rows: Sequence[int], z_RKBD: Sequence[Tensor], log_p_RKB: Sequence[Tensor]) -> Tensor:
    """log of an unbiased estimate of p(X), (B,): the members' strata of one mixture, K samples in all."""
    share, more = divmod(len(z_RKBD[0]), len(rows))
    terms = []
    for place, row in enumerate(rows):
        count = share + (place < more)
        if count == 0:
            continue  # fewer samples than members: the first members stand for all
        z_KBD = z_RKBD[row][:count]
        log_q_KB = torch.logsumexp(
            torch.stack([Gaussians(products_RBD.mu[r], products_RBD.logvar[r]).log_prob(z_KBD) for r in rows]), 0
        ) - math.log(len(rows))
        terms.append(log_p_RKB[row][:count] - log_q_KB - math.log(count * len(rows)))
    return torch.logsumexp(torch.cat(terms), 0)


def _paper_view(log_weights_RKB: list[Tensor]) -> Tensor:
    """(K, B) weights flattened and read as (B, K), as released; of several members each takes a slice of the batch."""
    samples, batch = log_weights_RKB[0].shape
    slices_B = (torch.arange(batch) // max(1, batch // len(log_weights_RKB))).clamp(max=len(log_weights_RKB) - 1)
    stacked_RKB = torch.stack(log_weights_RKB)
    weights_BK = stacked_RKB[slices_B.to(stacked_RKB.device), :, torch.arange(batch, device=stacked_RKB.device)]
    return torch.logsumexp(weights_BK.T.reshape(-1).view(batch, samples), 1) - math.log(samples)
