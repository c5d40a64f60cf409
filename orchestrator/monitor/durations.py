"""Times in words: `about 5 min`, `about 88 days`, `done about 10:42`. Pure."""

import math
from datetime import datetime, timedelta

DAY = 86_400.0
UNITS = ((90.0, 1.0, "s"), (90 * 60.0, 60.0, "min"), (1.5 * DAY, 3600.0, "h"), (math.inf, DAY, "days"))
"""For each unit: the seconds below which it is used, the seconds of one unit, and its name."""


def about(seconds: float) -> str:
    """Returns a duration in words with at most two significant figures: `about 40 s`, `about 3.5 h`, `about 88 days`."""
    if seconds < 1:
        return "under 1 s"
    size, unit = next((size, unit) for limit, size, unit in UNITS if seconds < limit)
    return f"about {_two_figures(seconds / size, unit)} {unit}"


def done_about(seconds: float, now: datetime) -> str:
    """Returns in words the moment `seconds` after `now`: the time if it is today, weekday and time within a week, else the date."""
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return "done in a distant year"
    days = (end.date() - now.date()).days
    if days == 0:
        return f"done about {end:%H:%M}"
    if days < 7:
        return f"done about {end:%A %H:%M}"
    return f"done about {end.day} {end:%B}" if end.year == now.year else f"done about {end.day} {end:%B %Y}"


def _two_figures(count: float, unit: str) -> str:
    """Returns a number with at most two significant figures. Hours and days below 10 are rounded to halves."""
    if count < 10 and unit in ("h", "days"):
        return f"{round(count * 2) / 2:g}"
    digits = max(0, len(str(int(count))) - 2)
    return f"{round(count, -digits):,.0f}"
