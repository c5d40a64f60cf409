"""`watch`: a live page with the report, served on loopback only to browsers on this machine."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.monitor import live_page, page_server
from orchestrator.monitor.live_page import LivePage
from orchestrator.monitor.live_state import StorageWatch
from tests.monitor.test_status import EVERY, RAW, SPEC, completes, ends, holds
from tests.support.browser import CHROMIUM, browser
from tests.support.watching import looks_once

ROOT = Path(__file__).parents[2]
SECRET = "a file that is not the report's"
TALL = "<!doctype html><title>r</title><p>report {number}</p><details><summary>s</summary>t</details><p style='height: 5000px'>"


class Drawer:
    """Draws pages that contain their number; fails if the test asks for it."""

    def __init__(self):
        self.drawn = 0
        self.error = None

    def __call__(self, live, folder):
        """Draw the next page."""
        if self.error:
            raise self.error
        self.drawn += 1
        folder.mkdir()
        (folder / "index.html").write_text(TALL.format(number=self.drawn))


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger."""
    return Ledger(tmp_path / "runs")


@pytest.fixture
def drawer():
    """Draws the pages of a test."""
    return Drawer()


@pytest.fixture
def page(tmp_path, ledger, drawer, monkeypatch):
    """The page of a sweep, without a pause between two reports."""
    monkeypatch.setattr(live_page, "LEAST_REST", 0.0)
    monkeypatch.setattr(live_page, "REST", 0.0)
    (tmp_path / "drawings").mkdir()
    (tmp_path / "secret.txt").write_text(SECRET)
    return LivePage(StorageWatch(SPEC, ledger.storage), "t", tmp_path / "drawings", drawer, lambda live: "nobody")


@pytest.fixture
def address(page):
    """The address at which the page is served."""
    with page_server.served(page) as url:
        yield url


def step(page):
    """Read the ledger once, and draw a report if that is due."""
    page.look()
    page.draw()


def get(address, path, method="GET", **headers):
    """Returns status, headers and content of the answer to a request, whose path is sent unchanged."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def state(address):
    """Returns the state that the page's script is given."""
    status, _, content = get(address, "/state")
    assert status == 200
    return json.loads(content)


def test_before_a_trial_has_ended_it_shows_the_live_state(page, address, drawer, ledger):
    """No report is drawn, there is no problem, and every trial is counted, also the running one."""
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.folder(EVERY[0])) is None
        ledger.begin(EVERY[0])
        step(page)
    shown = state(address)
    assert (shown["version"], shown["completed"], shown["trials"], shown["problem"]) == (0, 0, len(EVERY), "")
    assert "1 running" in shown["summary"]
    assert "◐ MVAE β=1 seed=0" in shown["live"]
    assert drawer.drawn == 0


def test_a_report_is_drawn_when_a_trial_has_ended_and_not_otherwise(page, address, drawer, ledger):
    """It is drawn once, however often the ledger is read. Its page is served, and the report before it stays for its readers."""
    for number in (1, 2, 3):
        completes(ledger, EVERY[number])
        for _ in range(3):
            step(page)
        shown = state(address)
        assert (drawer.drawn, shown["version"], shown["completed"]) == (number, number, number)
        for version in range(1, number + 1):
            status, _, content = get(address, f"/report/{version}/index.html")
            assert status == (200 if version >= number - 1 else 404)
            assert status == 404 or f"report {version}<".encode() in content


def test_after_a_drawing_there_is_a_rest(page, drawer, ledger, monkeypatch):
    """A trial that ends during the pause is counted at once, and drawn after the pause."""
    monkeypatch.setattr(live_page, "LEAST_REST", 3600.0)
    completes(ledger, EVERY[0])
    step(page)
    completes(ledger, EVERY[1])
    step(page)
    assert (page.state["completed"], drawer.drawn) == (2, 1)
    clock = time.monotonic() + 7200
    monkeypatch.setattr(live_page.time, "monotonic", lambda: clock)
    step(page)
    assert drawer.drawn == 2


def test_a_report_that_cannot_be_drawn_is_said_and_tried_again(page, drawer, ledger):
    """The page keeps the last report, and shows the problem."""
    completes(ledger, EVERY[0])
    step(page)
    completes(ledger, EVERY[1])
    drawer.error = ValueError("no figure")
    step(page)
    assert (page.state["version"], page.state["completed"]) == (1, 2)
    assert "no figure" in page.state["problem"]
    drawer.error = None
    step(page)
    assert (page.state["version"], page.state["problem"]) == (2, "")


def test_a_store_that_is_away_is_said_and_looked_for_again(page, ledger, monkeypatch):
    """The last state stays on the page, with the problem."""
    completes(ledger, EVERY[0])
    step(page)
    with monkeypatch.context() as patch:
        patch.setattr(StorageWatch, "look", lambda self: (_ for _ in ()).throw(OSError("no route to host")))
        step(page)
    assert (page.state["completed"], page.state["version"]) == (1, 1)
    assert "no route to host" in page.state["problem"]
    step(page)
    assert page.state["problem"] == ""


@pytest.mark.parametrize(
    "path",
    [
        "/report/1/../../secret.txt",
        "/report/1/..%2f..%2fsecret.txt",
        "/report/1/%2e%2e/%2e%2e/secret.txt",
        "/report/1/%2e%2e%5c%2e%2e%5csecret.txt",
        "/report/1/link.txt",
        "/report/1/folder/secret.txt",
        "/report/1/{home}/secret.txt",
        "/report/1/%2f{home}/secret.txt",
        "/report/../secret.txt",
        "/report/1/index.html%00.txt",
        "/report/1/" + "a" * 5000,
        "/report/1/.",
        "/report/1/",
        "/report/9/index.html",
        "/report/%D9%A1/index.html",
        "/../secret.txt",
        "/{home}/secret.txt",
        "/watch.js/../../live_page.py",
        "/live_page.py",
        "http://127.0.0.1/secret.txt",
    ],
)
def test_nothing_outside_of_the_reports_is_served(path, page, address, ledger, tmp_path):
    """Dots in any spelling, links and absolute paths do not lead out of the reports."""
    completes(ledger, EVERY[0])
    step(page)
    (tmp_path / "drawings/1/link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "drawings/1/folder").symlink_to(tmp_path)
    status, _, content = get(address, path.replace("{home}", str(tmp_path)))
    assert status in (400, 404)
    assert SECRET.encode() not in content
    assert get(address, "/report/1/index.html")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:4000", 200),
        ("LOCALHOST", 200),
        ("[::1]:4000", 200),
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:4000", 403),
        ("127.0.0.1@evil.example", 403),
        ("evil.example#localhost", 403),
        ("0.0.0.0:4000", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/state", "/watch.js", "/report/1/index.html"])
def test_only_a_page_of_this_machine_may_ask(host, status, path, page, address, ledger):
    """A page of another site whose name was pointed at this machine sends that name as host, and is refused."""
    completes(ledger, EVERY[0])
    step(page)
    answered, _, content = get(address, path, Host=host)
    assert answered == status
    assert (content == get(address, path)[2]) == (status == 200)


def test_it_listens_on_loopback_and_only_answers_to_reading(address):
    """Other addresses of this machine do not have the port; only GET and HEAD are answered, and HEAD without content."""
    assert urlsplit(address).hostname == "127.0.0.1"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(address, "/state", method)[0] == 501
    status, headers, content = get(address, "/state", "HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_other_sites_may_neither_frame_nor_read_it(page, address, ledger):
    """The headers of every answer forbid both, and forbid caching."""
    completes(ledger, EVERY[0])
    step(page)
    for path in ("/", "/state", "/watch.js", "/watch.css", "/report/1/index.html", "/nothing"):
        headers = get(address, path)[1]
        assert "frame-ancestors" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def files_of(folder):
    """Returns every file below a folder with its content, and every folder with the time of its last change."""
    return {path: path.read_bytes() if path.is_file() else path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_the_command_draws_the_real_report_and_changes_no_file(store, types_here, monkeypatch, undrawn):
    """For a sweep with two results, the page of the report is served, and no byte of the storage changes."""
    before, shown = files_of(store.ledger.storage), []

    def read(page):
        shown.append(page.state | {"page": page.file(1, "index.html").read_text()})

    looks_once(monkeypatch, read)
    code, out, err = types_here("watch", store.file)
    assert (code, err) == (0, "")
    assert "http://127.0.0.1:" in out
    assert (shown[0]["version"], shown[0]["completed"], shown[0]["problem"]) == (1, 2, "")
    assert "2 of 2 trials completed" in shown[0]["page"]
    assert files_of(store.ledger.storage) == before


@pytest.mark.parametrize("port", [65536, -1])
def test_a_port_that_is_none_is_refused(port, store, types_here):
    """The error is one line with the number and the allowed ones."""
    code, _, err = types_here("watch", store.file, "--port", port)
    (line,) = err.splitlines()
    assert code == 2
    assert {"--port:", str(port), "65535,"} <= set(line.split())


def test_a_port_that_is_taken_is_refused(address, store, types_here):
    """The error is one line with the number."""
    port = urlsplit(address).port
    code, _, err = types_here("watch", store.file, "--port", port)
    (line,) = err.splitlines()
    assert code == 2
    assert {"--port:", str(port)} <= set(line.split())


def test_ctrl_c_ends_it_and_nothing_else(ledger, tmp_path):
    """While another process trains, Ctrl-C gives exit code 0, no traceback and no leftover folder, and that process goes on."""
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(RAW | {"storage": str(ledger.storage)}))
    worker = holds(ledger, ledger.folder(EVERY[0]))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    try:
        words = [sys.executable, "-m", "orchestrator", "watch", str(file)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(words, cwd=ROOT, env=os.environ | {"TMPDIR": str(scratch)}, **pipes) as watching:
            url = watching.stdout.readline().split()[1]
            deadline = time.monotonic() + 60
            while "1 running" not in (shown := state(url))["summary"] and time.monotonic() < deadline:
                time.sleep(0.1)
            watching.send_signal(signal.SIGINT)
            _, err = watching.communicate(timeout=30)
        assert shown["trials"] == len(EVERY)
        assert (watching.returncode, err) == (0, "")
        assert list(scratch.iterdir()) == []
        assert worker.poll() is None
    finally:
        ends(worker)


class Address(str):
    """The address that the browser is to open."""

    def as_uri(self):
        """Returns the address itself."""
        return str(self)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_gets_a_new_report_without_losing_its_place(page, address, ledger, tmp_path):
    """The frame changes only when there is a new report, and then shows it at the same place with the same parts unfolded."""
    completes(ledger, EVERY[0])
    step(page)
    frame = "document.getElementById('report').contentWindow"

    def until(script, value):
        deadline = time.monotonic() + 60
        while (seen := tab.run(script)) != value and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen

    with browser(tmp_path / "profile") as tab:
        tab.open(Address(f"{address}/"))
        text = f"({frame}.document.querySelector('p') || {{}}).textContent"
        assert until(text, "report 1") == "report 1"
        tab.run(f"{frame}.document.querySelector('details').open = true, {frame}.scrollTo(0, 900), {frame}.mark = 1")
        page.look()
        read_at = page.state["read_at"]
        assert until(f"document.getElementById('notes').textContent.includes('{read_at}')", True) is True
        assert tab.run(f"{frame}.mark") == 1
        completes(ledger, EVERY[1])
        step(page)
        assert until(text, "report 2") == "report 2"
        assert until(f"{frame}.scrollY", 900) == 900
        assert tab.run(f"{frame}.document.querySelector('details').open") is True
        assert "2 completed" in tab.run("document.getElementById('summary').textContent")
        assert tab.complaints == []
