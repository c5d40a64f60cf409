"""A storage error that is over in a moment loses nothing and shows no message; any other is raised at once."""

import errno
import uuid

import pytest

from benchmarks.robustness.injection import Injection
from mopoe_core.storage import folders, retries, whole_files
from mopoe_core.storage.file_facts import Digest, modified, size
from mopoe_core.storage.folders import listed
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import storage_path
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import write_text


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Sets the pauses between tries to zero."""
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0, 0.0))


OPERATIONS = {
    "write": lambda folder: write_text(folder / "a.json", "new"),
    "write below": lambda folder: write_text(folder / "deep" / "er" / "c.json", "c"),
    "read": lambda folder: (folder / "a.json").read_text(encoding="utf-8"),
    "list": lambda folder: listed(folder, "*"),
    "list below": lambda folder: listed(folder, "*/*.json"),
    "exists": lambda folder: (folder / "a.json").exists(),
    "modified": lambda folder: modified(folder / "a.json") is not None,
    "size": lambda folder: size(folder / "a.json"),
    "digest": lambda folder: Digest.of_file(folder / "a.json"),
    "delete": lambda folder: (folder / "a.json").unlink(),
    "delete if there": lambda folder: (folder / "a.json").unlink(missing_ok=True),
    "replace": lambda folder: whole_files.move(folder / "a.json", folder / "b.json"),
    "move a folder": lambda folder: folders.move_folder(folder / "one", folder / "two" / "three"),
    "link": lambda folder: (folder / "l.json").hardlink_to(folder / "a.json"),
    "name unless taken": lambda folder: whole_files.name_unless_taken(folder / "a.json", folder / "n.json"),
    "name that is taken": lambda folder: whole_files.name_unless_taken(folder / "a.json", folder / "b.json"),
}


def filled(folder):
    """Returns a folder with three files."""
    for name in ("a.json", "b.json", "one/d.json"):
        write_text(storage_path(str(folder)) / name, name)
    return storage_path(str(folder))


def content(folder):
    """Returns all files below, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_one_error_of_any_call_changes_nothing_of_what_an_operation_does(name, after, error, tmp_path):
    """Whichever call of an operation fails, before or after its work is done, result and files are those without an error."""
    quiet = filled(tmp_path / "quiet")
    counted = Injection(quiet)
    with counted.active():
        right = OPERATIONS[name](quiet)
    content_without_error = content(quiet)
    assert counted.calls
    for number in range(len(counted.calls)):
        folder = filled(tmp_path / f"{number}")
        injection = Injection(folder, error, lambda n, call, number=number: n == number, after)
        with injection.active():
            result = OPERATIONS[name](folder)
        if injection.struck is None:
            continue
        assert str(result) == str(right).replace(str(quiet), str(folder)), injection.struck
        visible = {
            path: content_of_file
            for path, content_of_file in content(folder).items()
            if not path.rpartition("/")[2].startswith(".")
        }
        assert visible == content_without_error, injection.struck


@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EISDIR])
def test_an_error_that_stays_is_raised_at_the_first_try(error, tmp_path):
    """There is one call only. The error has its number and a file's name."""
    folder = filled(tmp_path / "a")
    injection = Injection(folder, error, lambda n, call: call.function == "open")
    with injection.active(), pytest.raises(OSError, match="a.json") as caught:
        (folder / "a.json").read_bytes()
    assert caught.value.errno == error
    assert caught.value.filename == str(folder / "a.json")
    assert [call.function for call in injection.calls].count("open") == 1


def test_an_error_that_lasts_is_raised_after_the_last_try(tmp_path):
    """There is one try, and one after each pause."""
    folder, tries = filled(tmp_path / "a"), []

    def fails():
        tries.append(1)
        raise OSError(errno.EIO, "no", str(folder))

    with pytest.raises(OSError, match="no"):
        retries.retried(fails)
    assert len(tries) == 1 + len(retries.PAUSES)


def test_what_another_process_has_deleted_is_missing_and_what_it_has_linked_is_taken(tmp_path):
    """A process takes the state for its own work only after a call of its own has failed."""
    folder = filled(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        (folder / "missing").unlink()
    with pytest.raises(FileNotFoundError):
        (folder / "missing").replace(folder / "b.json")
    with pytest.raises(FileExistsError):
        (folder / "b.json").hardlink_to(folder / "a.json")
    injection = Injection(folder, errno.EIO, lambda n, call: call.function == "link")
    with injection.active(), pytest.raises(FileExistsError):
        (folder / "b.json").hardlink_to(folder / "a.json")
    assert (folder / "b.json").read_text(encoding="utf-8") == "b.json"


def test_a_folder_that_must_not_be_read_is_not_taken_for_an_empty_one(tmp_path):
    """Otherwise a claim in it would not count."""
    folder = filled(tmp_path / "a")
    injection = Injection(folder, errno.EACCES, lambda n, call: call.function == "listdir")
    with injection.active(), pytest.raises(PermissionError):
        listed(folder, "*.json")
    assert listed(folder / "nowhere", "*.json") == []
    assert listed(folder / "a.json", "*.json") == []


def test_storage_is_made_of_paths_that_try_again(tmp_path):
    """`storage_path` returns such a path, and so do all its methods that return paths."""
    folder = storage_path(str(tmp_path))
    assert folder == tmp_path
    assert {type(path) for path in (folder, folder / "a" / "b", (folder / "a").parent, *listed(filled(tmp_path), "*"))} == {
        LocalPath
    }


class Shaky:
    """A file system whose calls all fail the first time, after their work or before."""

    def __init__(self, real, after, error):
        self._real, self._after, self._error, self._failed = real, after, error, set()
        self.type_name = real.type_name

    def __getattr__(self, name):
        def call(*arguments, **named):
            if name in self._failed:
                return getattr(self._real, name)(*arguments, **named)
            self._failed.add(name)
            if self._after:
                getattr(self._real, name)(*arguments, **named)
            raise self._error

        return call


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "no"), OSError("says nothing"), ConnectionError("cut"), RuntimeError("odd")]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_remote_storage_is_asked_again(after, error, monkeypatch):
    """Each call fails once, with any class of a store's errors, and the files are as without errors."""
    folder = storage_path(f"memory://{uuid.uuid4().hex}")
    filesystem, root = folder.filesystem_and_path()
    for name in ("a.json", "b.json"):
        (folder / name).write_bytes(b"old")
    shaky = Shaky(filesystem, after, error)
    monkeypatch.setattr(RemotePath, "filesystem_and_path", lambda self: (shaky, f"{root}/{self.path}" if self.path else root))
    (folder / "a.json").write_bytes(b"new")
    assert (folder / "a.json").exists()
    assert (folder / "a.json").read_bytes() == b"new"
    assert [path.name for path in listed(folder, "*.json")] == ["a.json", "b.json"]
    (folder / "b.json").unlink()
    monkeypatch.undo()
    assert [path.name for path in listed(folder, "*.json")] == ["a.json"]
