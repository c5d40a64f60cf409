"""MNIST and SVHN under the names and in the folders of mirrors and archives, and the errors and remarks on other files."""

import gzip
import hashlib
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch

from mopoe_core.data.cards import DATASETS
from mopoe_core.data.digits import digit_layouts
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text as mst
from mopoe_core.errors import DataError
from orchestrator.cli import data_check
from tests.support.naming import names, names_in_order, naming

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
RAW = "MNIST/raw"


def idx(array):
    """Returns the bytes of an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def contents():
    """Returns the bytes of four small files, by MNIST's names: 60 training and 40 test digits."""
    rng, files = np.random.default_rng(0), {}
    for prefix, count in (("train", 60), ("t10k", 40)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        files[f"{prefix}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with small SVHN files and no MNIST. Nothing can be downloaded."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    for method, result in (("download", None), ("_check_integrity", True)):  # the real files have known MD5 sums
        monkeypatch.setattr(f"torchvision.datasets.SVHN.{method}", lambda self, result=result: result)
    rng = np.random.default_rng(1)
    (tmp_path / "SVHN").mkdir()
    for split, count in (("train", 60), ("test", 40)):
        pixels, labels = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8), np.arange(count) % 10
        scipy.io.savemat(tmp_path / "SVHN" / f"{split}_32x32.mat", {"X": pixels, "y": np.where(labels == 0, 10, labels)[:, None]})
    return tmp_path


def put(path, content):
    """Writes a file, and makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def refusal(folder):
    """Returns the one line of the error that loading raises, and checks that nothing is built."""
    with pytest.raises(DataError) as caught:
        mst.load("original", folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("built/*/manifest.json"))
    return str(caught.value)


@pytest.fixture
def expected_hash(folder, contents, tmp_path_factory):
    """The hash of the dataset from torchvision's layout."""
    other = tmp_path_factory.mktemp("torchvision")
    shutil.copytree(folder / "SVHN", other / "SVHN")
    for name, content in contents.items():
        put(other / RAW / name, content)
    return mst.load("original", other).hash


FORMS = {
    "gz": lambda name: f"{RAW}/{name}.gz",
    "dot": lambda name: f"{RAW}/{name.replace('-idx', '.idx')}",
    "dot gz": lambda name: f"mnist/{name.replace('-idx', '.idx')}.gz",
    "kaggle folders": lambda name: f"mnist/{name}/{name}",
    "kaggle in the data folder": lambda name: f"{name}/{name}",
    "kaggle below an archive's folder": lambda name: f"MNIST/archive/{name}/{name}",
    "upper case": lambda name: f"MNIST/raw/{name.upper()}",
    "upper case gz": lambda name: f"MNIST/{name.upper()}.GZ",
    "data folder": lambda name: name,
    "mnist": lambda name: f"mnist/{name}",
    "mnist/raw": lambda name: f"mnist/raw/{name}",
    "twice": lambda name: f"mnist/MNIST/raw/{name}",
    "kaggle's name": lambda name: f"mnist-dataset/{name.replace('-idx', '.idx')}",
    "test for t10k": lambda name: f"mnist/{name.replace('t10k', 'test')}",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_dataset_that_torchvisions_layout_gives(folder, contents, expected_hash, form):
    """Names, folders and compression of a mirror or archive do not change the arrays. Hidden files and junk are ignored."""
    for name, content in contents.items():
        path = folder / FORMS[form](name)
        put(path, gzip.compress(content) if path.suffix.lower() == ".gz" else content)
        put(path.with_name(f"._{path.name}"), b"a Macintosh was here")
        put(path.parent / "__MACOSX" / path.name, b"so it was")
    assert mst.load("original", folder).hash == expected_hash


def test_compression_is_told_by_content_and_not_by_name(folder, contents, expected_hash):
    """A file that a browser has unpacked and still calls .gz is read, and so is an archive without that ending."""
    for name, content in contents.items():
        put(folder / RAW / (f"{name}.gz" if "images" in name else name), content if "images" in name else gzip.compress(content))
    assert mst.load("original", folder).hash == expected_hash


def test_forms_beside_one_another_are_read_where_they_are_equal(folder, contents, expected_hash):
    """Kaggle's archive has each file twice, and a .gz may lie beside its content."""
    for name, content in contents.items():
        put(folder / "mnist" / name / name, content)
        put(folder / "mnist" / name.replace("-idx", ".idx"), content)
        put(folder / "mnist" / f"{name}.gz", gzip.compress(content))
    assert mst.load("original", folder).hash == expected_hash


@pytest.mark.parametrize("other", [f"{RAW}/{NAMES[1]}.gz", f"mnist/{NAMES[1]}", f"MNIST/{NAMES[1]}/{NAMES[1]}", NAMES[1]])
def test_forms_that_differ_are_both_named(folder, contents, other):
    """The user must choose between them."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    changed = contents[NAMES[1]][:-1] + b"\x05"
    put(folder / other, gzip.compress(changed) if other.endswith("gz") else changed)
    message = refusal(folder)
    assert names(message, folder / RAW / NAMES[1], folder / other)


def test_other_datasets_files_of_the_same_names_are_not_looked_at(folder, contents, expected_hash):
    """Fashion-MNIST in torchvision's folder, or in a folder below MNIST's, is not taken for MNIST."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
        for place in ("FashionMNIST/raw", "KMNIST/raw", "MNIST/fashion-mnist", "EMNIST"):
            put(folder / place / name, content[:-1] + b"\x07")
    assert mst.load("original", folder).hash == expected_hash


def test_what_was_expected_and_what_is_there_are_named(folder, contents):
    """For a missing file, or files in a form that cannot be read, the line has the first few names and how many more."""
    for name in NAMES[:3]:
        put(folder / "mnist" / name, contents[name])
    put(folder / "mnist" / "t10k-labels.csv", b"7\n")
    message = refusal(folder)
    assert names_in_order(message, NAMES[3], folder, "mnist/t10k-images-idx3-ubyte", "mnist/t10k-labels.csv", f"mnist/{NAMES[0]}")
    assert names(message, folder / RAW, "idx")
    shutil.rmtree(folder / "mnist")
    for name in ("mnist.npz", *(f"mnist_{n}.csv" for n in range(9))):
        put(folder / name, b"x")
    assert names_in_order(refusal(folder), folder, "MNIST/", "SVHN/", "mnist.npz", "mnist_0.csv", "mnist_1.csv", 7)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(b"x" * 5000)[:20], ("gzip",)),
        (gzip.compress(b"<html>"), ("3c 68 74 6d", "00 00 08 03")),
        (gzip.compress(b"\0\0\x08\3\0"), ("header", "5 bytes")),
        (b"<html>", ("web page",)),
    ],
    # an archive holds the time at which it was made
    ids=["cut archive", "archive of a web page", "archive of a short header", "web page"],
)
def test_wrong_files_in_other_forms_are_named(folder, contents, content, found):
    """The checks of a file do not depend on its name."""
    for name in NAMES:
        put(folder / "mnist" / f"{name}.gz", gzip.compress(contents[name]))
    put(folder / "mnist" / f"{NAMES[0]}.gz", content)
    assert names_in_order(refusal(folder), f"{folder / 'mnist' / NAMES[0]}.gz", *found)


def test_files_whose_checksum_is_not_the_published_one_are_said(folder, contents, capsys):
    """They are read. A remark names each with both sums, at the build and at every later opening."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    first = mst.load("original", folder)
    printed = capsys.readouterr()
    for name, remark in zip(NAMES, first.remarks, strict=True):
        digest = hashlib.md5(contents[name]).hexdigest()
        assert remark.startswith(f"{folder / RAW / name}: ")
        assert names_in_order(remark, name, digest, digit_layouts.PUBLISHED[name])
        assert f"note: {remark}\n" in printed.err
    assert mst.load("original", folder).remarks == first.remarks
    assert capsys.readouterr().err == ""


def test_the_data_command_shows_what_is_to_be_said_of_files(folder, contents, monkeypatch):
    """Each remark is a line beside counts and hash, at the first call and when the dataset is built already."""
    counts = {"train_examples": {"original": 60 * 20}, "test_examples": {"original": 40 * 20}}
    card = replace(DATASETS["mnist_svhn_text"], **counts)
    monkeypatch.setitem(DATASETS, "mnist_svhn_text", card)
    for name, content in contents.items():
        put(folder / RAW / name, content)
    lines = [data_check.check(card, "original", folder).lines for _ in range(2)]
    assert lines[0] == lines[1]
    notes = [line for line in lines[1] if line.startswith("note: ")]
    assert [": ".join(line.split(": ")[:2]) for line in notes] == [f"note: {folder / RAW / name}" for name in NAMES]


def test_the_published_checksums_are_torchvisions():
    """torchvision has the sums of the packed files. They belong to the same four names as the sums of the content."""
    from torchvision.datasets import MNIST

    assert {name.removesuffix(".gz") for name, _ in MNIST.resources} == set(digit_layouts.PUBLISHED) == set(NAMES)
    assert set(digit_layouts.FASHION.values()) == set(NAMES)


def test_nothing_is_said_of_the_published_files(folder, contents, monkeypatch, capsys):
    """Files with the published sums have no remark."""
    monkeypatch.setattr(digit_layouts, "PUBLISHED", digit_layouts.PUBLISHED | sums_of(contents))
    for name, content in contents.items():
        put(folder / RAW / name, content)
    assert mst.load("original", folder).remarks == ()
    assert capsys.readouterr().err == ""


def sums_of(contents):
    """Returns the MD5 sum of each file."""
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


def test_fashion_mnist_under_mnists_names_is_refused_by_name(folder, contents, monkeypatch):
    """It has MNIST's names and sizes, and is recognised by its checksums."""
    monkeypatch.setattr(digit_layouts, "FASHION", {digest: name for name, digest in sums_of(contents).items()})
    for name, content in contents.items():
        put(folder / RAW / name, content)
    message = refusal(folder)
    assert names_in_order(message, folder / RAW / NAMES[0], "Fashion-MNIST's", NAMES[0], "MNIST's")


def test_swapped_training_and_test_files_are_refused_by_name(folder, contents, monkeypatch):
    """The published test images under the name of the training images are recognised by their checksum."""
    monkeypatch.setattr(digit_layouts, "PUBLISHED", digit_layouts.PUBLISHED | sums_of(contents))
    for name, content in contents.items():
        put(folder / RAW / swapped(name), content)
    assert names_in_order(refusal(folder), folder / RAW / NAMES[0], "MNIST's", NAMES[2], NAMES[0])


def test_more_test_than_training_digits_are_said(folder, contents):
    """If no checksum is known, a remark on the counts says that the names may be swapped."""
    for name, content in contents.items():
        put(folder / RAW / swapped(name), content)
    remark = next(remark for remark in mst.load("original", folder).remarks if "swapped" in remark)
    assert names_in_order(remark, folder / RAW / NAMES[0], "40 training", "60 test")


def swapped(name):
    """Returns a test file's name for a training file's, and the reverse."""
    return name.replace("train", "t10k") if "train" in name else name.replace("t10k", "train")


@pytest.mark.parametrize("released", [True, False])
def test_torchvisions_former_files_are_read_alone_and_compared_beside_the_released(folder, contents, expected_hash, released):
    """`MNIST/processed` has the same arrays. If they differ from those in `MNIST/raw`, both are named."""
    processed = folder / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for prefix, name in (("train", "training.pt"), ("t10k", "test.pt")):
        images, labels = contents[f"{prefix}-images-idx3-ubyte"], contents[f"{prefix}-labels-idx1-ubyte"]
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
        numbers = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
        torch.save((torch.tensor(pixels), torch.tensor(numbers)), processed / name)
    if released:
        for name, content in contents.items():
            put(folder / RAW / name, content)
        put(folder / RAW / NAMES[3], idx((np.arange(1, 41) % 10).astype(np.uint8)))
        assert names(refusal(folder), folder / RAW, processed / "test.pt")
        put(folder / RAW / NAMES[3], contents[NAMES[3]])
    data_read = mst.load("original", folder)
    assert data_read.hash == expected_hash
    digests = [f"MD5 {hashlib.md5(contents[name]).hexdigest()}," for name in NAMES]
    assert all(digest in remark for digest, remark in zip(digests, data_read.remarks, strict=True))
    (processed / "test.pt").write_bytes(b"x")
    with pytest.raises(DataError, check=naming(processed / "test.pt", "delete")):
        mst.load("original", folder)


def test_a_build_notices_changes_in_whatever_form_it_was_built_from(folder, contents):
    """The file that was read may be deleted but not changed. A standard file added later counts as changed, another form does not."""
    for name, content in contents.items():
        put(folder / "mnist" / name, content)
    first = mst.load("original", folder)
    changed = folder / "mnist" / NAMES[1]
    changed.write_bytes(contents[NAMES[1]][:-1] + b"\x05")
    with pytest.raises(DataError, check=naming(changed, "delete")):
        mst.load("original", folder)
    shutil.rmtree(folder / "mnist")
    assert mst.load("original", folder).hash == first.hash
    put(folder / RAW / NAMES[1], contents[NAMES[1]])
    with pytest.raises(DataError, check=naming(folder / RAW / NAMES[1], "delete")):
        mst.load("original", folder)


def test_a_build_from_torchvisions_layout_takes_no_notice_of_other_forms_later(folder, contents):
    """The released files may be deleted and replaced by a mirror's."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    first = mst.load("original", folder)
    shutil.rmtree(folder / "MNIST")
    for name, content in contents.items():
        put(folder / "mnist" / name, content[:-1] + b"\x05")
    assert mst.load("original", folder).hash == first.hash


SVHN_FORMS = {"lower case": "svhn/{}.mat", "data folder": "{}.mat", "twice": "SVHN/svhn/{}.mat", "upper case": "SVHN/{}.MAT"}


@pytest.mark.parametrize("form", SVHN_FORMS)
def test_svhn_is_found_in_other_folders(folder, contents, expected_hash, form):
    """Its two files are read, whatever the case of their names, and also beside `extra_32x32.mat`."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    (folder / "SVHN").rename(folder / "elsewhere")
    for split in ("train", "test"):
        put(folder / SVHN_FORMS[form].format(f"{split}_32x32"), (folder / "elsewhere" / f"{split}_32x32.mat").read_bytes())
    put(folder / SVHN_FORMS[form].format("extra_32x32"), b"not read")
    assert mst.load("original", folder).hash == expected_hash


def test_two_svhn_files_that_differ_are_both_named(folder, contents):
    """The user must choose between them. Copies are accepted."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    first, second = folder / "SVHN" / "train_32x32.mat", folder / "train_32x32.mat"
    put(second, (folder / "SVHN" / "test_32x32.mat").read_bytes())
    assert names(refusal(folder), first, second)
    put(second, first.read_bytes())
    assert len(mst.load("original", folder).train) == 60 * 20


def test_swapped_svhn_files_are_refused_by_name(folder, contents, monkeypatch):
    """The published test file under the name of the training file is recognised by its checksum."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    test = (folder / "SVHN" / "test_32x32.mat").read_bytes()
    known = {"train": ["", "train_32x32.mat", "0"], "test": ["", "test_32x32.mat", hashlib.md5(test).hexdigest()]}
    monkeypatch.setattr("torchvision.datasets.SVHN.split_list", known)
    put(folder / "SVHN" / "train_32x32.mat", test)
    assert names_in_order(refusal(folder), folder / "SVHN" / "train_32x32.mat", "SVHN's", "test_32x32.mat", "train_32x32.mat")


def test_svhn_in_its_other_format_says_which_names_are_expected(folder, contents, monkeypatch):
    """SVHN's full-number images cannot be read: the line has the expected names and those that are there."""
    for name, content in contents.items():
        put(folder / RAW / name, content)
    shutil.rmtree(folder / "SVHN")
    put(folder / "svhn" / "train.tar.gz", b"x")
    monkeypatch.undo()
    monkeypatch.setattr(
        "torchvision.datasets.SVHN.split_list", {s: ["http://127.0.0.1:9/x", "x", "0"] for s in ("train", "test")}
    )
    message = refusal(folder)
    assert names_in_order(message, "train_32x32.mat", "test_32x32.mat", folder, "svhn/train.tar.gz", folder / "SVHN")
