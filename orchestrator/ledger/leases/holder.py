"""Processes that hold leases, and whether a process on this machine still exists."""

import os
import platform
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process that holds leases, as its claims describe it."""

    token: str
    host: str
    process: int
    started_ms: int
    machine: str = ""
    """Ids of the boot and of the process namespace. A process number identifies a process only within these."""
    birth: str = ""
    """When the process began, in the kernel's ticks. The kernel reuses process numbers."""
    driver: str = ""
    """For a worker: the token of its driver."""

    @classmethod
    def this_process(cls, driver: str = "") -> "Holder":
        """Returns this process, under a new token."""
        process = os.getpid()
        return cls(
            token=uuid.uuid4().hex,
            host=platform.node(),
            process=process,
            started_ms=int(time.time() * 1000),
            machine=machine(),
            birth=birth(process) or "",
            driver=driver,
        )

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_ms / 1000))
        return f"process {self.process} on {self.host}, since {since}"


def runs_here(holder: Holder) -> bool | None:
    """Returns whether a holder's process exists, running or stopped; None if this machine cannot tell."""
    if not holder.machine or holder.machine != machine():
        return None
    try:
        os.kill(holder.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process, which /proc may hide
    began = birth(holder.process)
    return None if began is None else began == holder.birth


def surely_lives(holder: Holder) -> bool:
    """Returns whether a holder's process exists on this machine, running or stopped."""
    return runs_here(holder) is True


def is_stopped(holder: Holder) -> bool:
    """Returns whether a holder's process on this machine is stopped, by Ctrl-Z for example."""
    return surely_lives(holder) and stat(holder.process)[:1] == ["T"]


@cache
def machine() -> str:
    """Returns ids of the boot and the process namespace; empty if the kernel has none, and then only heartbeats show who is alive."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def birth(process: int) -> str | None:
    """Returns when a process began, in ticks; `ended` if it is a zombie; None if /proc does not show it."""
    fields = stat(process)
    if not fields:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]


def stat(process: int) -> list[str]:
    """Returns the fields of /proc/<process>/stat from the third (the state) on, see proc(5); empty if /proc does not show the process."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []
