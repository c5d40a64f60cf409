"""Bimodal CelebA: the text rule, the crop, both forms of the annotations, wrong input, and a build that is resumed."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from mopoe_core.data import loading
from mopoe_core.data.cards import DATASETS
from mopoe_core.data.celeba import celeba, celeba_decoding, celeba_files
from mopoe_core.data.celeba.attributes import CELEBA, DRAWN
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.mnist_svhn_text.mnist_svhn_text import ALPHABET
from mopoe_core.errors import DataError
from tests.support.naming import names, naming
from tests.support.toys import spelled

COUNTS = (12, 4, 5)
TOTAL = sum(COUNTS)
NAMES = [f"{i:06d}.jpg" for i in range(1, TOTAL + 1)]
PARTITION = np.repeat((0, 1, 2), COUNTS)
PAGE = "\n <!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"


def labels_of_files():
    """Returns the labels of the annotation files, (21, 40)."""
    return np.random.default_rng(5).integers(0, 2, (TOTAL, 40))


def write_txt(root, names=NAMES, columns=CELEBA, labels=None, partition=PARTITION):
    """Annotations as released."""
    labels = labels_of_files() if labels is None else labels
    rows = [f"{name} {' '.join(f'{v:2d}' for v in 2 * row - 1)}" for name, row in zip(names, labels, strict=True)]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(len(names)), " ".join(columns), *rows, ""]))
    (root / "list_eval_partition.txt").write_text("".join(f"{n} {p}\n" for n, p in zip(names, partition, strict=True)))


def write_csv(root, negative=-1):
    """Writes annotations as on Kaggle, with `negative` for an absent attribute."""
    rows = [",".join([name, *map(str, np.where(row, 1, negative))]) for name, row in zip(NAMES, labels_of_files(), strict=True)]
    (root / "list_attr_celeba.csv").write_text("\r\n".join([",".join(["image_id", *CELEBA]), *rows, ""]))
    lines = [f"{name},{part}" for name, part in zip(NAMES, PARTITION, strict=True)]
    (root / "list_eval_partition.csv").write_text("\r\n".join(["image_id,partition", *lines, ""]))


def write_images(folder, size=(178, 218)):
    """Smooth random pictures, as JPEG."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(7)
    for name in NAMES:
        coarse = Image.fromarray(chance.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / name, quality=92)


@pytest.fixture
def root(tmp_path):
    """`celeba` under `tmp_path`, complete, in torchvision's layout."""
    write_images(tmp_path / "celeba" / "img_align_celeba")
    write_txt(tmp_path / "celeba")
    return tmp_path / "celeba"


def slow_text(row, names, start):
    """Returns the text by the released rule, word for word, for this start."""
    present = []
    for name, has in zip(names, row, strict=True):
        if has:
            present.append(name)
    while len(", ".join(present)) > 256:
        present = present[:-1]
    body = ", ".join(present).replace("_", " ").lower()
    return "*" * start + body + "*" * (256 - len(body) - start)


def test_texts_follow_the_released_rule():
    """Each text is what the released rule gives for some start. All starts from 0 to 254 - length occur, and no others."""
    chance = np.random.default_rng(0)
    labels = (chance.random((300, 40)) < chance.random((300, 1))).astype(np.uint8)
    for row, codes in zip(labels, celeba.texts(labels, CELEBA, chance), strict=True):
        written = spelled(codes, ALPHABET)
        start = len(written) - len(written.lstrip("*")) if row.any() else 0
        assert written == slow_text(row, CELEBA, start)
    row = [int(name == "Smiling") for name in DRAWN]
    starts = {celeba.text(row, DRAWN, chance).index("smiling") for _ in range(6000)}
    assert starts == set(range(254 - len("smiling") + 1))


def test_a_text_that_is_too_long_is_cut_after_an_attribute():
    """If not all forty names fit, as many whole ones as possible are there, in order, from the first character on."""
    written = celeba.text([1] * 40, CELEBA, np.random.default_rng(0)).strip("*")
    spoken = [name.replace("_", " ").lower() for name in CELEBA]
    count = written.count(", ") + 1
    assert written == ", ".join(spoken[:count])
    assert len(written) <= 256 < len(", ".join(spoken[: count + 1]))
    for length in (254, 255, 256):
        assert celeba.text([1], ["x" * length], np.random.default_rng(0)) == "x" * length + "*" * (256 - length)


def test_no_attribute_gives_padding_only():
    """The text of a face without attributes is 256 stars, and a star is in the alphabet."""
    assert celeba.text([0] * 40, CELEBA, np.random.default_rng(0)) == "*" * 256
    assert len(ALPHABET) == 71
    assert "*" in ALPHABET


def test_an_image_is_cropped_and_resized_as_torchvision_does_it(root):
    """Equal to CenterCrop(148) and an antialiased bicubic Resize(64) of the PIL image, for colour and for gray files."""
    path = root / "img_align_celeba" / NAMES[0]
    gray = root / "gray.jpg"
    Image.open(path).convert("L").save(gray)
    steps = v2.Compose([v2.CenterCrop(148), v2.Resize(64, v2.InterpolationMode.BICUBIC, antialias=True), v2.PILToTensor()])
    for file in (path, gray):
        assert np.array_equal(celeba_decoding.decode(file), steps(Image.open(file).convert("RGB")).numpy())


def test_the_middle_of_the_image_is_what_remains(tmp_path):
    """A white square of 148 x 148 in the middle of a black image fills the picture, and its four quarters keep their colours."""
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[35:183, 15:163] = 255
    pixels[35:109, 15:89] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = celeba_decoding.decode(tmp_path / "a.png")
    assert seen[:, 40:, :].min() == 255
    assert seen[:, 5:27, 5:27].reshape(3, -1).T.tolist() == [[255, 0, 0]] * 22 * 22


def test_the_original_is_read_by_partition(root, tmp_path):
    """Splits have the sizes and labels of the annotations, the images of the files, and texts that name the labels."""
    loaded = celeba.load("original", tmp_path)
    labels = labels_of_files()
    assert (loaded.classes, loaded.attributes) == (40, CELEBA)
    for split, value in ((loaded.train, 0), (loaded.test, 2)):
        chosen = np.flatnonzero(value == PARTITION)
        assert np.array_equal(split.labels, labels[chosen])
        for row, i in enumerate(chosen):
            assert np.array_equal(split.items["image"][row], celeba_decoding.decode(root / "img_align_celeba" / NAMES[i]))
            names_in_text = {name for name in spelled(split.items["text"][row], ALPHABET).strip("*").split(", ") if name}
            names = [name.replace("_", " ").lower() for name, has in zip(CELEBA, labels[i], strict=True) if has]
            assert names_in_text == set(names[: len(names_in_text)])
    assert not list((tmp_path / "built").glob("*.partial"))


def test_validation_takes_the_place_of_test_without_another_build(root, tmp_path):
    """Both choices map the same built folder. With `validation`, the test set is partition 1."""
    first = celeba.load("original", tmp_path)
    (root / "list_attr_celeba.txt").unlink()
    second = celeba.load("original", tmp_path, "validation")
    assert np.array_equal(second.test.labels, labels_of_files()[PARTITION == 1])
    assert (second.hash, len(second.train)) == (first.hash, len(first.train))
    with pytest.raises(ValueError, check=naming("'dev'", "test", "validation")):
        celeba.load("original", tmp_path, "dev")


CHANGES = {
    "list_attr_celeba.txt": lambda root: change(root / "list_attr_celeba.txt", " 1 ", " -1 "),
    "list_eval_partition.txt": lambda root: change(root / "list_eval_partition.txt", "03.jpg 0", "03.jpg 1"),
    "list_eval_partition.csv": lambda root: ((root / "list_eval_partition.txt").unlink(), write_csv(root)),
    "img_align_celeba": lambda root: Image.new("RGB", (178, 218)).save(root / "img_align_celeba" / NAMES[5]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_that_change_after_the_build_are_named(root, tmp_path, name):
    """If annotations or images change after the build, the line says which folder to delete."""
    celeba.load("original", tmp_path)
    CHANGES[name](root)
    with pytest.raises(DataError) as caught:
        celeba.load("original", tmp_path)
    (built,) = (path.parent for path in tmp_path.glob("built/*/manifest.json"))
    assert names(str(caught.value), built, "delete")


def test_the_originals_may_be_taken_away_or_moved_after_the_build(root, tmp_path):
    """Only the build needs the folder `celeba`. Afterwards its files may also be in the folder above."""
    first = celeba.load("original", tmp_path)
    for path in root.iterdir():
        path.rename(tmp_path / path.name)
    assert celeba.load("original", tmp_path).hash == first.hash
    root.rmdir()
    for path in (*tmp_path.glob("list_*"), *tmp_path.glob("img_*")):
        path.rename(tmp_path / f"no_{path.name}")
    assert celeba.load("original", tmp_path).hash == first.hash


@pytest.mark.parametrize("inside", [True, False])
def test_annotations_are_found_in_either_folder(root, tmp_path, inside):
    """Annotations in the data folder itself are read unless the folder `celeba` has one."""
    for path in root.iterdir():
        path.rename(tmp_path / path.name)
    if inside:
        (root / "list_eval_partition.txt").write_text("")
        with pytest.raises(DataError, check=naming(root, "list_attr_celeba.txt", "list_attr_celeba.csv")):
            celeba.load("original", tmp_path)
    else:
        assert len(celeba.load("original", tmp_path).train) == COUNTS[0]


@pytest.mark.parametrize("evaluate_on", ["test", "validation"])
def test_every_partition_has_the_published_count(root, tmp_path, monkeypatch, evaluate_on):
    """The counts of all three partitions are checked before any image is decoded."""
    fields = ("train_examples", "validation_examples", "test_examples")
    for wrong, split in enumerate(("train", "validation", "test")):
        counts = [count + (i == wrong) for i, count in enumerate(COUNTS)]
        card = replace(DATASETS["celeba"], **{field: {"original": n} for field, n in zip(fields, counts, strict=True)})
        monkeypatch.setitem(DATASETS, "celeba", card)
        with pytest.raises(DataError, check=naming(f"{COUNTS[wrong]} {split}", counts[wrong])):
            loading.load(DataKey("celeba", "original", 2, evaluate_on), tmp_path)
        assert not list((tmp_path / "built").glob(".*"))


@pytest.mark.parametrize("negative", [-1, 0])
def test_csv_files_give_what_txt_files_give(root, tmp_path, negative):
    """Kaggle's layout with its nested image folder has the same hash as the released one, and so has a flat folder of files."""
    first = celeba.load("original", tmp_path)
    kaggle = tmp_path / "kaggle"
    (kaggle / "img_align_celeba").mkdir(parents=True)
    (root / "img_align_celeba").rename(kaggle / "img_align_celeba" / "img_align_celeba")
    write_csv(kaggle, negative)
    assert celeba.load("original", kaggle).hash == first.hash


def test_columns_in_another_order_are_found_by_name(root):
    """The names of the columns, and not their order, decide which attribute a value belongs to."""
    before = celeba_files.read_parts(root.parent)
    order = np.random.default_rng(1).permutation(40)
    write_txt(root, columns=[CELEBA[i] for i in order], labels=labels_of_files()[:, order])
    after = celeba_files.read_parts(root.parent)
    assert all(np.array_equal(before[split].labels, after[split].labels) for split in before)


def test_the_embedded_data_need_no_file(tmp_path, monkeypatch):
    """Drawn faces have the right sizes and are the same at the next load. Splits share no image. Batches are floats in range."""
    for name, count in (("TRAIN", 30), ("VALIDATION", 10), ("TEST", 20)):
        monkeypatch.setattr(celeba, f"EMBEDDED_{name}", count)
    loaded, validation = celeba.load("embedded", tmp_path), celeba.load("embedded", tmp_path, "validation")
    assert (len(loaded.train), len(validation.test), len(loaded.test)) == (30, 10, 20)
    assert (loaded.classes, loaded.attributes, loaded.hash) == (20, DRAWN, validation.hash)
    assert (loaded.partition, validation.partition) == ("test", "validation")
    pictures = [image.numpy().tobytes() for d in (loaded.train, loaded.test, validation.test) for image in d.items["image"]]
    assert len(set(pictures)) == 60
    batch = loaded.train.batch(torch.arange(6))
    assert {name: tuple(x.shape) for name, x in batch.items()} == {"image": (6, 3, 64, 64), "text": (6, 256, 71)}
    assert 0 <= float(batch["image"].min()) < 0.5 < float(batch["image"].max()) <= 1
    assert torch.equal(batch["text"].sum(-1), torch.ones(6, 256))


def test_labels_are_zeros_and_ones_for_every_item(root, tmp_path):
    """Labels are uint8, (N, 40), the same for both modalities, and rows point to items in order."""
    split = celeba.load("original", tmp_path).train
    for name in ("image", "text"):
        assert split.item_labels[name].dtype == torch.uint8
        assert torch.equal(split.item_labels[name][split.rows[name]], split.labels)
        assert len(split.items[name]) == len(split) == COUNTS[0]


CHILD = """
import sys, time
from pathlib import Path
from mopoe_core.data.celeba import celeba, celeba_decoding, celeba_files
decode = celeba_decoding.decode
def slowly(path):
    time.sleep(0.1)
    return decode(path)
celeba_decoding.decode, celeba_decoding.CHUNK, celeba_decoding.THREADS = slowly, 2, 1
celeba.load("original", Path(sys.argv[1]))
"""


def killed_in_the_middle(folder):
    """Runs a slow build in a child process, and kills it when some images are done."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=Path(__file__).parents[3])
    counter = folder / "built" / ".celeba-original.partial" / "train.done"
    try:
        until = time.monotonic() + 60
        while not (counter.exists() and int(counter.read_text()) >= 4):
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    return int(counter.read_text())


def test_a_killed_build_goes_on_and_gives_the_same_arrays(root, tmp_path, monkeypatch):
    """After a SIGKILL the next build decodes only the rest, and its hash is that of an uninterrupted build."""
    done = killed_in_the_middle(tmp_path)
    assert 4 <= done < TOTAL
    assert not list((tmp_path / "built").glob("celeba-original-*/manifest.json"))
    decoded = []
    monkeypatch.setattr(
        celeba_decoding, "decode", lambda path, decode=celeba_decoding.decode: decoded.append(path.name) or decode(path)
    )
    resumed = celeba.load("original", tmp_path)
    assert sorted(decoded) == NAMES[done:]
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "celeba").symlink_to(root)
    assert celeba.load("original", whole).hash == resumed.hash


def test_a_torn_end_is_written_again(root, tmp_path, monkeypatch):
    """Bytes beyond the counted images do not reach the arrays, and a file shorter than its counter is decoded again."""
    monkeypatch.setattr(celeba_decoding, "CHUNK", 5)
    parts = celeba_files.read_parts(tmp_path)
    whole = np.load(celeba_decoding.decode_all(parts, tmp_path / "cache")["train"])
    target = tmp_path / "cache" / "train.npy"
    for size, done in ((-20_000, 10), (20_000, 5)):
        with target.open("r+b") as file:
            file.truncate(target.stat().st_size + size)
        (tmp_path / "cache" / "train.done").write_text(str(done))
        assert np.array_equal(np.load(celeba_decoding.decode_all(parts, tmp_path / "cache")["train"]), whole)


def test_an_image_that_changed_since_it_was_decoded_is_decoded_again(root, tmp_path):
    """A resumed build has the new content of a replaced image, even if its old time was set back."""
    cache, parts = tmp_path / "cache", celeba_files.read_parts(tmp_path)
    before = np.load(celeba_decoding.decode_all(parts, cache)["train"])
    path = parts["train"].images[7]
    time.sleep(0.02)  # file systems count in some milliseconds
    stat = path.stat()
    Image.new("RGB", (178, 218), (9, 90, 200)).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = np.load(celeba_decoding.decode_all(parts, cache)["train"])
    assert np.array_equal(after[7], celeba_decoding.decode(path))
    assert (before != after).any((1, 2, 3)).nonzero()[0].tolist() == [7]


def test_another_list_of_images_starts_anew(root, tmp_path):
    """Images that were decoded for other annotations are not used."""
    celeba_decoding.decode_all(celeba_files.read_parts(tmp_path), tmp_path / "cache")
    write_txt(root, partition=PARTITION[::-1])
    parts = celeba_files.read_parts(tmp_path)
    targets = celeba_decoding.decode_all(parts, tmp_path / "cache")
    assert np.array_equal(np.load(targets["test"])[0], celeba_decoding.decode(parts["test"].images[0]))
    assert [path.name for path in parts["test"].images] == NAMES[: COUNTS[2]]


def test_progress_is_said_in_lines_or_by_a_bar(root, tmp_path, monkeypatch, capsys):
    """On standard error, a terminal gets a bar that ends at the total, and a file plain lines. Standard output gets nothing."""
    monkeypatch.setattr(celeba_decoding, "SECONDS_BETWEEN_LINES", 0.0)
    parts = celeba_files.read_parts(tmp_path)
    celeba_decoding.decode_all(parts, tmp_path / "lines")
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == f"decoding CelebA: {TOTAL} of {TOTAL} images"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    celeba_decoding.decode_all(parts, tmp_path / "bar")
    output = capsys.readouterr()
    assert f"{TOTAL}/{TOTAL}" in output.err
    assert printed.out == output.out == ""


def change(path, old, new):
    """Replaces the first occurrence of a text in a file."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def no_images(root):
    """Deletes the image folder."""
    (root / "img_align_celeba").rename(root / "elsewhere")


def zipped(root):
    """Leaves only the archive."""
    no_images(root)
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/000001.jpg", b"")


def zip_is(root, content):
    """Puts an archive with this content in place of the folder."""
    no_images(root)
    (root / "img_align_celeba.zip").write_text(content)


def only_csv(root):
    """Puts Kaggle's annotations in place of the released ones."""
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (root / name).unlink()
    write_csv(root)


def csv_with(root, name, old, new):
    """Puts Kaggle's annotations, with one change, in place of the released ones."""
    only_csv(root)
    change(root / name, old, new)


def other_name(root, form, name):
    """Puts annotations of one form under the names of the other."""
    write_csv(root)
    for stem in ("list_attr_celeba", "list_eval_partition"):
        content = (root / f"{stem}{form}").read_text()
        for suffix in (".txt", ".csv"):
            (root / f"{stem}{suffix}").unlink()
        (root / f"{stem}{name}").write_text(content)


def other_partition(root, form, name):
    """As `other_name`, but only for the partition."""
    other_name(root, form, name)
    (root / f"list_attr_celeba{name}").rename(root / f"list_attr_celeba{form}")


def resized(root):
    """Makes one image as large as the picture in the wild."""
    Image.new("RGB", (409, 687)).save(root / "img_align_celeba" / "000004.jpg")


def too_few_values(root):
    """Removes the last value of the second image."""
    path = root / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rpartition(" ")[0]
    path.write_text("\n".join(lines))


def cut(root):
    """Cuts one image in half."""
    path = root / "img_align_celeba" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:1500])


ATTR, PART = "list_attr_celeba.txt", "list_eval_partition.txt"
ATTR_CSV, PART_CSV = "list_attr_celeba.csv", "list_eval_partition.csv"
WRONG = {
    "no folder": (lambda r: r.rename(r.parent / "x"), (ATTR, ATTR_CSV)),
    "no attributes": (lambda r: (r / ATTR).unlink(), ("celeba", ATTR, ATTR_CSV)),
    "no partition": (lambda r: (r / PART).unlink(), (PART, PART_CSV)),
    "attributes are a page": (lambda r: (r / ATTR).write_text(PAGE), (ATTR, "web page")),
    "page with a comment": (lambda r: (r / ATTR).write_text("<!-- quota -->" + PAGE), (ATTR, "web page")),
    "csv as txt": (lambda r: other_name(r, ".csv", ".txt"), (ATTR, ATTR_CSV, "'image_id,5_o_Clock_Shadow")),
    "txt as csv": (lambda r: other_name(r, ".txt", ".csv"), (ATTR_CSV, ATTR, "'21'")),
    "csv partition as txt": (lambda r: other_partition(r, ".csv", ".txt"), (PART, PART_CSV)),
    "txt partition as csv": (lambda r: other_partition(r, ".txt", ".csv"), (PART_CSV, PART, "'000001.jpg 0'")),
    "partition is a page": (lambda r: (r / PART).write_text("<HTML>"), (PART, "web page")),
    "no images": (no_images, ("img_align_celeba", "folder")),
    "zip not unpacked": (zipped, ("img_align_celeba.zip", "img_align_celeba", "unpack")),
    "zip is a page": (lambda r: zip_is(r, PAGE), ("img_align_celeba.zip", "web page")),
    "zip is cut": (lambda r: zip_is(r, "PK\x03\x04"), ("img_align_celeba.zip", "4 bytes")),
    "declared count": (lambda r: change(r / ATTR, "21\n", "202599\n"), (ATTR, 202599, 21)),
    "no count": (lambda r: change(r / ATTR, "21\n", ""), (ATTR, "'5_o_Clock_Shadow", "number")),
    "empty": (lambda r: (r / ATTR).write_text(""), (ATTR, "''")),
    "unknown column": (lambda r: change(r / ATTR, "Big_Nose", "Large_Nose"), (ATTR, "'Large_Nose'")),
    "missing column": (lambda r: change(r / ATTR, "Big_Nose", ""), (ATTR, "Big_Nose")),
    "column twice": (lambda r: change(r / ATTR, "Bald", "Bald Bald"), (ATTR, "twice")),
    "missing csv column": (lambda r: csv_with(r, "list_attr_celeba.csv", ",Young", ""), (ATTR_CSV, "Young")),
    "value": (lambda r: change(r / ATTR, " 1 ", " 2 "), (ATTR, "line 3", "'2'", "-1", 1)),
    "csv value": (lambda r: csv_with(r, "list_attr_celeba.csv", ",1,", ",1.0,"), (ATTR_CSV, "line 2", "'1.0'", "-1", 1)),
    "too few values": (too_few_values, (ATTR, "line 4", 39, 40)),
    "image twice": (lambda r: change(r / ATTR, "000002.jpg", "000001.jpg"), (ATTR, "line 4", "000001.jpg")),
    "partition value": (lambda r: change(r / PART, "03.jpg 0", "03.jpg 3"), (PART, "line 3", "'000003.jpg 3'", 0, 1)),
    "partition twice": (lambda r: change(r / PART, "000003.jpg", "000001.jpg"), (PART, "line 3", "000001.jpg")),
    "partition header": (lambda r: csv_with(r, "list_eval_partition.csv", "image_id", "file"), (PART_CSV, "'file,partition'")),
    "no test images": (lambda r: write_txt(r, partition=[0] * 20 + [1]), (PART, "20 train", "1 validation", "0 test")),
    "not in partition": (lambda r: change(r / PART, "000005.jpg 0\n", ""), (PART, ATTR, 1, "000005.jpg")),
    "not in attributes": (lambda r: change(r / PART, "000005", "900005"), (PART, ATTR, 1)),
    "additional in partition": (lambda r: change(r / PART, "000005", "7.jpg 0\n000005"), (ATTR, 1, "7.jpg")),
    "image missing": (lambda r: (r / "img_align_celeba" / "000009.jpg").unlink(), ("000009.jpg", 1, 21)),
    "image cut": (cut, ("000003.jpg", "truncated")),
    "image is a page": (lambda r: (r / "img_align_celeba" / "000002.jpg").write_text(PAGE), ("000002.jpg", "web page")),
    "image size": (resized, ("000004.jpg", "409 x 687", "178 x 218")),
    "binary annotation": (lambda r: (r / ATTR).write_bytes(bytes(range(256)) * 9), (ATTR, "first line")),
    "unreadable csv": (lambda r: csv_with(r, "list_attr_celeba.csv", "000002", "a" * 200_000), (ATTR_CSV, "field")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_every_wrong_input_has_its_own_line(case, root, tmp_path):
    """A DataError of one line names the file, the value found and what to do. Nothing is built."""
    spoil, named = WRONG[case]
    spoil(root)
    with pytest.raises(DataError) as caught:
        celeba.load("original", tmp_path)
    line = str(caught.value)
    assert names(line, *named)
    assert not list((tmp_path / "built").glob("celeba-original-*/manifest.json"))


def test_a_mended_image_lets_the_build_go_on(root, tmp_path):
    """After a corrupt file was replaced, the same call succeeds."""
    path = root / "img_align_celeba" / "000003.jpg"
    whole = path.read_bytes()
    cut(root)
    with pytest.raises(DataError, check=naming(path, "truncated")):
        celeba.load("original", tmp_path)
    path.write_bytes(whole)
    assert len(celeba.load("original", tmp_path).train) == COUNTS[0]


def test_a_full_set_has_the_released_counts(root, tmp_path, monkeypatch):
    """As many images as were released are refused with another partition. Fewer or more images are accepted."""
    assert celeba_files.FULL_COUNTS == (162_770, 19_867, 19_962)
    monkeypatch.setattr(celeba_files, "FULL_COUNTS", COUNTS)
    celeba_files.read_parts(tmp_path)
    write_txt(root, partition=[2, *PARTITION[1:]])
    with pytest.raises(DataError, check=naming(root / PART, "11 train", "4 validation", "6 test", "12 train", "5 test")):
        celeba_files.read_parts(tmp_path)
    monkeypatch.setattr(celeba_files, "FULL_COUNTS", (13, 4, 5))
    assert len(celeba_files.read_parts(tmp_path)["train"].images) == 11
