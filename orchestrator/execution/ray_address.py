"""Checks the address of the Ray that a sweep runs on. Imports no Ray, so that a mistake is reported at once."""

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
"""Characters that the folder for temporary files may have. Ray's socket paths add up to 77, and a socket's path may have 107."""


def check_address() -> None:
    """Raise UserError if RAY_ADDRESS names no cluster that a sweep can run on, as far as this can be checked without Ray."""
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        return
    if address == "auto":
        address = _current()  # checked here because Ray trusts the note, and waits ten minutes for a cluster that was killed
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
    """Returns the address of this machine's cluster, which Ray notes when it starts one; empty if there is no note."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def no_ray(error: BaseException, meant: str = "") -> UserError:
    """Returns the error for a Ray that cannot be reached, or does not start; `meant` is the address that `auto` stands for."""
    address = os.environ.get("RAY_ADDRESS", "local")
    why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
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
    """Yields a folder for Ray's temporary files if the name of the usual folder is too long for sockets.

    Yields None if that name is short enough, if RAY_TMPDIR names a folder, and on a cluster, whose head decides.
    """
    usual = os.environ.get("TMPDIR", "")
    is_cluster = os.environ.get("RAY_ADDRESS", "local") != "local"
    if is_cluster or "RAY_TMPDIR" in os.environ or len(os.fsencode(usual)) <= LONGEST_FOLDER:
        yield None
        return
    if not os.access("/tmp", os.W_OK | os.X_OK):
        raise UserError(
            f"TMPDIR: {usual} is too long a name for Ray's sockets; name a folder of at most {LONGEST_FOLDER} characters"
        )
    with scratch("ray", "/tmp") as folder:
        yield folder
