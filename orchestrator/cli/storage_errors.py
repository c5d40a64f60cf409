"""What the user is told where a disk, a share or a network fails: one line that names the file, and what to do."""

import errno
from dataclasses import dataclass

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
MISNAMED = (errno.ENAMETOOLONG, errno.ELOOP)
ELSEWHERE = {"report": "--to", "export": "--to"}
"""Commands that only read storage, but for what they write beside it, and the option that writes that elsewhere."""


@dataclass(frozen=True)
class Told:
    """What is said of an error, and the exit code."""

    line: str
    code: int
    """2 where the user has to mend something, 1 where the same command again may do."""


def told(error: OSError, command: str, name: str = "") -> Told:
    """What is said of an error that ended a command. `command` is what was typed, `name` the command's name."""
    where, number = _named(error), error.errno
    other = f"write elsewhere with {ELSEWHERE[name]}" if name in ELSEWHERE else "name another folder with --storage"
    if number in FULL:
        return Told(f"{where}; make room, or {other}; then `{command}` goes on", 1)
    if number in FORBIDDEN:
        return Told(f"{where}; see that you may read and write there, or {other}; then `{command}` goes on", 2)
    if number in IN_THE_WAY:
        return Told(f"{where}; move what is there away, and type `{command}` again", 2)
    if number in MISNAMED:
        return Told(f"{where}; name another file or folder", 2)
    if isinstance(error, FileNotFoundError):
        return Told(f"{where}; see that the folder is there and has not been moved; then `{command}` goes on", 2)
    return Told(f"{where}; storage or network failed, also when tried again; type `{command}` again when it works", 1)


def _named(error: OSError) -> str:
    """The file and what is wrong with it, on one line. Errors of remote storage have the address in their text."""
    said = " ".join((error.strerror or str(error) or type(error).__name__).split())
    files = [repr(str(file))[1:-1] for file in (error.filename, error.filename2) if isinstance(file, (str, bytes))]
    return f"{' to '.join(files)}: {said}" if files else said
