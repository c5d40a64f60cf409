"""What the user is told where a disk, a share or a network fails: one line that names the file, and what to do."""

import errno
from dataclasses import dataclass

from orchestrator.cli.exit_codes import UNFINISHED, USER_ERROR

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
MISNAMED = (errno.ENAMETOOLONG, errno.ELOOP)
ELSEWHERE = {"report": "--to", "export": "--to"}
"""Commands that only read the ledger, and the option with which each writes its output elsewhere."""


@dataclass(frozen=True)
class Explanation:
    """What the user is told of an error, and the exit code."""

    line: str
    code: int


def explain(error: OSError, command: str, name: str = "") -> Explanation:
    """The explanation of an error that ended a command. `command` is what was typed, `name` the command's name."""
    where, number = _file_and_reason(error), error.errno
    other = f"write elsewhere with {ELSEWHERE[name]}" if name in ELSEWHERE else "name another folder with --storage"
    if number in FULL:
        return Explanation(f"{where}; make room, or {other}; then `{command}` goes on", UNFINISHED)
    if number in FORBIDDEN:
        return Explanation(f"{where}; see that you may read and write there, or {other}; then `{command}` goes on", USER_ERROR)
    if number in IN_THE_WAY:
        return Explanation(f"{where}; move what is there away, and type `{command}` again", USER_ERROR)
    if number in MISNAMED:
        return Explanation(f"{where}; name another file or folder", USER_ERROR)
    if isinstance(error, FileNotFoundError):
        return Explanation(f"{where}; see that the folder is there and has not been moved; then `{command}` goes on", USER_ERROR)
    return Explanation(
        f"{where}; storage or network failed, also when tried again; type `{command}` again when it works", UNFINISHED
    )


def _file_and_reason(error: OSError) -> str:
    """The file and what is wrong with it, on one line. Errors of remote storage have the address in their text."""
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
    files = [repr(str(file))[1:-1] for file in (error.filename, error.filename2) if isinstance(file, (str, bytes))]
    return f"{' to '.join(files)}: {reason}" if files else reason
