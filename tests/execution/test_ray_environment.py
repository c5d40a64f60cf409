"""The environment variables that Ray needs when it is imported."""

import os
import subprocess
import sys

from orchestrator.execution.ray_tune.environment import LOOPBACK, VARIABLES

SEEN = """
import os, sys
class Import:
    def find_spec(self, name, path=None, target=None):
        if name == "ray":
            print({name: os.environ.get(name) for name in NAMES})
            os._exit(0)
sys.meta_path.insert(0, Import())
import orchestrator.execution.ray_tune.tuner
"""


def test_ray_finds_its_settings_when_it_is_imported():
    """At the moment of the first import of Ray, all variables have their values, and a local Ray listens on loopback alone."""
    wanted = VARIABLES | {LOOPBACK: "0"}
    clean = {name: value for name, value in os.environ.items() if name not in wanted and name != "RAY_ADDRESS"}
    command = [sys.executable, "-c", f"NAMES = {list(wanted)}{SEEN}"]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(wanted)
