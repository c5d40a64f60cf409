"""Commands that are typed in the test's own process, which need not import everything anew."""

import io
import os
import subprocess
import sys
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from mopoe_core.data.own import user_data
from orchestrator.cli import app


def typed_here(*words: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Returns what `python -m orchestrator ...` ends with and prints, typed in a folder (usually the present one) of this process."""
    output, errors = io.StringIO(), io.StringIO()
    arguments = ["orchestrator", *map(str, words)]
    with ExitStack() as stack:
        for context in (redirect_stdout(output), redirect_stderr(errors), mock.patch.object(sys, "argv", arguments)):
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
