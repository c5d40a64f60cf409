"""Files that are there whole or not at all, in a local folder or under a URI."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mopoe_core.local import LocalPath
from mopoe_core.remote import RemotePath, credentials
from mopoe_core.retries import retried

AnyPath = Path | RemotePath
"""Where storage is: what is done to it is what both of them can do."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk that takes no more."""


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


def write_whole(path: AnyPath, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then give it its name: a reader sees the old file or the new one."""
    if isinstance(path, RemotePath):
        with scratch("upload") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            path.write_bytes(temporary.read_bytes())
        return
    make_folder(path.parent)
    handle, name = retried(lambda: tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent))
    os.close(handle)
    draft = LocalPath(name)
    try:
        retried(lambda: _fill(Path(draft), write))
        draft.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # writing tells no name
            error.filename = str(path)
        with suppress(OSError):  # what is left then goes with `gc`
            draft.unlink(missing_ok=True)
        raise


def _fill(draft: Path, write: Callable[[Path], None]) -> None:
    write(draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())  # else a machine that goes down could leave the new name with nothing behind it
    draft.chmod(0o644)  # mkstemp makes files that only their owner can read; storage is often shared


def make_folder(folder: Path) -> None:
    """Make a local folder, with those above it, where it is not there yet."""
    LocalPath(folder).mkdir(parents=True, exist_ok=True)


def name_unless_taken(draft: Path, path: Path) -> None:
    """Give a finished file its name, unless another process has given that to its own; `draft` is gone afterwards."""
    draft, path = LocalPath(draft), LocalPath(path)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_bytes(path: AnyPath, content: bytes | memoryview) -> None:
    """As `write_whole`, for bytes."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    if isinstance(path, RemotePath):
        path.write_bytes(content)
    else:
        write_whole(path, write)


def write_text(path: AnyPath, text: str) -> None:
    """As `write_whole`, for text."""
    write_bytes(path, text.encode())


def listed(folder: AnyPath, pattern: str) -> list[AnyPath]:
    """The files of a folder whose path in it matches, in order; none where there is no such folder."""
    found: list[AnyPath] = [*(folder if isinstance(folder, RemotePath) else LocalPath(folder)).glob(pattern)]
    return sorted(found, key=str)


def move_folder(folder: AnyPath, target: AnyPath) -> None:
    """Move a folder with all that is in it, two levels deep at most, to where nothing is yet."""
    if isinstance(folder, Path) and isinstance(target, Path):
        make_folder(target.parent)
        LocalPath(folder).rename(target)
        return
    places = [(path, target) for path in listed(folder, "*")]
    places += [(path, target / path.parent.name) for path in listed(folder, "*/*")]
    for path, into in places:
        write_bytes(into / path.name, path.read_bytes())
        path.unlink()


def move(source: AnyPath, target: AnyPath) -> None:
    """Give a file the name of another in the same storage, in place of whatever has that."""
    source.replace(target)  # type: ignore[arg-type]  # both are local, or both remote


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
