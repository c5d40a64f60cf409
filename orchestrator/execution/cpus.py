"""How many CPUs this process may use: what `nproc` and a container's limit say, not what the machine has."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def usable() -> int:
    """CPUs that a process started here may use at once, at least 1: the affinity, or the control group's quota where that is less.

    A local Ray is started with so many.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(int, _quotas())]))


def _quotas() -> list[float]:
    """CPUs that the control groups of this process allow, from its own to the outermost; empty where nothing limits them."""
    try:
        groups = SELF.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return []
    found = []
    for _, controllers, path in (group.split(":", 2) for group in groups if group.count(":") >= 2):
        version_2 = not controllers
        if version_2 or "cpu" in controllers.split(","):
            below = CGROUPS if version_2 else CGROUPS / "cpu"
            inner = below / path.strip("/")
            folders = [inner, *(folder for folder in inner.parents if folder.is_relative_to(below))]
            found += [quota for folder in folders if (quota := _quota(folder))]
    return found


def _quota(folder: Path) -> float | None:
    """CPUs that one control group allows; None where it sets no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 else None
    except (OSError, ValueError):
        return None


def _number(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
