"""Durations and times in words."""

import re
from datetime import datetime, timedelta

import pytest

from orchestrator.monitor.durations import about, done_about

SECONDS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}
NOW = datetime(2026, 3, 4, 9, 30)  # a Wednesday


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "under 1 s"),
        (40, "about 40 s"),
        (300, "about 5 min"),
        (3600, "about 60 min"),
        (2 * 3600, "about 2 h"),
        (3.4 * 3600, "about 3.5 h"),
        (4.1e3 * 3600, "about 170 days"),
        (88 * 86_400, "about 88 days"),
        (1.5e3 * 86_400, "about 1,500 days"),
    ],
)
def test_a_length_of_time_has_one_unit(seconds, said):
    """Each text has one unit and a round number."""
    assert about(seconds) == said


def test_what_is_said_is_near_and_short():
    """From four seconds on over ten orders of magnitude, a text has at most two significant figures and no power of ten. It is within a
    quarter of the duration, and never less for a longer one.
    """
    last = 0.0
    for step in range(12, 220):
        seconds = 10 ** (step / 20)
        count, unit = re.fullmatch(r"about ([\d,.]+) (s|min|h|days)", about(seconds)).groups()
        digits = count.replace(",", "").rstrip("0").replace(".", "").strip("0")
        assert len(digits) <= 2, count
        meant = float(count.replace(",", "")) * SECONDS[unit]
        assert meant == pytest.approx(seconds, rel=0.25)
        assert meant >= last
        last = meant


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (timedelta(minutes=72), "done about 10:42"),
        (timedelta(hours=20), "done about Thursday 05:30"),
        (timedelta(days=40), "done about 13 April"),
        (timedelta(days=400), "done about 8 April 2027"),
        (timedelta(days=999_999_999), "done in a distant year"),
    ],
)
def test_the_end_is_said_by_what_one_would_look_at(wait, said):
    """The end is a time today, a weekday and time within a week, else a date."""
    assert done_about(wait.total_seconds(), NOW) == said
