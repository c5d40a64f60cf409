"""MNIST-SVHN-Text: the pairing rule, the text, the split and the cache."""

import gzip
import json
import struct
from collections import Counter

import numpy as np
import pytest
import scipy.io
import torch

from mopoe_core.data import loading
from mopoe_core.data.cards import DATASETS
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text as mst
from mopoe_core.errors import DataError
from tests.support.naming import names, naming
from tests.support.toys import spelled


def test_pairs_share_their_class_and_follow_the_released_count():
    """A class has min(#first, #second) x pairings triples, and each round uses an image once."""
    chance = np.random.default_rng(0)
    first, second = chance.integers(0, 10, 300), chance.integers(0, 10, 200)
    rows, labels = mst.pair(first, second, np.random.default_rng(1), pairings=3)
    assert (first[rows[:, 0]] == labels).all()
    assert (second[rows[:, 1]] == labels).all()
    assert len(rows) == 3 * sum(min((first == d).sum(), (second == d).sum()) for d in range(10))
    assert set(Counter(rows[:, 0].tolist()).values()) == {3}


def test_pairing_is_seeded():
    """The same generator state gives the same pairs, and another seed other pairs."""
    labels = np.arange(100) % 10
    again = [mst.pair(labels, labels, np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_text_is_the_digits_word_at_an_offset_within_eight_characters():
    """Every string is blanks, the English word, blanks; all offsets from 0 to 7 - length occur."""
    labels = np.repeat(np.arange(10), 200)
    codes, code_labels, rows = mst.texts(labels, np.random.default_rng(0))
    seen = {(int(label), spelled(codes[row], mst.ALPHABET)) for label, row in zip(labels, rows, strict=True)}
    expected = {(d, (" " * o + word).ljust(8)) for d, word in enumerate(mst.WORDS) for o in range(8 - len(word))}
    assert seen == expected
    assert all(spelled(c, mst.ALPHABET).strip() == mst.WORDS[d] for c, d in zip(codes, code_labels, strict=True))
    assert len(mst.ALPHABET) == len(set(mst.ALPHABET)) == 71


def test_the_embedded_data_are_as_the_catalogue_says(dataset):
    """Sizes equal those of the dataset's card, from which plans and errors are computed."""
    card = DATASETS["mnist_svhn_text"]
    assert (len(dataset.train), len(dataset.test)) == (card.train_examples["embedded"], card.test_examples["embedded"])
    assert tuple(m.name for m in dataset.modalities) == card.modalities


def test_the_embedded_data_are_those_of_finished_trials(dataset):
    """The hash of the content is the one that every trial on this dataset has recorded."""
    assert dataset.hash == "b961288ad2d14a7dc10ef50b84eeab2da00c77746e7d9ef5eb0ad10190312ba8"


def test_no_test_image_is_a_training_image(dataset):
    """Neither digits nor house numbers of the test set occur in the training set."""
    for name in ("mnist", "svhn"):
        train = {item.numpy().tobytes() for item in dataset.train.items[name]}
        assert not any(item.numpy().tobytes() in train for item in dataset.test.items[name])


def test_the_three_modalities_of_an_example_show_one_class(dataset):
    """The class of each distinct item that an example points to is the example's class."""
    for split in (dataset.train, dataset.test):
        for name, rows in split.rows.items():
            assert torch.equal(split.item_labels[name][rows], split.labels)


def test_batches_are_floats_in_range(dataset):
    """Images come in [0, 1], text one-hot, in the modality's shape."""
    batch = dataset.train.batch(torch.arange(6))
    for modality in dataset.modalities:
        x = batch[modality.name]
        assert (x.shape, x.dtype) == ((6, *modality.shape), torch.float32)
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
    assert torch.equal(batch["text"].sum(-1), torch.ones(6, 8))


def test_a_selection_is_fixed_and_of_the_size_that_was_asked(dataset):
    """`take` returns the same examples each time, and all of them for None."""
    assert torch.equal(dataset.test.take(50, 0).labels, dataset.test.take(50, 0).labels)
    assert len(dataset.test.take(50, 0)) == 50
    assert dataset.test.take(None, 0) is dataset.test


def test_damaged_data_are_refused(data_folder, dataset, tmp_path):
    """A changed byte changes the hash, and the message says what to delete."""
    (built,) = (path for path in (data_folder / "built").iterdir() if path.is_dir())
    copy = tmp_path / "built" / built.name
    copy.mkdir(parents=True)
    for path in built.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with (copy / "test-mnist.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(DataError, check=naming(copy, "delete")):
        mst.load("embedded", tmp_path)


@pytest.fixture
def original(tmp_path, monkeypatch):
    """Small MNIST idx and SVHN mat files in torchvision's layout; nothing is downloaded."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    for method, result in (("download", None), ("_check_integrity", True)):  # the real files have known MD5 sums
        monkeypatch.setattr(f"torchvision.datasets.SVHN.{method}", lambda self, result=result: result)
    chance = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (tmp_path / "SVHN").mkdir()
    for split, count in (("train", 60), ("t10k", 40)):
        images, labels = chance.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)
        _idx(raw / f"{split}-images-idx3-ubyte", images)
        _idx(raw / f"{split}-labels-idx1-ubyte", labels)
        pixels, numbers = chance.integers(0, 256, (32, 32, 3, count), dtype=np.uint8), np.arange(count) % 10
        _mat(tmp_path / "SVHN" / f"{'train' if split == 'train' else 'test'}_32x32.mat", pixels, numbers)
    return tmp_path


def test_original_files_are_read_and_label_10_means_0(original):
    """MNIST's idx and SVHN's mat files, in torchvision's layout, are paired as they should be."""
    loaded = mst.load("original", original)
    assert (len(loaded.train), len(loaded.test)) == (60 * 20, 40 * 20)
    assert torch.bincount(loaded.train.item_labels["svhn"]).tolist() == [6] * 10
    (built,) = (path for path in (original / "built").iterdir() if path.is_dir())
    manifest = json.loads((built / "manifest.json").read_text())
    assert (manifest["source"], manifest["sha256"]) == ("original", loaded.hash)


TRAIN_IMAGES, TRAIN_LABELS = "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"
TEST_LABELS, TRAIN_MAT = "MNIST/raw/t10k-labels-idx1-ubyte", "SVHN/train_32x32.mat"
PAGE = b"<!-- quota --><!DOCTYPE html><html>"


def _counted(count):
    return (np.arange(count) % 10).astype(np.uint8)


def _zeros(*shape):
    return np.zeros(shape, np.uint8)


def _only_zipped(path, content):
    """Leaves the archive that torchvision would unpack, and no other file."""
    path.unlink()
    path.with_suffix(".gz").write_bytes(content)


WRONG = {
    "page for images": (TRAIN_IMAGES, lambda path: path.write_bytes(PAGE), ("web page",)),
    "page for labels": (TEST_LABELS, lambda path: path.write_bytes(PAGE), ("web page",)),
    "page for an archive": (TEST_LABELS, lambda path: _only_zipped(path, PAGE), ("web page",)),
    "images cut": (TRAIN_IMAGES, lambda path: path.write_bytes(path.read_bytes()[:9000]), ("9,000", "47,056")),
    "labels cut": (TEST_LABELS, lambda path: path.write_bytes(path.read_bytes()[:15]), ("15 bytes", 48)),
    "labels longer": (TEST_LABELS, lambda path: path.write_bytes(path.read_bytes() + b"\0"), ("49 bytes", 48)),
    "no byte": (TEST_LABELS, lambda path: path.write_bytes(b""), ("0 bytes",)),
    "no idx": (TRAIN_IMAGES, lambda path: path.write_bytes(b"PK\x03\x04 and so on"), ("50 4b 03 04", "00 00 08 03")),
    "labels for images": (TRAIN_IMAGES, lambda path: _idx(path, _counted(60)), ("00 00 08 01", "00 00 08 03")),
    "label 12": (TRAIN_LABELS, lambda path: _idx(path, _counted(60) + np.uint8(3)), ("label 10", 0, 9)),
    "more labels": (TRAIN_LABELS, lambda path: _idx(path, _counted(70)), ("70 labels", "60 images", "train-images-idx3-ubyte")),
    "fewer labels": (TRAIN_LABELS, lambda path: _idx(path, _counted(50)), ("50 labels", "60 images", "train-images-idx3-ubyte")),
    "other images": (TRAIN_IMAGES, lambda path: _idx(path, _zeros(60, 32, 32)), ("(60, 32, 32)", "uint8", "(N, 28, 28)")),
    "page for mat": (TRAIN_MAT, lambda path: path.write_bytes(PAGE), ("web page",)),
    "mat cut": (TRAIN_MAT, lambda path: path.write_bytes(path.read_bytes()[:5000]), ("cut short",)),
    "mat without X": (TRAIN_MAT, lambda path: scipy.io.savemat(path, {"a": 1}), ("'X'", "X", "y")),
    "mat label 11": (TRAIN_MAT, lambda path: _mat(path, _zeros(32, 32, 3, 60), np.arange(60) % 13), ("label 11", 1, 9)),
    "fewer mat labels": (TRAIN_MAT, lambda path: _mat(path, _zeros(32, 32, 3, 60), np.arange(50) % 10), ("50 labels", "60 images")),
    "mat of other images": (TRAIN_MAT, lambda path: _mat(path, _zeros(28, 28, 3, 60), np.arange(60) % 10), ("(60, 3, 28, 28)",)),
    "mat of floats": (TRAIN_MAT, lambda path: _mat(path, _zeros(32, 32, 3, 60) / 2, np.arange(60) % 10), ("float64", "(60, 3, 32, 32)")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_digit_files_are_named(original, case):
    """A DataError of one line names the file and what is wrong. Nothing is built."""
    name, spoil, named = WRONG[case]
    spoil(original / name)
    message = refusal(original)
    assert message.startswith(f"{original / name}{'.gz' if case == 'page for an archive' else ''}: ")
    assert names(message, *named)
    assert not list(original.glob("built/*/manifest.json"))


def refusal(folder):
    """Returns the one line of the error that loading the original source raises."""
    with pytest.raises(DataError) as caught:
        mst.load("original", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS, TRAIN_MAT])
def test_digit_files_that_change_after_the_build_are_named(original, name):
    """Files that are there must not have changed. If they are gone, the build is enough."""
    first = mst.load("original", original)
    content = (original / name).read_bytes()
    (original / name).write_bytes(content[:-1] + b"\x05")
    message = refusal(original)
    assert message.startswith(f"{original / name}: ")
    assert str(original / "built") in message
    assert names(message, "delete")
    (original / name).unlink()
    assert mst.load("original", original).hash == first.hash


def test_counts_that_are_not_the_published_ones_are_refused(original):
    """Loading by a key refuses small files, does not keep them as the dataset, and has the same line each time."""
    for _ in range(2):
        with pytest.raises(DataError, check=naming("mnist_svhn_text", "1,200 train", "1,121,360")):
            loading.load(DataKey("mnist_svhn_text", "original", 3, "test"), original)
        assert not list(original.glob("built/*/manifest.json"))


def test_original_data_that_cannot_be_had_are_named(tmp_path, monkeypatch):
    """Without files and without a network, the error says which files to put where."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, check=naming(tmp_path / "SVHN", "train_32x32.mat", "test_32x32.mat")):
        mst.load("original", tmp_path)
    assert not list((tmp_path / "built").glob("mnist_svhn_text-original-*/manifest.json"))


def _mat(path, pixels, labels):
    """Writes SVHN's format, in which label 10 means 0."""
    scipy.io.savemat(path, {"X": pixels, "y": np.where(labels == 0, 10, labels)[:, None]})


def _idx(path, array):
    """Writes MNIST's format, gzipped too, as torchvision downloads it."""
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(content)
    path.with_suffix(".gz").write_bytes(gzip.compress(content))
