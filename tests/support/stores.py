"""An S3 server of one's own, and a line to it that can be cut."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pyarrow import fs

KEY, SECRET = "AKIAEXAMPLE", "Wq7-very-secret"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each another."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class Line:
    """Forwards to a port, and hangs up on whoever sends more than `most` bytes in one connection."""

    to: int
    port: int = 0
    most: float = float("inf")
    cuts: int = 0

    def __enter__(self) -> "Line":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(65536):
                sent += len(data)
                if counted and sent > self.most:
                    self.cuts += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Store:
    """A bucket."""

    port: int
    line: Line

    def uri(self, path: str, port: int | None = None) -> str:
        """Of a folder in it, key and secret included."""
        return f"s3://{KEY}:{SECRET}@bucket/{path}?endpoint_override=127.0.0.1:{port or self.port}&scheme=http"


@contextmanager
def s3() -> Iterator[Store]:
    """A real server, in a process of its own."""
    (port,) = free_ports(1)
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                break
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        made = fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True
        )
        made.create_dir("bucket")
        with Line(port) as line:
            yield Store(port, line)
    finally:
        server.kill()
        server.wait()
