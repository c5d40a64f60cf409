"""A dataset of the user's own, named in YAML as `folder/file.py:function` or `package.module:function`.

The function takes nothing and returns an `OwnDataset`: arrays with names. Everything then works on it as on the others: training, linear
probe, coherence, log-likelihood, fronts. See `examples/tabular.py`.

A fingerprint is part of every trial's identity: of the arrays, and of each modality's name, kind, likelihood, alphabet and networks. A
network is told by its layers as torch prints them and by its parameters' names and shapes; what its `forward` computes is not seen. So
other data, another likelihood or another layer make new trials. The function is called again in every worker, and has to return the same
there.
"""

import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.catalogue import DatasetCard
from mopoe_core.data.built import Array, content_hash
from mopoe_core.data.own_checks import LIKELIHOODS, check
from mopoe_core.errors import DataError
from mopoe_core.files import expand

if TYPE_CHECKING:
    from torch import nn

    from mopoe_core.data.types import Dataset, Modality, Split

ALPHABET_LIMIT = 256
SHOWN_LATENT = 20
"""Latent dimensions of the networks that a fingerprint is taken of: the configuration's default, which they are sure to be made for."""


@dataclass(frozen=True)
class OwnModality:
    """One kind of observation.

    `train` and `test` are arrays, or what numpy makes arrays of, whose first axis is the examples: numbers (N, features) for `vector`;
    uint8, or numbers in [0, 1], (N, channels, height, width) for `image`; strings (N,) for `text`.
    """

    name: str
    kind: str
    train: NDArray[Any]
    test: NDArray[Any]
    likelihood: str = ""
    """Of `LIKELIHOODS`; the kind's default when empty. Normal and Laplace have scale 0.75: bring vectors to unit variance. Bernoulli is
    of values in [0, 1]."""
    encoder: "Callable[[int], nn.Module] | None" = None
    """Called with a number of latent dimensions D: a module that maps (B, *shape) to mean and log-variance, (B, D) each."""
    decoder: "Callable[[int], nn.Module] | None" = None
    """Called with D: a module that maps (B, D) to the likelihood's raw parameters (B, *shape)."""
    judge: "Callable[[int], nn.Module] | None" = None
    """Called with a number of classes: a module that maps (B, *shape) to logits, the judge of coherence."""
    judge_accuracy: float = 0.7
    """Below this share of the test items, the classifier that judges coherence is refused."""


@dataclass(frozen=True)
class OwnDataset:
    """Named modalities of the same examples, and the class of each, 0 to the number of classes - 1: integers (N,)."""

    modalities: tuple[OwnModality, ...]
    train_labels: NDArray[Any]
    test_labels: NDArray[Any]


@dataclass(frozen=True)
class _Loaded:
    data: OwnDataset
    card: DatasetCard
    arrays: dict[str, Array]
    alphabets: dict[str, str]


_root = Path()


def search_from(folder: Path) -> None:
    """Where relative file names and modules are looked for: the folder that the user's command was typed in."""
    global _root
    _root = folder


def card(reference: str) -> DatasetCard:
    """What the configuration must know of a user's dataset. Raises DataError where it is no dataset, in one line."""
    return _loaded(reference, str(_root.absolute())).card


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


@lru_cache(maxsize=8)
def _loaded(reference: str, root: str) -> _Loaded:
    data = _as_arrays(reference, _call(reference, Path(root)))
    check(f"dataset: {reference}", data)
    arrays: dict[str, Array] = {
        "train-labels": data.train_labels.astype(np.int64),
        "test-labels": data.test_labels.astype(np.int64),
    }
    alphabets = {m.name: _alphabet(reference, m) for m in data.modalities if m.kind == "text"}
    for modality in data.modalities:
        for split, values in (("train", modality.train), ("test", modality.test)):
            arrays[f"{split}-{modality.name}"] = _items(modality, values, alphabets.get(modality.name, ""))
    return _Loaded(data, _card(reference, data, arrays, alphabets), arrays, alphabets)


def _card(reference: str, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> DatasetCard:
    return DatasetCard(
        name=reference,
        modalities=tuple(m.name for m in data.modalities),
        sources=("own",),
        networks=("small",),
        train_examples={"own": len(arrays["train-labels"])},
        test_examples={"own": len(arrays["test-labels"])},
        data_hash=_fingerprint(reference, data, arrays, alphabets),
    )


def _fingerprint(reference: str, data: OwnDataset, arrays: dict[str, Array], alphabets: dict[str, str]) -> str:
    """Of whatever in the dataset determines a trained model."""
    classes = int(data.train_labels.max()) + 1
    parts: list[Any] = [content_hash(arrays)]
    for m in data.modalities:
        place = f"dataset: {reference}: {m.name}"
        made = (("encoder", m.encoder, SHOWN_LATENT), ("decoder", m.decoder, SHOWN_LATENT), ("judge", m.judge, classes))
        networks = [_network_text(f"{place}: {what}({count})", make, count) for what, make, count in made]
        parts.append([m.name, m.kind, _likelihood(m), alphabets.get(m.name, ""), *networks])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _network_text(place: str, make: "Callable[[int], nn.Module] | None", count: int) -> str:
    """A network's layers, and its parameters' names and shapes; empty for none. Changes nothing of the global generator."""
    if make is None:
        return ""
    import torch  # only where a network of the user's own is given: the card of other datasets answers without

    try:
        with torch.random.fork_rng(devices=[]):
            network = make(count)
        shapes = [f"{name} {tuple(p.shape)}" for name, p in network.named_parameters()]
    except Exception as error:  # whatever the user's function raises
        raise DataError(f"{place} failed ({_said(error)}); it must return a torch.nn.Module; correct it") from None
    return "\n".join([re.sub(r" at 0x[0-9a-f]+", "", str(network)), *shapes])  # no addresses: they differ in every process


def _call(reference: str, root: Path) -> OwnDataset:
    if not reference.isprintable():  # in messages and tables a line break or a terminal's code would act
        raise DataError(f"dataset: {reference!r} has characters that cannot be printed; rename the file")
    place, _, name = reference.rpartition(":")
    try:
        module = _module(place, root)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise DataError(f"dataset: {place} cannot be imported ({_said(error)}); correct it") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise DataError(f"dataset: {place} has no function {name!r}; name one that returns an OwnDataset")
    try:
        data = function()
    except (Exception, SystemExit) as error:
        raise DataError(f"dataset: {reference} failed ({_said(error)}); correct it") from None
    if not isinstance(data, OwnDataset):
        raise DataError(f"dataset: {reference} returned {type(data).__name__}; it must return a mopoe_core.data.own.OwnDataset")
    return data


def _said(error: BaseException) -> str:
    """An error's kind and text in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _module(place: str, root: Path) -> Any:
    if not place.endswith(".py"):
        if str(root.absolute()) not in sys.path:
            sys.path.insert(0, str(root.absolute()))
        return importlib.import_module(place)
    literal = root / place  # a file may have a dollar sign in its name
    # Only the path is expanded: the name, and so every identity, stays as it is written.
    path = (literal if literal.exists() else root / expand(place)).absolute()
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in the user's file looks itself up there
    spec.loader.exec_module(module)
    return module


def _as_arrays(reference: str, data: OwnDataset) -> OwnDataset:
    """The dataset with numpy arrays in place of lists, tensors and data frames."""
    place = f"dataset: {reference}"
    if not isinstance(data.modalities, tuple | list):
        raise DataError(f"{place}: modalities is of type {type(data.modalities).__name__}; it must be a tuple of OwnModality")
    for m in data.modalities:
        if not isinstance(m, OwnModality):
            raise DataError(f"{place}: modalities holds one of type {type(m).__name__}; each must be an OwnModality")
    modalities = tuple(
        replace(m, train=_array(f"{place}: {m.name} (train)", m.train), test=_array(f"{place}: {m.name} (test)", m.test))
        for m in data.modalities
    )
    labels = (_array(f"{place}: {name}", getattr(data, name)) for name in ("train_labels", "test_labels"))
    return OwnDataset(modalities, *labels)


def _array(place: str, values: Any) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except Exception as error:  # nested lists of unequal length, tensors on another device, and what else there is
        raise DataError(f"{place}: cannot be made an array ({_said(error)}); give one, with the examples first") from None
    strings = array.dtype.kind in "OT" and all(isinstance(value, str) for value in array.flat)
    return array.astype(np.str_) if strings else array  # as pandas keeps them


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


def _items(modality: OwnModality, values: NDArray[Any], alphabet: str) -> Array:
    """As the splits keep them: float32 vectors, uint8 images, uint8 character codes."""
    if modality.kind == "vector":
        return np.asarray(values, dtype=np.float32)
    if modality.kind == "image":
        return values if values.dtype == np.uint8 else (values * 255).round().astype(np.uint8)
    longest = max(len(str(text)) for text in [*modality.train, *modality.test])
    codes = {character: code for code, character in enumerate(alphabet)}
    return np.array([[codes[c] for c in str(text).ljust(longest)] for text in values], dtype=np.uint8)


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
