"""The words that call this program, in commands that it prints and in commands that it records."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mopoe_core.storage.uri_secrets import masked

NAME = "mopoe"


def recorded_command() -> str:
    """Returns the typed command without secrets, for reports and records: `mopoe sweep FILE`."""
    return command_line([NAME], sys.argv[1:])


def typed_command() -> str:
    """Returns the typed command without secrets, so that it can be pasted into this shell again."""
    return pasted(sys.argv[1:])


def pasted(words: Sequence[str]) -> str:
    """Returns a command of this program without secrets, so that it can be pasted into this shell."""
    return command_line(program(), words)


def command_line(program_words: Sequence[str], words: Sequence[str]) -> str:
    """Returns a command of this program without secrets."""
    return shlex.join([*program_words, *map(_masked_word, words)])


def program() -> list[str]:
    """Returns the words that start this program in the present folder, also if its environment is not active.

    These are `mopoe`, or the path of its script; if there is no script, the path of Python with `-m orchestrator`.
    """
    python = Path(sys.executable)
    script = python.with_name(NAME)
    if script.exists():
        return [_shortest(script)]
    return [_shortest(python), "-m", "orchestrator"]


def _shortest(script: Path) -> str:
    """Returns the name of a script if the shell finds it, else its path: relative if it is below the present folder."""
    on_path = shutil.which(script.name)
    if on_path is not None and Path(on_path) == script:
        return script.name
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def _masked_word(word: str) -> str:
    option, equals_sign, value = word.partition("=")
    return f"{option}={masked(value)}" if equals_sign and option.startswith("--") else masked(word)
