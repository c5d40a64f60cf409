"""The command `watch`, which would go on until Ctrl-C, for tests in this process."""

from collections.abc import Callable

import pytest

from orchestrator.cli import watch_command
from orchestrator.monitor.live_page import LivePage


def looks_once(monkeypatch: pytest.MonkeyPatch, then: Callable[[LivePage], object] = lambda page: None) -> None:
    """Let the command look at the ledger once, draw once, and end after `then`."""

    def once(page: LivePage, stop: object, seconds: float) -> None:
        page.look()
        page.draw()
        then(page)

    monkeypatch.setattr(watch_command, "keep_up", once)
