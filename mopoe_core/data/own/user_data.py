"""A dataset of the user's own, named in YAML as `folder/file.py:function` or `package.module:function`.

The function takes nothing and returns an `OwnDataset`: arrays with names. Everything then works on it as on the others: training, linear
probe, coherence, log-likelihood, fronts. See `examples/tabular.py`.

A fingerprint is part of every trial's identity: of the arrays, and of each modality's name, kind, likelihood, alphabet and networks. A
network is told by its layers as torch prints them and by its parameters' names and shapes; what its `forward` computes is not seen. So
other data, another likelihood or another layer make new trials. The function is called again in every worker, and has to return the same
there.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mopoe_core.data.dataset_cache import Array, content_hash
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.data.own import as_arrays, remarks
from mopoe_core.data.own.as_arrays import in_one_line
from mopoe_core.data.own.checks import LIKELIHOODS, check
from mopoe_core.data.own.networks import mistakes, network_text
from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality
from mopoe_core.data.own.remarks import Remark
from mopoe_core.data.own.user_code import Bound, Code, check_permitted, imported, running, where_raised
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torch import nn

    from mopoe_core.data.types import Dataset, Modality, Split

ALPHABET_LIMIT = 256
TRIED = 2
"""Training examples in the batch that networks are tried with: batch norm refuses one."""
SHOWN_LATENT = 20
"""Latent dimensions of the networks that a fingerprint is taken of: the configuration's default, which they are sure to be made for."""


@dataclass(frozen=True)
class _Loaded:
    data: OwnDataset
    card: DatasetCard
    arrays: dict[str, Array]
    alphabets: dict[str, str]
    columns: dict[str, tuple[Any, ...]]
    """Names of the columns, of modalities that were data frames."""


_root = Path()


def search_from(folder: Path) -> None:
    """Where relative file names and modules are looked for: the folder that the user's command was typed in."""
    global _root
    _root = folder


def card(reference: str) -> DatasetCard:
    """What the configuration must know of a user's dataset. Raises DataError where it is no dataset, in one line."""
    return _loaded(reference, str(_root.absolute())).card


@lru_cache(maxsize=8)
def _remarks(reference: str, root: str) -> tuple[Remark, ...]:
    loaded = _loaded(reference, root)
    return remarks.find(loaded.data, loaded.arrays, loaded.columns)


def odd(reference: str) -> tuple[Remark, ...]:
    """What is odd in a user's dataset and may still be meant. Raises DataError where it is no dataset, in one line."""
    return _remarks(reference, str(_root.absolute()))


def check_repeats(reference: str, data_hash: str) -> None:
    """Raise DataError where the function returns other data in this process than in that of the command, which saw `data_hash`."""
    found = card(reference).data_hash
    if found != data_hash:
        raise DataError(
            f"dataset: {reference} returns other data each time it is called (fingerprint {data_hash} in the command, {found} in a "
            "worker); seed what is random in it"
        )


def architecture(reference: str, modality: str) -> OwnModality:
    """The user's own networks of a modality."""
    return next(m for m in _loaded(reference, str(_root.absolute())).data.modalities if m.name == modality)


def with_networks(reference: str) -> list[str]:
    """The modalities of a user's dataset that have an encoder or a decoder of the user's."""
    return [m.name for m in _loaded(reference, str(_root.absolute())).data.modalities if m.encoder or m.decoder]


def check_networks(reference: str, latents: Sequence[int]) -> None:
    """Run each network of a user's dataset forward once, on two training examples and with each of these numbers of latent dimensions.

    Raises DataError, a line for each network that fails or gives other shapes than training needs. Changes nothing of the global
    generator.
    """
    loaded = _loaded(reference, str(_root.absolute()))
    modalities = [m for m in loaded.data.modalities if m.encoder or m.decoder or m.judge]
    if not modalities:
        return
    import torch

    code, lines = Code(reference.rpartition(":")[0], _root.absolute()), list[str]()
    with torch.random.fork_rng(devices=[]):
        for own in modalities:
            modality = _modality(own, loaded, reference)
            examples = modality.to_float(torch.from_numpy(np.array(loaded.arrays[f"train-{own.name}"][:TRIED])))
            lines += mistakes(f"dataset: {reference}: {own.name}", own, modality, examples, latents, loaded.card.classes, code)
    if lines:
        raise DataError("\n".join(lines))


def load(reference: str) -> "Dataset":
    """The dataset, as tensors. Raises DataError where it is no dataset, in one line."""
    from torch import nn  # not needed for a card

    from mopoe_core.data.types import Dataset

    loaded = _loaded(reference, str(_root.absolute()))
    for own in loaded.data.modalities:
        if hasattr(nn.ModuleDict(), own.name):  # as `values` and `type` are: the model keeps its networks under their names
            raise DataError(f"dataset: {reference} has a modality named {own.name!r}, which torch keeps for itself; rename it")
    modalities = tuple(_modality(m, loaded, reference) for m in loaded.data.modalities)
    train, test = (_split(loaded, modalities, split) for split in ("train", "test"))
    return Dataset(reference, "own", modalities, train, test, int(loaded.data.train_labels.max()) + 1, loaded.card.data_hash)


def forget() -> None:
    """Forgets every dataset that was loaded: the next call runs the user's function again, as a new process does."""
    _loaded.cache_clear()
    _remarks.cache_clear()


@lru_cache(maxsize=8)
def _loaded(reference: str, root: str) -> _Loaded:
    given = _call(reference, Path(root))
    data = _as_arrays(reference, given)
    check(f"dataset: {reference}", data)
    data = _bound(data, Code(reference.rpartition(":")[0], Path(root)))
    arrays: dict[str, Array] = {
        "train-labels": data.train_labels.astype(np.int64),
        "test-labels": data.test_labels.astype(np.int64),
    }
    alphabets = {m.name: _alphabet(reference, m) for m in data.modalities if m.kind == "text"}
    for m in data.modalities:
        arrays[f"train-{m.name}"], arrays[f"test-{m.name}"] = _items(m, alphabets.get(m.name, ""))
    columns = {m.name: as_arrays.column_names(m.train) for m in given.modalities}
    return _Loaded(data, _card(reference, Path(root), data, arrays, alphabets), arrays, alphabets, columns)


def _bound(data: OwnDataset, code: Code) -> OwnDataset:
    """The dataset with networks that are made as its own code runs."""

    def bound(make: "Callable[[int], nn.Module] | None") -> Bound | None:
        return None if make is None else Bound(code, make)

    networks = [(bound(m.encoder), bound(m.decoder), bound(m.judge)) for m in data.modalities]
    made = [replace(m, encoder=e, decoder=d, judge=j) for m, (e, d, j) in zip(data.modalities, networks, strict=True)]
    return replace(data, modalities=tuple(made))


def _card(reference: str, root: Path, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> DatasetCard:
    return DatasetCard(
        name=reference,
        modalities=tuple(m.name for m in data.modalities),
        sources=("own",),
        networks=("small",),
        train_examples={"own": len(arrays["train-labels"])},
        test_examples={"own": len(arrays["test-labels"])},
        classes=int(data.train_labels.max()) + 1,
        data_hash=_fingerprint(reference, root, data, arrays, alphabets),
    )


def _fingerprint(reference: str, root: Path, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> str:
    """Of whatever in the dataset determines a trained model."""
    classes, code = int(data.train_labels.max()) + 1, Code(reference.rpartition(":")[0], root)
    parts: list[Any] = [content_hash(arrays)]
    for m in data.modalities:
        place = f"dataset: {reference}: {m.name}"
        made = (("encoder", m.encoder, SHOWN_LATENT), ("decoder", m.decoder, SHOWN_LATENT), ("judge", m.judge, classes))
        networks = [network_text(f"{place}: {what}({count})", make, count, code) for what, make, count in made]
        parts.append([m.name, m.kind, _likelihood(m), alphabets.get(m.name, ""), *networks])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _call(reference: str, root: Path) -> OwnDataset:
    if not reference.isprintable():  # in messages and tables a line break or a terminal's code would act
        raise DataError(f"dataset: {reference!r} has characters that cannot be printed; rename the file")
    check_permitted(reference)
    place, _, name = reference.rpartition(":")
    code = Code(place, root)
    try:
        _ = code.file
    except ValueError as error:
        raise DataError(f"dataset: {reference}: the file {error}") from None
    with running(code):
        try:
            module = imported(code)
        except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
            raise DataError(
                f"dataset: {place} cannot be imported{where_raised(error, code)} ({in_one_line(error)}); correct it{_where(error, root)}"
            ) from None
        function = getattr(module, name, None)
        if not callable(function):
            raise DataError(f"dataset: {place} has no function {name!r}; name one that returns an OwnDataset")
        try:
            data = function()
        except (Exception, SystemExit) as error:
            raise DataError(
                f"dataset: {reference} failed{where_raised(error, code)} ({in_one_line(error)}); correct it{_where(error, root)}"
            ) from None
    if not isinstance(data, OwnDataset):
        raise DataError(
            f"dataset: {reference} returned {type(data).__name__}; it must return a mopoe_core.data.own.user_data.OwnDataset"
        )
    return data


def _where(error: BaseException, root: Path) -> str:
    """Where a file that is not there was looked for."""
    return f"; relative names are looked for in {root}" if isinstance(error, FileNotFoundError) else ""


def _as_arrays(reference: str, data: OwnDataset) -> OwnDataset:
    """The dataset with numpy arrays in place of lists, tensors and data frames."""
    place = f"dataset: {reference}"
    if not isinstance(data.modalities, tuple | list):
        raise DataError(f"{place}: modalities is of type {type(data.modalities).__name__}; it must be a tuple of OwnModality")
    for m in data.modalities:
        if not isinstance(m, OwnModality):
            raise DataError(f"{place}: modalities holds one of type {type(m).__name__}; each must be an OwnModality")
    labels = {"train": data.train_labels, "test": data.test_labels}
    for m in data.modalities:
        as_arrays.check_columns(f"{place}: {m.name}", m.train, m.test)
        for split, values in (("train", m.train), ("test", m.test)):
            as_arrays.check_rows(f"{place}: {m.name} ({split})", values, labels[split], split)
    arrays = {split: as_arrays.array(f"{place}: {split}_labels", values) for split, values in labels.items()}
    return OwnDataset(tuple(_with_arrays(place, m) for m in data.modalities), arrays["train"], arrays["test"])


def _with_arrays(place: str, m: OwnModality) -> OwnModality:
    train, test = (as_arrays.array(f"{place}: {m.name} ({split})", getattr(m, split)) for split in ("train", "test"))
    return replace(m, train=train, test=test)


def _alphabet(reference: str, modality: OwnModality) -> str:
    """Every character that occurs, and first the space that fills strings up."""
    place = f"dataset: {reference}: {modality.name}"
    seen = {character for text in [*modality.train, *modality.test] for character in str(text)}
    if not seen:
        raise DataError(f"{place}: holds empty strings only; leave the modality out")
    alphabet = " " + "".join(sorted(seen - {" "}))
    if len(alphabet) > ALPHABET_LIMIT:
        raise DataError(
            f"{place}: has {len(alphabet)} different characters; at most {ALPHABET_LIMIT} are allowed; map rare ones to one"
        )
    return alphabet


def _items(modality: OwnModality, alphabet: str) -> Sequence[Array]:
    """Both splits as they are kept: float32 vectors, images of uint8 or float32, uint8 character codes."""
    splits = (modality.train, modality.test)
    if modality.kind == "vector":
        return [as_arrays.vectors(values) for values in splits]
    if modality.kind == "image":
        return as_arrays.images(*splits)
    return [as_arrays.texts(modality, list(values), alphabet) for values in splits]


def _modality(own: OwnModality, loaded: _Loaded, reference: str) -> "Modality":
    from mopoe_core.data.types import Modality

    shape = loaded.arrays[f"train-{own.name}"].shape[1:]
    alphabet = loaded.alphabets.get(own.name, "")
    shape = (*shape, len(alphabet)) if alphabet else shape
    return Modality(own.name, own.kind, shape, alphabet=alphabet, likelihood=_likelihood(own), own=reference)


def _likelihood(own: OwnModality) -> str:
    """With the kind's default; empty for images that take the configuration's."""
    return own.likelihood or ("" if own.kind == "image" else LIKELIHOODS[own.kind][0])


def _split(loaded: _Loaded, modalities: "tuple[Modality, ...]", split: str) -> "Split":
    import torch

    from mopoe_core.data.types import Split

    labels = torch.from_numpy(np.array(loaded.arrays[f"{split}-labels"]))
    everyone = torch.arange(len(labels))
    return Split(
        modalities=modalities,
        items={m.name: torch.from_numpy(np.array(loaded.arrays[f"{split}-{m.name}"])) for m in modalities},
        item_labels={m.name: labels for m in modalities},
        rows={m.name: everyone for m in modalities},
        labels=labels,
    )
