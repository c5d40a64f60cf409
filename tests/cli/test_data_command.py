"""`mopoe data`: the description of a dataset; each error is one line with exit code 2."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mopoe_core.data.cards import DATASETS
from mopoe_core.metrics.pictures import TILE
from tests.support.naming import line_naming, names, names_in_order

EXAMPLE = Path(__file__).parents[2] / "examples" / "tabular.py"


@pytest.fixture
def types(types_here):
    """Returns a function that types the command; it returns the exit code, standard output and standard error."""
    return partial(types_here, "data")


@pytest.fixture
def refused(types):
    """Returns a function that types a command that is refused; it returns the error's one line."""

    def run(*words):
        code, out, err = types(*words)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture
def offline(monkeypatch):
    """Make every download fail."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])


def test_the_embedded_data_are_counted_hashed_and_shown(types, dataset, data_folder):
    """Counts and hash are those of the dataset. The sheet has ten columns and three rows with training images of the classes 0 to 9."""
    code, out, err = types("mnist_svhn_text", "--source", "embedded", "--data", data_folder)
    sheet = data_folder / "mnist-svhn-text-embedded.png"
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "embedded mnist_svhn_text"
    assert names(lines[-1], sheet)
    assert f"sha256 {dataset.hash}" in lines
    assert line_naming(out, "train", 80000, "4000 of mnist", "8000 of svhn", "40 of text")
    assert any(line.endswith(": " + ", ".join(["8000"] * 10)) for line in lines)
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (3 * (TILE + 1), 10 * (TILE + 1), 3)
    known = {item.numpy().tobytes(): int(label) for item, label in zip(*digits_of(dataset), strict=True)}
    tiles = [pixels[:TILE:2, column * (TILE + 1) : column * (TILE + 1) + TILE : 2, 0] for column in range(10)]
    assert [known[np.ascontiguousarray(tile).tobytes()] for tile in tiles] == list(range(10))


def digits_of(dataset):
    """Returns the training digits and their classes."""
    return dataset.train.items["mnist"], dataset.train.item_labels["mnist"]


def test_a_dataset_of_ones_own_is_shown_too(types, tmp_path, monkeypatch):
    """The sheet is in the present folder and has a row for each modality and a column for each class. No data folder is made."""
    reference = f"{EXAMPLE}:tumours"
    monkeypatch.chdir(tmp_path)
    code, out, _ = types(reference, "--data", tmp_path / "data")
    (sheet,) = tmp_path.iterdir()
    assert code == 0
    assert out.startswith(f"own {reference}\n")
    assert line_naming(out, "train", 400, "400 of mean", "400 of error", "400 of worst")
    assert names(out.splitlines()[-1], sheet)
    assert np.asarray(Image.open(sheet)).shape == (3 * (TILE + 1), 2 * (TILE + 1), 3)


WANTED = {
    "mnist_svhn_text": ["MNIST's four idx files", "MNIST/raw", "train_32x32.mat", "test_32x32.mat"],
    "polymnist": ["train", "test", "m0 to m4", "<i>.<label>.png", "labels.pt", "backgrounds"],
    "celeba": ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba", ".csv"],
}


@pytest.mark.parametrize("name", DATASETS)
def test_missing_originals_say_what_to_put_where(refused, offline, tmp_path, name):
    """Without files and network, the error names the files and their folder, and no dataset counts as built."""
    said = refused(name, "--data", tmp_path)
    assert all(part in said for part in [str(tmp_path), *WANTED[name]]), said
    assert not list(tmp_path.glob("built/*/manifest.json"))


@pytest.mark.parametrize("source", ["original", "embedded"])
@pytest.mark.parametrize("name", DATASETS)
def test_a_data_folder_that_is_none_is_named(refused, offline, tmp_path, name, source):
    """A data folder that is a file, or is below a file, is named for every dataset and source."""
    (tmp_path / "file").write_text("x")
    for below in ("file", "file/deeper"):
        said = refused(name, "--source", source, "--data", tmp_path / below)
        assert said.startswith(f"error: {tmp_path / 'file'}: ")
        assert names(said, "folder")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["polymnits"], ("'polymnits'", "'polymnist'")),
        (["celeba", "--source", "orginal"], ("--source", "'orginal'", "'original'")),
        (["none.py:made"], ("none.py",)),
    ],
)
def test_what_is_not_offered_is_named(refused, words, expected):
    """The error for an unknown dataset, source or function names it and the nearest known one."""
    assert names_in_order(refused(*words), *expected)


@pytest.fixture
def pngs(tmp_path, monkeypatch):
    """A PNG tree of PolyMNIST with twenty tuples of black images; the catalogue's counts are changed to match."""
    counts = {"original": 20}
    monkeypatch.setitem(DATASETS, "polymnist", replace(DATASETS["polymnist"], train_examples=counts, test_examples=counts))
    for split in ("train", "test"):
        for name in DATASETS["polymnist"].modalities:
            folder = tmp_path / "PolyMNIST" / split / name
            folder.mkdir(parents=True)
            for n in range(20):
                Image.new("RGB", (28, 28)).save(folder / f"{n // 10}.{n % 10}.png")
    return tmp_path


def test_files_that_have_changed_are_not_called_checked(types, refused, pngs):
    """If a web page replaces an image after the build, the command fails until the image is restored and the named folder deleted."""
    assert types("polymnist", "--data", pngs)[0] == 0
    image = pngs / "PolyMNIST" / "test" / "m3" / "0.0.png"
    content = image.read_bytes()
    image.write_text("<!-- quota --><html>")
    (built,) = (path.parent for path in pngs.glob("built/*/manifest.json"))
    assert names(refused("polymnist", "--data", pngs), image.parent, built, "delete")
    shutil.rmtree(built)
    assert names(refused("polymnist", "--data", pngs), image, "web page")
    image.write_bytes(content)
    assert types("polymnist", "--data", pngs)[0] == 0


def test_one_tuple_too_few_is_named_until_it_is_there(types, refused, pngs):
    """Wrong counts leave no build behind, so that the command works as soon as the files are complete."""
    removed = [pngs / "PolyMNIST" / "test" / name / "1.9.png" for name in DATASETS["polymnist"].modalities]
    for path in removed:
        path.unlink()
    for _ in range(2):
        assert names_in_order(refused("polymnist", "--data", pngs), "19 test", 20)
    for path in removed:
        Image.new("RGB", (28, 28)).save(path)
    assert types("polymnist", "--data", pngs)[0] == 0


def test_a_sheet_that_cannot_be_written_is_one_line(refused, pngs):
    """The sheet's path is already a folder."""
    (pngs / "polymnist-original.png").mkdir()
    assert refused("polymnist", "--data", pngs).startswith(f"error: {pngs / 'polymnist-original.png'}: ")
