"""A dataset of the user's own, named in YAML as `folder/file.py:function` or `package.module:function`.

The function takes no arguments and returns an `OwnDataset`: arrays with names. Training, linear probe, coherence, log-likelihood and
fronts then work as for the other datasets. See `examples/tabular.py`.

A fingerprint is part of every trial's identity. It covers the arrays, and each modality's name, kind, likelihood, alphabet and
networks. Of a network it covers the layers as torch prints them and the parameters' names and shapes, but not what `forward`
computes. So other data, another likelihood or another layer make new trials. Every worker calls the function again, and must get the
same data.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array, content_hash
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.data.own import as_arrays, dataset_function, remarks
from mopoe_core.data.own.checks import LEAST_EXAMPLES, LIKELIHOODS, check
from mopoe_core.data.own.networks import mistakes, network_text
from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality
from mopoe_core.data.own.remarks import Remark
from mopoe_core.data.own.user_code import Bound, Code
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torch import nn

    from mopoe_core.data.types import Dataset, Modality, Split

ALPHABET_LIMIT = 256
TRIAL_BATCH = 2
"""Training examples in the batch that networks are tried with, unless training has smaller batches: batch norm refuses a single one."""
MOST_COPIES = 1000
"""Equal images beyond which no image of a modality counts as one item several times: pairs of examples grow with the square."""
FINGERPRINT_LATENT = 20
"""Latent dimensions of the networks that a fingerprint covers: the configuration's default, which every user's networks can have."""


@dataclass(frozen=True)
class _Loaded:
    data: OwnDataset
    card: DatasetCard
    arrays: dict[str, Array]
    alphabets: dict[str, str]
    columns: dict[str, tuple[Any, ...]]
    """By modality, the names of its columns; empty if it was no data frame."""


_root = Path()


def search_from(folder: Path) -> None:
    """Sets the folder in which relative file names and modules are looked for: the one in which the user's command was typed."""
    global _root
    _root = folder


def card(reference: str) -> DatasetCard:
    """Returns what the configuration must know of a user's dataset. Raises DataError, in one line, if it is no dataset."""
    return _loaded(reference, str(_root.absolute())).card


@lru_cache(maxsize=8)
def _remarks(reference: str, root: str) -> tuple[Remark, ...]:
    loaded = _loaded(reference, root)
    return remarks.find(loaded.data, loaded.arrays, loaded.columns)


def remarks_on(reference: str) -> tuple[Remark, ...]:
    """Returns what is odd in a user's dataset and may still be intended. Raises DataError, in one line, if it is no dataset."""
    return _remarks(reference, str(_root.absolute()))


def check_repeats(reference: str, data_hash: str) -> None:
    """Raises DataError if the function returns other data in this process than in the command's, whose fingerprint is `data_hash`."""
    hash_here = card(reference).data_hash
    if hash_here != data_hash:
        raise DataError(
            f"dataset: {reference} returns other data each time it is called (fingerprint {data_hash} in the command, {hash_here} in a "
            "worker); seed what is random in it"
        )


def architecture(reference: str, modality: str) -> OwnModality:
    """Returns a modality as the user's function returned it, with its networks."""
    return next(m for m in _loaded(reference, str(_root.absolute())).data.modalities if m.name == modality)


def with_networks(reference: str) -> list[str]:
    """Returns the names of the modalities that have an encoder or a decoder of the user's."""
    return [m.name for m in _loaded(reference, str(_root.absolute())).data.modalities if m.encoder or m.decoder]


def check_networks(reference: str, latents: Sequence[int], smallest_batch: int = TRIAL_BATCH) -> None:
    """Runs each network of a user's dataset forward for each of these numbers of latent dimensions, on two training examples, or on
    one if the smallest batch has one.

    Raises DataError, with a line for each network that fails, returns other shapes than training needs, changes its input in place,
    shares layers with other trials, or is random or mixes the examples of a batch in evaluation mode. The global generator stays
    unchanged.
    """
    loaded = _loaded(reference, str(_root.absolute()))
    modalities = [m for m in loaded.data.modalities if m.encoder or m.decoder or m.judge]
    if not modalities:
        return
    import torch

    code = _code(reference, _root.absolute())
    lines: list[str] = []
    with torch.random.fork_rng(devices=[]):
        for own_modality in modalities:
            modality = _modality(own_modality, loaded, reference)
            items = np.array(loaded.arrays[f"train-{own_modality.name}"][: min(TRIAL_BATCH, smallest_batch)])
            examples = modality.to_float(torch.from_numpy(items))
            lines += mistakes(
                f"dataset: {reference}: {own_modality.name}", own_modality, modality, examples, latents, loaded.card.classes, code
            )
    if lines:
        raise DataError("\n".join(lines))


def load(reference: str) -> "Dataset":
    """Returns the dataset as tensors. Raises DataError, in one line, if it is no dataset."""
    from torch import nn  # not needed for a card

    from mopoe_core.data.types import Dataset

    loaded = _loaded(reference, str(_root.absolute()))
    for own_modality in loaded.data.modalities:
        if hasattr(
            nn.ModuleDict(), own_modality.name
        ):  # such as `values` or `type`: the model keeps its networks in a ModuleDict
            raise DataError(
                f"dataset: {reference} has a modality named {own_modality.name!r}, which torch keeps for itself; rename it"
            )
    modalities = tuple(_modality(m, loaded, reference) for m in loaded.data.modalities)
    return Dataset(
        name=reference,
        source="own",
        modalities=modalities,
        train=_split(loaded, modalities, "train"),
        test=_split(loaded, modalities, "test"),
        classes=loaded.card.classes,
        hash=loaded.card.data_hash,
    )


def forget() -> None:
    """Forgets every dataset that was loaded: the next call runs the user's function again, as a new process does."""
    _loaded.cache_clear()
    _remarks.cache_clear()


@lru_cache(maxsize=8)
def _loaded(reference: str, root: str) -> _Loaded:
    original = dataset_function.call(reference, Path(root))
    data = as_arrays.with_arrays(f"dataset: {reference}", original)
    check(f"dataset: {reference}", data)
    data = _bound(data, _code(reference, Path(root)))
    arrays: dict[str, Array] = {
        "train-labels": data.train_labels.astype(np.int64),
        "test-labels": data.test_labels.astype(np.int64),
    }
    alphabets = {m.name: _alphabet(reference, m) for m in data.modalities if m.kind == "text"}
    for m in data.modalities:
        arrays[f"train-{m.name}"], arrays[f"test-{m.name}"] = _items(m, alphabets.get(m.name, ""))
    columns = {m.name: as_arrays.column_names(m.train) for m in original.modalities}
    return _Loaded(data, _card(reference, Path(root), data, arrays, alphabets), arrays, alphabets, columns)


def _code(reference: str, root: Path) -> Code:
    return Code(reference.rpartition(":")[0], root)


def _bound(data: OwnDataset, code: Code) -> OwnDataset:
    """Returns the dataset with functions for networks that run as the dataset's own code does (`user_code.running`)."""

    def bound(make: "Callable[[int], nn.Module] | None") -> Bound | None:
        return None if make is None else Bound(code, make)

    modalities = [replace(m, encoder=bound(m.encoder), decoder=bound(m.decoder), judge=bound(m.judge)) for m in data.modalities]
    return replace(data, modalities=tuple(modalities))


def _card(reference: str, root: Path, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> DatasetCard:
    return DatasetCard(
        name=reference,
        modalities=tuple(m.name for m in data.modalities),
        sources=("own",),
        networks=("small",),
        train_examples={"own": len(arrays["train-labels"])},
        test_examples={"own": len(arrays["test-labels"])},
        classes=int(data.train_labels.max()) + 1,
        takes_likelihood=not all(_likelihood(m) for m in data.modalities),
        data_hash=_fingerprint(reference, root, data, arrays, alphabets),
    )


def _fingerprint(reference: str, root: Path, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> str:
    """Returns the fingerprint of all in the dataset that determines a trained model."""
    classes = int(data.train_labels.max()) + 1
    code = _code(reference, root)
    parts: list[Any] = [content_hash(arrays)]
    for m in data.modalities:
        makers = (
            ("encoder", m.encoder, FINGERPRINT_LATENT),
            ("decoder", m.decoder, FINGERPRINT_LATENT),
            ("judge", m.judge, classes),
        )
        place = f"dataset: {reference}: {m.name}"
        networks = [network_text(f"{place}: {network}({count})", make, count, code) for network, make, count in makers]
        parts.append([m.name, m.kind, _likelihood(m), alphabets.get(m.name, ""), *networks])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _alphabet(reference: str, modality: OwnModality) -> str:
    """Returns every character that occurs, after the space, with which strings are filled up."""
    place = f"dataset: {reference}: {modality.name}"
    characters = {character for text in [*modality.train, *modality.test] for character in str(text)}
    if not characters:
        raise DataError(f"{place}: holds empty strings only; leave the modality out")
    alphabet = " " + "".join(sorted(characters - {" "}))
    if len(alphabet) > ALPHABET_LIMIT:
        raise DataError(
            f"{place}: has {len(alphabet)} different characters; at most {ALPHABET_LIMIT} are allowed; map rare ones to one"
        )
    return alphabet


def _items(modality: OwnModality, alphabet: str) -> Sequence[Array]:
    """Returns the items of both splits as a `Split` holds them: vectors float32, images uint8 or float32, character codes uint8."""
    splits = (modality.train, modality.test)
    if modality.kind == "vector":
        return [as_arrays.vectors(values) for values in splits]
    if modality.kind == "image":
        return as_arrays.images(*splits)
    return [as_arrays.texts(modality, list(values), alphabet) for values in splits]


def _modality(own_modality: OwnModality, loaded: _Loaded, reference: str) -> "Modality":
    from mopoe_core.data.types import Modality

    shape = loaded.arrays[f"train-{own_modality.name}"].shape[1:]
    alphabet = loaded.alphabets.get(own_modality.name, "")
    shape = (*shape, len(alphabet)) if alphabet else shape
    return Modality(
        own_modality.name, own_modality.kind, shape, alphabet=alphabet, likelihood=_likelihood(own_modality), own=reference
    )


def _likelihood(own_modality: OwnModality) -> str:
    """Returns the modality's likelihood or its kind's default; empty for images that take the configuration's."""
    if own_modality.likelihood or own_modality.kind == "image":
        return own_modality.likelihood
    return LIKELIHOODS[own_modality.kind][0]


def _split(loaded: _Loaded, modalities: "tuple[Modality, ...]", split: str) -> "Split":
    import torch

    from mopoe_core.data.types import Split

    labels = torch.from_numpy(np.array(loaded.arrays[f"{split}-labels"]))
    items = {m.name: torch.from_numpy(np.array(loaded.arrays[f"{split}-{m.name}"])) for m in modalities}
    rows = {m.name: torch.arange(len(labels)) for m in modalities}
    if split == "test":  # the training set's are not asked for
        images = [m.name for m in modalities if m.kind == "image"]
        rows |= {name: torch.from_numpy(item_rows(loaded.arrays[f"{split}-{name}"])) for name in images}
    return Split(modalities=modalities, items=items, item_labels={m.name: labels for m in modalities}, rows=rows, labels=labels)


def item_rows(images: Array) -> NDArray[np.int64]:
    """Returns, for each image, the index of the first image with the same bytes: images that were paired several times are one item.

    Returns the indices as they are if an image occurs more than `MOST_COPIES` times, as blank ones do, or if fewer than `LEAST_EXAMPLES`
    images differ: then they are symbols, and no sample of images.
    """
    first_rows: dict[bytes, int] = {}
    rows = np.array([first_rows.setdefault(hashlib.sha256(image.tobytes()).digest(), i) for i, image in enumerate(images)])
    has_few = len(first_rows) < LEAST_EXAMPLES
    return np.arange(len(images)) if has_few or np.bincount(rows).max() > MOST_COPIES else rows
