"""Repeats a call of storage if it fails for a moment, so that one error of a mount or a network loses nothing.

A call is tried a few times, after growing pauses. Only errors that may be over in a moment are worth another try: a full disk, a missing
file or a folder without write permission would fail again.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

TRANSIENT = frozenset({
    errno.EIO,     # a disk, a FUSE mount or a soft NFS mount that failed once
    errno.ESTALE,  # a handle that an NFS server has forgotten: the next call asks for a new one
    # a server of files, or the way to it
    errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.EPIPE, errno.ESHUTDOWN,
    errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EREMOTEIO, errno.ENOLINK,
    errno.ECOMM, errno.EPROTO,
    errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENOLCK,  # another process uses it
    errno.ENFILE, errno.EMFILE, errno.ENOBUFS,  # the machine is short of something
})  # fmt: skip
"""Error numbers that may be over in a moment."""
PAUSES = (0.1, 0.4, 1.6)
"""Seconds before each further try."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk that takes no more."""

_T = TypeVar("_T")


def is_transient(error: OSError) -> bool:
    """Whether an error may be over in a moment. Some libraries' network errors have no number, only a class."""
    return error.errno in TRANSIENT or (error.errno is None and isinstance(error, (ConnectionError, TimeoutError)))


def is_full(error: BaseException) -> bool:
    """Whether an error means that storage takes no more: no fault of a trial, and the same for every other trial."""
    return isinstance(error, OSError) and error.errno in FULL


def retried(call: Callable[[], _T], transient: Callable[[OSError], bool] = is_transient) -> _T:
    """Returns what `call` returns. It is called again if it fails for a moment."""
    for pause in PAUSES:
        try:
            return call()
        except OSError as error:
            if not transient(error):
                raise
        time.sleep(pause)
    return call()


def retried_unless_done(
    call: Callable[[], object], is_done: Callable[[OSError], bool], transient: Callable[[OSError], bool] = is_transient
) -> None:
    """Calls `call`, and calls it again if it fails for a moment.

    A call may do its work and still report an error, because the answer was lost. The next try then fails because the work is done: for
    example, the file that was to be deleted is gone. `is_done` says whether the error of a later try is of that kind.
    """
    has_failed = False

    def attempt() -> None:
        nonlocal has_failed
        try:
            call()
        except OSError as error:
            if has_failed and is_done(error):
                return
            has_failed = transient(error)
            raise

    retried(attempt, transient)
