"""Storage must give the guarantees that a sweep relies on. A store without them is refused."""

import fsspec
import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem

from mopoe_core.storage import exclusive_creation, whole_files
from mopoe_core.storage.paths import storage_path
from mopoe_core.storage.whole_files import copy, create, name_unless_taken
from orchestrator.ledger.storage.check import broken_guarantee, exclusive_create_warning
from tests.support.naming import unnamed
from tests.support.stores import s3


class Forgetful(MemoryFileSystem):
    """A store that overwrites a file instead of failing to create it."""

    protocol = "forgetful"

    def pipe_file(self, path, value, mode="overwrite", **more):
        """Writes, whatever the mode."""
        super().pipe_file(path, value)


class Remembering(MemoryFileSystem):
    """A store that caches its listings, and ignores the option that turns this off."""

    protocol = "remembering"
    kept: dict = {}

    def find(self, path, **more):
        """Returns the first listing again."""
        if path not in self.kept:
            self.kept[path] = super().find(path, **more)
        return self.kept[path]


class Stale(MemoryFileSystem):
    """A store that always returns the content that it read first."""

    protocol = "stale"
    kept: dict = {}

    def _open(self, path, mode="rb", **more):
        if mode == "rb":
            found = super()._open(path, mode, **more)
            content = self.kept.setdefault(path, found.getvalue())
            return type(found)(self, path, content)
        return super()._open(path, mode, **more)


class Timeless(MemoryFileSystem):
    """A store without modification times."""

    protocol = "timeless"

    def info(self, path, **more):
        """Returns no times."""
        return {key: value for key, value in super().info(path, **more).items() if key not in ("created", "mtime")}

    def modified(self, path):
        """Raises, because the time is unknown."""
        raise NotImplementedError


class Strict(MemoryFileSystem):
    """A store that accepts no options that it does not know, like SFTP."""

    protocol = "strict"

    def __init__(self):
        super().__init__()


@pytest.fixture
def registered():
    """Registers these file systems by their names."""
    for kind in (Forgetful, Remembering, Stale, Timeless, Strict):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
        kind.cachable = False
        kind.kept = {}


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request, tmp_path):
    """A folder, a file system in memory and a bucket."""
    if request.param == "s3":
        with s3() as store:
            yield storage_path(store.uri("sweeps"))
    else:
        yield tmp_path if request.param == "folder" else storage_path(f"memory://{tmp_path.name}")


def test_folders_buckets_and_memory_can_be_relied_on(storage):
    """They pass the test without a warning, and the test leaves no file."""
    assert (broken_guarantee(storage), exclusive_create_warning(storage)) == ("", "")
    assert list(storage.glob("*")) == []


def test_of_two_that_create_a_file_the_first_wins(storage):
    """The second call returns that it failed, and the content stays that of the first."""
    path = storage / "trials" / "4f0c" / "result.json"
    assert create(path, b"first")
    assert not create(path, b"second")
    assert path.read_bytes() == b"first"
    copy(path, storage / "aside" / "result.json")
    assert (storage / "aside" / "result.json").read_bytes() == b"first"
    with pytest.raises(FileNotFoundError):
        copy(storage / "nothing", storage / "aside" / "nothing")


@pytest.mark.parametrize("number", whole_files.WITHOUT_LINKS)
def test_without_hard_links_the_first_wins_too(tmp_path, monkeypatch, number):
    """Some network and memory-stick file systems have no hard links."""

    def refused(*paths):
        raise OSError(number, "no links here")

    monkeypatch.setattr(whole_files.os, "link", refused)
    path = tmp_path / "result.json"
    assert [create(path, content) for content in (b"first", b"second")] == [True, False]
    copy(path, tmp_path / "copy.json")
    assert [one.read_bytes() for one in sorted(tmp_path.iterdir())] == [b"first", b"first"]


def test_a_link_whose_answer_was_lost_counts(tmp_path, monkeypatch):
    """A network file system makes the link, then reports that the name is taken, which is true because of this link."""
    draft, path = tmp_path / "draft", tmp_path / "path"
    draft.write_bytes(b"mine")
    link = whole_files.os.link

    def asked_twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(whole_files.os, "link", asked_twice)
    assert name_unless_taken(draft, path)
    assert ([one.name for one in tmp_path.iterdir()], path.read_bytes()) == (["path"], b"mine")


@pytest.mark.parametrize(("kind", "said"), [("forgetful", "created"), ("remembering", "listing"), ("stale", "read")])
def test_a_store_that_cannot_be_relied_on_is_refused(kind, said, registered, monkeypatch, types_here, tmp_path):
    """`sweep` says in one line what is wrong, exits 2, and has begun nothing."""
    monkeypatch.setitem(exclusive_creation.BY_FSSPEC, kind, "fsspec")
    raw = {
        "name": "s",
        "base": {"dataset": "mnist_svhn_text", "source": "embedded", "networks": "small", "model": "mopoe"},
        "storage": f"{kind}://bucket/runs",
    }
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(raw))
    code, _, err = types_here("sweep", file)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, len(errors)) == (2, 1)
    assert errors[0].startswith(f"error: storage: {kind}://bucket/runs ")
    assert not unnamed(errors[0], said)


def test_a_file_system_that_takes_no_options_is_opened(registered):
    """The option against cached listings is then left out."""
    assert broken_guarantee(storage_path("strict://bucket")) == ""


def test_a_store_without_times_can_be_relied_on(registered):
    """Leases depend on the content of a heartbeat, and on no time."""
    storage = storage_path("timeless://bucket")
    assert broken_guarantee(storage) == ""
    assert exclusive_create_warning(storage)
