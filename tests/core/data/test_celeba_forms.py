"""CelebA in other layouts, encodings and spellings, and the errors if it cannot be read."""

import csv
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mopoe_core.data.celeba import celeba, celeba_decoding, celeba_files
from mopoe_core.data.celeba.attributes import CELEBA
from mopoe_core.errors import DataError
from tests.support.naming import names, names_in_order, naming

PARTITION = np.repeat((0, 1, 2), (6, 3, 4))
NAMES = [f"{i:06d}.jpg" for i in range(1, len(PARTITION) + 1)]
LABELS = np.random.default_rng(5).integers(0, 2, (len(NAMES), 40))
ATTR, PART, IMAGES = "list_attr_celeba", "list_eval_partition", "img_align_celeba"


def attr_txt():
    """Returns the attributes as released."""
    rows = [f"{name} {' '.join(f'{v:2d}' for v in 2 * row - 1)}" for name, row in zip(NAMES, LABELS, strict=True)]
    return "\n".join([str(len(NAMES)), " ".join(CELEBA), *rows, ""])


def part_txt():
    """Returns the partition as released."""
    return "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTITION, strict=True))


def table(rows, separator, ends="\r\n"):
    """Returns the text of a .csv file."""
    written = io.StringIO()
    csv.writer(written, delimiter=separator, lineterminator=ends).writerows(rows)
    return written.getvalue()


def attr_csv(separator=",", absent="-1", present="1"):
    """Returns the attributes as a table."""
    rows = [[name, *(present if v else absent for v in row)] for name, row in zip(NAMES, LABELS, strict=True)]
    return table([["image_id", *CELEBA], *rows], separator)


def part_csv(separator=","):
    """Returns the partition as a table."""
    return table([["image_id", "partition"], *zip(NAMES, PARTITION, strict=True)], separator)


def header_in_capitals(text):
    """Returns a table whose names of columns are in upper case."""
    header, rows = text.split("\r\n", 1)
    return f"{header.upper()}\r\n{rows}"


def put(path, text, encoding="utf-8"):
    """Writes a text, and makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def put_images(folder, rename=lambda name: name, seed=7):
    """Writes random pictures under the images' names, or others."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in NAMES:
        pixels = Image.fromarray(rng.integers(0, 256, (218, 178, 3), dtype=np.uint8))
        pixels.save(folder / rename(name), format="PNG" if rename(name).lower().endswith("png") else "JPEG")


def put_all(folder, annotations, images=None):
    """Writes CelebA with these annotations, by path without `celeba`, and its images in `images` or the standard folder."""
    for path, text in annotations.items():
        put(folder / path, text)
    put_images(folder / (images or f"celeba/{IMAGES}"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The dataset from torchvision's layout."""
    folder = tmp_path_factory.mktemp("torchvision")
    put_all(folder, {f"celeba/{ATTR}.txt": attr_txt(), f"celeba/{PART}.txt": part_txt()})
    return celeba.load("original", folder)


LAYOUTS = {
    "released": ("celeba/Anno", "celeba/Eval", f"celeba/Img/{IMAGES}"),
    "released in CelebA": ("CelebA/Anno", "CelebA/Eval", f"CelebA/Img/{IMAGES}"),
    "released in the data folder": ("Anno", "Eval", f"Img/{IMAGES}"),
    "one folder too deep": ("celeba/CelebA/Anno", "celeba/CelebA/Eval", f"celeba/CelebA/Img/{IMAGES}"),
    "kaggle": ("celeba-dataset", "celeba-dataset", f"celeba-dataset/{IMAGES}/{IMAGES}"),
    "kaggle in celeba": ("celeba/archive", "celeba/archive", f"celeba/archive/{IMAGES}/{IMAGES}"),
    "flat in celebA": ("celebA", "celebA", f"celebA/{IMAGES}"),
    "images one folder too deep": ("celeba", "celeba", f"celeba/Img/{IMAGES}/{IMAGES}"),
    "upper case": ("CELEBA", "CELEBA", f"CELEBA/{IMAGES.upper()}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_dataset(tmp_path, expected, layout):
    """Other folder names and depths do not change the arrays, and neither do files that macOS and Windows add."""
    attributes, partition, images = LAYOUTS[layout]
    put_all(tmp_path, {f"{attributes}/{ATTR}.txt": attr_txt(), f"{partition}/{PART}.txt": part_txt()}, images)
    for junk in (
        f"{attributes}/._{ATTR}.txt",
        f"{attributes}/__MACOSX/{ATTR}.txt",
        f"{images}/._000001.jpg",
        f"{images}/Thumbs.db",
    ):
        put(tmp_path / junk, "junk")
    put(tmp_path / "celeba" / "__MACOSX" / IMAGES / "000001.jpg", "junk")
    assert celeba.load("original", tmp_path).hash == expected.hash


TEXTS = {
    "semicolons": lambda: (attr_csv(";"), part_csv(";"), "utf-8"),
    "tabs": lambda: (attr_csv("\t"), part_csv("\t"), "utf-8"),
    "utf-16": lambda: (attr_csv(), part_csv(), "utf-16"),
    "utf-16 with semicolons": lambda: (attr_csv(";"), part_csv(";"), "utf-16"),
    "utf-16 without mark": lambda: (attr_csv(), part_csv(), "utf-16-le"),
    "utf-16 big end first": lambda: (attr_csv("\t"), part_csv("\t"), "utf-16-be"),
    "utf-8 with mark": lambda: (attr_csv(), part_csv(), "utf-8-sig"),
    "0 and 1": lambda: (attr_csv(absent="0"), part_csv(), "utf-8"),
    "floats": lambda: (attr_csv(absent="-1.0", present="1.0"), part_csv(), "utf-8"),
    "pandas' booleans": lambda: (attr_csv(absent="False", present="True"), part_csv(), "utf-8"),
    "a spreadsheet's booleans": lambda: (attr_csv(";", "FALSE", "TRUE"), part_csv(";"), "utf-8-sig"),
    "empty lines at the end": lambda: (attr_csv() + "," * 40 + "\r\n\r\n", part_csv() + ",\r\n", "utf-8"),
    "quoted names": lambda: (attr_csv().replace("Big_Nose", '"Big_Nose"'), part_csv(), "utf-8"),
    "columns in lower case": lambda: (attr_csv().replace("Big_Nose", "big_nose"), part_csv(), "utf-8"),
    "columns in upper case": lambda: (header_in_capitals(attr_csv()), header_in_capitals(part_csv()), "utf-8"),
    "a capital each": lambda: (attr_csv(), part_csv().replace("image_id,partition", "Image_ID,Partition"), "utf-8"),
}


@pytest.mark.parametrize("form", TEXTS)
def test_every_table_gives_the_same_dataset(tmp_path, expected, form):
    """Separators, encodings and the notation of absent and present do not change the arrays."""
    attributes, partition, encoding = TEXTS[form]()
    put(tmp_path / "celeba" / f"{ATTR}.csv", attributes, encoding)
    put(tmp_path / "celeba" / f"{PART}.csv", partition, encoding)
    put_images(tmp_path / "celeba" / IMAGES)
    assert celeba.load("original", tmp_path).hash == expected.hash


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text, "utf-16"),
        (lambda text: text.replace("-1", " 0"), "utf-8-sig"),
    ],
)
def test_released_texts_may_be_saved_by_windows_or_with_zeros(tmp_path, expected, change, encoding):
    """A `.txt` may have CRLF, UTF-16, a byte order mark, 0 for absent, and a name in upper case."""
    put(tmp_path / "celeba" / f"{ATTR.upper()}.TXT", change(attr_txt()), encoding)
    put(tmp_path / "celeba" / f"{PART}.txt", part_txt().replace("\n", "\r\n"), encoding)
    put_images(tmp_path / "celeba" / IMAGES)
    assert celeba.load("original", tmp_path).hash == expected.hash


def released(folder, rename=lambda name: name, images=IMAGES):
    """Writes annotations as released, and images under other names."""
    put(folder / "celeba" / f"{ATTR}.txt", attr_txt())
    put(folder / "celeba" / f"{PART}.txt", part_txt())
    put_images(folder / "celeba" / images, rename)


@pytest.mark.parametrize("ending", [".JPG", ".jpeg", ".JPEG"])
def test_images_whose_names_end_in_another_way_are_read(tmp_path, expected, ending):
    """`000001.JPG` is read for 000001.jpg if there is no other candidate."""
    released(tmp_path, lambda name: name.replace(".jpg", ending))
    data = celeba.load("original", tmp_path)
    assert data.hash == expected.hash
    assert data.remarks == ()


def test_png_images_are_read_and_said(tmp_path):
    """They are not the published files, so a remark has their count. Their pixels are in the arrays."""
    released(tmp_path, lambda name: name.replace(".jpg", ".png"), "img_align_celeba_png")
    data = celeba.load("original", tmp_path)
    images = tmp_path / "celeba" / "img_align_celeba_png"
    assert np.array_equal(data.train.items["image"][0], celeba_decoding.decode(images / "000001.png"))
    assert data.remarks == (f"{images}: 13 of 13 images are PNG; the published ones are JPEG",)


def refusal(folder):
    """Returns the one line of the error that loading raises, and checks that nothing is built."""
    with pytest.raises(DataError) as caught:
        celeba.load("original", folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("built/*/manifest.json"))
    return str(caught.value)


def test_two_files_for_one_image_are_both_named(tmp_path):
    """The user must choose between them, unless one has exactly the annotated name."""
    released(tmp_path, lambda name: name.replace(".jpg", ".JPG"))
    images = tmp_path / "celeba" / IMAGES
    shutil.copy(images / "000003.JPG", images / "000003.png")
    assert names(refusal(tmp_path), images, "000003.JPG", "000003.png", "000003.jpg")
    (images / "000003.JPG").rename(images / "000003.jpg")
    assert len(celeba.load("original", tmp_path).train) == 6


def test_no_file_is_read_for_two_images(tmp_path):
    """Annotations that name 000001.jpg and 000001.png need two files."""
    released(tmp_path)
    for stem, text in ((ATTR, attr_txt()), (PART, part_txt())):
        put(tmp_path / "celeba" / f"{stem}.txt", text.replace("000002.jpg", "000001.png"))
    assert names(refusal(tmp_path), tmp_path / "celeba" / IMAGES / "000001.png")
    (tmp_path / "celeba" / IMAGES / "000001.jpg").rename(tmp_path / "celeba" / IMAGES / "000001.JPEG")
    assert names_in_order(refusal(tmp_path), 1, 13)


def test_images_of_other_names_are_named_with_advice_that_helps(tmp_path):
    """For as many pictures with other names, the advice is to rename them; for fewer pictures, to unpack again."""
    released(tmp_path, lambda name: f"face_{name}")
    images = tmp_path / "celeba" / IMAGES
    message = refusal(tmp_path)
    assert names(message, images / NAMES[0], f"{ATTR}.txt", 13)
    assert names_in_order(message, *(f"face_{name}" for name in NAMES[:5]), 8)
    assert "unpack" not in message
    (images / "face_000001.jpg").unlink()
    assert names(refusal(tmp_path), "unpack")


DIFFERENT = {
    "txt and csv": (f"celeba/{ATTR}.csv", lambda: attr_csv().replace("000001.jpg,-1", "000001.jpg,1").replace(",-1", ",1", 1)),
    "flat and Anno": (f"celeba/Anno/{ATTR}.txt", lambda: attr_txt().replace(" -1", "  1", 1)),
    "partitions": (f"celeba/Eval/{PART}.csv", lambda: part_csv().replace("000001.jpg,0", "000001.jpg,2")),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_annotations_that_differ_are_both_named(tmp_path, expected, case):
    """Two forms of an annotation are accepted if they have the same content, and both named if not."""
    path, differing = DIFFERENT[case]
    released(tmp_path)
    put(tmp_path / path, differing())
    stem = PART if PART in path else ATTR
    assert names(refusal(tmp_path), f"{tmp_path / 'celeba' / stem}.txt", tmp_path / path)
    put(tmp_path / path, {(ATTR, ".csv"): attr_csv, (ATTR, ".txt"): attr_txt, (PART, ".csv"): part_csv}[stem, path[-4:]]())
    assert celeba.load("original", tmp_path).hash == expected.hash


@pytest.mark.parametrize("other", [f"{IMAGES}/{IMAGES}", f"Img/{IMAGES}"])
def test_two_folders_of_images_are_compared(tmp_path, expected, other):
    """Copies are accepted. If an image differs, both folders and the image are named."""
    released(tmp_path)
    put_images(tmp_path / "celeba" / other)
    assert celeba.load("original", tmp_path).hash == expected.hash
    shutil.rmtree(tmp_path / "built")
    Image.new("RGB", (178, 218)).save(tmp_path / "celeba" / other / NAMES[4])
    message = refusal(tmp_path)
    assert all(str(tmp_path / "celeba" / folder) in message for folder in (IMAGES, other))
    assert names(message, NAMES[4])


def test_a_folder_of_png_images_beside_the_published_ones_changes_nothing(tmp_path, expected):
    """Both are released, and the JPEGs, which the published results used, are read."""
    released(tmp_path)
    put_images(tmp_path / "celeba" / "img_align_celeba_png", lambda name: name.replace("jpg", "png"), seed=8)
    assert celeba.load("original", tmp_path).hash == expected.hash


def test_an_empty_folder_within_the_folder_of_images_is_passed_over(tmp_path, expected):
    """An archive program may leave one. It once made all images count as missing."""
    released(tmp_path)
    (tmp_path / "celeba" / IMAGES / IMAGES).mkdir()
    assert celeba.load("original", tmp_path).hash == expected.hash


def test_two_datasets_are_both_named(tmp_path):
    """Several folders have annotations, and none of them is `celeba`."""
    for name in ("CelebA", "celeba-dataset"):
        put(tmp_path / name / "Anno" / f"{ATTR}.txt", attr_txt())
    message = refusal(tmp_path)
    assert names(message, tmp_path / "CelebA", tmp_path / "celeba-dataset")


def test_what_was_expected_and_what_is_there_are_named(tmp_path):
    """The folder has an annotation under another name, an archive that is not unpacked, or nothing."""
    assert names(refusal(tmp_path), tmp_path, f"{ATTR}.txt", f"{ATTR}.csv")
    for name in ("attributes.csv", "celeba-dataset.zip", *(f"{n}.txt" for n in range(6))):
        put(tmp_path / "celeba" / name, "x")
    message = refusal(tmp_path)
    assert names(message, f"{ATTR}.txt", f"{ATTR}.csv", tmp_path / "celeba")
    assert names_in_order(message, *(f"{n}.txt" for n in range(5)), 3)
    assert names(message, "celeba-dataset.zip", "unpack")


@pytest.mark.parametrize("name", ["Img/img_align_celeba.zip", "img_align_celeba_png.7z.001"])
def test_archives_of_images_that_are_not_unpacked_are_named(tmp_path, name):
    """They may lie anywhere under the dataset's folder."""
    released(tmp_path)
    shutil.rmtree(tmp_path / "celeba" / IMAGES)
    archive = tmp_path / "celeba" / name
    put(archive, "<!DOCTYPE html>")
    assert names(refusal(tmp_path), archive, "web page")
    put(archive, "7z")
    assert names(refusal(tmp_path), archive, "2 bytes" if name.endswith("zip") else "unpack")


MIXED = {
    "0 among -1": (attr_csv().replace(",-1", ",0", 1), ("line 2", "'0'", "-1", 1)),
    "yes and no": (attr_csv(absent="no", present="yes"), ("line 2", f"'{'yes' if LABELS[0, 0] else 'no'}'", "-1", 1)),
    "index column": (table([["", "image_id", *CELEBA]], ","), ("'image_id'", "image_id", 40)),
    "no column names": (attr_csv().split("\r\n", 1)[1], ("image_id", 40)),
}


@pytest.mark.parametrize("case", MIXED)
def test_tables_that_are_not_clear_are_refused(tmp_path, case):
    """Mixed or unknown notations of absent and present, and other columns, are named, and never guessed."""
    released(tmp_path)
    (tmp_path / "celeba" / f"{ATTR}.txt").unlink()
    text, named = MIXED[case]
    put(tmp_path / "celeba" / f"{ATTR}.csv", text)
    with pytest.raises(DataError, check=naming(tmp_path / "celeba" / f"{ATTR}.csv", *named)):
        celeba.load("original", tmp_path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_under_the_other_name_is_told_its_right_one(tmp_path, separator):
    """For a `.txt` with separators, the line says to name it `.csv`."""
    released(tmp_path)
    put(tmp_path / "celeba" / f"{ATTR}.txt", attr_csv(separator))
    assert names(refusal(tmp_path), f"{ATTR}.txt", f"{ATTR}.csv")


def test_a_table_of_tabs_is_told_its_name_in_whatever_case_its_columns_are(tmp_path):
    """Only the name of its first column tells such a partition from the released text."""
    released(tmp_path)
    put(tmp_path / "celeba" / f"{PART}.txt", header_in_capitals(part_csv("\t")))
    assert names(refusal(tmp_path), f"{PART}.txt", f"{PART}.csv")


def test_a_missing_count_is_told_what_to_write(tmp_path):
    """Without the number of images, a file that is cut short would not be noticed, so the line asks for it."""
    released(tmp_path)
    put(tmp_path / "celeba" / f"{ATTR}.txt", attr_txt().split("\n", 1)[1])
    assert names(refusal(tmp_path), f"{ATTR}.txt", "number of images", "line")


def test_pictures_of_more_than_8_bits_a_colour_are_refused(tmp_path):
    """Converted to 8 bits they would be white."""
    Image.fromarray(np.full((218, 178), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, check=naming(tmp_path / "a.png", "I;16", 8)):
        celeba_decoding.decode(tmp_path / "a.png")


def test_a_build_notices_changes_in_whatever_layout_it_was_built_from(tmp_path):
    """The files that were read may be deleted but not changed. Standard files that are added later count as changed."""
    put_all(tmp_path, {f"celeba/Anno/{ATTR}.txt": attr_txt(), f"celeba/Eval/{PART}.txt": part_txt()}, f"celeba/Img/{IMAGES}")
    first = celeba.load("original", tmp_path)
    changed = tmp_path / "celeba" / "Eval" / f"{PART}.txt"
    put(changed, part_txt().replace("000006.jpg 0", "000006.jpg 1"))
    with pytest.raises(DataError, check=naming(changed, "delete")):
        celeba.load("original", tmp_path)
    shutil.rmtree(tmp_path / "celeba")
    assert celeba.load("original", tmp_path).hash == first.hash
    put(tmp_path / "celeba" / f"{PART}.txt", part_txt())
    with pytest.raises(DataError, check=naming(tmp_path / "celeba" / f"{PART}.txt", "delete")):
        celeba.load("original", tmp_path)


def test_a_full_set_whose_annotation_is_not_the_published_one_is_said(tmp_path, monkeypatch):
    """If all images are there, checksums are compared with the released ones, whatever the line ends."""
    monkeypatch.setattr(celeba_files, "FULL_COUNTS", (6, 3, 4))
    released(tmp_path)
    parts = celeba_files.read_parts(tmp_path)
    remarks = celeba_files.remarks(tmp_path, parts)
    assert [line.split(": ")[0] for line in remarks] == [f"{tmp_path / 'celeba' / stem}.txt" for stem in (ATTR, PART)]
    sums = [re.findall(r"\b[0-9a-f]{32}\b", line) for line in remarks]
    assert [published for _, published in sums] == [celeba_files.PUBLISHED[stem] for stem in (ATTR, PART)]
    monkeypatch.setattr(celeba_files, "PUBLISHED", {stem: ours for stem, (ours, _) in zip((ATTR, PART), sums, strict=True)})
    put(tmp_path / "celeba" / f"{PART}.txt", part_txt().replace("\n", "\r\n"))
    assert celeba_files.remarks(tmp_path, parts) == []
