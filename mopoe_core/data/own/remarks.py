"""What is odd in a dataset of the user's own, and may still be meant: said before anything trains, and refused nowhere.

Each rule is a pure function of numpy arrays. What is surely wrong is refused elsewhere (`own_checks`, `own_images`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.own.checks import LIKELIHOODS

if TYPE_CHECKING:
    from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality

LARGEST_SPREAD = 10.0
"""Of a column about zero; beyond it the column's squares outweigh a hundred columns of unit variance."""
SMALLEST_SPREAD = 0.1
"""Below it a column is lost in the likelihood's scale of 0.75."""
FEWEST_COUNTS = 10
"""Whole numbers up to less than this are taken for classes and marks, and not for counts."""
MOST_LOST = 0.1
"""Share of a column's distinct values that may be lost in float32."""
COARSE = 1e-5
"""Steps of float32 that are below this share of a column's middle half lose nothing that matters."""
ENOUGH = 10_000
"""Rows that a column's middle half is taken from, at least."""
FARTHEST = 10.0
"""Standard deviations of the training set between its mean and that of the test set."""
DARK = 0.25
MOST_NAMED = 5
"""Columns that one remark names."""
STANDARDISE = "x = (x - train.mean(0)) / train.std(0), for both splits"


@dataclass(frozen=True)
class Remark:
    """Something odd."""

    kind: str
    """`constant`, `scale`, `counts`, `precision`, `shifted`, `dark`, `width`, `spaces`, `classes` or `repeated`."""
    modality: str
    """Empty for what concerns the whole dataset."""
    columns: tuple[int, ...]
    """The columns of a vector, or the channels of an image, the worst first; empty where it is about all of them."""
    text: str
    """One line, with what was found and what to do."""


def find(data: "OwnDataset", kept: Mapping[str, Array], names: Mapping[str, Sequence[Any]]) -> tuple[Remark, ...]:
    """Everything that is odd. The arrays are numpy's, and checked; `kept` has them as the splits keep them, `train-<name>` and
    `test-<name>`; `names` has the columns' names of modalities that have such.
    """
    remarks: list[Remark] = []
    for m in data.modalities:
        if m.kind == "vector":
            remarks += of_vector(m, names.get(m.name, ()))
        else:
            remarks += of_image(m) if m.kind == "image" else of_text(m)
    return (*remarks, *_classes(data), *_repeated([m.name for m in data.modalities], kept))


def of_vector(m: "OwnModality", names: Sequence[Any]) -> Iterator[Remark]:
    """Of the columns of a vector."""
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
    spread = np.hypot(mean, sd)
    off = np.maximum(spread / LARGEST_SPREAD, SMALLEST_SPREAD / np.maximum(sd, np.finfo(np.float64).tiny))
    columns = _worst_first(np.where(varies, off, 0), 1)
    if len(columns):
        worst = int(columns[0])
        effect = "outweighs the others" if spread[worst] > LARGEST_SPREAD else "counts for nearly nothing"
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'is', 'are')} off the likelihood's scale of 0.75: column {worst} has "
            f"mean {mean[worst]:.4g} and standard deviation {sd[worst]:.4g}, and {effect}; standardise: {STANDARDISE}"
        )
        yield Remark("scale", name, _plain(columns), text)


def _counts(name: str, train: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    counts = (train >= 0).all(0) & (train == np.round(train)).all(0) & (train.min(0) < train.max(0))
    columns = _worst_first(np.where(counts, train.max(0), 0), FEWEST_COUNTS)
    if len(columns):
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'holds', 'hold')} whole numbers from 0 on, up to "
            f"{train[:, columns[0]].max():.6g}, as counts are; no likelihood here is one of counts; take np.log1p(x), and standardise: "
            f"{STANDARDISE}"
        )
        yield Remark("counts", name, _plain(columns), text)


def _imprecise(m: "OwnModality", names: Sequence[Any]) -> Iterator[Remark]:
    """Columns whose distinct values become fewer in float32, as those of timestamps do."""
    kept = m.train.astype(np.float32)
    counts = {c: (len(np.unique(kept[:, c])), len(np.unique(m.train[:, c]))) for c in _coarse(m.train, kept)}
    left = {c: after / before for c, (after, before) in counts.items() if after < (1 - MOST_LOST) * before}
    columns = np.array(sorted(left, key=lambda c: left[c]), dtype=np.int64)
    if len(columns):
        after, before = counts[int(columns[0])]
        lose, are = _verb(columns, "loses", "lose"), "are" if after > 1 else "is"
        text = (
            f"{m.name}: {_listed(columns, names)} {lose} values in float32, in which vectors are kept: {after} of the {before} values of "
            f"column {columns[0]} {are} left; take off the training set's mean before you hand them over, in float64: {STANDARDISE}"
        )
        yield Remark("precision", m.name, _plain(columns), text)


def _coarse(values: NDArray[Any], kept: NDArray[np.float32]) -> list[int]:
    """The columns in which steps of float32 are not small beside the middle half of the values; the others need not be sorted."""
    few = values[:: max(1, len(values) // ENOUGH)].astype(np.float64)
    low, high = np.quantile(few, (0.25, 0.75), axis=0)
    step = np.spacing(np.abs(kept).max(0)).astype(np.float64)
    coarse = step > COARSE * (high - low)
    return [int(column) for column in np.flatnonzero(coarse & (kept != values).any(0))]


def _shifted(name: str, train: NDArray[Any], test: NDArray[Any], varies: NDArray[Any], names: Sequence[Any]) -> Iterator[Remark]:
    sd = np.where(varies, train.std(0), 1)
    away = np.maximum(np.abs(test.mean(0) - train.mean(0)) / sd, test.std(0) / sd)
    columns = _worst_first(np.where(varies, away, 0), FARTHEST)
    if len(columns):
        c = int(columns[0])
        text = (
            f"{name}: {_listed(columns, names)} {_verb(columns, 'has', 'have')} another scale in test than in train: column {c} has mean "
            f"{train[:, c].mean():.4g} and standard deviation {train[:, c].std():.4g} in train, {test[:, c].mean():.4g} and "
            f"{test[:, c].std():.4g} in test; scale both splits alike: {STANDARDISE}"
        )
        yield Remark("shifted", name, _plain(columns), text)


def of_image(m: "OwnModality") -> Iterator[Remark]:
    """Of the greys and the axes of images."""
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
    """Of strings, which are filled up with spaces."""
    if len(set(m.train.tolist())) == 1:
        shown = f"{m.name}: has one text in train ({str(m.train[0])[:40]!r}), of which there is nothing to learn; leave the modality out"
        yield Remark("constant", m.name, (), shown)
    before = {str(text) for text in (*m.train, *m.test)}
    after = {text.rstrip(" ") for text in before}
    if len(after) < len(before):
        text = (
            f"{m.name}: {len(before)} different texts become {len(after)}, because they differ in spaces at their ends only, and texts "
            "are filled up with spaces; strip them, or mark the end with another character"
        )
        yield Remark("spaces", m.name, (), text)


def _classes(data: "OwnDataset") -> Iterator[Remark]:
    absent = np.setdiff1d(data.train_labels, data.test_labels)
    if len(absent):
        shown = ", ".join(map(str, absent[:MOST_NAMED].tolist()))
        text = (
            f"test_labels lacks {len(absent)} of the classes that train_labels has ({shown}): probes and coherence say nothing of them; "
            "draw the test examples from all classes"
        )
        yield Remark("classes", "", (), text)


def _repeated(names: Sequence[str], kept: Mapping[str, Array]) -> Iterator[Remark]:
    """Test examples that equal a training example in every modality."""
    known = set(_rows([kept[f"train-{name}"] for name in names]))
    repeated = [row in known for row in _rows([kept[f"test-{name}"] for name in names])]
    if any(repeated):
        text = (
            f"{sum(repeated)} of the {len(repeated)} test examples are training examples too, equal in every modality: their numbers say "
            "nothing of new examples; leave them out of one split"
        )
        yield Remark("repeated", "", (), text)


def _rows(arrays: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    """Something short for each example: equal examples have equal ones."""
    return zip(*([hash(row.tobytes()) for row in array] for array in arrays), strict=True)


def _worst_first(badness: NDArray[Any], limit: float) -> NDArray[np.int64]:
    """The columns that are at or beyond a limit."""
    order = np.argsort(-badness, kind="stable")
    return order[badness[order] >= limit].astype(np.int64)


def _plain(columns: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(column) for column in columns)


def _verb(columns: NDArray[Any], one: str, many: str) -> str:
    return one if len(columns) == 1 else many


def _listed(columns: NDArray[Any], names: Sequence[Any], word: str = "column") -> str:
    """`columns 3 ('age'), 5 and 2 more`."""
    shown = [f"{c} ({names[c]!r})" if c < len(names) and isinstance(names[c], str) else f"{c}" for c in columns[:MOST_NAMED]]
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    return f"{word}{'' if len(columns) == 1 else 's'} {', '.join(shown)}{more}"
