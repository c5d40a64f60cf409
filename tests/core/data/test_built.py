"""Built datasets: stored whole or not at all, checked at every opening, refused if the files that they were built from have changed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mopoe_core.data.dataset_cache import Recipe, complete_builds, content_hash, open_built, read_built, save
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError
from tests.support.naming import names, names_in_order

ARRAYS = {
    "train-labels": np.arange(6) % 3,
    "test-labels": np.arange(4) % 3,
    "train-x": np.random.default_rng(0).integers(0, 256, (6, 50), dtype=np.uint8),
}
PLAIN = Recipe(["plain", 1], lambda into: save(into, ARRAYS))


def opened(folder, recipe=PLAIN):
    """Opens the small dataset under a folder."""
    return open_built(folder, "toy", "original", recipe)


def refusal(folder, recipe=PLAIN):
    """Returns the one line of the error that opening it raises."""
    with pytest.raises(DataError) as caught:
        opened(folder, recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def built_folder(folder):
    """Returns the folder in which it is built."""
    (build,) = complete_builds(folder, "toy", "original")
    return build


def test_a_dataset_is_built_once_and_mapped_as_it_was_written(tmp_path):
    """Arrays and hash are the saved ones. A second opening writes nothing. Another identity is another build."""
    writes = []
    recipe = replace(PLAIN, write=lambda into: (writes.append(into), save(into, ARRAYS)))
    for _ in range(2):
        built = opened(tmp_path, recipe)
        assert built.hash == content_hash(ARRAYS)
        assert {name: array.tolist() for name, array in built.arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert len(writes) == 1
    opened(tmp_path, replace(recipe, identity=["plain", 2]))
    assert len(writes) == len(complete_builds(tmp_path, "toy", "original")) == 2


DAMAGE = {
    "no byte": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut within its header": lambda path: path.write_bytes(path.read_bytes()[:70]),
    "no array": lambda path: path.write_bytes(b"<html>"),
    "another header": lambda path: path.write_bytes(path.read_bytes().replace(b"(6, 50)", b"(6, 5\x00)")),
    "gone bad": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x00"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_array_is_refused_in_one_line(tmp_path, how):
    """Whatever has happened to a file of a build, the line says which folder to delete."""
    opened(tmp_path)
    built = built_folder(tmp_path)
    DAMAGE[how](built / "train-x.npy")
    message = refusal(tmp_path)
    assert message.startswith(str(built))
    assert names(message, "delete")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"sha256": 3}', b'{"sha256": "a", "files": 3}']
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path, content):
    """If a manifest is cut short or has other content, the line names it and the folder to delete."""
    opened(tmp_path)
    manifest = built_folder(tmp_path) / "manifest.json"
    manifest.write_bytes(content)
    assert refusal(tmp_path) == f"{manifest}: damaged; delete the folder {manifest.parent}, it is built again"  # the one in full


def test_a_folder_without_manifest_is_not_overwritten(tmp_path):
    """An incomplete build under the final name is named and left alone."""
    opened(tmp_path)
    built = built_folder(tmp_path)
    (built / "manifest.json").unlink()
    assert names(refusal(tmp_path), built, "manifest.json")
    assert (built / "train-x.npy").exists()


@pytest.mark.parametrize("below", ["file", "file/deeper", "/proc/none"])
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path, below):
    """The place may be a file, or lie where no folder can be made."""
    (tmp_path / "file").write_text("x")
    message = refusal(tmp_path / below)
    assert str(tmp_path / below / "built") in message
    assert names(message, "--data", "resources.data")


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from mopoe_core.data.dataset_cache import Recipe, open_built, save
from mopoe_core.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    open_built(Path(sys.argv[1]), "toy", "original", Recipe([1], lambda into: save(into, {"x": np.zeros(100_000)})))
except DataError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path):
    """A process that may write no more bytes names the folder and asks for room. Only the lock stays."""
    done = child(FULL_DISK, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert f"{tmp_path / 'built' / 'toy-original'}-" in done.stdout
    assert names(done.stdout, "room", "--data")
    assert [path.suffix for path in (tmp_path / "built").iterdir()] == [".lock"]


KILLED = """
import os, signal, sys
from pathlib import Path
from mopoe_core.data.dataset_cache import open_built
from tests.core.data.test_built import ARRAYS, PLAIN, Recipe, save
def write(into):
    save(into, ARRAYS)
    os.kill(os.getpid(), signal.SIGKILL)
open_built(Path(sys.argv[1]), "toy", "original", Recipe(PLAIN.identity, write))
"""


def test_what_killed_builds_left_is_gone_after_the_next_build(tmp_path):
    """The next build removes the scratch folders of two killed builds, and those of no other dataset."""
    for _ in range(2):
        assert child(KILLED, tmp_path).returncode == -9
    (tmp_path / "built" / ".other-original-12345678.x").mkdir()
    left = {path.name for path in (tmp_path / "built").glob(".toy-*")}
    assert left
    assert complete_builds(tmp_path, "toy", "original") == []
    opened(tmp_path)
    built = built_folder(tmp_path).name
    assert {path.name for path in (tmp_path / "built").iterdir()} == {built, f"{built}.lock", ".other-original-12345678.x"}


def child(code, folder):
    """Runs a new Python process with a folder as its argument."""
    root = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, text=True, timeout=120)


def test_other_counts_than_expected_are_not_kept(tmp_path):
    """The line has the actual and the expected count. When the files are mended, the same call builds."""
    wrong = replace(PLAIN, expected={"train": 6, "test": 5})
    assert names_in_order(refusal(tmp_path, wrong), tmp_path, "original", "toy", 4, "test", 5)
    assert complete_builds(tmp_path, "toy", "original") == []
    mended = replace(wrong, write=lambda into: save(into, ARRAYS | {"test-labels": np.arange(5) % 3}))
    assert len(opened(tmp_path, mended).arrays["test-labels"]) == 5


def test_a_build_with_other_counts_is_named(tmp_path):
    """If an earlier build has other counts than are expected now, the line says which folder to delete."""
    opened(tmp_path)
    message = refusal(tmp_path, replace(PLAIN, expected={"train": 7}))
    assert names_in_order(message, built_folder(tmp_path), 6, "train", 7)
    assert names(message, "delete")


@pytest.fixture
def fed(tmp_path):
    """Returns a recipe that reads a folder of two files and a file beside it."""
    (tmp_path / "in" / "images").mkdir(parents=True)
    for name in ("images/a", "images/b", "table"):
        (tmp_path / "in" / name).write_text(name)
    return replace(PLAIN, places={name: tmp_path / "in" / name for name in ("images", "table")})


def retouched(path):
    """Writes the same content again."""
    stat = path.stat()
    path.write_text(path.read_text())
    assert path.stat().st_mtime_ns != stat.st_mtime_ns


CHANGES = {
    "content": ("images", lambda folder: (folder / "images" / "a").write_text("another text")),
    "content of equal length": ("images", lambda folder: (folder / "images" / "a").write_text("images/c")),
    "name": ("images", lambda folder: (folder / "images" / "a").rename(folder / "images" / "c")),
    "one more": ("images", lambda folder: (folder / "images" / "c").touch()),
    "one less": ("images", lambda folder: (folder / "images" / "a").unlink()),
    "table": ("table", lambda folder: (folder / "table").write_text("")),
    "time": ("table", lambda folder: retouched(folder / "table")),
}


@pytest.mark.parametrize("how", CHANGES)
def test_files_that_changed_after_the_build_are_named(tmp_path, fed, how):
    """The line says which file has changed and which folder to delete. After deletion the same call builds."""
    opened(tmp_path, fed)
    name, change = CHANGES[how]
    change(tmp_path / "in")
    built = built_folder(tmp_path)
    message = refusal(tmp_path, fed)
    assert message.startswith(f"{tmp_path / 'in' / name}: ")
    assert names(message, built, "delete")
    shutil.rmtree(built)
    opened(tmp_path, fed)


def test_files_that_changed_during_the_build_are_named(tmp_path, fed):
    """The manifest has the files as they were before they were read, so the first opening fails."""
    table = tmp_path / "in" / "table"
    slow = replace(fed, write=lambda into: (save(into, ARRAYS), table.write_text("just now")))
    assert names(refusal(tmp_path, slow), table, "delete")


def test_files_that_are_fetched_during_the_build_are_recorded(tmp_path, fed):
    """Files that the build itself downloads or replaces must not change afterwards."""
    table = tmp_path / "in" / "table"
    opened(tmp_path, replace(fed, write=lambda into: (save(into, ARRAYS), table.write_text("fetched")), fetches=True))
    opened(tmp_path, fed)
    table.write_text("another")
    assert names(refusal(tmp_path, fed), table, "delete")


def test_files_that_are_gone_or_moved_are_not_missed(tmp_path, fed):
    """A build stays valid if its files are moved together, or some or all are deleted. Hidden files do not count."""
    first = opened(tmp_path, fed)
    (tmp_path / "in" / "images" / ".DS_Store").touch()
    (tmp_path / "in").rename(tmp_path / "moved")
    moved = {name: tmp_path / "moved" / name for name in fed.places}
    assert opened(tmp_path, replace(fed, places=moved)).hash == first.hash
    for path in (tmp_path / "moved" / "images").iterdir():
        path.unlink()
    assert opened(tmp_path, replace(fed, places=moved)).hash == first.hash
    shutil.rmtree(tmp_path / "moved")
    assert opened(tmp_path, replace(fed, places=moved)).hash == first.hash


def test_builds_of_before_files_were_recorded_are_still_good(tmp_path, fed):
    """A manifest of an earlier version has no fingerprints, and its build stays valid."""
    first = opened(tmp_path, fed)
    built = built_folder(tmp_path)
    manifest = json.loads((built / "manifest.json").read_text())
    del manifest["files"]
    (built / "manifest.json").write_text(json.dumps(manifest))
    assert read_built(built, {}, fed.places).hash == first.hash


PAGES = [
    b"<!DOCTYPE html><html>", b"\n\r\t <html lang='en'>", b"\xef\xbb\xbf<HTML>", b"<!-- saved from a site -->\n<html>", b"<head><title>",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
]  # fmt: skip
DATA = [b"", b"\x89PNG\r\n", b"PK\x03\x04", b"\x93NUMPY", b"\x00\x00\x08\x03", b"MATLAB 5.0", b"202599\n", b"image_id,", b"<"]


@pytest.mark.parametrize("content", PAGES)
def test_pages_are_told(tmp_path, content):
    """A page is recognised if it begins with a byte order mark, blanks, a comment or a declaration."""
    (tmp_path / "x").write_bytes(content)
    assert is_web_page(tmp_path / "x")


@pytest.mark.parametrize("content", DATA)
def test_data_are_no_pages(tmp_path, content):
    """No data file is taken for a page, and neither is a file that cannot be opened."""
    (tmp_path / "x").write_bytes(content)
    assert not is_web_page(tmp_path / "x")
    assert not is_web_page(tmp_path)
    assert not is_web_page(tmp_path / "none")
