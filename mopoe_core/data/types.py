"""Datasets in memory: modalities, and splits whose examples are rows of indices into arrays of distinct items."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from mopoe_core.data.own.checks import KINDS


@dataclass(frozen=True)
class Modality:
    """One kind of observation."""

    name: str
    kind: str
    """`image`: (channels, height, width) in [0, 1]; `text`: (length, symbols), one-hot; `vector`: (features,)."""
    shape: tuple[int, ...]
    bounded: bool = False
    """Whether an image decoder's mean is kept in [0, 1] by a sigmoid (MNIST's is, SVHN's is not, as released)."""
    architecture: str = ""
    """Which published networks and classifier it has (`mopoe_core.networks.networks.PAPER`); empty for none."""
    judge: str = ""
    """Which classifier judges it (`mopoe_core.metrics.classifier_networks.RECIPES`); empty for the published one."""
    alphabet: str = ""
    """Only for text: the character of each symbol."""
    likelihood: str = ""
    """The modality's likelihood; empty for images that take the configuration's, and for text."""
    own: str = ""
    """Only in a user's own dataset: the dataset's name, by which `mopoe_core.data.own.user_data` finds the modality's networks."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} of modality {self.name} is not offered; allowed: {', '.join(KINDS)}")

    @property
    def elements(self) -> int:
        """How many numbers of one example the networks see."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """The size that reconstruction weights are computed from: pixels times channels, or characters (Appendix B)."""
        return self.shape[0] if self.kind == "text" else self.elements

    def to_float(self, items: Tensor) -> Tensor:
        """Returns items as networks and likelihoods see them: images of bytes scaled to [0, 1], characters one-hot, floats unchanged."""
        if self.kind == "text":
            # F.one_hot returns int64, which has twice the bytes and must be converted.
            return F.embedding(items.int(), torch.eye(self.shape[1], device=items.device))
        if self.kind == "image" and items.dtype == torch.uint8:
            return items.float().div_(255)
        return items.float()


@dataclass(frozen=True)
class Split:
    """Examples as rows of indices into arrays of distinct items: the triples of MNIST-SVHN-Text share their images."""

    modalities: tuple[Modality, ...]
    items: Mapping[str, Tensor]
    """Images (items, *shape), uint8, or float32 in [0, 1] if bytes would lose grey levels; text (items, length), uint8; vectors
    (items, features), float32."""
    item_labels: Mapping[str, Tensor]
    """(items,): the class of each distinct item, for the classifiers; with attributes, (items, A) of zeros and ones, uint8."""
    rows: Mapping[str, Tensor]
    """(N,): the index of each example's item."""
    labels: Tensor
    """(N,): the class of each example; with attributes, (N, A) of zeros and ones, uint8."""
    digits: Mapping[str, Tensor] = field(default_factory=dict)
    """(N,): the number of the digit image that each example's item was made from, if several items were made from one image
    (PolyMNIST). Empty for other datasets, and if it is not known."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def batch(self, index_B: Tensor) -> dict[str, Tensor]:
        """Returns the examples with these indices, (B, *shape), as floats, on the split's device. `index_B` may have axes before B."""
        return {m.name: m.to_float(_select(self.items[m.name], self.rows[m.name][index_B])) for m in self.modalities}

    def take(self, count: int | None, seed: int) -> "Split":
        """Returns a split of `count` examples, whose random selection depends on `seed` only; all examples if `count` is None."""
        if count is None:
            return self
        index = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        rows = {name: values[index] for name, values in self.rows.items()}
        digits = {name: values[index] for name, values in self.digits.items()}
        return replace(self, rows=rows, labels=self.labels[index], digits=digits)

    def to(self, device: torch.device) -> "Split":
        """Returns the same split with everything on `device`."""
        if device.type == "cpu":
            return self

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: values.to(device) for name, values in tensors.items()}

        return Split(
            modalities=self.modalities,
            items=moved(self.items),
            item_labels=moved(self.item_labels),
            rows=moved(self.rows),
            labels=self.labels.to(device),
            digits=moved(self.digits),
        )

    def units(self) -> Tensor | None:
        """Returns, for each example and modality, the number of the digit image or else of the item that it shows, (N, M').

        Examples that share such a unit depend on each other. Different units have different numbers, and a unit has the same number in
        all modalities. Texts are left out, because the dataset has all of a word's spellings (about forty), and no sample of them.
        Returns None if there are only texts.
        """
        columns: list[Tensor] = []
        offset = 0  # item numbers are negative, and no two modalities share one, so that they never equal a digit image's number
        for modality in self.modalities:
            name = modality.name
            if name in self.digits:
                columns.append(self.digits[name])
            elif modality.kind != "text":
                offset -= 1 + int(self.rows[name].max())
                columns.append(self.rows[name] + offset)
        return torch.stack(columns, 1) if columns else None


def _select(items: Tensor, rows: Tensor) -> Tensor:
    """Returns items[rows]. `index_select` copies item by item, indexing byte by byte: on a CPU 20 times as fast for a colour picture."""
    selected = items.index_select(0, rows.flatten())
    return selected.view(*rows.shape, *items.shape[1:])


@dataclass(frozen=True)
class Dataset:
    """A loaded dataset."""

    name: str
    source: str
    modalities: tuple[Modality, ...]
    train: Split
    test: Split
    classes: int
    """Number of classes; the number of attributes if labels are attributes."""
    hash: str
    """SHA-256 over the content of every array, or the fingerprint of a user's own dataset. A result records it as provenance."""
    attributes: tuple[str, ...] = ()
    """Names of the attributes that an example has or has not; empty if labels are classes."""
    remarks: tuple[str, ...] = ()
    """Notes on the files that it was built from, a line each."""
    partition: str = "test"
    """Which of the dataset's partitions `test` holds: `test`, or `validation`. The hash is the same for both."""
