"""The live view at several widths of a terminal."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from mopoe_core.family.registry import TITLES
from orchestrator.ledger.result import ENDED
from orchestrator.monitor import view
from orchestrator.monitor.eta import Capacity, TrialView
from orchestrator.monitor.shown_front import FrontCell, ShownFront
from orchestrator.monitor.view import MARKS, Shown
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import labels
from tests.support.builders import COHERENCE, LIKELIHOOD

RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 300},
    "grid": {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 1, 2.5, 5, 10, 20]},
    "seeds": 3,
    "objectives": [
        {"metric": COHERENCE, "goal": "max", "reference": 0},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -9999},
    ],
}
SPEC = parse(RAW)
NAMES = labels(SPEC.cells)
STATUSES = [*["completed"] * 20, "failed", *["running"] * 3, *["pending"] * 30]
CELL = SPEC.trials[53].cell
FRONT = ShownFront("", [FrontCell(CELL.id, NAMES[CELL.id], 3, {COHERENCE: 0.0991, LIKELIHOOD: -2044.6})], 123.4)
WIDTHS = [60, 80, 120, 200]


def shown_trials():
    """Returns trials of four statuses. Of the running ones, the first has finished no epoch, and the last is being evaluated."""
    views = []
    for number, (trial, status) in enumerate(zip(SPEC.trials, STATUSES, strict=True)):
        shown = TrialView(trial, f"{NAMES[trial.cell.id]} seed={trial.seed}", trial.config.model, status)
        if status in ENDED:
            shown.epoch, shown.epoch_seconds, shown.evaluate_seconds = 300, 2.0, 20.0
        if status == "running":
            epoch = (0, 120, 300)[number - 21]
            shown.epoch, shown.epoch_seconds, shown.worker = epoch, 2.0 if epoch else 0.0, f"worker {number}"
            shown.loss = 2031.23 if epoch else None
        if status == "failed":
            shown.reason = "ValueError: " + "a message that no terminal has room for " * 10
        views.append(shown)
    return views


def drawn(width, height=40, views=None):
    """Returns the lines of the view on a terminal without colours."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    console.print(view.view(Shown("1:02 elapsed", views or shown_trials(), Capacity(1, 0.0, 2, None), [FRONT], height=height)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_no_line_is_wider_than_the_terminal(width):
    """This holds also for a long error, and for a model with many cells."""
    assert max(map(cell_len, drawn(width))) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_each_running_trial_has_one_line_with_how_far_it_is(width):
    """The line has the whole name, seed, epochs, loss and time left: 180 epochs of 2 s and 20 s of evaluation are about 6 min."""
    first, second, third = [line for line in drawn(width) if re.match(rf" *{MARKS['running']} ", line)]
    assert re.search(r"\bMMVAE β=1 seed=0 .*\b0/300\b", first)
    assert re.search(r"\bMMVAE β=1 seed=1 .*\b120/300\b.* 2031\.2 .*\b6 min\b", second)
    assert re.search(r"\bMMVAE β=1 seed=2 .*\b300/300\b.* 2031\.2 .*evaluating", third)


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_are_as_long_as_trials_are_far(width):
    """The bar is empty at the start, and 40 % full after 120 of 300 epochs, to within one character."""
    lengths = [line.count("━") + line.count("╸") for line in drawn(width) if re.match(rf" *{MARKS['running']} ", line)]
    assert lengths[0] == 0
    assert lengths[2] > 0
    assert abs(lengths[1] - 0.4 * lengths[2]) <= 1


@pytest.mark.parametrize("width", WIDTHS)
def test_the_legend_names_each_mark_that_is_drawn(width):
    """The legend names no other mark; each cell has one mark for each seed."""
    lines = drawn(width)
    (start,) = [number for number, line in enumerate(lines) if line.startswith("seeds ")]
    assert {status for status in MARKS if f"{MARKS[status]} {status}" in lines[start]} == set(STATUSES)
    marks = "".join(lines[start + 1 :])
    for status in set(STATUSES):
        assert marks.count(MARKS[status]) == STATUSES.count(status)


@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_the_front_has_proper_names_and_every_value(width):
    """The front is a table, or lines if the table does not fit."""
    text = " ".join(" ".join(drawn(width)).split())
    assert re.search(rf"\b{TITLES['mopoe']} β=20\b.* 0\.0991\b.* -2045\b", text)
    assert re.search(r"hypervolume 123\.4\b", text)
    assert text.count(COHERENCE) == text.count(LIKELIHOOD) == 1


@pytest.mark.parametrize(("height", "most"), [(24, 8), (200, view.MOST_RUNNING)])
def test_a_low_terminal_shows_fewer_running_trials(height, most):
    """Running trials get a third of the terminal's lines; the others are counted."""
    views = [TrialView(trial, f"{NAMES[trial.cell.id]} seed={trial.seed}", "", "running") for trial in SPEC.trials]
    lines = drawn(80, height, views)
    assert sum(line.startswith(MARKS["running"]) for line in lines) == most
    assert any(re.search(rf"\b{len(views) - most} more\b", line) for line in lines)
