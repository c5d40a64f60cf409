"""How many CPUs this process may use: what `nproc` and a container's limit say, not what the machine has."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def usable() -> int:
    """Returns how many CPUs a process started here may use at once, at least 1. A local Ray is started with so many.

    That is its affinity, or its control group's quota if that is less.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(int, _quotas())]))


def _quotas() -> list[float]:
    """Returns the CPUs that the control groups of this process allow, from its own to the outermost; empty where nothing limits them."""
    try:
        groups = SELF.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return []
    quotas = []
    for _, controllers, path in (group.split(":", 2) for group in groups if group.count(":") >= 2):
        version_2 = not controllers
        if version_2 or "cpu" in controllers.split(","):
            root = CGROUPS if version_2 else CGROUPS / "cpu"
            innermost = root / path.strip("/")
            folders = [innermost, *(folder for folder in innermost.parents if folder.is_relative_to(root))]
            quotas += [quota for folder in folders if (quota := _quota(folder))]
    return quotas


def _quota(folder: Path) -> float | None:
    """Returns the CPUs that one control group allows; None where it sets no limit."""
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
