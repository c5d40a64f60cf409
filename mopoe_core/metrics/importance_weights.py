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

from mopoe_core.metrics.decoding import log_likelihood
from mopoe_core.models.gaussians import Gaussians
from mopoe_core.models.loss import Encoded
from mopoe_core.models.model import MultimodalVAE


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
    samples = _Samples(products_RBD, model.config.importance_samples, chance)
    joint = _Joint(model, x, encoded.private, samples.z_RKBD, chance)
    bounds, views = [], []
    for rows, subset in zip(members, given, strict=True):
        log_p = {row: joint.log_weight(row, subset) for row in rows}
        bounds.append(_bound(rows, samples, log_p))
        views.append(paper_view([log_p[row] - samples.log_q(row, row) for row in rows]))
    return torch.stack(bounds), torch.stack(views)


class _Samples:
    """K samples of each product, z (R, K, B, D), and their log-densities."""

    def __init__(self, products_RBD: Gaussians, count: int, chance: torch.Generator) -> None:
        mu, logvar = products_RBD.mu, products_RBD.logvar
        self._mu_RBD, self._precision_RBD = mu, torch.exp(-0.5 * logvar)  # square roots of precisions
        self._constant_RB = -0.5 * (logvar + math.log(2 * math.pi)).sum(-1)
        self.count = count
        self.z_RKBD = mu.new_empty(len(mu), count, *mu.shape[1:])
        self._log_q: dict[tuple[int, int], Tensor] = {}
        # One product after the other: its samples stay in a CPU's cache from the first pass over them to the last.
        for row, (z_KBD, mu_BD, deviation_BD) in enumerate(zip(self.z_RKBD, mu, torch.exp(0.5 * logvar), strict=True)):
            z_KBD.normal_(generator=chance)
            self._log_q[row, row] = self._density(row, z_KBD)
            z_KBD.mul_(deviation_BD).add_(mu_BD)

    def log_q(self, row: int, of: int) -> Tensor:
        """(K, B): the log-density of one product at the samples of another, or its own."""
        if (row, of) not in self._log_q:
            standardised_KBD = (self.z_RKBD[of] - self._mu_RBD[row]).mul_(self._precision_RBD[row])
            self._log_q[row, of] = self._density(row, standardised_KBD)
        return self._log_q[row, of]

    def _density(self, row: int, standardised_KBD: Tensor) -> Tensor:
        return self._constant_RB[row] - 0.5 * _squared_norm(standardised_KBD)


class _Joint:
    """log p(z) + sum_m log p(x_m|z, s_m) p(s_m) / q(s_m) at each product's samples z and fresh private samples s.

    A modality is decoded once a product for all subsets that hold it, and with private latents once more for those that do not.
    """

    def __init__(
        self,
        model: MultimodalVAE,
        x: Mapping[str, Tensor],
        private_MBP: Gaussians,
        z_RKBD: Tensor,
        chance: torch.Generator,
    ) -> None:
        self._model, self._x, self._private_MBP, self._z_RKBD, self._chance = model, x, private_MBP, z_RKBD, chance
        self._terms: dict[tuple[int, int, bool], Tensor] = {}
        self._prior = [_standard_normal(z_KBD) for z_KBD in z_RKBD]
        if not model.config.private_dim:
            self._decode_all()

    def log_weight(self, row: int, given: Sequence[int]) -> Tensor:
        """(K, B), for a product and the modalities whose private latents are proposed by their own posteriors."""
        log_p_KB = self._prior[row]
        for m in range(len(self._model.modalities)):
            key = row, m, m in given or not self._model.config.private_dim
            if key not in self._terms:
                self._terms[key] = self._term(*key)
            log_p_KB = log_p_KB + self._terms[key]
        return log_p_KB

    def _decode_all(self) -> None:
        """All products' samples of a modality together."""
        for m, modality in enumerate(self._model.modalities):
            latents_NBD = self._z_RKBD.flatten(0, 1)
            decoded_NB = log_likelihood(self._model, latents_NBD, self._x[modality.name], modality)
            for row, decoded_KB in enumerate(decoded_NB.view(self._z_RKBD.shape[:3])):
                self._terms[row, m, True] = decoded_KB

    def _term(self, row: int, m: int, is_given: bool) -> Tensor:
        z_KBD, private_BP = self._z_RKBD[row], Gaussians(self._private_MBP.mu[m], self._private_MBP.logvar[m])
        modality = self._model.modalities[m]
        noise_KBP = torch.randn(len(z_KBD), *private_BP.mu.shape, generator=self._chance, device=self._chance.device)
        s_KBP = private_BP.sample(noise_KBP) if is_given else noise_KBP
        decoded_KB = log_likelihood(self._model, torch.cat([z_KBD, s_KBP], -1), self._x[modality.name], modality)
        return decoded_KB + _standard_normal(s_KBP) - private_BP.log_prob(s_KBP) if is_given else decoded_KB


def _squared_norm(z: Tensor) -> Tensor:
    """Over the last axis, in one pass."""
    norm: Tensor = torch.linalg.vector_norm(z, dim=-1)
    return norm.square_()


def _standard_normal(z: Tensor) -> Tensor:
    return -0.5 * (_squared_norm(z) + z.shape[-1] * math.log(2 * math.pi))


def _bound(rows: Sequence[int], samples: _Samples, log_p: Mapping[int, Tensor]) -> Tensor:
    """log of an unbiased estimate of p(X), (B,): the members' strata of one mixture, K samples in all, at least one from each."""
    share, more = divmod(samples.count, len(rows))
    terms = []
    for place, row in enumerate(rows):
        count = share + (place < more)
        log_q_RKB = torch.stack([samples.log_q(member, row)[:count] for member in rows])
        log_q_KB = torch.logsumexp(log_q_RKB, 0) - math.log(len(rows))
        terms.append(log_p[row][:count] - log_q_KB - math.log(count * len(rows)))
    return torch.logsumexp(torch.cat(terms), 0)


def paper_view(log_weights_RKB: list[Tensor]) -> Tensor:
    """(K, B) weights flattened and read as (B, K), as released; of several members each takes a slice of the batch."""
    members, (samples, batch) = len(log_weights_RKB), log_weights_RKB[0].shape
    width = max(1, batch // members)
    starts = [min(place * width, batch) for place in range(members)] + [batch]
    slices = [w[:, a:b] for w, a, b in zip(log_weights_RKB, starts, starts[1:], strict=False)]
    weights_KB = torch.cat(slices, 1)
    return torch.logsumexp(weights_KB.reshape(batch, samples), 1) - math.log(samples)
