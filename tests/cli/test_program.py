"""The console command, and how printed commands call it."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from orchestrator.cli import program
from tests.support.commands import typed_here

SCRIPT = Path(sys.executable).with_name("mopoe")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The present folder, with an environment whose `mopoe` prints that it was started; the shell does not find that `mopoe`."""
    scripts = tmp_path / "own env" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "mopoe").write_text('#!/bin/sh\necho "started $1"\n')
    (scripts / "mopoe").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return scripts


def in_a_shell(command, folder):
    """Returns what a fresh shell prints for a command in this folder."""
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=30).stdout


def test_a_printed_command_starts_the_program_whether_its_environment_is_active_or_not(installed, tmp_path, monkeypatch):
    """A shell starts the program in the folder in which the command was printed. If `mopoe` is enough, no path is shown."""
    assert in_a_shell(program.pasted(["plan"]), tmp_path) == "started plan\n"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert in_a_shell(program.pasted(["plan"]), tmp_path / "elsewhere") == "started plan\n"
    monkeypatch.setenv("PATH", f"{installed}:/usr/bin:/bin")
    assert program.pasted(["plan"]) == "mopoe plan"
    assert in_a_shell(program.pasted(["plan"]), tmp_path) == "started plan\n"


def test_a_mopoe_of_another_environment_is_not_meant(installed, tmp_path, monkeypatch):
    """If the shell would find the program of another environment, the path of this one is printed."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mopoe").write_text("#!/bin/sh\necho other\n")
    (other / "mopoe").chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}:/usr/bin:/bin")
    assert in_a_shell(program.pasted(["plan"]), tmp_path) == "started plan\n"


def test_a_program_that_is_not_installed_is_started_as_a_module(installed):
    """The command has the path of the running Python."""
    (installed / "mopoe").unlink()
    assert program.program()[1:] == ["-m", "orchestrator"]
    assert Path(program.program()[0]).name == "python"


def test_what_is_recorded_does_not_depend_on_where_the_program_is(installed, monkeypatch):
    """The recorded command is the same anywhere, because reports are read on other machines."""
    monkeypatch.setattr(sys, "argv", ["/some/where/__main__.py", "sweep", "my file.yaml"])
    assert program.recorded_command() == "mopoe sweep 'my file.yaml'"


def test_the_version_is_the_installed_package(capfd):
    """`--version` prints the version of the installed package, and nothing else."""
    assert typed_here("--version").stdout.split() == ["mopoe", version("mopoe")]


@pytest.mark.parametrize("words", [["-h"], ["sweep", "-h"]])
def test_h_is_help(words):
    """`-h` shows the help of the program and of a command."""
    assert typed_here(*words).stdout == typed_here(*[word.replace("-h", "--help") for word in words]).stdout != ""


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package is not installed")
def test_the_console_command_is_the_module(tmp_path):
    """Both print the same error without a traceback, with exit code 2."""
    file = tmp_path / "bad.yaml"
    file.write_text("name: bad\nseeds: 0\n")
    environment = os.environ | {"COLUMNS": "100"}
    ended = [
        subprocess.run([*words, "plan", str(file)], capture_output=True, text=True, env=environment, check=False, timeout=60)
        for words in ([str(SCRIPT)], [sys.executable, "-m", "orchestrator"])
    ]
    assert {done.returncode for done in ended} == {2}
    assert ended[0].stderr == ended[1].stderr != ""
    assert "Traceback" not in ended[0].stderr


def test_a_printed_command_has_each_word_quoted_once(installed):
    """This includes the path of the program."""
    assert shlex.split(program.pasted(["plan", "a b.yaml"])) == ["own env/bin/mopoe", "plan", "a b.yaml"]
