"""A headless Chromium that a test tells what to do, by the DevTools protocol through a pipe: no port is opened and no network used."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""None where there is none."""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe")
_LAUNCH = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"


class Browser:
    """One tab."""

    def __init__(self, answers: BufferedReader, orders: BufferedWriter) -> None:
        self._answers, self._orders = answers, orders
        self._number, self._session = 0, ""
        self._rest = b""
        self.complaints: list[str] = []
        """Errors and warnings of the console, and exceptions."""
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.order(f"{domain}.enable")

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return what it answers."""
        self._number += 1
        said = {"id": self._number, "method": method, "params": parameters}
        self._orders.write(json.dumps(said | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        self._orders.flush()
        while (message := self._next()).get("id") != self._number:
            self._note(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a page and wait until it has loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.order("Emulation.setEmulatedMedia", features=[scheme])
        self.order("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 640)
        self.order("Page.navigate", url=page.as_uri())
        while (message := self._next()).get("method") != "Page.loadEventFired":
            self._note(message)

    def run(self, script: str) -> Any:
        """The value of an expression, in the page."""
        answer = self.order("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as from the keyboard."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        self.order("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.order("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def point(self, x: float, y: float) -> None:
        """Move the mouse there, in pixels of the window."""
        self.order("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, x: float, y: float) -> None:
        """Touch there, in pixels of the window."""
        self.order("Emulation.setTouchEmulationEnabled", enabled=True)
        self.order("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.order("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def shoot(self, path: Path) -> None:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self.order("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._answers.read1(1 << 16)
            assert more, "Chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        kind = message.get("method")
        if kind == "Runtime.exceptionThrown" or (kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning")):
            self.complaints.append(json.dumps(told))
        elif kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile in that folder; it ends with the block."""
    assert CHROMIUM
    orders_out, orders_in = os.pipe()
    answers_out, answers_in = os.pipe()
    words = [sys.executable, "-c", _LAUNCH, str(orders_out), str(answers_in), CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
    with subprocess.Popen(words, pass_fds=(orders_out, answers_in), stderr=subprocess.DEVNULL) as process:
        os.close(orders_out)
        os.close(answers_in)
        try:
            with os.fdopen(answers_out, "rb") as answers, os.fdopen(orders_in, "wb") as orders:
                tab = Browser(answers, orders)
                yield tab
                tab.order("Browser.close")
                process.wait(10)
        finally:
            process.kill()
