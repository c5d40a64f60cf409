"""Explains errors of a disk, a share or a network to the user: one line that names the file, and what to do."""

import errno
from dataclasses import dataclass

from orchestrator.cli.exit_codes import UNFINISHED, USER_ERROR

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
MISNAMED = (errno.ENAMETOOLONG, errno.ELOOP)
ELSEWHERE = {
    "report": "write elsewhere with --to",
    "export": "write elsewhere with --to",
    "schema": "write elsewhere with --to",
    "init": "name another file",
    "data": "name another folder with --data",
}
"""Commands that write nothing to the ledger, and how each writes its output elsewhere."""


@dataclass(frozen=True)
class Explanation:
    """The line for the user about an error, and the exit code."""

    line: str
    code: int


def explain(error: OSError, command: str, name: str = "") -> Explanation:
    """Returns the explanation of an error that ended a command. `command` is the typed command line, `name` the command's name."""
    problem = _file_and_reason(error)
    other = ELSEWHERE.get(name, "name another folder with --storage")
    if name == "report" and "--figures" in command:
        other = "name another folder with --figures"
    if error.errno in FULL:
        return Explanation(f"{problem}; make room, or {other}; then `{command}` goes on", UNFINISHED)
    if error.errno in FORBIDDEN:
        return Explanation(f"{problem}; see that you may read and write there, or {other}; then `{command}` goes on", USER_ERROR)
    if error.errno in IN_THE_WAY:
        return Explanation(f"{problem}; move what is there away, and type `{command}` again", USER_ERROR)
    if error.errno in MISNAMED:
        return Explanation(f"{problem}; name another file or folder", USER_ERROR)
    if isinstance(error, FileNotFoundError):
        return Explanation(
            f"{problem}; see that the folder is there and has not been moved; then `{command}` goes on", USER_ERROR
        )
    return Explanation(
        f"{problem}; storage or network failed, also when tried again; type `{command}` again when it works", UNFINISHED
    )


def _file_and_reason(error: OSError) -> str:
    """Returns the file and what is wrong with it, on one line. Errors of remote storage have the address in their text."""
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
    files = [repr(str(file))[1:-1] for file in (error.filename, error.filename2) if isinstance(file, (str, bytes))]
    return f"{' to '.join(files)}: {reason}" if files else reason
