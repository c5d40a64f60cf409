"""Images of a user's own dataset: wrong ones are refused with advice, and the others keep every grey level."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.own import OwnDataset, OwnModality, user_data
from mopoe_core.errors import DataError
from mopoe_core.metrics.pictures import write_contact_sheet, write_pictures
from mopoe_core.training.run import new_model
from tests.support.naming import unnamed
from tests.support.own_cards import HERE

TRAIN = 60
GREYS = (np.arange(TRAIN * 4 * 6) * 7 % 256).reshape(TRAIN, 1, 4, 6).astype(np.uint8)
VECTOR = np.arange(TRAIN * 3).reshape(TRAIN, 3) % 7 / 7


def labels(count):
    """Returns labels of three classes in turn."""
    return np.arange(count) % 3


def pictures(train, test=None):
    """Returns a dataset of a vector and these images."""
    image = OwnModality("img", "image", train, train if test is None else test)
    return OwnDataset((OwnModality("vec", "vector", VECTOR, VECTOR), image), labels(len(train)), labels(len(train)))


@pytest.fixture
def refused(card_of):
    """Returns the line with which images are refused."""

    def line(train, test=None):
        with pytest.raises(DataError) as caught:
            card_of(pictures(train, test))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return line


SCALES = {
    "uint8 0 and 1": (lambda x: x % 2, (0, 1), "255"),
    "uint8 0 to 15": (lambda x: x // 16, (0, 15), "x / 15"),
    "uint8 0 to 16": (lambda x: x // 16 + (x > 250), (0, 16), "x / 16"),
    "uint8 black": (lambda x: x * 0, (0, 0), "modality"),
    "floats to 255": (lambda x: x / 1, (0, 255), "x / 255"),
    "int64 to 255": (lambda x: x.astype(np.int64), (0, 255), "x.astype(np.uint8)"),
    "big-endian to 255": (lambda x: x.astype(">f4"), (0, 255), "x / 255"),
    "12 bits": (lambda x: x.astype(np.uint16) * 16, (0, 4080), "4095"),
    "16 bits": (lambda x: x.astype(np.uint16) * 257, (0, 65535), "65535"),
    "-1 to 1": (lambda x: x / 127.5 - 1, (-1, 1), "(x + 1) / 2"),
    "standardised": (lambda x: (x - 127.0) / 60, (-2.116667, 2.133333), "standardisation"),
    "more than rounding above 1": (lambda x: x / 255 * 1.000002, (0, 1.000002), "x.clip(0, 1)"),
    "more than rounding below 0": (lambda x: x / 255 - 2e-6, (-2e-06, 0.999998), "x.clip(0, 1)"),
    "1 % above 1": (lambda x: x / 255 * 1.01, (0, 1.01), "x.clip(0, 1)"),
    "1 % on both sides": (lambda x: x / 255 * 1.02 - 0.01, (-0.01, 1.01), "x.clip(0, 1)"),
    "2 % above 1": (lambda x: x / 255 * 1.02, (0, 1.02), "largest"),
    "divided twice": (lambda x: x / 255 / 255, (0, 0.00392157), "once"),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", SCALES)
def test_greys_on_another_scale_are_refused_with_what_to_do(refused, case, split):
    """The line names modality, split, the range found and what to do, also if the other split is right."""
    change, greys, advice = SCALES[case]
    pair = (change(GREYS), GREYS)
    line = refused(*(pair if split == "train" else pair[::-1]))
    assert line.startswith(f"dataset: {HERE}: ")
    assert not unnamed(line, "img", split, *greys, advice)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((16, 16, 3), "axis"),
        ((16, 16, 1), "axis"),
        ((9, 12, 4), "axis"),
        ((16, 16, 2), "axis"),
        ((28, 28), "x[:, None]"),
        ((784,), "reshape"),
        ((3, 8, 8, 2), "one image"),
    ],
    ids=str,
)
def test_axes_in_another_order_are_refused_with_what_to_do(refused, shape, advice):
    """The line has the shape found and what to do."""
    line = refused(np.full((TRAIN, *shape), 255, np.uint8))
    assert not unnamed(line, "img", "train", (TRAIN, *shape), "(N, C, H, W)", advice)


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 16, 16), (4, 9, 12), (16, 4, 4), (2, 8, 4), (1, 3, 3), (5, 1, 3), (3, 2, 1)], ids=str
)
def test_axes_that_may_be_meant_are_taken(card_of, shape):
    """Few channels, maps of many channels and few pixels, and narrow images keep their shape."""
    values = np.resize(GREYS, (TRAIN, *shape))
    card_of(pictures(values))
    assert user_data.load(HERE).modalities[1].shape == shape


LEVELS = 3266
DEEP = np.resize(np.arange(LEVELS), (TRAIN, 1, 8, 8))
KEPT = {
    "12 bits over 65535": (DEEP / 65535, LEVELS),
    "12 bits over 4095": (DEEP / 4095, LEVELS),
    "float32": ((DEEP / 4095).astype(np.float32), LEVELS),
    "16 bits": (np.resize(np.arange(0, 65536, 20), (TRAIN, 1, 8, 8)) / 65535, 3277),
}


@pytest.mark.parametrize("case", KEPT)
def test_no_grey_level_is_lost(card_of, case):
    """If images have more than 256 levels, networks see all of them, within float32's rounding."""
    images, count = KEPT[case]
    assert len(np.unique(images)) == count
    card_of(pictures(images))
    loaded = user_data.load(HERE)
    seen = loaded.train.batch(torch.arange(TRAIN))["img"].numpy()
    assert seen.dtype == np.float32
    assert len(np.unique(seen)) == count
    assert np.abs(seen - images).max() < 1e-7
    assert np.array_equal(seen, loaded.train.batch(torch.arange(TRAIN))["img"].numpy()), "a batch changed the items"


def test_a_level_in_the_last_image_only_is_not_lost(card_of, monkeypatch):
    """Images are converted in parts. One grey between two bytes, in the very last pixel, makes all of them floats."""
    monkeypatch.setattr("mopoe_core.data.own.as_arrays.PIXELS_AT_ONCE", 100)
    images = GREYS / 255
    card_of(pictures(images))
    assert np.array_equal(user_data.load(HERE).train.items["img"].numpy(), GREYS)
    images[-1, -1, -1, -1] = 100.4 / 255
    card_of(pictures(GREYS / 255, images))
    assert user_data.load(HERE).test.items["img"][-1, -1, -1, -1].item() == np.float32(100.4 / 255)


def test_both_splits_are_kept_alike(card_of):
    """If one split has more than 256 levels, the bytes of the other become floats too."""
    fine = np.resize(np.arange(LEVELS), GREYS.shape) / 4095
    for pair in ((GREYS, fine), (fine, GREYS)):
        card_of(pictures(*pair))
        loaded = user_data.load(HERE)
        for split, images in zip((loaded.train, loaded.test), pair, strict=True):
            expected = images / 255 if images.dtype == np.uint8 else images
            assert split.items["img"].dtype == torch.float32
            assert np.abs(split.items["img"].numpy() - expected).max() < 1e-7


AS_BYTES = {
    "bytes": (GREYS, "36fc2f7704bd54be"),
    "over 255": (GREYS / 255, "36fc2f7704bd54be"),
    "over 255 in float32": ((GREYS / 255).astype(np.float32), "36fc2f7704bd54be"),
    "over 255 in float16": ((GREYS / 255).astype(np.float16), "36fc2f7704bd54be"),
    "big-endian over 255": ((GREYS / 255).astype(">f8"), "36fc2f7704bd54be"),
    "truth values": (GREYS > 127, "1e382c34eacbeb64"),
    "numbers 0 and 1": ((GREYS > 127).astype(np.int64), "1e382c34eacbeb64"),
    "a rounding step above 1": (np.where(GREYS == 255, 1 + 1e-6, GREYS / 255), "36fc2f7704bd54be"),
    "a rounding step below 0": (np.where(GREYS == 0, np.float32(-1e-6), (GREYS / 255).astype(np.float32)), "36fc2f7704bd54be"),
    "a hundred levels": (GREYS // 3 / 100, "d164f0cf72e65b30"),
}


@pytest.mark.parametrize("dtype", [code for code in np.typecodes["AllInteger"] if code != "B"])
def test_masks_of_every_type_of_integer_are_black_and_white(card_of, dtype):
    """Zeros and ones that no uint8 holds are the truth values, in memory and by their fingerprint. int8 cannot hold 255."""
    card = card_of(pictures((GREYS > 127).astype(dtype)))
    assert np.array_equal(user_data.load(HERE).train.items["img"].numpy(), (GREYS > 127) * 255)
    assert card.data_hash == AS_BYTES["truth values"][1]


def test_only_greys_that_rounding_put_outside_are_changed(card_of):
    """Stored as floats, they become 0 and 1. All others keep every bit, and so -0.0 its sign."""
    inside = (DEEP / 4095).astype(np.float32)
    inside[0, 0, 0, :4] = -0.0, 1e-40, np.nextafter(np.float32(1), np.float32(0)), 1
    beyond = inside.copy()
    beyond[0, 0, 1, :3] = np.nextafter(np.float32(1), np.float32(2)), -1e-6, -1e-40
    card_of(pictures(beyond))
    seen = user_data.load(HERE).train.items["img"].numpy()
    assert seen[0, 0, 1, :3].tolist() == [1, 0, 0]
    seen[0, 0, 1, :3] = inside[0, 0, 1, :3]
    assert seen.tobytes() == inside.tobytes()


@pytest.mark.parametrize("case", AS_BYTES)
def test_images_that_bytes_hold_keep_their_identity(card_of, case):
    """They are stored as bytes, and their fingerprint is the one that version 0.1.0 wrote into ledgers."""
    images, fingerprint = AS_BYTES[case]
    card = card_of(pictures(images))
    assert user_data.load(HERE).train.items["img"].dtype == torch.uint8
    assert card.data_hash == fingerprint


def test_images_of_floats_are_drawn_as_bytes_are(card_of, tmp_path):
    """The contact sheet is the same for bytes and for the same greys with one odd pixel, which are stored as floats."""
    sheets = []
    for images in (GREYS / 255, np.where(np.arange(GREYS.size).reshape(GREYS.shape) == 5, GREYS / 255 + 1e-4, GREYS / 255)):
        card_of(pictures(images.clip(0, 1)))
        loaded = user_data.load(HERE)
        write_contact_sheet(loaded, tmp_path / "sheet.png")
        sheets.append((loaded.train.items["img"].dtype, (tmp_path / "sheet.png").read_bytes()))
    assert [dtype for dtype, _ in sheets] == [torch.uint8, torch.float32]
    assert sheets[0][1] == sheets[1][1]


def test_a_class_that_test_lacks_is_left_out_of_the_pictures(card_of, tmp_path):
    """Trials draw pictures of test examples, without a column for the absent class."""
    data = pictures(GREYS)
    card_of(replace(data, test_labels=labels(TRAIN) % 2))
    loaded = user_data.load(HERE)
    config = TrainingConfig(dataset=HERE, model="mopoe", latent_dim=2, epochs=1, batch_size=20)
    write_pictures(new_model(config, 0, loaded, torch.device("cpu")).eval(), 0, loaded, torch.device("cpu"), tmp_path)
    assert len(list(tmp_path.glob("given_*.png"))) == 3
