"""A dataset of the user's own, named in YAML as `folder/file.py:function` or `package.module:function`.

The function takes nothing and returns an `OwnDataset`: numpy arrays with names. Everything then works on it as on the others: training,
linear probe, coherence, log-likelihood, fronts. A fingerprint of the arrays is part of every trial's identity, so changed data are new
trials. See `examples/tabular.py`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.catalogue import DatasetCard
from mopoe_core.data.built import Array, content_hash
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from torch import nn

    from mopoe_core.data.types import Dataset, Modality, Split

KINDS = ("vector", "image", "text")
LIKELIHOODS = {
    "vector": ("normal", "laplace", "bernoulli"),
    "image": ("laplace", "normal", "bernoulli"),
    "text": ("categorical",),
}
"""What a kind of modality may have; the first is its default, but for images, which take the configuration's `likelihood`."""
ALPHABET_LIMIT = 256
LEAST_EXAMPLES = 20


@dataclass(frozen=True)
class OwnModality:
    """One kind of observation.

    `train` and `test` are arrays whose first axis is the examples: numbers (N, features) for `vector`; uint8, or numbers in [0, 1],
    (N, channels, height, width) for `image`; strings (N,) for `text`.
    """

    name: str
    kind: str
    train: NDArray[Any]
    test: NDArray[Any]
    likelihood: str = ""
    """Of `LIKELIHOODS`; the kind's default when empty. Normal and Laplace have scale 0.75: bring vectors to unit variance."""
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


def architecture(reference: str, modality: str) -> OwnModality:
    """The user's own networks of a modality."""
    return next(m for m in _loaded(reference, str(_root.absolute())).data.modalities if m.name == modality)


def load(reference: str) -> "Dataset":
    """The dataset, as tensors."""
    from mopoe_core.data.types import Dataset  # torch: not needed for a card

    loaded = _loaded(reference, str(_root.absolute()))
    modalities = tuple(_modality(m, loaded, reference) for m in loaded.data.modalities)
    train, test = (_split(loaded, modalities, split) for split in ("train", "test"))
    return Dataset(reference, "own", modalities, train, test, int(loaded.data.train_labels.max()) + 1, loaded.card.data_hash)


@lru_cache(maxsize=8)
def _loaded(reference: str, root: str) -> _Loaded:
    data = _call(reference, Path(root))
    _check(reference, data)
    arrays: dict[str, Array] = {
        "train-labels": np.asarray(data.train_labels, dtype=np.int64),
        "test-labels": np.asarray(data.test_labels, dtype=np.int64),
    }
    alphabets = {}
    for modality in data.modalities:
        if modality.kind == "text":
            alphabets[modality.name] = _alphabet(modality)
        for split, values in (("train", modality.train), ("test", modality.test)):
            arrays[f"{split}-{modality.name}"] = _items(modality, values, alphabets.get(modality.name, ""))
    return _Loaded(data, _card(reference, data, arrays), arrays, alphabets)


def _card(reference: str, data: OwnDataset, arrays: dict[str, Array]) -> DatasetCard:
    return DatasetCard(
        name=reference,
        modalities=tuple(m.name for m in data.modalities),
        sources=("own",),
        networks=("small",),
        train_examples={"own": len(arrays["train-labels"])},
        test_examples={"own": len(arrays["test-labels"])},
        data_hash=content_hash(arrays)[:16],
    )


def _call(reference: str, root: Path) -> OwnDataset:
    place, _, name = reference.rpartition(":")
    try:
        module = _module(place, root)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise DataError(f"dataset: {place} cannot be imported ({type(error).__name__}: {error}); correct it") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise DataError(f"dataset: {place} has no function {name!r}; name one that returns an OwnDataset")
    try:
        data = function()
    except Exception as error:
        raise DataError(f"dataset: {reference} failed ({type(error).__name__}: {error}); correct it") from None
    if not isinstance(data, OwnDataset):
        raise DataError(f"dataset: {reference} returned {type(data).__name__}, not a mopoe_core.data.own.OwnDataset")
    return data


def _module(place: str, root: Path) -> Any:
    if not place.endswith(".py"):
        if str(root.absolute()) not in sys.path:
            sys.path.insert(0, str(root.absolute()))
        return importlib.import_module(place)
    path = (root / place).absolute()
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in the user's file looks itself up there
    spec.loader.exec_module(module)
    return module


def _check(reference: str, data: OwnDataset) -> None:
    """Raise DataError for what would only fail, or mislead, later."""
    names = [m.name for m in data.modalities]
    if len(names) < 2:
        raise DataError(f"dataset: {reference} has {len(names)} modalities; at least 2 make it multimodal")
    for name in names:
        if not name.replace("_", "").isalnum() or names.count(name) > 1:
            raise DataError(f"dataset: {reference} has a modality named {name!r}; letters, digits and '_', each name once")
    labels = {"train": np.asarray(data.train_labels), "test": np.asarray(data.test_labels)}
    for split, values in labels.items():
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"dataset: {reference}: {split}_labels must be whole numbers (N,), not {values.dtype} {values.shape}")
        if len(values) < LEAST_EXAMPLES:
            raise DataError(f"dataset: {reference}: {len(values)} {split} examples are too few; at least {LEAST_EXAMPLES}")
    classes = np.unique(labels["train"])
    if len(classes) < 2 or classes.min() != 0 or classes.max() != len(classes) - 1:
        raise DataError(
            f"dataset: {reference}: train_labels must be classes 0, 1, ..., each with examples; found {classes[:10].tolist()}"
        )
    if not np.isin(labels["test"], classes).all():
        raise DataError(f"dataset: {reference}: test_labels has classes that train_labels lacks")
    for modality in data.modalities:
        for split in ("train", "test"):
            _check_items(
                f"dataset: {reference}: {modality.name} ({split})", modality, getattr(modality, split), len(labels[split])
            )


def _check_items(place: str, modality: OwnModality, values: NDArray[Any], count: int) -> None:
    if modality.kind not in KINDS:
        raise DataError(f"{place}: kind {modality.kind!r} is not offered; allowed: {', '.join(KINDS)}")
    if modality.likelihood and modality.likelihood not in LIKELIHOODS[modality.kind]:
        allowed = ", ".join(LIKELIHOODS[modality.kind])
        raise DataError(f"{place}: likelihood {modality.likelihood!r} is not offered for {modality.kind}; allowed: {allowed}")
    axes = {"vector": 2, "image": 4, "text": 1}[modality.kind]
    values = np.asarray(values)
    if values.ndim != axes or len(values) != count:
        raise DataError(f"{place}: has shape {values.shape}; {axes} axes are needed, the first of {count} examples")
    if modality.train.shape[1:] != modality.test.shape[1:]:
        raise DataError(f"{place}: train has examples of shape {modality.train.shape[1:]} and test of {modality.test.shape[1:]}")
    if modality.kind == "text":
        if not np.issubdtype(values.dtype, np.str_):
            raise DataError(f"{place}: must be strings, not {values.dtype}")
    elif not np.isfinite(values).all():
        raise DataError(f"{place}: holds a value that is not finite; fill it in or leave the example out")
    elif modality.kind == "image" and values.dtype != np.uint8 and not (values.min() >= 0 and values.max() <= 1):
        raise DataError(f"{place}: images are uint8, or numbers in [0, 1]; found {values.min():g} to {values.max():g}")


def _alphabet(modality: OwnModality) -> str:
    """Every character that occurs, and first the space that fills strings up."""
    seen = {character for text in [*modality.train, *modality.test] for character in str(text)}
    alphabet = " " + "".join(sorted(seen - {" "}))
    if len(alphabet) > ALPHABET_LIMIT:
        raise DataError(f"dataset: {modality.name} has {len(alphabet)} different characters; at most {ALPHABET_LIMIT}")
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
    likelihood = own.likelihood or ("" if own.kind == "image" else LIKELIHOODS[own.kind][0])
    shape = (*shape, len(alphabet)) if alphabet else shape
    return Modality(own.name, own.kind, shape, alphabet=alphabet, likelihood=likelihood, own=reference)


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
