"""The module that a thread imports while Ray starts."""

import subprocess
import sys

from orchestrator.execution.ray_tune import session


def test_what_is_imported_beside_ray_imports_torch_and_nothing_of_ray():
    """Checked in a fresh process. If it imported Ray's packages, two threads could each get half of one."""
    code = f"import sys, {session.NEXT}; print('torch' in sys.modules, [name for name in sys.modules if name.partition('.')[0] == 'ray'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == ["True", "[]"]
