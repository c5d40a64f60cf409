"""How many CPUs this process may use, by `nproc` and a container's limit. The machine may have more."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def usable() -> int:
    """Returns how many CPUs a process started here may use at once, at least 1. A local Ray is started with this number.

    The number is the process's affinity, or the quota of its control group if that is less.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(int, _quotas())]))


def _quotas() -> list[float]:
    """Returns the CPUs that each control group of this process allows; groups without a limit are left out."""
    try:
        lines = SELF.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return []
    folders = [folder for line in lines for folder in _cpu_groups(line)]
    return [quota for folder in folders if (quota := _quota(folder))]


def _cpu_groups(line: str) -> list[Path]:
    """Returns the folders of the control groups that a line of `SELF` names, the innermost first; empty if they do not limit CPUs."""
    if line.count(":") < 2:
        return []
    _, controllers, path = line.split(":", 2)
    is_version_2 = not controllers
    if not is_version_2 and "cpu" not in controllers.split(","):
        return []
    root = CGROUPS if is_version_2 else CGROUPS / "cpu"
    innermost = root / path.strip("/")
    return [innermost, *(folder for folder in innermost.parents if folder.is_relative_to(root))]


def _quota(folder: Path) -> float | None:
    """Returns the CPUs that one control group allows; None if it sets no limit."""
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
