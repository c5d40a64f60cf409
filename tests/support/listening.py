"""Which sockets a process and its descendants listen on, as Linux tells it under /proc."""

import ipaddress
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"  # a TCP state, as the kernel spells it


@dataclass(frozen=True)
class Listener:
    """A TCP socket that waits for connections."""

    process: str
    """The program's name."""
    address: str

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback


def descendants(roots: set[int]) -> set[int]:
    """Those of the processes that still run, and all below them."""
    alive: set[int] = set()
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        alive.add(int(folder.name))
        children.setdefault(parent, []).append(int(folder.name))
    found, waiting = set(), list(roots)
    while waiting:
        process = waiting.pop()
        if process in alive - found:
            found.add(process)
            waiting += children.get(process, [])
    return found


def listeners(processes: set[int]) -> set[Listener]:
    """What these processes listen on."""
    addresses, found = _addresses(), set()
    for process in processes:
        try:
            name = Path(Path(f"/proc/{process}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")).name
            links = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()]
        except OSError:  # it has ended, or closed that file
            continue
        inodes = [match[1] for match in map(re.compile(r"socket:\[(\d+)\]").fullmatch, links) if match]
        found |= {Listener(name, addresses[inode]) for inode in inodes if inode in addresses}
    return found


def _addresses() -> dict[str, str]:
    """The address of every listening TCP socket by its inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN:
                found[words[9]] = _address(words[1].partition(":")[0])
    return found


def _address(text: str) -> str:
    """32-bit words in the machine's byte order, as hexadecimal."""
    packed = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
