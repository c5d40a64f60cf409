"""How this program is called, in commands that it prints and in those that it records."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mopoe_core.storage.uri_secrets import masked

NAME = "mopoe"


def recorded_command() -> str:
    """Returns what was typed, without secrets, as reports and records keep it: `mopoe sweep FILE`."""
    return command_line([NAME], sys.argv[1:])


def typed_command() -> str:
    """Returns what was typed, without secrets, to be pasted into this shell again."""
    return pasted(sys.argv[1:])


def pasted(words: Sequence[str]) -> str:
    """Returns a command of this program, without secrets, to be pasted into this shell."""
    return command_line(program(), words)


def command_line(program_words: Sequence[str], words: Sequence[str]) -> str:
    """Returns a command of this program, without secrets."""
    return shlex.join([*program_words, *map(_masked_word, words)])


def program() -> list[str]:
    """Returns the words that start this program in the present folder, also if its environment is not active: `mopoe`, or the path of
    its script, or Python's with `-m orchestrator` if it is not installed.
    """
    python = Path(sys.executable)
    script = python.with_name(NAME)
    if script.exists():
        return [_shortest(script)]
    return [_shortest(python), "-m", "orchestrator"]


def _shortest(script: Path) -> str:
    """Returns the name of a script that the shell finds, else its path from the present folder if it is below that."""
    found = shutil.which(script.name)
    if found is not None and Path(found) == script:
        return script.name
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def _masked_word(word: str) -> str:
    option, mark, value = word.partition("=")
    return f"{option}={masked(value)}" if mark and option.startswith("--") else masked(word)
