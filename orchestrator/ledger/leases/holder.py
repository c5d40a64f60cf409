"""Processes that hold leases, and whether one of this machine is still there."""

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
    """The boot and the process namespace. Process numbers mean something within these only."""
    birth: str = ""
    """When the process began, in the kernel's ticks. Process numbers are used again."""
    driver: str = ""
    """The token of the driver that a worker works for."""

    @classmethod
    def this_process(cls, driver: str = "") -> "Holder":
        """This process, under a new token."""
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
    """Whether a holder's process is there, running or stopped; None if that cannot be seen from this machine."""
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
    """Whether a holder's process is on this machine and runs, or is stopped and can go on."""
    return runs_here(holder) is True


def is_stopped(holder: Holder) -> bool:
    """Whether a holder's process on this machine is stopped, by Ctrl-Z for example."""
    return surely_lives(holder) and stat(holder.process)[:1] == ["T"]


@cache
def machine() -> str:
    """The boot and the process namespace; empty if the kernel does not tell, and then only heartbeats show who lives."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def birth(process: int) -> str | None:
    """When a process began; `ended` if it has ended and was not waited for; None if /proc does not show it."""
    fields = stat(process)
    if not fields:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]


def stat(process: int) -> list[str]:
    """State and numbers of a process, from the third field of proc(5) on; empty if /proc does not show it."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []
