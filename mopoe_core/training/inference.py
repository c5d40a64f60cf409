"""A trained model for users: it gives samples as arrays and strings, and latents as a table.

Shape suffixes: B given example, N sample, D shared latent dimension, P private dimension, A label.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mopoe_core.data.plain_values import given_examples, plain
from mopoe_core.data.types import Split
from mopoe_core.models.loss import with_private
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.random_streams import generator
from mopoe_core.spelling import nearest

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 512
"""Samples or examples that pass through the networks at a time. This bounds the memory."""


class TrainedModel(MultimodalVAE):
    """A trained model in evaluation mode, as `mopoe_core.load` returns it."""

    @torch.no_grad()
    def sample(self, count: int, given: Mapping[str, Any] | None = None, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Samples of every modality, by name: images in [0, 1], vectors, and text as strings.

        Without `given`, samples are drawn from the prior: (count, *shape). `given` has one or more modalities, by name. With one example
        (*shape) of each, the result is `count` samples (count, *shape); with B examples (B, *shape), it is (B, count, *shape). Images are
        given in [0, 1] or as bytes, and text as strings; shorter strings are padded. A sample is a draw of the latents, decoded to the
        mean of the likelihood (text: to the most probable characters). The same seed gives the same samples.

        Raises ValueError, which names the modality, if there is no such modality, or if its shape or values are wrong.
        """
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"count: {count!r} is not offered; allowed: a whole number from 1 on")
        rng = generator(torch.device("cpu"), seed, "sample")
        if given is None:
            return self._plain([self._from_prior(size, rng) for size in _parts(count)])
        examples, is_single = self._given(given)
        repeated = {name: values.repeat_interleave(count, 0) for name, values in examples.items()}
        samples = self._plain([self.generate_given(batch, rng) for batch in self._batches(repeated)])
        if is_single:
            return samples
        return {name: values.reshape(-1, count, *values.shape[1:]) for name, values in samples.items()}

    @torch.no_grad()
    def latents(self, examples: Split, given: Sequence[str] | None = None, seed: int = 0) -> "pd.DataFrame":
        """A table with one row for each example of a split: `label` (or a column for each attribute), then `z0`, `z1`, ...

        The `z` are the means of the shared latent's posterior given the modalities `given`; by default, given all modalities. If the
        posterior is a mixture (MMVAE), they are the means of one member, drawn with the seed, as for the linear probes.
        """
        import pandas as pd  # takes half a second, and a worker that loads a checkpoint does not need it

        names = [m.name for m in self.modalities] if given is None else list(given)
        self._check_names(names)
        rng = generator(torch.device("cpu"), seed, "latents")
        parts = []
        for rows in torch.arange(len(examples)).split(AT_ONCE):
            batch = examples.batch(rows)
            x = {name: batch[name].to(self._device) for name in names}
            parts.append(self.posterior_given(x, rng).mu.cpu())
        labels_NA = examples.labels.reshape(len(examples), -1).cpu().numpy()
        labels = pd.DataFrame(labels_NA, columns=list(self.config.attributes or ("label",)))
        means = pd.DataFrame(torch.cat(parts).numpy(), columns=[f"z{d}" for d in range(self.config.latent_dim)])
        return pd.concat([labels, means], axis=1).rename_axis("example")

    @property
    def _device(self) -> torch.device:
        return self.objective.experts_CE.device

    def _from_prior(self, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Every modality, (N, *shape), from one draw of the shared latent and one of each private latent."""

        def noise(size: int) -> Tensor:
            return torch.randn(count, size, generator=rng).to(self._device)

        z_ND = noise(self.config.latent_dim)
        return {m.name: self.generate(with_private(z_ND, noise(self.config.private_dim)), m) for m in self.modalities}

    def _given(self, given: Mapping[str, Any]) -> tuple[dict[str, Tensor], bool]:
        """The given modalities as tensors (B, *shape), and whether they are a single example."""
        self._check_names(list(given))
        pairs = {m.name: given_examples(m, given[m.name]) for m in self.modalities if m.name in given}
        counts = {name: len(values) for name, (values, _) in pairs.items()}
        is_single = {name: single for name, (_, single) in pairs.items()}
        if len(set(counts.values())) > 1 or len(set(is_single.values())) > 1:
            numbers = ", ".join(f"{'one' if is_single[name] else counts[name]} of {name}" for name in pairs)
            raise ValueError(f"given: has {numbers}; give one example of each, or equally many")
        return {name: values.to(self._device) for name, (values, _) in pairs.items()}, all(is_single.values())

    def _check_names(self, names: Sequence[str]) -> None:
        known = [m.name for m in self.modalities]
        if not names:
            raise ValueError(f"given: has no modality; give one or more of {', '.join(known)}")
        for name in names:
            if name not in known:
                raise ValueError(f"given: {name!r} is no modality{nearest(name, known)}; allowed: {', '.join(known)}")

    def _batches(self, x: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The examples in batches of at most `AT_ONCE`."""
        parts = zip(*(values.split(AT_ONCE) for values in x.values()), strict=True)
        return [dict(zip(x, part, strict=True)) for part in parts]

    def _plain(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, NDArray[Any]]:
        """All batches of each modality as one array of plain values."""
        return {m.name: plain(m, torch.cat([batch[m.name] for batch in batches])) for m in self.modalities}


def _parts(count: int) -> list[int]:
    """Whole numbers up to `AT_ONCE` whose sum is `count`."""
    return [min(AT_ONCE, count - start) for start in range(0, count, AT_ONCE)]
