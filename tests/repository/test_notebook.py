"""The notebook in `examples/` runs from top to bottom, and its outputs are those of such a run."""

import ast
import base64
import importlib
import io
import json
import re
import shlex
from contextlib import chdir
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml
from PIL import Image
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.spec.sweep_file import load
from tests.support.commands import typed_here

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "notebook.ipynb"
SWEEP = ROOT / "examples" / "notebook.yaml"
CELLS = [cell for cell in json.loads(FILE.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
SOURCES = ["".join(cell["source"]) for cell in CELLS]
OUTPUTS = [output for cell in CELLS for output in cell["outputs"]]
MOST_BYTES = 500_000
MOST_PIXELS = 800


def commands():
    """The words of every command that a cell types."""
    calls = [node for source in SOURCES for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "mopoe"]
    return [shlex.split(call.args[0].value) for call in named]


def texts():
    """Everything in the outputs that is text."""
    for output in OUTPUTS:
        yield "".join(output.get("text", []))
        yield from ("".join(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def pictures():
    """The pictures in the outputs, encoded."""
    return [output["data"]["image/png"] for output in OUTPUTS if "image/png" in output.get("data", {})]


def test_every_cell_is_plain_python_whose_imports_exist():
    """Each compiles without IPython, and each name that it imports is there."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Import):
                assert all(importlib.import_module(alias.name) for alias in node.names)


def test_its_commands_are_taken_and_name_its_sweep():
    """By the parser of the command line, with a file that is there and is accepted."""
    known, files = get_command(app.app).commands, set()
    for name, *rest in commands():
        known[name].make_context(name, list(rest))
        files |= {word for word in rest if word.endswith(".yaml")}
    assert files == {SWEEP.relative_to(ROOT).as_posix()}
    assert load(SWEEP).trials


def test_it_was_run_from_top_to_bottom():
    """Cells are numbered from 1 in order, none ended with an error, and each of the last ones of a section shows something."""
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    assert {output["output_type"] for output in OUTPUTS} <= {"stream", "display_data", "execute_result"}
    assert sum(bool(cell["outputs"]) for cell in CELLS) >= len(CELLS) - 1  # all but the imports


def test_its_outputs_are_of_the_sweep_as_it_is():
    """It shows the sweep file, word for word, and the status of all its trials."""
    shown = list(texts())
    assert f"{SWEEP.read_text(encoding='utf-8')}\n" in shown
    count = len(load(SWEEP).trials)
    assert any(f"{count} completed of {count} trials" in text for text in shown)


def test_it_is_small_and_so_are_its_pictures():
    """Whoever clones the repository loads it every time."""
    assert FILE.stat().st_size < MOST_BYTES
    sizes = [Image.open(io.BytesIO(base64.b64decode("".join(picture)))).size for picture in pictures()]
    assert len(sizes) >= 5  # the front, three rows of samples, the map, a figure
    assert max(max(size) for size in sizes) <= MOST_PIXELS


def test_it_names_no_path_of_a_machine():
    """Neither in code nor in outputs is there a path from the root, or a terminal's code."""
    for text in (*SOURCES, *texts()):
        assert not re.search(r"(?<![\w.:/<])/(?:\w[\w.-]*/)+\w", text), text
        assert "\x1b" not in text


@pytest.mark.slow
def test_its_cells_run_in_order(tmp_path, data_folder, classifier_folder, jury):
    """On the same sweep with few examples and one epoch, trained in this process: every cell runs, and figure and table are written."""
    raw = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    (tmp_path / "examples").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").symlink_to(data_folder)
    (tmp_path / "runs" / "classifiers").symlink_to(classifier_folder)
    raw["base"] |= {"epochs": 1, "train_examples": 640, "test_examples": 100}
    (tmp_path / "examples" / "notebook.yaml").write_text(yaml.safe_dump(raw))
    names = {}
    with chdir(tmp_path / "examples"):
        for source in SOURCES:
            exec(compile(source, "notebook.ipynb", "exec"), names)
            names["mopoe"] = typed  # in place of a process of its own
    plt.close("all")
    assert (tmp_path / "runs" / "sweeps" / "notebook" / "coherence.pdf").stat().st_size > 0
    assert len(names["latents"]) == 20_000
    assert names["table"]["value"].notna().all()


def typed(command):
    """What a command prints that is typed in this process."""
    done = typed_here(*shlex.split(command), folder=Path.cwd())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
