"""The page of performance says what was measured."""

import json
from pathlib import Path

import pytest

from benchmarks.speed.page import TARGETS, page

DOCS = Path(__file__).parents[2] / "docs"


def measured():
    """The numbers that the last `make bench` left."""
    return json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_numbers():
    """docs/performance.md is what its JSON, options and notes give, to the letter."""
    assert page(measured()) == (DOCS / "performance.md").read_text(encoding="utf-8")


def test_a_ratio_below_its_target_is_said_to_be():
    """With every ratio a tenth, no target is met; with every ratio a hundred, all are."""
    for ratio, verdict in ((0.1, "**no**"), (100, "yes")):
        performance = measured()
        for section in ("step", "evaluation", "stacks", "sweeps"):
            rows = performance["sections"][section]["rows"]
            performance["sections"][section]["rows"] = [row | {"ratio": ratio} for row in rows]
        lines = [line for line in page(performance).splitlines() if any(line.startswith(f"| {shown} |") for shown, *_ in TARGETS)]
        assert len(lines) == len(TARGETS)
        assert all(line.endswith(f"| {verdict} |") for line in lines)


def test_the_page_says_how_many_rounds_a_section_has():
    """As many as its comparisons, the fewest and the most if they differ, and a dash if it has none."""
    performance = measured()
    rows = performance["sections"]["stacks"]["rows"]
    for row, rounds in zip(rows, (5, 7, *(6,) * len(rows)), strict=False):
        row["n"] = rounds
    ends = {line.split(" | ")[0]: line for line in page(performance).splitlines() if line.startswith("| ")}
    assert ends["| evaluation"].endswith("| 2 |")
    assert ends["| stacks"].endswith("| 5 to 7 |")
    assert ends["| kernels"].endswith("| - |")


def test_time_is_shared_out_between_the_parts():
    """The parts of a line are its time, and no arithmetic is faster than the peak."""
    for row in measured()["sections"]["where_time_goes"]["rows"]:
        parts = row["convolutions_s"] + row["products_s"] + row["other_torch_s"] + row["outside_s"]
        assert parts == pytest.approx(row["seconds"], rel=0.05)
        assert row["gflop"] / row["peak"] < row["convolutions_s"] + row["products_s"]
