"""What a dataset is: modalities, and splits whose examples are rows of indices into arrays of distinct items."""

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
    """Which classifier judges it (`mopoe_core.metrics.classifier_networks.RECIPES`), where it is not the published one."""
    alphabet: str = ""
    """Of text: the character of each symbol."""
    likelihood: str = ""
    """The modality's own; empty for images that take the configuration's, and for text."""
    own: str = ""
    """Of a user's dataset: the reference under which `mopoe_core.data.own.user_data` knows its networks."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} of modality {self.name} is not offered; allowed: {', '.join(KINDS)}")

    @property
    def elements(self) -> int:
        """Numbers that the networks see."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Numbers that the reconstruction weights count: pixels times channels, or characters (Appendix B)."""
        return self.shape[0] if self.kind == "text" else self.elements

    def to_float(self, items: Tensor) -> Tensor:
        """Items to what networks and likelihoods see: images of bytes scaled to [0, 1], characters one-hot, floats as they are."""
        if self.kind == "text":
            # F.one_hot gives int64, of twice the bytes, to be converted.
            return F.embedding(items.int(), torch.eye(self.shape[1], device=items.device))
        return items.float().div_(255) if items.dtype == torch.uint8 and self.kind == "image" else items.float()


@dataclass(frozen=True)
class Split:
    """Examples as rows of indices into arrays of distinct items: the triples of MNIST-SVHN-Text share their images."""

    modalities: tuple[Modality, ...]
    items: Mapping[str, Tensor]
    """uint8, (items, *shape) for images, (items, length) for text; float32, (items, features) for vectors, and for images in [0, 1]
    that bytes would not hold."""
    item_labels: Mapping[str, Tensor]
    """(items,): the class of each distinct item, for the classifiers; with attributes, (items, A) of zeros and ones, uint8."""
    rows: Mapping[str, Tensor]
    """(N,): the item of each example."""
    labels: Tensor
    """(N,): the class of each example; with attributes, (N, A) of zeros and ones, uint8."""
    digits: Mapping[str, Tensor] = field(default_factory=dict)
    """(N,): which digit image each example's item was made from, where one image was made into items of several modalities or examples
    (PolyMNIST). Empty where an item stands for itself, and where this is not known."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def batch(self, index_B: Tensor) -> dict[str, Tensor]:
        """The examples with these indices, as floats, on the split's device: (B, *shape), with any axes before B that the index has."""
        return {m.name: m.to_float(_chosen(self.items[m.name], self.rows[m.name][index_B])) for m in self.modalities}

    def take(self, count: int | None, seed: int) -> "Split":
        """A fixed random selection of `count` examples, or all for None."""
        if count is None:
            return self
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        rows, digits = ({name: values[chosen] for name, values in part.items()} for part in (self.rows, self.digits))
        return replace(self, rows=rows, labels=self.labels[chosen], digits=digits)

    def to(self, device: torch.device) -> "Split":
        """The same split with everything on `device`."""
        if device.type == "cpu":
            return self
        parts = (self.items, self.item_labels, self.rows, self.digits)
        items, item_labels, rows, digits = ({name: values.to(device) for name, values in part.items()} for part in parts)
        return Split(self.modalities, items, item_labels, rows, self.labels.to(device), digits)

    def units(self) -> Tensor | None:
        """What makes examples depend on each other, (N, M'): of each modality the digit image, or else the item, that an example shows.

        Different units have different numbers, and a unit has one number in all modalities. Texts are left out: a word has some forty
        spellings, which are all of them and no sample. None where nothing is left.
        """
        shown, least = [], 0
        for modality in self.modalities:
            name = modality.name
            if name in self.digits:
                shown.append(self.digits[name])
            elif modality.kind != "text":
                least -= 1 + int(self.rows[name].max())
                shown.append(self.rows[name] + least)
        return torch.stack(shown, 1) if shown else None


def _chosen(items: Tensor, rows: Tensor) -> Tensor:
    """items[rows], item by item and not, as indexing has it, byte by byte: on a CPU 20 times as fast for a colour picture."""
    chosen = items.index_select(0, rows.flatten())
    return chosen.view(*rows.shape, *items.shape[1:])


@dataclass(frozen=True)
class Dataset:
    """A dataset, loaded."""

    name: str
    source: str
    modalities: tuple[Modality, ...]
    train: Split
    test: Split
    classes: int
    """Number of classes; with attributes, of attributes."""
    hash: str
    """SHA-256 over the content of every array, or a user's own dataset's fingerprint: what provenance records."""
    attributes: tuple[str, ...] = ()
    """Names of the attributes that an example has or has not, where labels are attributes and not one class."""
    remarks: tuple[str, ...] = ()
    """What was said of the files that it was built from, a line each."""
