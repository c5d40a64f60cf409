"""A report is replaced as a whole: a reader sees the old or the new report, even if several processes write it."""

import errno
import os
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from mopoe_core.storage.paths import storage_path
from orchestrator.driver import replaced_folder, report_step
from orchestrator.report import report

NAMES = [report.PAGE, "cells.csv", "paper/claims.md"]


def fill(text):
    """Returns a builder of a small report whose files all have the same text."""

    def build(into):
        assert list(into.iterdir()) == []
        for name in NAMES:
            (into / name).parent.mkdir(exist_ok=True)
            (into / name).write_text(text)
        return into / report.PAGE

    return build


def write(folder, text):
    """Replace a report."""
    return replaced_folder.replaced(folder, fill(text), report.is_part)


def said(folder):
    """Returns the texts of the files in a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["exchange", "two moves"])
def folder(request, tmp_path, monkeypatch):
    """The folder of a report, on file systems that can exchange folders in one step, and on others."""
    if request.param == "two moves":
        monkeypatch.setattr(replaced_folder, "exchanged", lambda one, other: False)
    return tmp_path / "sweeps" / "s" / "report"


def test_a_report_takes_the_place_of_another_and_keeps_what_is_not_the_reports(folder):
    """Its old files are removed, a user's notes stay, and nothing is left beside it. The returned path is the final one."""
    assert write(folder, "one") == folder / report.PAGE
    (folder / "front-a.svg").write_text("of a group that is no more")
    (folder / "notes.txt").write_text("mine")
    (folder / "mine").mkdir()
    (folder / "mine" / "a.txt").write_text("mine too")
    assert write(folder, "two") == folder / report.PAGE
    assert said(folder) == dict.fromkeys(NAMES, "two") | {"notes.txt": "mine", "mine/a.txt": "mine too"}
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_what_is_put_into_the_folder_at_the_last_moment_stays(folder, monkeypatch):
    """A user saves notes there just before the new report takes its place."""
    write(folder, "one")
    swap = replaced_folder._swap

    def late(draft, target):
        (target / "notes.txt").write_text("mine")
        swap(draft, target)

    monkeypatch.setattr(replaced_folder, "_swap", late)
    write(folder, "two")
    assert said(folder) == dict.fromkeys(NAMES, "two") | {"notes.txt": "mine"}
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_a_report_that_cannot_be_built_leaves_the_one_before(folder):
    """No draft is left beside it."""
    write(folder, "one")

    def fails(into):
        (into / report.PAGE).write_text("half")
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room"):
        replaced_folder.replaced(folder, fails, report.is_part)
    assert said(folder) == dict.fromkeys(NAMES, "one")
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_a_link_to_a_report_stays_a_link(folder, tmp_path):
    """The folder that the link names is replaced."""
    folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert write(folder, "one") == folder / report.PAGE
    assert folder.is_symlink()
    assert said(tmp_path / "elsewhere") == dict.fromkeys(NAMES, "one")


def test_writers_at_once_all_succeed_and_one_of_them_is_there_whole(folder):
    """Four writers make fifteen reports each. None raises, and in the end all files belong to one report."""
    errors = []

    def run(writer):
        try:
            for number in range(15):
                write(folder, f"{writer} {number}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    texts = said(folder)
    assert sorted(texts) == sorted(NAMES)
    assert len(set(texts.values())) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_a_reader_who_holds_the_folder_never_sees_half_a_report(tmp_path):
    """If folders can be exchanged in one step, the folder has all files of one report at any moment."""
    folder = tmp_path / "report"
    write(folder, "0")
    if not replaced_folder.exchanged(folder, folder):
        pytest.skip("this file system does not exchange folders")
    stop, texts_seen, threads = threading.Event(), [], []

    def read():
        while not stop.is_set():
            held = os.open(folder, os.O_RDONLY)
            try:
                opened = [os.open(name, os.O_RDONLY, dir_fd=held) for name in NAMES[:2]]
            except FileNotFoundError:
                continue  # it was replaced and deleted since
            finally:
                os.close(held)
            texts_seen.append({os.read(file, 100) for file in opened})
            for file in opened:
                os.close(file)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 100):
        assert (folder / report.PAGE).exists()
        write(folder, str(number))
    stop.set()
    for thread in threads:
        thread.join()
    assert texts_seen
    assert {len(texts) for texts in texts_seen} == {1}


@dataclass(frozen=True)
class Named:
    """A value that a builder may return."""

    page: Path
    figures: dict[str, tuple[Path, ...]]
    other: Path
    text: str


def test_paths_are_moved_wherever_they_are(tmp_path):
    """Paths in dataclasses, sequences and mappings change; other paths do not."""
    old, new = tmp_path / ".report.x", tmp_path / "report"
    value = Named(old / "index.html", {"a": (old / "b" / "c.svg",)}, tmp_path / "x", str(old))
    assert replaced_folder.moved(value, old, new) == Named(
        new / "index.html", {"a": (new / "b" / "c.svg",)}, tmp_path / "x", str(old)
    )


def test_a_remote_report_loses_the_files_of_the_one_before_and_no_others(tmp_path):
    """The page is written last; files of others stay."""
    remote_folder = storage_path(f"memory://{uuid.uuid4().hex}") / "sweeps" / "s" / "report"
    for name in ("front-old.svg", "notes.txt", "paper/old.md", "paper/claims.md", report.PAGE):
        (remote_folder / name).write_bytes(b"old")
    fill("new")(tmp_path)
    report_step.upload_report(tmp_path, remote_folder)
    contents = {
        path.path.removeprefix(f"{remote_folder.path}/"): path.read_bytes()
        for pattern in ("*", "*/*")
        for path in remote_folder.glob(pattern)
    }
    assert contents == dict.fromkeys(NAMES, b"new") | {"notes.txt": b"old"}
