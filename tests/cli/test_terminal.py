"""No control character of a record, an error or a name reaches the terminal."""

import ast
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mopoe_core import terminal
from orchestrator.ledger import records
from orchestrator.ledger.records import Identity
from orchestrator.monitor import view
from orchestrator.monitor.eta import Capacity, TrialView
from orchestrator.monitor.shown_front import FrontCell, ShownFront
from orchestrator.monitor.view import Shown
from orchestrator.tracking import writer
from orchestrator.tracking.circuit_breaker import CircuitBreaker
from orchestrator.tracking.mlflow import connection
from orchestrator.tracking.mlflow import tracker as tracker_module
from tests.cli.test_foreign_code import TYPED
from tests.support.watching import looks_once

ROOT = Path(__file__).parents[2]
NASTY = "\x1b[2J\x1b]0;owned\x07\x08\r\x9b31m\u202eevil\u2028\udc80"
"""A text that clears the screen, sets a title, rings, goes back, colours, runs backwards, ends a line, and cannot be encoded."""
PRINTERS = {"mopoe_core/terminal.py"}
"""The modules that print."""
WRITERS = ("print", "sys.stdout.write", "sys.stderr.write", "traceback.print_exc", "typer.echo")


def obeyed(text):
    """Returns the characters of a text that a terminal might obey."""
    return {one for one in text if not (one.isprintable() or one in "\n\t")}


@pytest.mark.parametrize(
    "code", [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x200B, 0x202A, 0x202E, 0x2066, 0x2028, 0x2029, 0xDC80, 0xFEFF]
)
def test_a_character_that_cannot_be_printed_is_spelled(code):
    """This holds for control characters, and for those that are invisible, end lines or reverse them. Python can read the result back."""
    text = terminal.escaped(f"a{chr(code)}b")
    if chr(code) in "\n\t":
        assert text == f"a{chr(code)}b"
    else:
        assert not obeyed(text)
        assert ast.literal_eval(f"'{text}'") == f"a{chr(code)}b"


def test_what_can_be_printed_stays():
    """Letters of any language, the signs of the tables, line ends and tabs stay."""
    text = "β = 2.5 ● ◐ ✗ … µ 中文 é\n\ttable  |  of ours\n"
    assert terminal.escaped(text) == text


def test_nothing_else_prints():
    """Modules print and write to the standard streams only through `terminal`, and give only escaped text to a console."""
    for path in [*ROOT.glob("mopoe_core/**/*.py"), *ROOT.glob("orchestrator/**/*.py")]:
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or name in PRINTERS:
                continue
            said = ast.unparse(node.func)
            assert said not in WRITERS, f"{name}:{node.lineno}"
            if said.endswith("console.print"):
                assert re.match(r".*\.print\((escaped\(|self\.view\(\))", ast.unparse(node)), f"{name}:{node.lineno}"


@pytest.mark.parametrize("typed", [name for name in TYPED if name not in ("sweep", "data")])
def test_records_reach_the_terminal_escaped(typed, store, types_here, monkeypatch, stored_mlflow, undrawn):
    """If errors, tracebacks, hosts, configurations, names and MLflow's messages have such text, every command prints it escaped."""
    monkeypatch.setattr("os.execve", lambda *arguments: None)
    looks_once(monkeypatch)
    spoil(store)
    monkeypatch.setattr(writer.Writer, "problems", property(lambda self: [f"MLflow says {NASTY}"]))
    for file in (store.others_file, store.file):
        _, out, err = types_here(*[str(file) if word == "FILE" else word for word in TYPED[typed]])
        assert obeyed(out) == obeyed(err) == set()
        said = "\\x1b]0;owned\\x07" in out + err
        assert said or "owned" not in out + err
        assert said or file == store.file or typed not in ("failures", "status", "every trial's status", "track", "gc")


def spoil(store):
    """Write such text into every text of a storage's records."""
    ledger, (failed, cancelled) = store.ledger, store.others
    ledger.fail(failed, f"Traceback (most recent call last):\nValueError: {NASTY}")
    for trial in store.others:
        for path in (ledger.folder(trial) / "attempts").glob("*.json"):
            identity = Identity("attempt", trial.id, attempt=int(path.stem))
            records.write(path, identity, records.read(path, identity) | {"host": NASTY, "error": NASTY})
    path = ledger.folder(cancelled) / "trial.json"
    content = records.read(path, Identity("trial", cancelled.id))
    content["config"]["model"] = NASTY
    records.write(path, Identity("trial", cancelled.id), content)
    sweep = ledger.storage / "sweeps" / "strange" / "sweep.json"
    records.write(sweep, Identity("sweep", sweep="strange"), {"sweep": {"name": "strange", "base": {NASTY: NASTY}}})


def test_an_error_and_a_traceback_are_escaped(capfd, monkeypatch):
    """This holds for an error of the user, for a bug, and for an error in another thread."""
    code = (
        "import sys, threading\nfrom mopoe_core import terminal\nterminal.escape_tracebacks()\nnasty = sys.argv[1]\n"
        "def fall():\n    raise ValueError(nasty)\nthread = threading.Thread(target=fall)\nthread.start()\nthread.join()\nfall()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "\x1b[2Jfallen"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("ValueError: \\x1b[2Jfallen") == 2
    assert obeyed(done.stderr) == set()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_live_view_shows_text_escaped(is_terminal, store):
    """The live view of the driver and `status` has no control codes except its own."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, color_system=None, width=400)
    shown = TrialView(store.trials[0], f"mopoe {NASTY} seed=0", "kind", "failed", reason=NASTY)
    running = TrialView(store.trials[0], f"{NASTY} seed=0", "kind", "running")
    fronts = [ShownFront(NASTY, [FrontCell("0", NASTY, 1, {NASTY: 1.0})], 1.0)]
    everything = Shown(NASTY, [shown, running], Capacity(1, 0.0, None, None), fronts, False, NASTY, [NASTY])
    console.print(view.view(everything))
    assert obeyed(out.getvalue()) == set()
    assert out.getvalue().count("\\x1b]0;owned\\x07") >= 7


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("postgresql://me:p%40ssw0rd%2F1@host/db", ["p%40ssw0rd%2F1", "p@ssw0rd/1"]),
        ("mysql://host/db?user=me&password=hunter22", ["hunter22"]),
        ("https://me:S3cret@host:5000", ["S3cret"]),
    ],
)
def test_mlflows_messages_tell_no_secret_of_its_address(uri, secrets, store, monkeypatch):
    """MLflow's message may have the password as written in the address, or decoded; the tracker's message has neither."""

    def refuse(*arguments, **more):
        raise RuntimeError(f"no connection to {uri} with {' or '.join(secrets)}")

    monkeypatch.setattr(tracker_module, "MlflowTracker", refuse)
    monkeypatch.setattr(writer, "CircuitBreaker", lambda reachable, passed: CircuitBreaker(lambda: True, passed))
    tracker = connection.start_writer(store.spec.name, store.trials, store.ledger, uri, "commit")
    tracker.close([])
    assert tracker.problems
    assert [secret for secret in secrets for problem in tracker.problems if secret in problem] == []
