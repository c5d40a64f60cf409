"""Which Ray a sweep runs on, and the error where there is none. Imports no Ray, so that a mistake is reported at once."""

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mopoe_core.errors import UserError
from mopoe_core.storage.scratch import scratch

ALLOWED = "allowed: auto, or HOST:PORT of a cluster's head; unset it to run on this machine"
CONNECT_SECONDS = 10.0
LONGEST_FOLDER = 30
"""Characters of a folder for temporary files in which Ray can make its sockets: it adds up to 77, and a socket's path has 107 at most."""


def check_address() -> None:
    """Raise UserError where RAY_ADDRESS names no cluster that a sweep can run on, as far as can be seen without Ray."""
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        return
    if address == "auto":
        address = _current()  # Ray believes it, and waits ten minutes for a cluster that was killed
        if not address:
            return
    if not address.strip():
        raise UserError(f"RAY_ADDRESS: is empty; {ALLOWED}")
    if address.startswith("ray://"):
        raise UserError(f"RAY_ADDRESS: {address!r} is an address of Ray Client, with which trials die; {ALLOWED}")
    host_and_port = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if host_and_port is None or not 0 < int(host_and_port[2]) < 65536:
        raise UserError(f"RAY_ADDRESS: {address!r} is no address; {ALLOWED}")
    try:
        socket.create_connection((host_and_port[1].strip("[]"), int(host_and_port[2])), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise no_ray(error, address) from None


def _current() -> str:
    """Returns the address of this machine's cluster, which Ray noted when that was started; empty where there is no note."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def no_ray(error: BaseException, meant: str = "") -> UserError:
    """Returns the error where Ray cannot be reached, or does not start; `meant` is the address that `auto` stands for."""
    address, why = os.environ.get("RAY_ADDRESS", "local"), " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if address != "local":
        named = repr(address) if meant in ("", address) else f"{address!r}, which is {meant} here"
        return UserError(f"RAY_ADDRESS: {named}: no Ray can be used there ({why}); start the cluster, or correct it; {ALLOWED}")
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return UserError(
        f"Ray does not start on this machine ({why}); see that {folder} can be written and has room, or name a short folder in "
        "RAY_TMPDIR, and type the same command again"
    )


@contextmanager
def short_folder() -> Iterator[str | None]:
    """A folder for Ray's temporary files if the name of the usual one is too long for sockets.

    None where that is short enough, where RAY_TMPDIR names one, and on a cluster, whose head decides.
    """
    usual = os.environ.get("TMPDIR", "")
    if (
        os.environ.get("RAY_ADDRESS", "local") != "local"
        or "RAY_TMPDIR" in os.environ
        or len(os.fsencode(usual)) <= LONGEST_FOLDER
    ):
        yield None
        return
    if not os.access("/tmp", os.W_OK | os.X_OK):
        raise UserError(
            f"TMPDIR: {usual} is too long a name for Ray's sockets; name a folder of at most {LONGEST_FOLDER} characters"
        )
    with scratch("ray", "/tmp") as folder:
        yield folder
