"""An error of a disk, a share, a network or Ray's start ends a command with one line that names the file or setting."""

import errno
import os
import socket
from pathlib import Path

import pytest

from benchmarks.robustness.injection import Injection
from mopoe_core.errors import UserError
from orchestrator.cli import app, storage_errors
from orchestrator.execution import ray_address
from tests.support.naming import naming
from tests.support.recorded import errors_in


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.ENOSPC, 1, "room"),
        (errno.EDQUOT, 1, "room"),
        (errno.EIO, 1, "again"),
        (errno.ESTALE, 1, "again"),
        (errno.ETIMEDOUT, 1, "again"),
        (errno.EACCES, 2, "--storage"),
        (errno.EROFS, 2, "--storage"),
        (errno.EISDIR, 2, "move"),
        (errno.ENOTDIR, 2, "move"),
        (errno.ENOENT, 2, "folder"),
        (errno.ENAMETOOLONG, 2, "another"),
    ],
)
def test_an_error_of_a_file_is_one_line(number, code, says, capsys, monkeypatch):
    """The line names the file, the error, what to do and what to type; the exit code says whether the user has to correct something."""
    monkeypatch.setattr("sys.argv", ["orchestrator", "sweep", "x.yaml"])

    def fails():
        raise OSError(number, os.strerror(number), "/data/a\nb.json")

    with pytest.raises(SystemExit) as end:
        app.run_command(fails)
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == code
    assert line.startswith("error: /data/a\\nb.json: ")
    assert os.strerror(number) in line
    assert says in line
    assert "mopoe sweep x.yaml" in line or number == errno.ENAMETOOLONG


@pytest.mark.parametrize("name", ["report", "export"])
def test_who_only_reads_is_told_of_the_option_that_writes_elsewhere(name):
    """The error on a read-only share and on a full disk names `--to`."""
    for number in (errno.EROFS, errno.ENOSPC):
        assert "--to" in storage_errors.explain(OSError(number, "no", "/x"), "c", name).line


def test_errors_without_a_number_or_a_name_are_one_line_too():
    """Errors of remote storage have the address in their text."""
    assert storage_errors.explain(OSError("s3://b/x: the line\nis down"), "c").line.startswith("s3://b/x: the line is down; ")
    assert storage_errors.explain(ConnectionError(), "c").code == 1
    assert storage_errors.explain(OSError(), "c").line.startswith("OSError; ")


def test_a_bug_keeps_its_traceback():
    """An error that is neither one of a file nor one of the user is raised unchanged."""
    with pytest.raises(ZeroDivisionError):
        app.run_command(lambda: 1 / 0)


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("name", ["report", "track", "export"])
def test_a_storage_that_takes_nothing_is_said_in_one_line(name, error, store, types_here):
    """If every write fails, the exit code is 1 or 2, and one line names a file of the storage."""
    writes = ("mkdir", "rename", "replace", "link", "unlink", "utime", "chmod")
    storage = store.ledger.storage
    injection = Injection(storage, error, lambda number, call: call.function in writes, every=True)
    with injection.active():
        code, _, err = types_here(name, store.file)
    assert injection.struck is not None
    assert code in (1, 2)
    assert errors_in(err) == 1
    assert str(storage) in err
    assert "Traceback" not in err


def test_a_report_goes_to_another_folder_and_nothing_of_storage_changes(store, types_here, tmp_path, undrawn):
    """With `--to`, a report replaces an earlier report, but never other files."""

    def there():
        return {path: path.stat().st_mtime_ns for path in Path(store.ledger.storage).rglob("*")}

    before, into = there(), tmp_path / "else" / "where"
    for _ in range(2):
        code, out, err = types_here("report", store.file, "--to", into)
        assert code == 0, err
        assert str(into / "index.html") in out
        assert (into / "index.html").read_text(encoding="utf-8").count("<html") == 1
        assert (into / "cells.csv").exists()
    assert there() == before
    assert [path.name for path in into.parent.iterdir()] == ["where"]
    (into / "mine.txt").touch()
    for wrong in (into, tmp_path, store.file):
        code, _, err = types_here("report", store.file, "--to", wrong)
        assert code == 2
        assert f"--to: {wrong}" in err
    assert (into / "mine.txt").exists()


@pytest.mark.parametrize("address", ["", " ", "ray://127.0.0.1:10001", "http://x:1", "nowhere", "a:99999", "127.0.0.1:0"])
def test_an_address_that_no_sweep_can_run_on_is_refused_without_ray(address, monkeypatch):
    """The error names the variable, its value and what is allowed."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError) as caught:
        ray_address.check_address()
    assert str(caught.value).startswith("RAY_ADDRESS: ")
    assert address.strip() in str(caught.value)
    assert "auto" in str(caught.value)


@pytest.mark.parametrize("named", [True, False], ids=["named", "noted by Ray"])
def test_an_address_where_nothing_answers_is_refused_at_once(named, monkeypatch, tmp_path):
    """This includes the noted address of a cluster that has been killed. If something answers there, Ray itself has to check it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.setenv("RAY_ADDRESS", address if named else "auto")
        ray_address.check_address()
    with pytest.raises(UserError, check=naming(address)):
        ray_address.check_address()
    (tmp_path / "ray" / "ray_current_cluster").unlink()
    if not named:
        ray_address.check_address()


def test_what_ray_raises_at_its_start_is_one_line(monkeypatch):
    """This holds for any class of error, and also if Ray exits."""
    from orchestrator.execution.ray_tune import session

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    for error in (
        ValueError("a\nb"),
        ConnectionError("no"),
        RuntimeError("no"),
        SystemExit(15),
        OSError(errno.EACCES, "no", "/x"),
    ):

        def fails(error=error, **named):
            raise error

        monkeypatch.setattr(session.ray, "init", fails)
        with pytest.raises(UserError, check=naming("10.0.0.1:6379")), session.running_ray():
            pass


def test_ray_has_a_short_folder_where_tmpdir_is_long(monkeypatch, tmp_path):
    """A socket's path has at most 107 characters, of which Ray needs 77 below its folder."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 90)))
    with ray_address.short_folder() as folder:
        assert folder is not None
        assert len(folder) + 70 <= 107
        assert Path(folder).is_dir()
        assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert not Path(folder).exists()
    monkeypatch.setenv("TMPDIR", "/tmp")
    with ray_address.short_folder() as folder:
        assert folder is None


@pytest.mark.parametrize("name", ["result.json", "trial.json"])
def test_a_folder_in_a_records_place_is_a_damaged_record(name, store, types_here):
    """The exit code is 2, and one line names the record; the command in that line repairs it."""
    path = store.ledger.folder(store.trials[0]) / name
    path.unlink()
    path.mkdir()
    code, _, err = types_here("plan", store.file)
    assert code == 2, err
    assert errors_in(err) == 1
    assert str(path) in err
    assert "--retrain-damaged" in err
