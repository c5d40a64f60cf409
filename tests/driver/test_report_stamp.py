"""A sweep with nothing new reads each result at most twice, draws nothing and does not load MLflow. Anything new is drawn."""

import math
import os
from pathlib import Path

import pytest
import yaml

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.driver import report_stamp, report_step, sweep
from orchestrator.driver.report_step import Options
from orchestrator.ledger import records, snapshot
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.report import report
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow import connection
from tests.support.builders import COHERENCE, LIKELIHOOD, grid_results, result
from tests.support.opened import of_name, opened

RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small"},
    "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2]},
    "seeds": 2,
    "objectives": [
        {"metric": COHERENCE, "goal": "max", "reference": 0},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -3000},
    ],
}
PLAIN = Options("a")
COMMAND = "mopoe sweep t.yaml"


class Home:
    """A finished sweep in a folder; `sweep` has drawn its report and written MLflow."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.file = Ledger(folder / "runs"), folder / "t.yaml"
        self.file.write_text(yaml.safe_dump(RAW | {"storage": str(self.ledger.storage)}))
        self.spec = parse(yaml.safe_load(self.file.read_text()))
        self.report = folder / "runs" / "sweeps" / "t" / "report"
        for one in grid_results(self.spec.cells, 2):
            self.ledger.begin(one.trial)
            self.ledger.record(one)

    def sweeps(self, command: str = COMMAND) -> sweep.SweepOutcome:
        """Runs the driver once."""
        return sweep.run(self.spec, self.file.read_text(), self.ledger.storage, command)

    def material(self) -> report_step.Material:
        """Returns the material of its report."""
        return report_step.gather(snapshot.read(self.spec, self.ledger), self.ledger)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A sweep that ran twice: the second report has links to what the first `sweep` wrote to MLflow."""
    home = Home(tmp_path_factory.mktemp("home"))
    for _ in range(2):
        assert home.sweeps().tracking_problems == ()
    return home


@pytest.fixture
def work(monkeypatch):
    """Records slow steps of a command: `drawn` for each report, `asked` for each connection to MLflow."""
    done = []
    write, start = report.write, connection.start_writer
    monkeypatch.setattr(report, "write", lambda *rest: (done.append("drawn"), write(*rest))[1])
    monkeypatch.setattr(connection, "start_writer", lambda *rest, **more: (done.append("asked"), start(*rest, **more))[1])
    return done


def test_a_sweep_with_nothing_new_reads_each_result_at_most_twice(home, types_here, monkeypatch):
    """The command expands the grid at most twice: no cell is checked more often."""
    checked = []
    validate = TrainingConfig.model_validate
    monkeypatch.setattr(TrainingConfig, "model_validate", lambda fields: (checked.append(fields), validate(fields))[1])
    home.sweeps("mopoe sweep " + str(home.file))
    checked.clear()
    with opened() as count:
        assert types_here("sweep", home.file)[0] == 0
    results = of_name(count, "result.json")
    assert len(results) == 8
    assert max(results.values()) <= 2
    assert 0 < len(checked) <= 2 * len(home.spec.cells)


def test_a_report_reads_each_result_once(home, tmp_path, types_here):
    """This holds for the usual folder and for any other."""
    with opened() as count:
        assert types_here("report", home.file, "--to", tmp_path / "elsewhere")[0] == 0
    assert set(of_name(count, "result.json").values()) == {1}


def test_a_sweep_with_nothing_new_draws_nothing_and_asks_nobody(home, work):
    """It shows the same report as the command that drew it, and touches no file of the report."""
    home.sweeps()
    work.clear()
    before = {path: path.stat().st_mtime_ns for path in home.report.rglob("*")}
    drawn, again = home.sweeps(), home.sweeps()
    assert work == []
    assert {path: path.stat().st_mtime_ns for path in home.report.rglob("*")} == before
    assert again.report == drawn.report
    assert (again.ran, again.unfinished, again.tracking_problems) == (0, 0, ())
    assert again.report.summary.count("\n") >= len(home.spec.cells)
    assert again.report.page.exists()


def remove(path):
    """Delete the file."""
    path.unlink()


def change(path):
    """Change one byte; the size stays the same."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("harm", "name"), [(remove, "front.svg"), (change, "cells.csv"), (change, report_stamp.STAMP)])
def test_a_report_that_was_changed_is_drawn_again(home, work, harm, name):
    """It is drawn once; then it is complete, with the same tables."""
    home.sweeps()
    before = (home.report / "cells.csv").read_bytes()
    harm(home.report / name)
    work.clear()
    home.sweeps()
    assert work.count("drawn") == 1
    assert (home.report / "cells.csv").read_bytes() == before
    assert (home.report / name).exists()
    work.clear()
    home.sweeps()
    assert work == []


def test_mlflow_is_asked_again_where_its_database_was_touched(home, work):
    """The report has nothing new, and is not drawn."""
    home.sweeps()
    work.clear()
    os.utime(home.ledger.storage / "mlflow.db")
    home.sweeps()
    assert work == ["asked"]
    home.sweeps()
    assert work == ["asked"]


def test_a_report_with_nothing_new_is_not_drawn_again(home, work, types_here):
    """`report` prints the same as when it was drawn. A report with another option or in another folder is drawn."""
    home.sweeps()
    work.clear()
    code, output, _ = types_here("report", home.file)
    assert (code, work) == (0, [])
    (home.report / "index.html").unlink()
    assert types_here("report", home.file) == (0, output, "")
    assert work == ["drawn"]
    for options in (("--rank-unequal",), ("--against-paper",), ("--to", home.file.parent / "elsewhere")):
        work.clear()
        assert types_here("report", home.file, *options)[0] == 0
        assert work == ["drawn"]


@pytest.fixture
def other(tmp_path):
    """A finished sweep without a report."""
    return Home(tmp_path)


def inputs_that_differ(home, happens, options=PLAIN):
    """Returns the inputs of a report that change after an event, or with other options than those of a plain command."""
    before = report_step.inputs(home.material(), PLAIN)
    happens()
    after = report_step.inputs(home.material(), options)
    return {name for name in before if before[name] != after[name]}


def test_nothing_new_is_no_new_input(other):
    """Two readings of the same ledger give the same inputs."""
    assert inputs_that_differ(other, lambda: None) == set()


def test_each_kind_of_news_is_a_new_input(other):
    """The kinds are a result, a picture, a failure, the file's text and the options."""
    folder = other.ledger.folder(snapshot.read(other.spec, other.ledger).trials[0])

    def replaced():
        (folder / "result.json").unlink()
        of = other.spec.cells[0]
        other.ledger.record(result(of, 0, {COHERENCE: 0.9, LIKELIHOOD: -1.0}))

    def fails():
        (folder / "result.json").unlink()
        other.ledger.fail(snapshot.read(other.spec, other.ledger).trials[0], "ValueError: no")

    def pictured():
        (folder / "samples").mkdir(exist_ok=True)
        (folder / "samples" / "joint.png").write_bytes(b"picture")

    def written():
        (other.ledger.storage / "sweeps" / "t").mkdir(parents=True)
        (other.ledger.storage / "sweeps" / "t" / "sweep.yaml").write_text("name: t")

    assert inputs_that_differ(other, replaced) == {"results"}
    assert inputs_that_differ(other, pictured) == {"pictures"}
    assert inputs_that_differ(other, written) == {"sweep"}
    assert inputs_that_differ(other, fails) == {"results", "states", "failures"}
    for asked in (Options("a", against_paper=True), Options("a", unequal=True)):
        assert inputs_that_differ(other, lambda: None, asked) == {"options"}
    assert inputs_that_differ(other, lambda: None, Options("b")) == set()


def stamped(folder):
    """A report of one file, with its stamp."""
    page = folder / "index.html"
    page.write_text("page")
    drawn = report_stamp.DrawnReport(
        page=page,
        summary="table",
        search_line="",
        figures=[("", page)],
        files=[page],
        parameters={"seeds": "[0]"},
        cells=["a", "b"],
        courses={"hypervolume": [math.nan, 0.1 + 0.2]},
        counts={"completed": 2},
    )
    report_stamp.write(folder, "t", {"results": "1"}, drawn)
    return drawn


def test_a_stamp_says_of_a_report_what_was_written(tmp_path, other):
    """NaN is read back too. A stamp with other inputs or of another sweep gives nothing."""
    drawn = stamped(tmp_path)
    assert repr(report_stamp.read(tmp_path, "t", {"results": "1"}, other.ledger)) == repr(drawn)
    assert report_stamp.read(tmp_path, "t", {"results": "2"}, other.ledger) is None
    assert report_stamp.read(tmp_path, "another", {"results": "1"}, other.ledger) is None


def test_a_stamp_names_no_file_outside_of_its_report(tmp_path, other):
    """This holds for names and for links, because the files of a report are sent to MLflow."""
    folder, secret = tmp_path / "report", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("page")
    stamped(folder)
    content = records.read(folder / report_stamp.STAMP, Identity("report", sweep="t"))
    records.write(
        folder / report_stamp.STAMP,
        Identity("report", sweep="t"),
        content | {"drawn": content["drawn"] | {"files": ["../secret"]}},
    )
    assert report_stamp.read(folder, "t", {"results": "1"}, other.ledger) is None
    drawn = stamped(folder)
    written_ns = drawn.page.stat().st_mtime_ns
    drawn.page.unlink()
    os.utime(secret, ns=(written_ns, written_ns))
    drawn.page.symlink_to(secret)
    assert report_stamp.read(folder, "t", {"results": "1"}, other.ledger) is None
