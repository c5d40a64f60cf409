"""PolyMNIST in folders with other spellings, in two folders, or at another scale, and the errors if it is not found."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mopoe_core.data.polymnist import polymnist
from mopoe_core.errors import DataError
from tests.support.naming import unnamed

NAMES = ("m0", "m1", "m2", "m3", "m4")


def put_pngs(root):
    """Writes twenty random tuples for each split as released."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in NAMES:
            (root / split / name).mkdir(parents=True)
            for n in range(20):
                pixels = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{n // 10}.{n % 10}.png")


def put_tensors(root, scale):
    """Writes twenty random tuples for each split as tensors, after `scale` was applied to the uint8 images."""
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        torch.save(torch.arange(20) % 10, root / split / "labels.pt")
        for name in NAMES:
            pixels = np.random.default_rng(1).integers(0, 256, (20, 3, 28, 28), dtype=np.uint8)
            torch.save(scale(torch.from_numpy(pixels)), root / split / f"{name}.pt")


def refusal(folder):
    """Returns the one line of the error that loading raises, and checks that nothing is built."""
    with pytest.raises(DataError) as caught:
        polymnist.load("original", folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("built/*/manifest.json"))
    return str(caught.value)


@pytest.mark.parametrize("root", ["MMNIST", "PolyMNIST/MMNIST", "polymnist", "mmnist", "MMNIST/MMNIST", "PolyMnist/PolyMNIST"])
def test_every_folder_gives_the_same_dataset(tmp_path, root):
    """The folder may be the released archive's, with any case of its name, or be one folder too deep."""
    put_pngs(tmp_path / "one" / "PolyMNIST")
    put_pngs(tmp_path / "other" / root)
    assert polymnist.load("original", tmp_path / "other").hash == polymnist.load("original", tmp_path / "one").hash


def test_two_folders_are_compared(tmp_path):
    """Copies are accepted. If an image differs or is missing, both folders and the modality are named."""
    put_pngs(tmp_path / "PolyMNIST")
    put_pngs(tmp_path / "MMNIST")
    first = polymnist.load("original", tmp_path).hash
    for change in (lambda path: Image.new("RGB", (28, 28)).save(path), lambda path: path.unlink()):
        shutil.rmtree(tmp_path / "built")
        change(tmp_path / "MMNIST" / "test" / "m2" / "1.4.png")
        message = refusal(tmp_path)
        assert not unnamed(message, tmp_path / "PolyMNIST", tmp_path / "MMNIST", "test/m2")
        shutil.copy(tmp_path / "PolyMNIST" / "test" / "m2" / "1.4.png", tmp_path / "MMNIST" / "test" / "m2" / "1.4.png")
        assert polymnist.load("original", tmp_path).hash == first


@pytest.mark.parametrize(
    ("scale", "found"),
    [(lambda x: x // 128, ("uint8", 1)), (lambda x: x.float() / 255 / 255, ("float32", re.compile(r"\b0\.0039")))],
)
def test_tensors_at_a_scale_that_makes_them_black_are_refused(tmp_path, scale, found):
    """The tensors are zeros and ones as uint8, or were divided by 255 twice."""
    put_tensors(tmp_path / "PolyMNIST", scale)
    with pytest.raises(DataError) as caught:
        polymnist.load("original", tmp_path)
    assert not unnamed(caught.value, "train/m0.pt", *found, 255)


@pytest.mark.parametrize("beyond", [1 + 2**-23, -1e-6])
def test_greys_that_rounding_put_outside_are_black_and_white(tmp_path, beyond):
    """Tensors with such greys in place of 0 or 1 are built to the same arrays."""
    put_tensors(tmp_path / "plain" / "PolyMNIST", lambda x: x.float() / 255)
    put_tensors(tmp_path / "rounded" / "PolyMNIST", lambda x: torch.where(x == 255 * (beyond > 0), beyond, x.float() / 255))
    assert polymnist.load("original", tmp_path / "rounded").hash == polymnist.load("original", tmp_path / "plain").hash


@pytest.mark.parametrize(
    ("scale", "greys", "clips"),
    [
        (lambda x: x / 255 * 1.000002, (0, 1.000002), True),
        (lambda x: x / 255 * 1.02 - 0.01, (-0.01, 1.01), True),
        (lambda x: x / 255 * 1.05, (0, 1.05), False),
    ],
)
def test_greys_outside_are_told_with_the_digits_that_show_it(tmp_path, scale, greys, clips):
    """The line advises to clip them if they are at most one hundredth outside."""
    put_tensors(tmp_path / "PolyMNIST", lambda x: scale(x.double()))
    with pytest.raises(DataError) as caught:
        polymnist.load("original", tmp_path)
    assert not unnamed(caught.value, "train/m0.pt", *greys)
    assert ("x.clip(0, 1)" in str(caught.value)) == clips


def test_what_is_there_is_named(tmp_path):
    """If the folder has none of the forms, the line has the first few names and how many more."""
    for n in range(8):
        (tmp_path / f"poly-{n}").mkdir()
    assert not unnamed(refusal(tmp_path), tmp_path, *(f"poly-{n}/" for n in range(5)), 3)
    assert unnamed(refusal(tmp_path), "poly-5/")
