"""Options and fields that would have no effect are refused, and advice names the options of the command that was typed."""

import errno
import os
import shlex
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import storage_errors
from orchestrator.spec.json_schema import json_schema
from tests.support.builders import COHERENCE
from tests.support.commands import typed_here
from tests.support.naming import unnamed
from tests.support.searches import raw


@pytest.fixture
def search(tmp_path):
    """A sweep file with a search whose storage is not there."""
    (tmp_path / "hunt.yaml").write_text(yaml.safe_dump(raw() | {"storage": "runs"}))
    return tmp_path / "hunt.yaml"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["report", "--table", COHERENCE, "--figures", "out"], ["--table", "--figures"]),
        (["report", "--table", COHERENCE, "--to", "out"], ["--table", "--to"]),
        (["report", "--table", COHERENCE, "--figure-width", 3], ["--table", "--figure-width"]),
        (["report", "--table", COHERENCE, "--font-size", 8, "--against-paper"], ["--table", "--font-size", "--against-paper"]),
        (["report", "--figures", "out", "--to", "other"], ["--figures", "--to"]),
        (["report", "--figures", "out", "--against-paper"], ["--figures", "--against-paper"]),
        (["report", "--figures", "out", "--rank-unequal"], ["--figures", "--rank-unequal"]),
        (["report", "--json", "--figure-width", 3], ["--json", "--figure-width"]),
        (["report", "--json", "--figures", "out"], ["--json", "--figures"]),
        (["gc", "--delete", "--accept-lost"], ["--delete", "--accept-lost"]),
        (["status", "--watch", "--trials"], ["--watch", "--trials"]),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words, named, search):
    """The error is one line that names the options in question, and nothing is written."""
    (search.parent / "runs").mkdir()
    command, *options = words
    done = typed_here(command, search, *options, folder=search.parent)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: --")
    assert not unnamed(done.stderr, *named)
    assert {path.name for path in search.parent.iterdir()} == {"hunt.yaml", "runs"}


def test_a_metric_of_a_table_is_named_once(search):
    """A repeated metric would be a column twice."""
    (search.parent / "runs").mkdir()
    done = typed_here("report", search, "--table", f"{COHERENCE},{COHERENCE}", folder=search.parent)
    assert done.returncode == 2
    assert not unnamed(done.stderr, "--table", COHERENCE, "twice")


@pytest.mark.parametrize("command", [["report"], ["export"], ["track"], ["rerun", "--failed"], ["audit", "--sample", 1]])
def test_a_storage_that_is_not_there_is_made_by_the_command_that_is_named(command, search):
    """The advice has the options that were typed, and the error the option that named the folder."""
    name, *options = command
    done = typed_here(name, search, *options, "--storage", "nowhere", "--scale", "smoke", folder=search.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --storage: ")
    advised = shlex.split(done.stderr.split("`")[1])
    assert advised[-6:] == ["sweep", str(search), "--scale", "smoke", "--storage", "nowhere"]
    done = typed_here(name, search, *options, folder=search.parent)
    assert done.stderr.startswith("error: storage: ")


def test_a_search_without_cells_has_no_table_yet(search):
    """`export` names the command that proposes cells, with the options that were typed, and writes nothing."""
    (search.parent / "else").mkdir()
    done = typed_here("export", search, "--storage", "else", folder=search.parent)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert shlex.split(done.stderr.split("`")[1])[-4:] == ["sweep", str(search), "--storage", "else"]
    assert not list((search.parent / "else").iterdir())


def test_files_to_write_may_be_named_by_variables_and_home(tmp_path):
    """`schema --to` and `init` write where the variable points. A variable that is not set is refused with the name of the option."""
    homes = {"HOME": str(tmp_path), "MADE_HERE": str(tmp_path)}
    assert typed_here("schema", "--to", "~/schema.json", folder=tmp_path, **homes).returncode == 0
    assert yaml.safe_load((tmp_path / "schema.json").read_text()) == json_schema()
    assert typed_here("init", "$MADE_HERE/first.yaml", folder=tmp_path, **homes).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"schema.json", "first.yaml"}
    done = typed_here("init", "$NOT_SET_HERE/first.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert not unnamed(done.stderr, "SWEEP.yaml", "NOT_SET_HERE")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["schema", "--to", "x"], "--to"),
        (["init", "x.yaml"], "name another file"),
        (["data", "polymnist", "--data", "x"], "--data"),
        (["report", "x.yaml", "--figures", "x"], "--figures"),
        (["report", "x.yaml", "--to", "x"], "--to"),
        (["sweep", "x.yaml"], "--storage"),
    ],
)
def test_advice_on_a_full_or_read_only_folder_names_an_option_that_the_command_has(words, advice, number):
    """Each command is advised with its own option, and with none that its help does not list."""
    line = storage_errors.explain(OSError(number, os.strerror(number), "/x"), shlex.join(["mopoe", *words]), words[0]).line
    told = line.partition("`")[0]
    assert advice in told
    options = {word.rstrip(";") for word in told.split() if word.startswith("--")}
    helped = typed_here(words[0], "--help", folder=Path(), COLUMNS="200", TERM="dumb").stdout
    assert all(option in helped for option in options)
