"""How many GPUs this process may use. Counted without torch and Ray, whose imports take seconds."""

import os
from pathlib import Path

DEVICES = Path("/dev")
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Has a folder for each GPU from the machine's start on. The files in /dev appear only when a GPU is first used."""
UNCOUNTED = ("kfd", "dxg")
"""Devices of GPUs that cannot be counted here: AMD's, and those of Linux under Windows."""


def usable() -> int | None:
    """Returns how many NVIDIA GPUs a process started here may use; None if the machine may have GPUs that cannot be counted here."""
    if any((DEVICES / name).exists() for name in UNCOUNTED):
        return None
    present = max(len(list(DEVICES.glob("nvidia[0-9]*"))), len(list(DRIVER.glob("*"))))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    if visible in ("", "NoDevFiles", "-1"):
        return 0
    return min(present, len(visible.split(",")))
