"""Writes files so that a reader sees the whole file or none, in a local folder or under a URI."""

import errno
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mopoe_core.storage.durability import make_folder, sync
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.retries import retried, retried_unless_done
from mopoe_core.storage.scratch import scratch

WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""Error numbers of a file system that makes no hard links."""


def write_whole(path: AnyPath, write: Callable[[Path], None], durable: bool = True) -> None:
    """Lets `write` fill a temporary file, then gives it its name: a reader sees the old file or the new one.

    On return the file and its name are on disk, so that a machine that goes down loses neither. Without `durable` its name may be lost,
    which spares the disk a write.
    """
    if isinstance(path, RemotePath):
        with scratch("upload") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            path.write_bytes(temporary.read_bytes())
        return
    make_folder(path.parent, durable)
    draft = _draft_of(path)
    retried_unless_done(lambda: new_file(draft), lambda error: isinstance(error, FileExistsError))
    try:
        retried(lambda: _fill(Path(draft), write))
        draft.replace(path)
        if durable:
            sync(path.parent)  # without it, a machine that goes down could leave the old file, or none
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # an error of writing has no file name
            error.filename = str(path)
        with suppress(OSError):  # if this fails too, `gc` removes the draft later
            draft.unlink(missing_ok=True)
        raise


def _draft_of(path: Path) -> LocalPath:
    """Returns the path under which a file is written before it gets its name; `gc` knows such names."""
    return LocalPath(path.with_name(f".{path.name}.{uuid.uuid4().hex}"))


def _fill(draft: Path, write: Callable[[Path], None]) -> None:
    write(draft)
    sync(draft)  # without it, a machine that goes down could leave the new name with an empty file


def new_file(path: Path) -> None:
    """Makes an empty local file. Raises FileExistsError if there is one.

    Its rights follow the user's umask and the folder's default ACL. `mkstemp` and SQLite ignore both.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))


def name_unless_taken(draft: Path, path: Path, durable: bool = True) -> bool:
    """Renames a finished draft to `path`, unless that is taken; returns whether the draft has that name now. `draft` is gone afterwards.

    If several processes ask at once, one gets the name. With `durable`, the name is on disk on return.
    """
    draft, path = LocalPath(draft), LocalPath(path)
    sync(draft)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return draft.samefile(path)  # true if a network file system lost the answer to its first request, and repeated it
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        return _name_without_links(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        sync(path.parent)
    return True


def _name_without_links(draft: Path, path: Path) -> bool:
    """As `name_unless_taken`, on a file system without links: an empty file takes the name, and then the draft replaces it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    draft.replace(path)
    return True


def create(path: AnyPath, content: bytes, durable: bool = True, draft_folder: AnyPath | None = None) -> bool:
    """Writes a whole file, unless there is one of that name; returns whether it was written. Of several writers the first succeeds.

    A local file is first written to `draft_folder`, which must exist; by default to its own folder, which is made. Raises
    FileNotFoundError, and writes nothing, if `draft_folder` was moved away, even at the last moment.

    On a remote store that is not exclusive (`RemotePath.is_exclusive`), the result may be true for two writers at the same moment.
    """
    if isinstance(path, RemotePath):
        return path.create(content)
    if isinstance(draft_folder, Path):
        draft = _draft_of(draft_folder / path.name)
    else:
        draft = _draft_of(path)
        make_folder(path.parent, durable)
    try:
        retried(lambda: draft.write_bytes(content))
        return name_unless_taken(draft, path, durable)
    finally:
        draft.unlink(missing_ok=True)


def copy(source: AnyPath, target: AnyPath) -> None:
    """Copies a whole file, in place of any file of that name. Raises FileNotFoundError if there is no such file.

    A local file is linked if possible, so that its bytes are stored once. The new name is not yet on disk on return: one `sync` of the
    folder does that for all files that were copied into it.
    """
    if isinstance(source, RemotePath) or isinstance(target, RemotePath):
        _copy_remote(source, target)
        return
    make_folder(target.parent)
    draft = _draft_of(target)
    try:
        try:
            draft.hardlink_to(source)
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            retried(lambda: shutil.copyfile(source, draft))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)  # `replace` does nothing if both names are links to the same file


def _copy_remote(source: AnyPath, target: AnyPath) -> None:
    if isinstance(source, RemotePath) and isinstance(target, RemotePath) and source.base == target.base:
        source.copy(target)
    else:
        write_bytes(target, source.read_bytes())


def write_bytes(path: AnyPath, content: bytes | memoryview, durable: bool = True) -> None:
    """As `write_whole`, for bytes."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    if isinstance(path, RemotePath):
        path.write_bytes(content)
    else:
        write_whole(path, write, durable)


def write_text(path: AnyPath, text: str, durable: bool = True) -> None:
    """As `write_whole`, for text. A character that UTF-8 lacks, such as an undecodable byte of a file name, is written as an escape."""
    write_bytes(path, text.encode(errors="backslashreplace"), durable)


def move(source: AnyPath, target: AnyPath) -> None:
    """Gives a file another name in the same storage, in place of any file of that name."""
    source.replace(target)  # type: ignore[arg-type]  # both are local, or both remote
    if isinstance(target, Path):
        sync(target.parent)


def link_as(path: AnyPath, second_name: AnyPath) -> None:
    """Links a local file to a second name, so that it stays when the first is replaced. Nothing is copied.

    Does nothing for a remote file: a remote store loses nothing that it has accepted.
    """
    if isinstance(path, Path) and isinstance(second_name, Path) and path.exists():
        second_name.unlink(missing_ok=True)
        with suppress(OSError):  # a file system without links: the former file is then lost when the first name is replaced
            second_name.hardlink_to(path)
