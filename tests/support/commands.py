"""Commands that are typed in the test's own process: nothing is imported anew, and trials are trained here, without Ray."""

import io
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from mopoe_core.data.own import user_data
from orchestrator.cli import app
from orchestrator.driver import sweep
from orchestrator.execution import in_process


def without_ray() -> AbstractContextManager[object]:
    """Lets sweeps of this process run their trials here, one after another, as long as it is entered."""
    return mock.patch.object(sweep, "on_ray_tune", in_process.run)


def typed_here(*words: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Returns what `python -m orchestrator ...` ends with and prints, typed in a folder (usually the present one) of this process."""
    output, errors = io.StringIO(), io.StringIO()
    arguments = ["orchestrator", *map(str, words)]
    with ExitStack() as stack:
        argv = mock.patch.object(sys, "argv", arguments)
        for context in (redirect_stdout(output), redirect_stderr(errors), argv, without_ray()):
            stack.enter_context(context)
        stack.enter_context(mock.patch.dict(os.environ, environment))
        if folder is not None:
            stack.callback(user_data.search_from, Path())
            stack.enter_context(chdir(folder))
            user_data.search_from(folder)
        code = _exit_code()
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def _exit_code() -> int:
    try:
        app.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
