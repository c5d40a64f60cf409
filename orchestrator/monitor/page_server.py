"""Serves a live page on loopback, read only: its own three files, its state, and the files of the newest reports.

Browsers do not let a page of another site read from this server. Such a site could get around that by pointing its own name at 127.0.0.1
after its page was loaded (DNS rebinding). Its requests then have that name as their host, and are refused.
"""

import json
import mimetypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import unquote, urlsplit

from mopoe_core.errors import UserError
from orchestrator.monitor.live_page import LivePage

HOST = "127.0.0.1"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Hosts in the requests of a browser on this machine. The port is not compared: a tunnel may have another one."""
OWN_FILES = {"/": "watch.html", "/watch.css": "watch.css", "/watch.js": "watch.js"}
REPORT = re.compile(r"/report/([0-9]{1,9})/(.+)")
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
OWN_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
REPORT_POLICY = "frame-ancestors 'self'"
"""The report's page itself sets the rest of its policy."""


@contextmanager
def served(page: LivePage, port: int = 0) -> Iterator[str]:
    """Serves the page until the context is left; yields its address. Port 0 stands for any free port.

    Raises UserError if the port is no port, or is not free.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port: {port} is no port; allowed: 1 to 65535, or 0 for any that is free")
    try:
        server = _Server(page, port)
    except OSError as error:
        raise UserError(f"--port: {port} cannot be had ({error.strerror}); name another with --port") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True, name="page-server")
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser that keeps a connection open must not keep the command from ending

    def __init__(self, page: LivePage, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.page = page


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30
    server_version, sys_version = "mopoe", ""

    def do_GET(self) -> None:
        """Send one of the page's own files, the state, or a file of a report."""
        host = self.headers.get("Host", "")
        if re.sub(r":[0-9]+$", "", host).lower() not in LOOPBACK_NAMES:
            self._send(HTTPStatus.FORBIDDEN, b"open this page by the address that `watch` printed\n", "text/plain; charset=utf-8")
            return
        path = urlsplit(self.path).path
        if path == "/state":
            self._send(HTTPStatus.OK, json.dumps(self.server.page.state).encode(), "application/json")
        elif path in OWN_FILES:
            name = OWN_FILES[path]
            self._send(HTTPStatus.OK, (files("orchestrator.monitor") / "page" / name).read_bytes(), _type_of(name), OWN_POLICY)
        else:
            self._send_report(unquote(path))

    do_HEAD = do_GET

    def _send_report(self, path: str) -> None:
        match = REPORT.fullmatch(path)
        try:
            file = self.server.page.file(int(match[1]), match[2]) if match else None
            content = file.read_bytes() if file else None
        except (OSError, ValueError):  # a file that has just been replaced, or an impossible file name
            content = None
        if match is None or content is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is no such file\n", "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, content, _type_of(match[2]), REPORT_POLICY)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, policy: str = OWN_POLICY) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Does nothing: the terminal belongs to the command."""


def _type_of(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
