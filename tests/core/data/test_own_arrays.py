"""Other types than plain arrays from a user's function: the values are read unchanged, or a line says why they cannot be."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch.masked import masked_tensor

from mopoe_core.data.own import OwnDataset, OwnModality, user_data
from mopoe_core.errors import DataError
from tests.support.naming import unnamed
from tests.support.own_cards import HERE

COUNT = 40
Y = np.arange(COUNT) % 2
X = np.random.default_rng(0).integers(-8, 8, (2, COUNT, 3)) / 4


def dataset(change, kind="vector", train_labels=Y):
    """Returns two modalities, the first with these values in both splits."""
    first = OwnModality("vec", kind, change(X[0]), change(X[1]))
    return OwnDataset((first, OwnModality("other", "vector", X[0], X[1])), train_labels, Y)


def one_masked(x):
    """Returns an array with one masked value and a number below the mask."""
    return np.ma.masked_array(x, np.arange(x.size).reshape(x.shape) == 5)


def read_only(x):
    """Returns a read-only array, as of a function whose arrays are shared."""
    x = x.copy()
    x.flags.writeable = False
    return x


def masked_rows(x):
    """Returns one of PyTorch's own masked tensors, which warn that they are a prototype."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masked_tensor(torch.tensor(x), torch.tensor(x > 0))


def mapped(x, folder):
    """Returns an array that is mapped from a file."""
    path = folder / f"{abs(hash(x.tobytes()))}.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


TAKEN = {
    "lists": lambda x: x.tolist(),
    "no value masked": lambda x: np.ma.masked_array(x, False),
    "big-endian": lambda x: x.astype(">f8"),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, 0)[::2],
    "read-only": read_only,
    "tensors": torch.tensor,
    "a data frame": pd.DataFrame,
    "nullable floats": lambda x: pd.DataFrame(x).astype("Float64"),
    "arrow floats": lambda x: pd.DataFrame(x).astype("double[pyarrow]"),
    "a sparse data frame": lambda x: pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(x)),
}


@pytest.mark.parametrize("how", TAKEN)
def test_values_come_through_whatever_holds_them(card_of, how):
    """They have the same numbers and the same fingerprint as a plain float64 array."""
    plain = card_of(dataset(lambda x: x)).data_hash
    assert card_of(dataset(TAKEN[how])).data_hash == plain
    assert np.array_equal(user_data.load(HERE).train.items["vec"].numpy(), X[0])


def test_a_file_that_is_mapped_comes_through(card_of, tmp_path):
    """An array that is mapped from disk has the same fingerprint."""
    plain = card_of(dataset(lambda x: x)).data_hash
    assert card_of(dataset(lambda x: mapped(x, tmp_path))).data_hash == plain


def missing(x, value):
    """Returns objects, one of which is missing."""
    x = x.astype(object)
    x[3, 2] = value
    return x


REFUSED = {
    "masked": (one_masked, 1, "masked"),
    "masked rows in a list": (lambda x: [one_masked(row) for row in x.reshape(-1, 6)], 20, "masked"),
    "a masked value in a list": (lambda x: [[np.ma.masked, 1.0, 2.0], *x[1:].tolist()], 1, "masked"),
    "a masked tensor": (masked_rows, "array"),
    "gradients": (lambda x: torch.tensor(x, requires_grad=True), "tensor.detach().numpy()"),
    "bfloat16": (lambda x: torch.tensor(x, dtype=torch.bfloat16), "TypeError"),
    "a sparse tensor": (lambda x: torch.tensor(x).to_sparse(), "Tensor.to_dense()"),
    "a sparse matrix": (sparse.csr_matrix, "csr_matrix", ".toarray()"),
    "a generator": (lambda x: (row for row in x), "generator"),
    "a dictionary": (lambda x: {"a": x}, "dict"),
    "NaN": (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.nan, x), "nan", 1, 2),
    "a nullable NA": (lambda x: pd.DataFrame(missing(x, None)).astype("Float64"), "nan", 3, 2),
    "an object NA": (lambda x: missing(x, pd.NA), "object", "<NA>", 3, 2, "numbers"),
    "None": (lambda x: missing(x, None), "None", 3, 2),
    "a word": (lambda x: missing(x, "unknown"), "'unknown'", 3, 2),
    "numbers as objects": (lambda x: x.astype(object), "object", "numbers", "x.astype(np.float64)"),
    "a column of dates": (
        lambda x: pd.DataFrame(x).assign(when=pd.date_range("2024", periods=len(x))),
        "object", "Timestamp('2024-01-01 00:00:00')", 0, 3,
    ),
    "a column of words": (
        lambda x: pd.DataFrame(x).assign(word=pd.Categorical(["a", "b"] * 20)),
        "object", "'a'", 0, 3,
    ),
    "times": (lambda x: (x * 1e9).astype("datetime64[s]"), "datetime64[s]", "numbers", "seconds"),
    "durations": (lambda x: (x * 1e9).astype("timedelta64[s]"), "timedelta64[s]", "numbers", "seconds"),
    "complex": (lambda x: x + 1j, "complex128", "numbers", "real", "imaginary"),
    "records": (lambda x: np.zeros((len(x), 2), [("a", "f8")]), "numbers", "field"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_lose_its_meaning_is_refused(card_of, case):
    """One line names modality and split, the value found and its place, and what to do."""
    change, *named = REFUSED[case]
    with pytest.raises(DataError) as caught:
        card_of(dataset(change))
    line = str(caught.value)
    assert line.startswith(f"dataset: {HERE}: ")
    assert not unnamed(line, "vec", "train", *named)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (np.ma.masked_array(Y, Y == 1), ["train_labels", 20, "masked"]),
        (pd.Series(Y, dtype="Int64").mask(Y == 1), ["train_labels", "float64", "(40,)"]),
        (
            np.array(["cat", "dog"])[Y],
            ["train_labels", "<U3", "(40,)", "names"],
        ),
        (Y == 1, ["train_labels", "bool", "(40,)"]),
        (Y[:, None], ["train_labels", "int64", "(40, 1)", "(N,)"]),
        (Y + 1, ["train_labels", "[1, 2]"]),
        (Y - 1, ["train_labels", "[-1, 0]"]),
    ],
    ids=["masked", "missing", "names", "truth values", "a column", "from 1", "from -1"],
)
def test_labels_that_are_no_classes_are_refused(card_of, given, named):
    """The line has the values found and says how to make classes of them."""
    with pytest.raises(DataError) as caught:
        card_of(dataset(lambda x: x, train_labels=given))
    assert not unnamed(caught.value, *named)


def test_columns_in_another_order_are_refused(card_of):
    """Columns would be matched by place. The line names the first one that differs between train and test."""
    train, test = (pd.DataFrame(x, columns=["age", "height", "weight"]) for x in X)
    first = OwnModality("vec", "vector", train, test[["age", "weight", "height"]])
    with pytest.raises(DataError) as caught:
        card_of(OwnDataset((first, OwnModality("other", "vector", *X)), Y, Y))
    assert not unnamed(caught.value, "vec", 1, re.compile("'height'.*train.*'weight'.*test"))


def test_rows_in_another_order_than_the_labels_are_refused(card_of):
    """Rows would be paired with other labels. Without an index, the order is taken to be right."""
    shuffled = pd.DataFrame(X[0]).sample(frac=1, random_state=0)
    others = OwnModality("other", "vector", *X)
    data = OwnDataset((OwnModality("vec", "vector", shuffled, X[1]), others), pd.Series(Y), Y)
    with pytest.raises(DataError) as caught:
        card_of(data)
    assert not unnamed(caught.value, "vec", "train", "train_labels")
    card_of(OwnDataset((OwnModality("vec", "vector", shuffled.to_numpy(), X[1]), others), pd.Series(Y), Y))
    assert np.array_equal(user_data.load(HERE).train.items["vec"].numpy(), shuffled.to_numpy())


PATIENTS = [f"p{i}" for i in range(COUNT)]
SHUFFLED = np.random.default_rng(2).permutation(COUNT)


def of_patients(split, rows=slice(None)):
    """Returns a data frame of one split with a patient a row, in this order of rows."""
    return pd.DataFrame(X[split], index=PATIENTS).iloc[rows]


@pytest.mark.parametrize("labels", [Y, pd.Series(Y)], ids=["array", "series"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_in_another_order_than_another_modalitys_are_refused(card_of, split, labels):
    """Two patients would be one example. The labels say nothing of it: they have no index, or one of other names."""
    frames = {"train": of_patients(0), "test": of_patients(1)}
    plain = OwnModality("plain", "vector", *X)
    numbered = OwnModality("numbered", "vector", *map(pd.DataFrame, X))
    first = OwnModality("first", "vector", **frames)
    second = OwnModality("second", "vector", **frames | {split: frames[split].iloc[SHUFFLED]})
    with pytest.raises(DataError) as caught:
        card_of(OwnDataset((plain, numbered, first, second), labels, labels))
    assert not unnamed(caught.value, "second", split, "first")


@pytest.mark.parametrize(
    "change", [lambda frame: frame, lambda frame: frame.set_axis([*frame.index[:-1], np.nan])], ids=["", "nan"]
)
def test_frames_of_other_samples_are_refused(card_of, change):
    """Two frames that were sampled with different seeds would be paired by place. After a reset of either index they are taken, and with
    the same seed."""
    whole = [pd.DataFrame(np.concatenate([x, x])) for x in X]

    def made(seed, after=lambda frame: frame):
        first = [change(frame.sample(len(frame) // 2, random_state=1)) for frame in whole]
        second = [after(change(frame.sample(len(frame) // 2, random_state=seed))) for frame in whole]
        return OwnDataset((OwnModality("a", "vector", *first), OwnModality("b", "vector", *second)), Y, Y)

    with pytest.raises(DataError) as caught:
        card_of(made(2))
    assert not unnamed(caught.value, ": b (train)", " a,", "indexes", ".loc")
    card_of(made(2, lambda frame: frame.reset_index(drop=True)))
    card_of(made(1))


def test_rows_in_one_order_are_taken_whatever_their_index(card_of):
    """Equal indexes, also with a missing name, and indexes of other names pair rows by their place."""
    dates = pd.DatetimeIndex([pd.NaT, *pd.date_range("2024", periods=COUNT - 1)])
    dated = [OwnModality(name, "vector", *(pd.DataFrame(x, index=dates) for x in X)) for name in ("a", "b")]
    named = OwnModality("c", "vector", of_patients(0, SHUFFLED), of_patients(1, SHUFFLED))
    card_of(OwnDataset((*dated, named), pd.Series(Y), pd.Series(Y)))
    assert np.array_equal(user_data.load(HERE).train.items["c"].numpy(), X[0][SHUFFLED])
