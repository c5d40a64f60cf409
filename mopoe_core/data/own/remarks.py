"""Remarks on what is odd in a user's own dataset and may still be intended. They are shown before training and refuse nothing.

Each rule is a pure function of numpy arrays. What is certainly wrong is an error elsewhere (`checks`, `images`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.own.checks import LEAST_EXAMPLES, LIKELIHOODS
from mopoe_core.spelling import first_of

if TYPE_CHECKING:
    from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality

LARGEST_SPREAD = 10.0
"""Root mean square of a column. Above it, the column's squares outweigh a hundred columns of unit variance."""
SMALLEST_SPREAD = 0.1
"""Standard deviation of a column. Below it, the column is lost in the likelihood's scale of 0.75."""
FEWEST_COUNTS = 10
"""Whole numbers that all stay below this are taken for classes or grades, and not for counts."""
MOST_LOST = 0.1
"""Share of a column's distinct values that may be lost in float32."""
COARSE = 1e-5
"""A step of float32 that is below this share of a column's interquartile range loses nothing that matters."""
QUARTILE_ROWS = 10_000
"""Number of rows, at least, from which a column's quartiles are computed."""
FARTHEST = 10.0
"""Largest distance of the test mean from the training mean, and largest test standard deviation, in training standard deviations."""
DARK = 0.25
"""Brightness, at most 1, of the brightest pixel of a split. At or below it, the images may have the wrong scale."""
MOST_SHARED = 0.01
"""Share of the different test images that may be training images too."""
MOST_NAMED = 5
"""Number of columns that one remark names."""
STANDARDISE = "x = (x - train.mean(0)) / train.std(0), for both splits"


@dataclass(frozen=True)
class Remark:
    """One remark on a dataset."""

    kind: str
    """`constant`, `scale`, `counts`, `precision`, `shifted`, `dark`, `width`, `spaces`, `classes`, `repeated` or
    `shared`."""
    modality: str
    """Name of the modality; empty if the remark concerns the whole dataset."""
    columns: tuple[int, ...]
    """The columns of a vector, or the channels of an image, the worst first; empty if it concerns all of them."""
    text: str
    """One line, with what is odd and what to do."""


def find(data: "OwnDataset", items: Mapping[str, Array], column_names: Mapping[str, Sequence[Any]]) -> tuple[Remark, ...]:
    """Returns all remarks on a dataset whose arrays are checked.

    `items` has the arrays of the splits, `train-<name>` and `test-<name>`. `column_names` has, by modality, the names of its columns.
    """
    remarks: list[Remark] = []
    for m in data.modalities:
        if m.kind == "vector":
            remarks += of_vector(m, column_names.get(m.name, ()))
        elif m.kind == "image":
            remarks += of_image(m)
        else:
            remarks += of_text(m)
    is_repeated = _is_repeated([m.name for m in data.modalities], items)
    for m in data.modalities:
        if m.kind == "image":
            remarks += _shared(m.name, items, sum(is_repeated))
    return (*remarks, *_classes(data), *_repeated(is_repeated))


def of_vector(m: "OwnModality", names: Sequence[Any]) -> Iterator[Remark]:
    """Yields the remarks on a vector. `names` are the names of its columns, or empty."""
    train, test = (values.astype(np.float64, copy=False) for values in (m.train, m.test))
    constant = train.min(0) == train.max(0)
    yield from _constant(m.name, train, constant, names)
    yield from _imprecise(m, names)
    if (m.likelihood or LIKELIHOODS["vector"][0]) != "bernoulli":
        yield from _scale(m.name, train, ~constant, names)
        yield from _counts(m.name, train, names)
    yield from _shifted(m.name, train, test, ~constant, names)


def _constant(name: str, train: NDArray[Any], constant: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    columns = np.flatnonzero(constant)
    if len(columns):
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'has', 'have')} one value in train ({train[0, columns[0]]:g}), of "
            "which there is nothing to learn; leave out what is constant"
        )
        yield Remark("constant", name, _plain(columns), text)


def _scale(name: str, train: NDArray[Any], varies: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    mean, sd = train.mean(0), train.std(0)
    root_mean_square = np.hypot(mean, sd)
    badness = np.maximum(root_mean_square / LARGEST_SPREAD, SMALLEST_SPREAD / np.maximum(sd, np.finfo(np.float64).tiny))
    columns = _worst_first(np.where(varies, badness, 0), 1)
    if len(columns):
        worst = int(columns[0])
        effect = "outweighs the others" if root_mean_square[worst] > LARGEST_SPREAD else "counts for nearly nothing"
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'is', 'are')} off the likelihood's scale of 0.75: column {worst} has "
            f"mean {mean[worst]:.4g} and standard deviation {sd[worst]:.4g}, and {effect}; standardise: {STANDARDISE}"
        )
        yield Remark("scale", name, _plain(columns), text)


def _counts(name: str, train: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    are_counts = (train >= 0).all(0) & (train == np.round(train)).all(0) & (train.min(0) < train.max(0))
    columns = _worst_first(np.where(are_counts, train.max(0), 0), FEWEST_COUNTS)
    if len(columns):
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'holds', 'hold')} whole numbers from 0 on, up to "
            f"{train[:, columns[0]].max():.6g}, as counts are; no likelihood here is one of counts; take np.log1p(x), and standardise: "
            f"{STANDARDISE}"
        )
        yield Remark("counts", name, _plain(columns), text)


def _imprecise(m: "OwnModality", names: Sequence[Any]) -> Iterator[Remark]:
    """Yields a remark on columns that have fewer distinct values in float32, as timestamps have."""
    rounded = m.train.astype(np.float32)
    counts = {c: (len(np.unique(rounded[:, c])), len(np.unique(m.train[:, c]))) for c in _coarse(m.train, rounded)}
    shares = {c: after / before for c, (after, before) in counts.items() if after < (1 - MOST_LOST) * before}
    columns = np.array(sorted(shares, key=lambda c: shares[c]), dtype=np.int64)
    if len(columns):
        after, before = counts[int(columns[0])]
        lose, are = _verb(columns, "loses", "lose"), "are" if after > 1 else "is"
        text = (
            f"{m.name}: {_listed(columns, names)} {lose} values in float32, in which vectors are kept: {after} of the {before} values of "
            f"column {columns[0]} {are} left; take off the training set's mean before you hand them over, in float64: {STANDARDISE}"
        )
        yield Remark("precision", m.name, _plain(columns), text)


def _coarse(values: NDArray[Any], rounded: NDArray[np.float32]) -> list[int]:
    """Returns the columns in which a step of float32 is not small beside the interquartile range. Only these need to be sorted."""
    sample = values[:: max(1, len(values) // QUARTILE_ROWS)].astype(np.float64)
    low, high = np.quantile(sample, (0.25, 0.75), axis=0)
    step = np.spacing(np.abs(rounded).max(0)).astype(np.float64)
    is_coarse = step > COARSE * (high - low)
    return [int(column) for column in np.flatnonzero(is_coarse & (rounded != values).any(0))]


def _shifted(name: str, train: NDArray[Any], test: NDArray[Any], varies: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    sd = np.where(varies, train.std(0), 1)
    badness = np.maximum(np.abs(test.mean(0) - train.mean(0)) / sd, test.std(0) / sd)
    columns = _worst_first(np.where(varies, badness, 0), FARTHEST)
    if len(columns):
        c = int(columns[0])
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'has', 'have')} another scale in test than in train: column {c} has mean "
            f"{train[:, c].mean():.4g} and standard deviation {train[:, c].std():.4g} in train, {test[:, c].mean():.4g} and "
            f"{test[:, c].std():.4g} in test; scale both splits alike: {STANDARDISE}"
        )
        yield Remark("shifted", name, _plain(columns), text)


def of_image(m: "OwnModality") -> Iterator[Remark]:
    """Yields the remarks on the greys and the axes of images."""
    yield from _dark(m)
    yield from _narrow(m)
    channels = np.flatnonzero(m.train.min((0, 2, 3)) == m.train.max((0, 2, 3)))
    if len(channels):
        text = (
            f"{m.name}: {_listed(channels, (), 'channel')} {_verb(channels, 'has', 'have')} one grey in train, of which there is "
            "nothing to learn; leave out what is constant"
        )
        yield Remark("constant", m.name, _plain(channels), text)


def _dark(m: "OwnModality") -> Iterator[Remark]:
    brightest = {
        split: float(x.max()) / (255 if x.dtype == np.uint8 else 1) for split, x in (("train", m.train), ("test", m.test))
    }
    if min(brightest.values()) <= DARK:
        text = (
            f"{m.name}: the brightest pixel is {brightest['train']:.3g} in train and {brightest['test']:.3g} in test, where 1 is white; "
            "if that is not meant, divide the images by the largest value that a pixel can have (of 12 bits 4095, and not 65535)"
        )
        yield Remark("dark", m.name, (), text)


def _narrow(m: "OwnModality") -> Iterator[Remark]:
    _, channels, height, width = m.train.shape
    if width == 1 < channels:
        text = (
            f"{m.name}: images are (N, C, H, W), so that these are of {channels} channels, {height} pixels high and 1 wide; if the "
            "last axis is the channel, move it, np.moveaxis(x, -1, 1)"
        )
        yield Remark("width", m.name, (), text)


def of_text(m: "OwnModality") -> Iterator[Remark]:
    """Yields the remarks on strings. A model sees them filled up with spaces."""
    if len(set(m.train.tolist())) == 1:
        text = f"{m.name}: has one text in train ({str(m.train[0])[:40]!r}), of which there is nothing to learn; leave the modality out"
        yield Remark("constant", m.name, (), text)
    before = {str(value) for value in (*m.train, *m.test)}
    after = {value.rstrip(" ") for value in before}
    if len(after) < len(before):
        text = (
            f"{m.name}: {len(before)} different texts become {len(after)}, because they differ in spaces at their ends only, and texts "
            "are filled up with spaces; strip them, or mark the end with another character"
        )
        yield Remark("spaces", m.name, (), text)


def _classes(data: "OwnDataset") -> Iterator[Remark]:
    absent = np.setdiff1d(data.train_labels, data.test_labels)
    if len(absent):
        names = ", ".join(map(str, absent[:MOST_NAMED].tolist()))
        text = (
            f"test_labels lacks {len(absent)} of the classes that train_labels has ({names}): probes and coherence say nothing of them; "
            "draw the test examples from all classes"
        )
        yield Remark("classes", "", (), text)


def _is_repeated(names: Sequence[str], items: Mapping[str, Array]) -> list[bool]:
    """Returns, for each test example, whether it equals a training example in every modality."""
    training_hashes = set(_example_hashes([items[f"train-{name}"] for name in names]))
    return [hashes in training_hashes for hashes in _example_hashes([items[f"test-{name}"] for name in names])]


def _repeated(is_repeated: Sequence[bool]) -> Iterator[Remark]:
    """Yields a remark on test examples that equal a training example in every modality."""
    if any(is_repeated):
        text = (
            f"{sum(is_repeated)} of the {len(is_repeated)} test examples are training examples too, equal in every modality: their "
            "numbers say nothing of new examples; leave them out of one split"
        )
        yield Remark("repeated", "", (), text)


def _shared(name: str, items: Mapping[str, Array], repeated: int) -> Iterator[Remark]:
    """Yields a remark if many test images are training images too, in examples that differ in another modality: more images than the
    `repeated` whole examples. Of fewer than `LEAST_EXAMPLES` different images there is none: they are symbols.
    """
    train, test = ({hash(image.tobytes()) for image in items[f"{split}-{name}"]} for split in ("train", "test"))
    count = len(train & test)
    if len(test) >= LEAST_EXAMPLES and count > max(repeated, MOST_SHARED * len(test)):
        text = (
            f"{name}: {count} of the {len(test)} different test images are training images too, in other examples: numbers given "
            f"{name} say little of new images; split the images first, and pair them afterwards"
        )
        yield Remark("shared", name, (), text)


def _example_hashes(arrays: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    """Returns, for each example, a hash of its item in each modality."""
    return zip(*([hash(row.tobytes()) for row in array] for array in arrays), strict=True)


def _worst_first(badness: NDArray[Any], limit: float) -> NDArray[np.int64]:
    """Returns the columns whose badness reaches a limit, the worst first."""
    order = np.argsort(-badness, kind="stable")
    return order[badness[order] >= limit].astype(np.int64)


def _plain(columns: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(column) for column in columns)


def _verb(columns: NDArray[Any], singular: str, plural: str) -> str:
    return singular if len(columns) == 1 else plural


def _listed(columns: NDArray[Any], names: Sequence[Any], word: str = "column") -> str:
    """Returns text such as `columns 3 ('age'), 5 and 2 more`."""
    texts = [f"{c} ({names[c]!r})" if c < len(names) and isinstance(names[c], str) else f"{c}" for c in columns]
    return f"{word}{'' if len(columns) == 1 else 's'} {first_of(texts, MOST_NAMED)}"
