"""Paths: `~` and variables have the values that they have in a shell, everywhere, or are refused by name."""

import os
import re
import urllib.request
from pathlib import Path

import pytest

from mopoe_core.data.own import user_data
from mopoe_core.errors import DataError
from mopoe_core.storage.paths import expand, local_counterpart, local_folder, storage_path
from orchestrator.errors import SpecError
from orchestrator.spec import sweep_file
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking import tracking_uri
from tests.support.naming import unnamed

BASE = "{dataset: mnist_svhn_text, model: mopoe, networks: small}"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder that `$SCRATCH` and the home folder name."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("BUCKET", "s3://lab")
    monkeypatch.delenv("NOPE", raising=False)
    return tmp_path


def test_home_and_variables_are_replaced(scratch):
    """Variables are replaced at the beginning and within; `$$` is a dollar sign, and a `~` elsewhere is a name."""
    for text in ("$SCRATCH/a", "${SCRATCH}/a", "~/a", "file://$SCRATCH/a", "file://~/a"):
        assert storage_path(text) == scratch / "a"
    assert storage_path("runs/~x") == Path("runs/~x").absolute()
    assert storage_path("$$x") == Path("$x").absolute()
    assert expand("~") == str(scratch)


def test_a_file_uri_is_the_folder_that_other_programs_read_in_it(scratch, monkeypatch):
    """Compared with what `urllib` opens. `localhost` is this machine; another host, or a relative path, is refused."""
    (scratch / "a").mkdir()
    (scratch / "a" / "b").write_text("here")
    monkeypatch.chdir(scratch / "a")
    for uri in (f"file://{scratch}/a", f"file://localhost{scratch}/a", f"file:{scratch}/a"):
        with urllib.request.urlopen(f"{uri}/b") as opened:
            assert opened.read() == b"here"
        assert storage_path(uri) == local_folder(uri) == scratch / "a"
    for uri in ("file://elsewhere/a", "file:a", "file://localhost"):
        for read in (storage_path, local_folder):
            with pytest.raises(ValueError, match="file:///FOLDER"):
                read(uri)


@pytest.mark.parametrize("uri", ["s3://key:SECRET@lab/x", "https://host/x"])
def test_a_uri_where_only_a_folder_works_is_refused(scratch, types_here, monkeypatch, uri):
    """`resources.data`, `--data`, `--to` and `--figures` are named with the URI, without its secrets, and no folder is made."""
    monkeypatch.chdir(scratch)
    path, data = scratch / "s.yaml", scratch / "d.yaml"
    path.write_text(f"name: s\nbase: {BASE}\nstorage: $SCRATCH/runs\n")
    data.write_text(f"name: s\nbase: {BASE}\nstorage: $SCRATCH/runs\nresources: {{data: '{uri}'}}\n")
    (scratch / "runs").mkdir()
    shown = uri.replace("key:SECRET", "***")
    commands = {
        "resources.data": ["plan", data],
        "--data": ["data", "mnist_svhn_text", "--source", "embedded", "--data", uri],
        "--figures": ["report", path, "--figures", uri],
        "--to": ["export", path, "--to", f"{uri}/t.parquet"],
        "SWEEP.yaml": ["init", f"{uri}/first.yaml"],
    }
    for option, words in commands.items():
        code, _, err = types_here(*words)
        assert (code, err.count("\n")) == (2, 1), err
        assert not unnamed(err, option)
        assert shown in err
        assert "SECRET" not in err
    assert types_here("report", path, "--to", uri)[0] == 2
    assert {entry.name for entry in scratch.iterdir()} == {"s.yaml", "d.yaml", "runs"}
    assert not list((scratch / "runs").iterdir())


def test_a_slash_at_the_end_of_a_bucket_is_the_same_local_folder(scratch, monkeypatch):
    """Both addresses are one storage, so its local files are in one folder."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = "?region=eu-west-1"
    folders = [local_counterpart(storage_path(f"s3://lab/{path}{options}")) for path in ("x", "x/", "y")]
    assert folders[0] == folders[1] != folders[2]


URIS = {
    "s3://bucket/a~b": "s3://bucket/a~b",
    "s3://bucket/~/x": "s3://bucket/~/x",
    "s3://key:pa$$wo$rd@bucket/x": "s3://key:pa$$wo$rd@bucket/x",
    "s3://key:a/b?$c@bucket/x": "s3://key:a/b?$c@bucket/x",
    "s3://bucket/x?endpoint_override=a$b": "s3://bucket/x?endpoint_override=a$b",
    "s3://bucket/$$folder": "s3://bucket/$folder",
    "s3://bucket/${USER_X}/x": "s3://bucket/me/x",
    "$BUCKET/x": "s3://lab/x",
    "https://host/a": "https://host/a",
}


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_is_left_right(uri, scratch, monkeypatch):
    """Secrets and options stay unchanged, a variable in bucket or path is replaced, and a `~` is a name."""
    monkeypatch.setenv("USER_X", "me")
    assert expand(uri) == URIS[uri]


WRONG = [
    "$NOPE/x",
    "a/${NOPE}",
    "~nobody_of_that_name/x",
    "$EMPTY/x",
    "$(pwd)/x",
    "${NOPE:-x}",
    "a$",
    "s3://$NOPE/x",
    "file://$NOPE/x",
]


@pytest.mark.parametrize("said", WRONG)
def test_what_stands_for_nothing_is_refused_by_name(said, scratch):
    """Refused are variables that are not set or empty, users that do not exist, and notations that only a shell knows."""
    name = next((name for name in ("NOPE", "EMPTY", "~nobody_of_that_name") if name in said and ":-" not in said), "dollar sign")
    with pytest.raises(ValueError, match=name):
        expand(said)


def test_storage_and_data_are_where_the_variables_say(scratch, types_here):
    """No folder has the variable's name. A variable can also name the file itself."""
    path = scratch / "s.yaml"
    path.write_text(f"name: s\nbase: {BASE}\nresources: {{data: ~/data}}\nstorage: $SCRATCH/sweeps\n")
    spec = sweep_file.load(Path("$SCRATCH/s.yaml"))
    assert spec.resources.data_folder == str(scratch / "data")
    assert storage_path(spec.storage) == scratch / "sweeps"
    code, _, err = types_here("report", "~/s.yaml")
    assert code == 2
    assert not unnamed(err, "storage", scratch / "sweeps")
    assert list(scratch.iterdir()) == [path]


def test_every_wrong_path_is_named_with_its_line(scratch, types_here):
    """Both wrong paths of the file are named at once, and an option by its own name, also if the file's storage is wrong."""
    path = scratch / "s.yaml"
    path.write_text(f"name: s\nbase: {BASE}\nresources:\n  data: $NOPE/data\nstorage: ${{NOPE}}\n")
    for command in ("plan", "sweep", "status"):
        code, _, err = types_here(command, path)
        first, second = err.splitlines()
        assert code == 2
        assert first.startswith(f"error: {path}:4: resources.data: '$NOPE/data' ")
        assert second.startswith(f"error: {path}:5: storage: '${{NOPE}}' ")
    path.write_text(f"name: s\nbase: {BASE}\nstorage: $NOPE\n")
    code, _, err = types_here("plan", path, "--storage", "$NOPE/x")
    assert code == 2
    assert err.startswith("error: --storage: ")
    assert not unnamed(err, "'$NOPE/x'", re.compile(r"[^$]\bNOPE\b"))
    assert types_here("plan", path, "--storage", "$SCRATCH/x")[0] == 0
    code, _, err = types_here("data", "mnist_svhn_text", "--data", "$NOPE")
    assert code == 2
    assert not unnamed(err, "--data", "'$NOPE'", re.compile(r"[^$]\bNOPE\b"))
    assert list(scratch.iterdir()) == [path]


def test_a_table_is_exported_to_where_a_variable_says(scratch, types_here):
    """`--to` is expanded, and a variable that is not set is refused by name."""
    path = scratch / "s.yaml"
    path.write_text(f"name: s\nbase: {BASE}\nstorage: $SCRATCH/runs\n")
    (scratch / "runs").mkdir()
    assert types_here("export", path, "--to", "$SCRATCH/t.parquet")[0] == 0
    assert (scratch / "t.parquet").exists()
    code, _, err = types_here("export", path, "--to", "$NOPE/t.parquet")
    assert code == 2
    assert not unnamed(err, "--to", "'$NOPE/t.parquet'", re.compile(r"[^$]\bNOPE\b"))


def test_mlflows_store_may_be_named_so(scratch, monkeypatch, types_here):
    """It may be a database or a folder. A server's address stays. A variable that is not set is refused before anything is written."""
    for text, expected in (
        ("sqlite:///$SCRATCH/m.db", f"sqlite:///{scratch}/m.db"),
        ("sqlite:///~/m.db", f"sqlite:///{scratch}/m.db"),
        ("~/runs", f"{scratch}/runs"),
        ("http://host:5000", "http://host:5000"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", text)
        assert tracking_uri.named() == expected
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///$NOPE/m.db")
    path = scratch / "s.yaml"
    path.write_text(f"name: s\nbase: {BASE}\nstorage: $SCRATCH/runs\n")
    code, _, err = types_here("sweep", path)
    assert code == 2
    assert not unnamed(err, "MLFLOW_TRACKING_URI", "'sqlite:///$NOPE/m.db'", re.compile(r"[^$]\bNOPE\b"))
    assert not (scratch / "runs").exists()


def test_no_identity_depends_on_a_variable(scratch, monkeypatch):
    """Other values of the variables give the same trials, and a dataset's file is found through a variable."""
    raw = {"name": "s", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "resources": {"data": "$SCRATCH/data"}}
    first = [trial.id for trial in parse(raw).trials]
    monkeypatch.setenv("SCRATCH", "/elsewhere")
    assert [trial.id for trial in parse(raw).trials] == first
    (scratch / "mine.py").write_text((Path(__file__).parents[2] / "support" / "own_data.py").read_text())
    own_trials = {}
    for name in ("there", "here"):
        folder = scratch / name
        folder.mkdir()
        os.rename(scratch / "mine.py", folder / "mine.py")
        monkeypatch.setenv("DATASETS", str(folder))
        user_data.search_from(folder)
        raw = {"name": "s", "base": {"dataset": "$DATASETS/mine.py:made", "model": "mopoe"}}
        own_trials[name] = [trial.id for trial in parse(raw).trials]
        os.rename(folder / "mine.py", scratch / "mine.py")
    assert own_trials["there"] == own_trials["here"]
    user_data.search_from(Path())


def test_a_dataset_whose_file_has_a_dollar_sign_in_its_name_is_found(scratch):
    """The file is found although no such variable is set. If it is missing, the variable is named."""
    (scratch / "$NOPE.py").write_text((Path(__file__).parents[2] / "support" / "own_data.py").read_text())
    user_data.search_from(scratch)
    assert user_data.card("$NOPE.py:made").name == "$NOPE.py:made"
    with pytest.raises(DataError, match=r"[^$]\bNOPE\b"):
        user_data.card("$NOPE/mine.py:made")
    user_data.search_from(Path())


def test_a_recorded_sweep_needs_no_variable(scratch):
    """Reading a sweep that storage remembers expands nothing. Only the use of its folder does."""
    resources = Resources(data="$NOPE/data")
    assert resources.data == "$NOPE/data"
    with pytest.raises(SpecError, match=r"^resources\.data: .* NOPE"):
        _ = resources.data_folder
