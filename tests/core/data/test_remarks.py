"""Remarks on odd data of a user's own dataset: each rule's columns and numbers, no remark on sound data, shown by each command."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from mopoe_core.data.own import OwnDataset, OwnModality, user_data
from mopoe_core.errors import UserError
from orchestrator.cli import data_remarks
from orchestrator.spec.sweep_file import parse
from tests.support.naming import unnamed
from tests.support.own_cards import HERE

COUNT = 300
Y = np.arange(COUNT) % 3
SOUND = np.random.default_rng(0).normal(size=(2, COUNT, 4))


def with_columns(**columns):
    """Returns sound vectors of four columns, some of which (`c0` to `c3`) are replaced in both splits."""
    vectors = SOUND.copy()
    for name, values in columns.items():
        vectors[:, :, int(name[1:])] = values
    return vectors


def dataset(vectors=SOUND, **changes):
    """Returns two modalities: these vectors with these changes, and sound ones."""
    first = replace(OwnModality("vec", "vector", *vectors), **changes)
    return OwnDataset((first, OwnModality("other", "vector", *SOUND)), Y, Y)


@pytest.fixture
def remarks_on(card_of):
    """Returns the remarks on a dataset."""

    def found(made):
        card_of(made)
        return user_data.remarks_on(HERE)

    return found


COUNTS = np.random.default_rng(1).poisson(40, (2, COUNT))
ROWS = {
    "a column of 1e4 beside one of 1": ({"c2": SOUND[:, :, 2] * 1e4}, {"scale": (2,)}),
    "a small column": ({"c1": SOUND[:, :, 1] * 1e-3}, {"scale": (1,)}),
    "an offset": ({"c0": SOUND[:, :, 0] + 290}, {"scale": (0,)}),
    "the worst column first": ({"c0": SOUND[:, :, 0] * 20, "c3": SOUND[:, :, 3] * 500}, {"scale": (3, 0)}),
    "a constant column": ({"c3": 7}, {"constant": (3,)}),
    "zeros": ({"c0": 0, "c2": 0}, {"constant": (0, 2)}),
    "counts": ({"c1": COUNTS}, {"scale": (1,), "counts": (1,)}),
    "few counts": ({"c1": COUNTS % 12}, {"counts": (1,)}),
    "classes 0 to 4": ({"c1": COUNTS % 5}, {}),
    "zeros and ones": ({"c1": COUNTS % 2}, {}),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_column_that_is_odd_is_named(remarks_on, case):
    """A remark has kind and index. Its line has the modality, all indices, and the advice to standardise if that helps."""
    columns, expected = ROWS[case]
    remarks = remarks_on(dataset(with_columns(**columns)))
    assert {remark.kind: remark.columns for remark in remarks} == expected
    for remark in remarks:
        assert remark.modality == "vec"
        assert remark.text.startswith("vec: ")
        assert not unnamed(remark.text, *remark.columns)
        assert "\n" not in remark.text
        assert ("(x - train.mean(0)) / train.std(0)" in remark.text) == (remark.kind in ("scale", "counts"))


def test_the_worst_columns_numbers_are_said(remarks_on):
    """The line has mean and standard deviation as numpy computes them, and the names of a data frame's columns."""
    vectors = with_columns(c2=SOUND[:, :, 2] * 1e4 + 5e5)
    frames = [pd.DataFrame(split, columns=["age", "height", "income", "weight"]) for split in vectors]
    (remark,) = remarks_on(dataset(frames))
    assert "'income'" in remark.text
    assert f"{vectors[0, :, 2].mean():.4g}" in remark.text
    assert f"{vectors[0, :, 2].std():.4g}" in remark.text


def test_sound_data_are_not_remarked_upon(remarks_on):
    """Sound data are standardised vectors, probabilities with a Bernoulli likelihood, and the example in the repository."""
    assert remarks_on(dataset()) == ()
    assert remarks_on(dataset(with_columns(c0=(SOUND[:, :, 0] > 2) * 1.0).clip(0, 1), likelihood="bernoulli")) == ()
    assert user_data.remarks_on("examples/tabular.py:tumours") == ()


SECONDS = 1.7e9 + np.arange(COUNT) / 3
TIMES = {
    "float64": (SECONDS, 2, 300),
    "int64 nanoseconds": (1_700_000_000_000_000_000 + np.arange(COUNT) * 10**8, 1, 300),
    "a missing one is 0": (np.where(np.arange(COUNT) == 4, 0, SECONDS), 3, 300),
    "every minute": (1.7e9 + 60 * np.arange(COUNT), 141, 300),
}


@pytest.mark.parametrize("case", TIMES)
def test_values_that_float32_cannot_tell_apart_are_counted(remarks_on, case):
    """The line has the number of distinct values before and after rounding, as numpy counts them."""
    times, left, before = TIMES[case]
    assert (len(np.unique(times.astype(np.float32))), len(np.unique(times))) == (left, before)
    vectors = np.stack([times, times], 1)
    remark_of_kind = {remark.kind: remark for remark in remarks_on(dataset((vectors, vectors)))}
    assert remark_of_kind["precision"].columns == (0, 1)
    assert not unnamed(remark_of_kind["precision"].text, left, before, 0)


def test_columns_that_float32_tells_apart_are_not_called_imprecise(remarks_on):
    """Such columns are a year in days, numbers of many digits about zero, and float32 itself."""
    for column in (20_000 + np.arange(COUNT) / 3, SOUND[0, :, 0] * 1e9, SECONDS.astype(np.float32)):
        assert "precision" not in {remark.kind for remark in remarks_on(dataset(with_columns(c0=column)))}


def test_another_scale_in_test_is_named(remarks_on):
    """If the test set is not scaled, the line has the column and the numbers of both splits."""
    test = SOUND.copy()
    test[1, :, 2] = test[1, :, 2] * 3 + 50
    (remark,) = remarks_on(dataset(test))
    assert (remark.kind, remark.columns) == ("shifted", (2,))
    assert f"{test[1, :, 2].mean():.4g}" in remark.text


def images(train, test=None):
    """Returns a dataset of sound vectors and these images."""
    picture = OwnModality("img", "image", train, train if test is None else test)
    return replace(dataset(), modalities=(dataset().modalities[1], picture))


LEVELS = np.resize(np.arange(256), (COUNT, 3, 4, 4))


@pytest.mark.parametrize(
    ("made", "kind", "columns", "said"),
    [
        (images(np.resize(np.arange(3266), (COUNT, 1, 8, 8)) / 65535), "dark", (), "0.0498 in train"),
        (images(np.minimum(LEVELS, 50).astype(np.uint8)), "dark", (), "0.196 in train"),
        (images(LEVELS.astype(np.uint8), np.minimum(LEVELS, 50).astype(np.uint8)), "dark", (), "0.196 in test"),
        (images(LEVELS[:, :, :, :1].astype(np.uint8)), "width", (), "3 channels, 4 pixels high and 1 wide"),
        (images((LEVELS * np.array([1, 0, 1])[:, None, None]).astype(np.uint8)), "constant", (1,), "channel 1"),
    ],
    ids=["12 bits over 65535", "dark bytes", "dark in test", "width 1", "a black channel"],
)
def test_images_that_are_odd_are_named(remarks_on, made, kind, columns, said):
    """The remark has kind and channel, and the line the number that is odd."""
    (remark,) = [remark for remark in remarks_on(made) if remark.kind != "shared"]
    assert (remark.kind, remark.modality, remark.columns) == (kind, "img", columns)
    assert said in remark.text


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["same"] * 3, "constant", "'same'"),
        (["a", "a ", "b"], "spaces", "3 different texts become 2"),
        ([" a", "a", "b"], None, ""),
    ],
    ids=["one text", "spaces at the end", "spaces in front"],
)
def test_texts_that_are_odd_are_named(remarks_on, words, kind, said):
    """Odd is a single text, and texts that become equal by padding. Spaces in front keep texts different."""
    texts = np.array([words[y] for y in Y])
    made = replace(dataset(), modalities=(dataset().modalities[1], OwnModality("txt", "text", texts, texts[::-1])))
    remarks = [remark for remark in remarks_on(made) if remark.kind != "repeated"]
    assert [(remark.kind, remark.modality) for remark in remarks] == ([(kind, "txt")] if kind else [])
    assert all(said in remark.text for remark in remarks)


def test_classes_that_test_lacks_are_named(remarks_on):
    """The line has the number of such classes and their names."""
    (remark,) = remarks_on(replace(dataset(), test_labels=Y % 2))
    assert (remark.kind, remark.modality) == ("classes", "")
    assert not unnamed(remark.text, 1, "train_labels", 2)


def test_test_examples_that_were_trained_on_are_counted(remarks_on):
    """Examples count if they are equal in all modalities, but not if they are equal in one."""
    test = SOUND[1].copy()
    test[:7], test[7] = SOUND[0, 20:27], SOUND[0, 50]
    other = SOUND[1].copy()
    other[:7] = SOUND[0, 20:27]
    pair = (OwnModality("vec", "vector", SOUND[0], test), OwnModality("other", "vector", SOUND[0], other))
    (remark,) = remarks_on(OwnDataset(pair, Y, Y))
    assert remark.kind == "repeated"
    assert not unnamed(remark.text, 7, 300, "test")


PICTURES = np.random.default_rng(0).integers(0, 256, (2, COUNT, 1, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(("count", "is_said"), [(0, False), (3, False), (4, True), (COUNT, True)])
def test_test_images_that_were_trained_on_in_other_examples_are_counted(remarks_on, count, is_said):
    """As after pairing first and splitting afterwards: no whole example is repeated. Up to one in a hundred is chance."""
    test = np.concatenate([PICTURES[0, ::-1][:count], PICTURES[1, count:]])
    remarks = remarks_on(images(PICTURES[0], test))
    assert [(remark.kind, remark.modality) for remark in remarks] == [("shared", "img")] * is_said
    assert not any(unnamed(remark.text, "img", count, COUNT, "split") for remark in remarks)


def test_images_that_are_symbols_or_blank_are_no_leak(remarks_on):
    """Ten symbols are in both splits because there are no others. A blank image counts once, however many examples have it."""
    symbols = PICTURES[0][np.arange(COUNT) % 10]
    blank = PICTURES.copy()
    blank[:, :100] = 0
    assert remarks_on(images(symbols, symbols[::-1])) == remarks_on(images(*blank)) == ()


SOURCE = """
import numpy as np
from mopoe_core.data.own import OwnDataset, OwnModality
def odd():
    x = np.random.default_rng(0).normal(size=(2, 600, 3)) * [1, 1e4, 1]
    return OwnDataset(tuple(OwnModality(n, "vector", *x) for n in "ab"), np.arange(600) % 2, np.arange(600) % 2)
"""


@pytest.fixture
def home(own_home):
    """A folder with an odd dataset and a sweep over it."""
    (own_home / "odd.py").write_text(SOURCE)
    base = {"dataset": "odd.py:odd", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    (own_home / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": base, "seeds": 2}))
    return own_home


@pytest.mark.parametrize("words", [("data", "odd.py:odd"), ("plan", "s.yaml"), ("sweep", "s.yaml")], ids=lambda words: words[0])
def test_every_command_warns_once_before_anything_trains(home, types_here, monkeypatch, words):
    """data, plan and sweep print a line for each remark, first on standard error, with the dataset, the modality and the column."""

    def not_run(*arguments):
        raise UserError("the driver was reached")

    monkeypatch.setattr("orchestrator.driver.sweep.run", not_run)
    code, _, err = types_here(*words)
    lines = err.splitlines()
    assert (code, len(lines)) == ((2, 3) if words[0] == "sweep" else (0, 2))
    for line, modality in zip(lines, "ab", strict=False):
        assert line.startswith(f"warning: dataset: odd.py:odd: {modality}: ")
        assert not unnamed(line, "column 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"base": {"dataset": HERE, "model": "mopoe"}},
        {"base": {"model": "mopoe"}, "grid": {"dataset": [HERE, "mnist_svhn_text"]}},
        {"base": {"model": "mopoe"}, "zip": {"dataset": [HERE], "beta": [1]}},
        {"base": {"model": "mopoe", "dataset": "mnist_svhn_text"}, "grid": {"beta": [1]}, "include": [{"dataset": HERE}]},
        {"base": {"dataset": HERE}, "search": {"space": {"beta": {"low": 1, "high": 2}, "model": ["mopoe"]}, "cells": 2}},
    ],
    ids=["base", "grid", "zip", "include", "search"],
)
def test_every_dataset_of_a_sweep_is_looked_at(card_of, changes):
    """A dataset is checked once, wherever the sweep's file names it."""
    card_of(dataset(with_columns(c3=7)))
    if "base" in changes:
        changes["base"] |= {"batch_size": 50}
    (line,) = data_remarks.of_sweep(parse({"name": "s", **changes}))
    assert line.startswith(f"dataset: {HERE}: vec: ")
    assert not unnamed(line, "column 3")
