"""How many GPUs this process may use, seen without torch and Ray, whose imports take seconds."""

import os
from pathlib import Path

DEVICES = Path("/dev")
DRIVER = Path("/proc/driver/nvidia/gpus")
"""A folder for each GPU, also while nobody has used one since the machine started: the files in /dev come with the first use."""
UNCOUNTED = ("kfd", "dxg")
"""Devices of machines whose GPUs are not counted here: AMD's, and those of Windows below Linux."""


def usable() -> int | None:
    """Returns how many NVIDIA GPUs a process started here may use; None where there may be GPUs that cannot be counted so."""
    if any((DEVICES / name).exists() for name in UNCOUNTED):
        return None
    there = max(len(list(DEVICES.glob("nvidia[0-9]*"))), len(list(DRIVER.glob("*"))))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return there
    return min(there, 0 if named in ("", "NoDevFiles", "-1") else len(named.split(",")))
