"""Where the code of a user's dataset runs, and which modules it imports: those beside its file, wherever the command is typed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mopoe_core.data.own import user_data
from mopoe_core.errors import DataError
from tests.support.naming import counts, unnamed

ROOT = Path(__file__).parents[3]
DATASET = """
import numpy as np
from mopoe_core.data.own import OwnDataset, OwnModality
{imports}
def made():
    y = np.arange(40) % 2
    x = np.arange(120).reshape(40, 3) % 5 + {shift} + y[:, None]
    return OwnDataset(tuple(OwnModality(n, "vector", x, x{more}) for n in "ab"), y, y)
"""


@pytest.fixture
def typed_in(tmp_path, monkeypatch):
    """The folder in which the command is typed. As in a worker, this process has another working folder."""
    home, worker = tmp_path / "home", tmp_path / "worker"
    home.mkdir()
    worker.mkdir()
    monkeypatch.chdir(worker)
    user_data.search_from(home)
    user_data.forget()
    yield home
    user_data.search_from(Path())
    user_data.forget()


def write(path, text):
    """Writes a file, and makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def first_value(reference):
    """Returns the first number of the first modality, which the module beside the dataset's file determines."""
    return float(user_data.load(reference).train.items["a"][0, 0])


def test_relative_files_are_those_of_the_folder_where_the_command_was_typed(typed_in):
    """The module reads one at import, and the function another. Afterwards the process has its former working folder."""
    write(typed_in / "own" / "t.csv", "3")
    write(typed_in / "own" / "u.csv", "40")
    imports = "from pathlib import Path; SHIFT = float(Path('own/t.csv').read_text())"
    write(typed_in / "own" / "t.py", DATASET.format(imports=imports, shift="SHIFT + np.loadtxt('own/u.csv')", more=""))
    before = os.getcwd()
    assert first_value("own/t.py:made") == 43
    assert os.getcwd() == before


def test_the_folder_is_left_also_where_the_function_goes_elsewhere_or_fails(typed_in):
    """A function may change the working folder or raise: afterwards the process has its former working folder."""
    before = os.getcwd()
    write(typed_in / "away.py", DATASET.format(imports="import os; os.chdir('/')", shift=0, more=""))
    write(typed_in / "bad.py", "import os\ndef made():\n    os.chdir('/')\n    raise ValueError('no')\n")
    user_data.card("away.py:made")
    assert os.getcwd() == before
    with pytest.raises(DataError) as caught:
        user_data.card("bad.py:made")
    assert not unnamed(caught.value, "bad.py:made", "ValueError", "no")
    assert os.getcwd() == before


def test_networks_are_made_in_that_folder_too(typed_in):
    """An encoder opens a relative file and imports a module when it is made, long after the dataset was."""
    write(typed_in / "width.txt", "7")
    write(typed_in / "own" / "layers.py", "from torch import nn\ndef layer(d, w):\n    return nn.Linear(d, w)\n")
    width = "int(Path('width.txt').read_text())"
    network = f"from pathlib import Path\ndef network(d):\n    import layers\n    return layers.layer(d, {width})\n"
    write(typed_in / "own" / "t.py", DATASET.format(imports=network, shift=0, more=", encoder=network"))
    assert user_data.architecture("own/t.py:made", "a").encoder(3).out_features == 7


NEIGHBOURS = {
    "module": ("helpers.py", "import helpers", "helpers.VALUE"),
    "function of a module": ("helpers.py", "from helpers import VALUE", "VALUE"),
    "package": ("tools/__init__.py", "import tools", "tools.VALUE"),
    "module of a package": ("tools/deep.py", "from tools import deep", "deep.VALUE"),
    "while it is called": ("helpers.py", "", "__import__('helpers').VALUE"),
}


@pytest.mark.parametrize("case", NEIGHBOURS)
@pytest.mark.parametrize("folder", [".", "own", "own/deeper", "../aside"])
def test_modules_beside_the_file_are_found(typed_in, folder, case):
    """The command may be typed in the file's folder, above it, or beside it."""
    name, imports, value = NEIGHBOURS[case]
    write(typed_in / folder / name, "VALUE = 5\n")
    write(typed_in / folder / "t.py", DATASET.format(imports=imports, shift=value, more=""))
    assert first_value(f"{folder}/t.py:made") == 5


@pytest.mark.parametrize("case", NEIGHBOURS)
@pytest.mark.parametrize("order", ["ab", "ba", "aba"])
def test_two_datasets_have_each_their_own_neighbour(typed_in, case, order):
    """Two folders have files and modules of the same names. Each dataset imports its own module, in any order."""
    name, imports, value = NEIGHBOURS[case]
    for folder, number in (("a", 1), ("b", 2)):
        write(typed_in / folder / name, f"VALUE = {number}\n")
        write(typed_in / folder / "t.py", DATASET.format(imports=imports, shift=value, more=""))
    for folder in order:
        user_data.forget()
        assert first_value(f"{folder}/t.py:made") == {"a": 1, "b": 2}[folder]


def test_networks_of_two_datasets_find_each_their_own_neighbour(typed_in):
    """When both datasets are loaded, an encoder still imports the module beside its own file."""
    network = "def network(d):\n    import layers\n    return layers.layer(d)\n"
    for folder, width in (("a", 5), ("b", 6)):
        write(typed_in / folder / "layers.py", f"from torch import nn\ndef layer(d):\n    return nn.Linear(d, {width})\n")
        write(typed_in / folder / "t.py", DATASET.format(imports=network, shift=0, more=", encoder=network"))
    modalities = {folder: user_data.architecture(f"{folder}/t.py:made", "a") for folder in "ab"}
    assert {folder: modality.encoder(3).out_features for folder, modality in modalities.items()} == {"a": 5, "b": 6}


def test_a_neighbour_comes_before_a_module_of_that_name_that_is_loaded(typed_in, tmp_path, monkeypatch):
    """The dataset imports its own `shared_name`, and all other code has the former module again afterwards."""
    write(tmp_path / "library" / "shared_name.py", "VALUE = 90\n")
    monkeypatch.syspath_prepend(tmp_path / "library")
    import shared_name

    write(typed_in / "own" / "shared_name.py", "VALUE = 5\n")
    write(typed_in / "own" / "t.py", DATASET.format(imports="import shared_name", shift="shared_name.VALUE", more=""))
    assert first_value("own/t.py:made") == 5
    assert sys.modules["shared_name"] is shared_name
    del sys.modules["shared_name"]


def test_nothing_of_the_dataset_is_left_for_others_to_find(typed_in):
    """Python's path and modules are as before, so that a `csvfiles.py` or `optuna.py` beside the file replaces no library."""
    write(typed_in / "own" / "optuna_like.py", "VALUE = 5\n")
    write(typed_in / "own" / "t.py", DATASET.format(imports="import optuna_like", shift="optuna_like.VALUE", more=""))
    path, modules = list(sys.path), set(sys.modules)
    user_data.card("own/t.py:made")
    assert sys.path == path
    assert set(sys.modules) == modules


def test_a_module_is_found_in_the_folder_where_the_command_was_typed(typed_in):
    """The dataset is `package.module:function`, imports another module there and reads a relative file."""
    write(typed_in / "one.csv", "3")
    write(typed_in / "typed_package" / "__init__.py", "")
    write(typed_in / "typed_neighbour.py", "VALUE = 40\n")
    imports = "import typed_neighbour"
    text = DATASET.format(imports=imports, shift="typed_neighbour.VALUE + np.loadtxt('one.csv')", more="")
    write(typed_in / "typed_package" / "typed.py", text)
    assert first_value("typed_package.typed:made") == 43


def test_another_module_of_that_name_is_not_taken_for_it(typed_in):
    """If the folder has a json.py, `json:made` would be Python's json, which is loaded. The line names both files."""
    write(typed_in / "json.py", DATASET.format(imports="", shift=0, more=""))
    with pytest.raises(DataError) as caught:
        user_data.card("json:made")
    assert not unnamed(caught.value, "json", "ImportError", json.__file__)


def test_a_machine_without_the_folder_is_named(tmp_path):
    """A node of a cluster may lack the folder. The line names it and says that each machine needs it."""
    user_data.search_from(tmp_path / "gone")
    try:
        with pytest.raises(DataError) as caught:
            user_data.card("own/t.py:made")
        assert not unnamed(caught.value, tmp_path / "gone", socket.gethostname())
    finally:
        user_data.search_from(Path())


def test_a_file_that_is_not_there_says_where_it_was_looked_for(typed_in):
    """The line of a FileNotFoundError ends with the folder in which relative names are looked for."""
    write(typed_in / "t.py", DATASET.format(imports="", shift="np.loadtxt('none.csv')", more=""))
    with pytest.raises(DataError) as caught:
        user_data.card("t.py:made")
    assert not unnamed(caught.value, "none.csv", typed_in)


CSV = """
import helpers
import pandas as pd
from mopoe_core.data.own import OwnDataset, OwnModality
def made():
    table = pd.read_csv("own/t.csv")
    x, y = helpers.scaled(table[["a", "b"]].to_numpy()), table.y.to_numpy()
    return OwnDataset(tuple(OwnModality(n, "vector", x[:400] + i, x[400:] + i) for i, n in enumerate("ab")), y[:400], y[400:])
"""


@pytest.mark.slow
def test_a_sweep_over_relative_files_and_neighbours_trains(tmp_path):
    """With real workers, two datasets that read one relative file and have a `helpers.py` each complete."""
    rows = "".join(f"{i % 7 - 3 * (i % 2)},{i % 5 + 2 * (i % 2)},{i % 2}\n" for i in range(600))
    write(tmp_path / "own" / "t.csv", f"a,b,y\n{rows}")
    for folder, shift in (("own", 0), ("other", 1)):
        write(tmp_path / folder / "helpers.py", f"def scaled(x):\n    return (x - x.mean(0)) / x.std(0) + {shift}\n")
        write(tmp_path / folder / "t.py", CSV)
    base = {"model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    grid = {"dataset": ["own/t.py:made", "other/t.py:made"]}
    write(tmp_path / "s.yaml", yaml.safe_dump({"name": "s", "base": base, "grid": grid, "storage": "runs"}))
    command = [sys.executable, "-m", "orchestrator", "sweep", "s.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts(done.stdout) == {"completed": 2}
