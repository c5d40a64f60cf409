"""A storage that an earlier version left is read as then: the same trials, states, tables and exports, and training goes on from there.

`tests/old_storage/README.md` says what the storage holds and how the expected outputs were made. These tests use commands, files and
`mopoe_core.load` alone, so that nothing that moves within the packages can change what they compare.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import mopoe_core

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parents[1] / "old_storage"
EXPECTED: dict[str, Any] = json.loads((STORED / "expected.json").read_text())
SWEEPS = sorted(EXPECTED["trials"])
TABLES = (".csv", ".md", ".tex")
STATUSES = "pending|running|completed|diverged|failed|cancelled|damaged"
PUBLISHED = ("export.parquet", "report", ".report.lock")
"""What commands write beside the records: they are looked at by tests of their own."""


def unpack(into: Path) -> Path:
    """Returns the folder, which then holds the sweep files, the dataset and the storage `runs`."""
    for path in STORED.iterdir():
        if path.suffix in (".py", ".yaml"):
            shutil.copy(path, into / path.name)
    with tarfile.open(STORED / "storage.tar.xz") as archive:
        archive.extractall(into, filter="data")
    return into


def tables(report: Path) -> dict[str, bytes]:
    """Returns the content of every text table of a report, by its path within the report."""
    paths = (path for path in report.rglob("*") if path.suffix in TABLES)
    return {path.relative_to(report).as_posix(): path.read_bytes() for path in paths}


def exported(table: Path) -> bytes:
    """Returns an exported table as CSV. Parquet itself names the version of its writer."""
    return pd.read_parquet(table).to_csv(index=False).encode()


def weights(checkpoint: Path) -> str:
    """Returns a digest of the names and values of a model's parameters. The model has an encoder from `mine.py`."""
    digest = hashlib.sha256()
    for name, value in sorted(mopoe_core.load(checkpoint, dataset="mine.py:made").state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def expected_files(kind: str, sweep: str) -> dict[str, bytes]:
    """Returns the expected outputs of a sweep, by path: those of its `report` or its `export`."""
    start = f"{sweep}/{kind}/"
    return {name.removeprefix(start): content for name, content in archived("expected.tar.xz").items() if name.startswith(start)}


def archived(name: str) -> dict[str, bytes]:
    """Returns the files of one of the archives beside this test, by path."""
    with tarfile.open(STORED / name) as archive:
        files = ((entry.name, archive.extractfile(entry)) for entry in archive)
        return {path: file.read() for path, file in files if file is not None}


def records(home: Path) -> dict[str, bytes]:
    """Returns every file of the storage that is no report and no export, by path."""
    paths = (path.relative_to(home) for path in (home / "runs").rglob("*") if path.is_file())
    return {path.as_posix(): (home / path).read_bytes() for path in paths if not set(path.parts) & set(PUBLISHED)}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The old storage, for commands that read it."""
    return unpack(tmp_path_factory.mktemp("old"))


@pytest.fixture
def home(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the folder that commands are typed in."""
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out and saved empty: drawing takes most of a report's time, and tables alone are compared here."""

    def save(figure: Figure, to: Any, *args: Any, **more: Any) -> None:
        text = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
        if more.get("format") == "png":
            Image.new("RGB", (1, 1)).save(to, "PNG")
        elif isinstance(to, str | os.PathLike):
            Path(to).write_text(text)
        else:
            to.write(text if isinstance(to, io.TextIOBase) else text.encode())

    monkeypatch.setattr(Figure, "savefig", save)


def as_now(table: str) -> str:
    """Returns a table of the earlier version as it is written today: the command has a shorter name, and no probability of being on the
    front is shown for two or three seeds.
    """
    text = table.replace("% python -m orchestrator ", "% mopoe ", 1).replace(", before it how probable that is", "")
    text = re.sub(r"^(\|[^|]*\| [0-3]/\d +\| )\d\.\d\d(\*?)( *\|)", r"\1\2    \3", text, flags=re.MULTILINE)
    return re.sub(r"( & [0-3]/\d & )\d\.\d\d", r"\1", text)


CLAIMS = {f"paper/claims{suffix}" for suffix in TABLES}
"""Tables of the paper's claims: the rules by which they are decided are those of the present version."""


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_report_has_the_same_tables(home, types_here, undrawn, sweep):
    """Every table of the report but the claims is equal byte for byte, and there is none more and none less but the numbers beside each
    figure. A comparison of the claims that both versions make has the same numbers. The records stay as they are.
    """
    before = records(home)
    code, _, _ = types_here("report", f"{sweep}.yaml")
    assert code == 0
    report, expected = home / "runs" / "sweeps" / sweep / "report", expected_files("report", sweep)
    found = {name: text for name, text in tables(report).items() if not (report / name).with_suffix(".svg").exists()}
    assert sorted(found) == sorted(expected)
    for name in expected.keys() - CLAIMS:
        assert found[name].decode() == as_now(expected[name].decode()), name
    if expected.keys() >= CLAIMS:
        then, now = (pd.read_csv(io.BytesIO(files["paper/claims.csv"])) for files in (expected, found))
        both = then.merge(now, on=["id", "group", "comparison"], suffixes=("_then", "_now")).dropna(subset=["effect_then"])
        assert len(both) >= 20
        for number in ("effect", "low", "high", "n", "n_planned"):
            assert both[f"{number}_then"].tolist() == pytest.approx(both[f"{number}_now"].tolist(), nan_ok=True), number
    assert records(home) == before


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_export_is_the_same_table(home, types_here, sweep, tmp_path):
    """Its rows as CSV are equal byte for byte, and name the same trials, cells, seeds and states."""
    code, _, _ = types_here("export", f"{sweep}.yaml", "--to", tmp_path / "export.parquet")
    assert code == 0
    assert exported(tmp_path / "export.parquet").decode() == expected_files("export", sweep)["export.csv"].decode()
    table = pd.read_parquet(tmp_path / "export.parquet").drop_duplicates("trial_id")
    fields = ["trial_id", "cell_id", "seed", "status"]
    expected = [{field: trial[field] for field in fields} for trial in EXPECTED["trials"][sweep]]
    assert table[fields].to_dict("records") == expected


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_trial_has_the_same_id_state_and_attempts(home, types_here, sweep):
    """`status --trials` lists them in the same order."""
    code, printed, _ = types_here("status", f"{sweep}.yaml", "--trials")
    assert code == 0
    lines = re.findall(rf"^([0-9a-f]{{16}})  .*?  ({STATUSES}) +(\d+) ", printed, re.MULTILINE)
    expected = EXPECTED["trials"][sweep]
    assert lines == [(trial["trial_id"], trial["status"], str(trial["attempts"])) for trial in expected]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_plan_knows_what_is_done_and_what_has_a_checkpoint_to_go_on_from(home, types_here, sweep):
    """A trial with a result is done, one with a checkpoint and no result is to resume, and any other is new."""
    code, printed, _ = types_here("plan", f"{sweep}.yaml")
    assert code == 0
    counts = {word: int(count) for word, count in re.findall(r"^  (done|resume|new) +(\d+)$", printed, re.MULTILINE)}
    assert counts == EXPECTED["plan"][sweep]


@pytest.mark.parametrize("trial_id", sorted(EXPECTED["weights"]))
def test_a_checkpoint_gives_the_same_model(home, trial_id):
    """Parameters have the same names and the same bits."""
    assert weights(home / "runs" / "trials" / trial_id / "checkpoint.pt") == EXPECTED["weights"][trial_id]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_goes_on_from_the_checkpoint_that_the_earlier_version_left(tmp_path):
    """One whose driver was killed and one that was interrupted train their second epoch alone: the first keeps its seconds, and the loss
    of the second is that of a trial which nobody interrupted (of a machine that may round differently). What had ended stays as it was.
    """
    home = unpack(tmp_path)
    command = [sys.executable, "-m", "orchestrator", "sweep", "fates.yaml"]
    done = subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=500, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    statuses, before = {}, archived("storage.tar.xz")
    for trial in EXPECTED["trials"]["fates"]:
        folder = home / "runs" / "trials" / trial["trial_id"]
        path = folder / "result.json"
        result = json.loads(path.read_text()) if path.exists() else {"status": "none"}
        statuses[trial["trial_id"]] = result["status"]
        if trial["trial_id"] in EXPECTED["interrupted"]:
            first, second = (epoch["values"] for epoch in result["history"])
            expected = EXPECTED["interrupted"][trial["trial_id"]]
            assert first == expected["first_epoch"]
            assert second["train/loss"] == pytest.approx(expected["second_loss"], rel=1e-4)
            assert result["attempts"] == 2
        elif trial["status"] in ("completed", "diverged"):
            assert path.read_bytes() == before[path.relative_to(home).as_posix()]
    assert Counter(statuses.values()) == {"completed": 16, "diverged": 2, "none": 2}, done.stdout + done.stderr
    assert done.returncode == 1, "two trials fail each time"
