"""Says whether sweeps run on a cluster. Imports no Ray."""

import os


def is_named() -> bool:
    """Whether RAY_ADDRESS names a cluster. With `local`, as without the variable, a Ray is started on this machine."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"
