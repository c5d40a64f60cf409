"""Files that are there whole or not at all, in a local folder or under a URI."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.remote_path import RemotePath, credentials
from mopoe_core.storage.retries import retried, retried_unless_done

AnyPath = Path | RemotePath
"""Where storage is: what is done to it is what both of them can do."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk that takes no more."""
NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""Error numbers of a file system that cannot sync a folder, as some network shares cannot."""

WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""Error numbers of a file system that makes no hard links."""


SCRATCH = re.compile(r"mopoe-[a-z]+-(?:(?P<process>\d+)-)?[a-z0-9_]{8}")
"""Names of scratch folders."""


@dataclass(frozen=True)
class Digest:
    """What tells the bytes of a file from any others."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Digest":
        """That of these bytes."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    @classmethod
    def of_file(cls, path: AnyPath) -> "Digest":
        """That of a file. Raises FileNotFoundError where there is none."""
        if isinstance(path, RemotePath):
            return cls.of(path.read_bytes())
        return retried(lambda: cls._of_local(path))

    @classmethod
    def _of_local(cls, path: Path) -> "Digest":
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(sha256, os.fstat(file.fileno()).st_size)


def is_full(error: BaseException) -> bool:
    """Whether an error says that storage takes no more: no fault of a trial, and the same for every other."""
    return isinstance(error, OSError) and error.errno in FULL


def expand(said: str) -> str:
    """A path or URI with `~`, `~user`, `$NAME` and `${NAME}` replaced by what they stand for; `$$` is a dollar sign.

    In a URI, variables are read in host and path, and nothing in user, password and options: a secret may have a dollar sign. Raises
    ValueError where a variable is not set, a user does not exist, or a dollar sign means something else.
    """
    scheme, mark, rest = said.partition("://")
    if not mark or "$" in scheme or "/" in scheme or not scheme:
        found = _with_variables(said)
        return found if "://" in found else _with_home(found)
    if scheme == "file":
        return f"file://{_with_home(_with_variables(rest))}"
    user = credentials(said)
    head = f"{scheme}://{user}@" if user else f"{scheme}://"
    path, question, options = said.removeprefix(head).partition("?")
    return f"{head}{_with_variables(path)}{question}{options}"


def _with_variables(said: str) -> str:
    return re.sub(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|.?)", _variable, said)


def _variable(found: re.Match[str]) -> str:
    dollar, name = found[1], found[2] or found[3]
    if dollar:
        return "$"
    if not name:
        raise ValueError("has a dollar sign that begins no variable; write $NAME or ${NAME}, or $$ for the sign itself")
    if not os.environ.get(name):
        state = "empty" if name in os.environ else "not set"
        raise ValueError(f"names the variable {name}, which is {state}; set it, or write $$ for a dollar sign")
    return os.environ[name]


def _with_home(said: str) -> str:
    found = os.path.expanduser(said)
    if found.startswith("~"):
        user = found.partition("/")[0]
        raise ValueError(f"begins with {user}, and there is no such user; write the folder out, or ./{user} for one of that name")
    return found


def place(said: str) -> AnyPath:
    """The folder that a path or URI names; `file:` URIs are local folders. Raises ValueError where it names none."""
    if not said.strip() or not said.isprintable():
        raise ValueError("names no folder")
    meant = expand(said)
    if not meant.strip() or not meant.isprintable():
        raise ValueError("names no folder")
    if "://" not in meant:
        return LocalPath(meant).absolute()
    if meant.startswith("file://"):
        return LocalPath(meant.removeprefix("file://")).absolute()
    return RemotePath.open(meant)


def near(folder: AnyPath) -> Path:
    """A local folder for what has to be a local file: the folder itself, or for a remote one a folder of the user's cache."""
    if isinstance(folder, Path):
        return folder
    words = "-".join(re.findall(r"[A-Za-z0-9]+", str(folder).partition("?")[0]))
    key = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return LocalPath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mopoe" / f"{words[:60]}-{key}"


def scratch(what: str, where: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for something, to be entered. Its name says whose it is: `gc` removes those that killed processes leave."""
    return tempfile.TemporaryDirectory(prefix=f"mopoe-{what}-{os.getpid()}-", dir=where, ignore_cleanup_errors=True)


def write_whole(path: AnyPath, write: Callable[[Path], None], durable: bool = True) -> None:
    """Let `write` fill a temporary file, then give it its name: a reader sees the old file or the new one.

    On return the file is on disk, and so is its name: a machine that goes down loses neither. Of one that is not `durable` the name may
    be lost, which spares the disk a write.
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
            sync(path.parent)  # else a machine that goes down could leave the old name, or none
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # writing tells no name
            error.filename = str(path)
        with suppress(OSError):  # what is left then goes with `gc`
            draft.unlink(missing_ok=True)
        raise


def _draft_of(path: Path) -> LocalPath:
    """Where a file is written before it gets its name; `gc` knows such names."""
    return LocalPath(path.with_name(f".{path.name}.{uuid.uuid4().hex}"))


def _fill(draft: Path, write: Callable[[Path], None]) -> None:
    write(draft)
    sync(draft)  # else a machine that goes down could leave the new name with nothing behind it


def new_file(path: Path) -> None:
    """Make an empty local file. Raises FileExistsError where there is one.

    The system takes the user's umask off its rights, and heeds a folder's default ACL. `mkstemp` and SQLite do neither.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))


def make_folder(folder: Path, durable: bool = True) -> None:
    """Make a local folder, with those above it, unless it is there. The names of those above are on disk on return; its own, too, where
    it is to be `durable`.
    """
    if folder.exists():
        return
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    LocalPath(folder).mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        if durable or place != folder:
            sync(place.parent)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to disk."""
    retried(lambda: _sync(path))


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # a folder that this user may write and not list
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise
    finally:
        os.close(handle)


def name_unless_taken(draft: Path, path: Path, durable: bool = True) -> bool:
    """Give a finished file its name, unless that is taken; returns whether the file has it. `draft` is gone afterwards.

    Of several processes that come at once, one gets the name. Where it is to be `durable`, the name is on disk on return.
    """
    draft, path = LocalPath(draft), LocalPath(path)
    sync(draft)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return draft.samefile(path)  # a network file system may have lost its first answer, and asked again
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        return _reserved(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        sync(path.parent)
    return True


def _reserved(draft: Path, path: Path) -> bool:
    """As `name_unless_taken`, on a file system without links: the name is taken by an empty file, which the draft then replaces."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    draft.replace(path)
    return True


def create(path: AnyPath, content: bytes, durable: bool = True) -> bool:
    """Write a file, whole, unless there is one of that name; returns whether it was written. The first of several writers wins.

    Of a remote store that cannot say which came first (`RemotePath.is_exclusive`), two that write in the same moment may both believe so.
    """
    if isinstance(path, RemotePath):
        return path.create(content)
    draft = _draft_of(path)
    make_folder(path.parent, durable)
    try:
        retried(lambda: draft.write_bytes(content))
        return name_unless_taken(draft, path, durable)
    finally:
        draft.unlink(missing_ok=True)


def copy(source: AnyPath, target: AnyPath) -> None:
    """Let a file be there under another name as well, whole, in place of whatever has that. A local file is linked where that is
    possible, so that its bytes are there once. Raises FileNotFoundError where there is no such file.

    The name is not yet on disk on return: of several files, one `sync` of their folder does that for all.
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
        draft.unlink(missing_ok=True)  # two names of one file: `replace` leaves both where the target was that file already


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
    """As `write_whole`, for text. A character that UTF-8 does not have, as undecoded bytes of a file's name become, is spelled."""
    write_bytes(path, text.encode(errors="backslashreplace"), durable)


def listed(folder: AnyPath, pattern: str) -> list[AnyPath]:
    """The files of a folder whose path in it matches, in order; none where there is no such folder."""
    found: list[AnyPath] = [*(folder if isinstance(folder, RemotePath) else LocalPath(folder)).glob(pattern)]
    return sorted(found, key=str)


def move_folder(folder: AnyPath, target: AnyPath) -> None:
    """Move a folder with all that is in it, three levels deep at most, to where nothing is yet."""
    if isinstance(folder, Path) and isinstance(target, Path):
        make_folder(target.parent)
        LocalPath(folder).rename(target)
        sync(target.parent)
        sync(folder.parent)
        return
    for path in (path for pattern in ("*", "*/*", "*/*/*") for path in listed(folder, pattern)):
        copy(path, _below(path, folder, target))
        path.unlink()


def _below(path: AnyPath, folder: AnyPath, target: AnyPath) -> AnyPath:
    """Where in `target` a file belongs that lies in `folder`."""
    return target / path.name if path.parent == folder else _below(path.parent, folder, target) / path.name


def move(source: AnyPath, target: AnyPath) -> None:
    """Give a file the name of another in the same storage, in place of whatever has that."""
    source.replace(target)  # type: ignore[arg-type]  # both are local, or both remote
    if isinstance(target, Path):
        sync(target.parent)


def keep(path: AnyPath, under: AnyPath) -> None:
    """Let a local file that is about to be replaced stay, under another name as well; nothing is copied. A remote store loses nothing
    that it has taken, and is left as it is.
    """
    if isinstance(path, Path) and isinstance(under, Path) and path.exists():
        under.unlink(missing_ok=True)
        with suppress(OSError):  # a file system without links: then there is no second chance
            under.hardlink_to(path)


def modified(path: AnyPath) -> float | None:
    """When a file was last written, in seconds since 1970 by the clock of whoever keeps it; None if it is not there."""
    if isinstance(path, RemotePath):
        return path.modified()
    try:
        return retried(lambda: _modified(path))
    except FileNotFoundError:
        return None


def _modified(path: Path) -> float:
    # Opened, because NFS asks the server anew when a file is opened, and may answer a bare stat from memory for a minute.
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


def size(path: AnyPath) -> int:
    """Bytes of a file that is there."""
    return path.size() if isinstance(path, RemotePath) else path.stat().st_size


def size_if_there(path: AnyPath) -> int | None:
    """Bytes of a file, by one request; None where it is not there. Of a remote file that is empty, as well."""
    try:
        return size(path) or (None if isinstance(path, RemotePath) else 0)
    except FileNotFoundError:
        return None


def lock(path: AnyPath) -> FileLock:
    """A lock on making a file: beside it, or, for a remote one, among the processes of this machine."""
    if isinstance(path, RemotePath):
        key = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        return FileLock(Path(tempfile.gettempdir()) / f"mopoe-{os.getuid()}-{key}.lock")
    make_folder(path.parent)
    return FileLock(f"{path}.lock")
