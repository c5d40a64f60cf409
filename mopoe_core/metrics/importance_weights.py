"""Importance-sampled log-likelihoods: log p(X) of all modalities, with proposals q(z|X_S).

    log_likelihood             importance-weighted bound: z is drawn from q(z|X_S) and weighted by the density of q(z|X_S) itself. A
                               mixture is sampled by strata, K / |S| from each member, so the estimate of p(X) is unbiased.
    log_likelihood_paper_view  the released code's number. It flattens the (K, B) weights and reads them as (B, K), so each
                               log-mean-exp runs over different examples. Not a bound. MMVAE uses one member for each slice of a batch.

The private latent of modality m is proposed by q(s_m|x_m) if m is in S, and by the prior otherwise, as released: the proposals know only
the given modalities.

Shape suffixes: B batch, M modality, R distinct product, S subset, K importance sample, D latent dimension, P private dimension.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

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
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Returns `log_likelihood` and `log_likelihood_paper_view` of every subset, each (S, B), in nats.

    A subset's posterior is the uniform mixture of the rows `members` of `products_RBD`; `given` has the indices of its modalities. Each
    distinct product is sampled once: the mixtures of MMVAE reuse their members' samples.
    """
    samples = _Samples(products_RBD, model.config.importance_samples, rng)
    joint = _Joint(model, x, encoded.private, samples.z_RKBD, rng)
    bounds, views = [], []
    for rows, subset in zip(members, given, strict=True):
        log_p = {row: joint.log_weight(row, subset) for row in rows}
        bounds.append(_bound(rows, samples, log_p))
        views.append(paper_view([log_p[row] - samples.log_q(row, row) for row in rows]))
    return torch.stack(bounds), torch.stack(views)


class _Samples:
    """K samples z of each product, (R, K, B, D), and their log-densities."""

    def __init__(self, products_RBD: Gaussians, count: int, rng: torch.Generator) -> None:
        mu, logvar = products_RBD.mu, products_RBD.logvar
        self._mu_RBD, self._inverse_deviation_RBD = mu, torch.exp(-0.5 * logvar)
        self._constant_RB = -0.5 * (logvar + math.log(2 * math.pi)).sum(-1)
        self.count = count
        self.z_RKBD = mu.new_empty(len(mu), count, *mu.shape[1:])
        self._log_q: dict[tuple[int, int], Tensor] = {}
        # One product at a time, so that its samples stay in a CPU's cache from the first pass over them to the last.
        for row, (z_KBD, mu_BD, deviation_BD) in enumerate(zip(self.z_RKBD, mu, torch.exp(0.5 * logvar), strict=True)):
            z_KBD.normal_(generator=rng)
            self._log_q[row, row] = self._log_density(row, z_KBD)
            z_KBD.mul_(deviation_BD).add_(mu_BD)

    def log_q(self, row: int, sampled_row: int) -> Tensor:
        """Returns the log-density of product `row` at the samples of product `sampled_row`, (K, B)."""
        key = row, sampled_row
        if key not in self._log_q:
            standardised_KBD = (self.z_RKBD[sampled_row] - self._mu_RBD[row]).mul_(self._inverse_deviation_RBD[row])
            self._log_q[key] = self._log_density(row, standardised_KBD)
        return self._log_q[key]

    def _log_density(self, row: int, standardised_KBD: Tensor) -> Tensor:
        return self._constant_RB[row] - 0.5 * _squared_norm(standardised_KBD)


class _Joint:
    """log p(z) + sum_m log p(x_m|z, s_m) p(s_m) / q(s_m) at each product's samples z and fresh private samples s.

    Each modality is decoded once for each product. With private latents it is decoded twice: once for the subsets that contain the
    modality, and once for those that do not.
    """

    def __init__(
        self,
        model: MultimodalVAE,
        x: Mapping[str, Tensor],
        private_MBP: Gaussians,
        z_RKBD: Tensor,
        rng: torch.Generator,
    ) -> None:
        self._model, self._x, self._private_MBP, self._z_RKBD, self._rng = model, x, private_MBP, z_RKBD, rng
        self._terms: dict[tuple[int, int, bool], Tensor] = {}
        self._prior = [_standard_normal(z_KBD) for z_KBD in z_RKBD]
        if not model.config.private_dim:
            self._decode_all()

    def log_weight(self, row: int, given: Sequence[int]) -> Tensor:
        """Returns the sum for product `row`, (K, B). The private latents of the `given` modalities come from their posteriors."""
        log_p_KB = self._prior[row]
        for m in range(len(self._model.modalities)):
            key = row, m, m in given or not self._model.config.private_dim
            if key not in self._terms:
                self._terms[key] = self._term(*key)
            log_p_KB = log_p_KB + self._terms[key]
        return log_p_KB

    def _decode_all(self) -> None:
        """Decodes each modality once, from the samples of all products together."""
        for m, modality in enumerate(self._model.modalities):
            latents_NBD = self._z_RKBD.flatten(0, 1)
            log_p_NB = log_likelihood(self._model, latents_NBD, self._x[modality.name], modality)
            for row, log_p_KB in enumerate(log_p_NB.view(self._z_RKBD.shape[:3])):
                self._terms[row, m, True] = log_p_KB

    def _term(self, row: int, m: int, is_given: bool) -> Tensor:
        """Returns log p(x_m|z, s_m) p(s_m) / q(s_m), (K, B). If m is not given, q(s_m) is p(s_m) and both cancel."""
        z_KBD, modality = self._z_RKBD[row], self._model.modalities[m]
        private_BP = Gaussians(self._private_MBP.mu[m], self._private_MBP.logvar[m])
        noise_KBP = torch.randn(len(z_KBD), *private_BP.mu.shape, generator=self._rng, device=self._rng.device)
        s_KBP = private_BP.sample(noise_KBP) if is_given else noise_KBP
        log_p_KB = log_likelihood(self._model, torch.cat([z_KBD, s_KBP], -1), self._x[modality.name], modality)
        return log_p_KB + _standard_normal(s_KBP) - private_BP.log_prob(s_KBP) if is_given else log_p_KB


def _squared_norm(z: Tensor) -> Tensor:
    """Returns the squared norm over the last axis, computed in one pass."""
    norm: Tensor = torch.linalg.vector_norm(z, dim=-1)
    return norm.square_()


def _standard_normal(z: Tensor) -> Tensor:
    """Returns the log-density of the standard normal over the last axis."""
    return -0.5 * (_squared_norm(z) + z.shape[-1] * math.log(2 * math.pi))


def _bound(rows: Sequence[int], samples: _Samples, log_p: Mapping[int, Tensor]) -> Tensor:
    """Returns the log of an unbiased estimate of p(X), (B,), for the uniform mixture of the products `rows`.

    Takes K samples in all, by strata: K / len(rows) from each member, and at least one. `log_p` has `_Joint.log_weight` by row.
    """
    share, remainder = divmod(samples.count, len(rows))
    terms = []
    for position, row in enumerate(rows):
        count = share + (position < remainder)
        log_q_RKB = torch.stack([samples.log_q(member, row)[:count] for member in rows])
        log_q_KB = torch.logsumexp(log_q_RKB, 0) - math.log(len(rows))
        terms.append(log_p[row][:count] - log_q_KB - math.log(count * len(rows)))
    return torch.logsumexp(torch.cat(terms), 0)


def paper_view(log_weights_RKB: list[Tensor]) -> Tensor:
    """Returns the log-mean-exp of (K, B) log-weights that are flattened and read as (B, K), as released, (B,).

    Each of several members gives the weights of one slice of the batch.
    """
    members, (samples, batch) = len(log_weights_RKB), log_weights_RKB[0].shape
    width = max(1, batch // members)
    bounds = [min(position * width, batch) for position in range(members)] + [batch]
    slices = [w_KB[:, start:end] for w_KB, (start, end) in zip(log_weights_RKB, pairwise(bounds), strict=True)]
    log_weights_KB = torch.cat(slices, 1)
    return torch.logsumexp(log_weights_KB.reshape(batch, samples), 1) - math.log(samples)
