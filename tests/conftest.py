"""Fixtures that many test files use. What takes long to build is built once, also where several processes run the tests."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

import pytest
import torch
from filelock import FileLock

from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.classifiers import Classifiers, trained_classifiers
from orchestrator.cli import app
from orchestrator.tracking.mlflow.client import make_database
from tests.support import own_cards, recorded
from tests.support.drawings import without_drawing
from tests.support.users import User

torch.set_num_threads(1)  # as workers do: repeatable, and not slowed many times over by a neighbour on the other core


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder that all processes of this test session share; nothing in it may be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def data_folder(shared: Path) -> Path:
    """Returns the folder in which the embedded dataset is built once."""
    return shared / "data"


@pytest.fixture(scope="session")
def dataset(data_folder: Path) -> Dataset:
    """Returns the embedded MNIST-SVHN-Text."""
    return mnist_svhn_text.load("embedded", data_folder)


@pytest.fixture(scope="session")
def classifier_folder(shared: Path) -> Path:
    """Returns the folder in which the classifiers of the embedded dataset are trained once; `jury` sees to it that they are."""
    return shared / "classifiers"


@pytest.fixture(scope="session")
def jury(dataset: Dataset, classifier_folder: Path) -> Classifiers:
    """Returns the classifiers of the embedded dataset."""
    return trained_classifiers(dataset, classifier_folder, torch.device("cpu"))


@pytest.fixture
def user(jury: Classifiers, classifier_folder: Path, data_folder: Path, tmp_path: Path) -> User:
    """Returns a user with a storage that holds trained classifiers and nothing else."""
    return User.with_classifiers(tmp_path, classifier_folder, data_folder)


@pytest.fixture
def types_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Type a command in this process; gives its exit code, and what it wrote to standard output and standard error."""

    def run(*words: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["orchestrator", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            app.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that commands are typed in, with a dataset of the user's own whose classifiers take a moment: `mine.py:made`."""
    (tmp_path / "mine.py").write_text((Path(__file__).parent / "support" / "own_data.py").read_text())
    monkeypatch.chdir(tmp_path)
    user_data.search_from(tmp_path)
    yield tmp_path
    user_data.search_from(Path())


@pytest.fixture
def card_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], DatasetCard]]:
    """What is known of a dataset, or of what a function returns, under the name `own_cards.HERE`; a fresh process each time, as far as
    `own` can tell.
    """

    def card(made: object) -> DatasetCard:
        monkeypatch.setattr(own_cards, "made", made if callable(made) else lambda: made, raising=False)
        user_data.forget()
        return user_data.card(own_cards.HERE)

    yield card
    user_data.forget()


@pytest.fixture(scope="session")
def empty_mlflow_store(shared: Path) -> Path:
    """Returns a database with MLflow's tables, which take seconds to make, to be copied."""
    made = built_once(shared / "mlflow", lambda folder: make_database(f"sqlite:///{folder / 'mlflow.db'}"))
    return made / "mlflow.db"


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Lets reports write an empty drawing for each figure, for tests that look at the rest."""
    with without_drawing():
        yield


@pytest.fixture(scope="session")
def recorded_once(shared: Path) -> recorded.Store:
    """Returns trained trials and every kind of record, to be copied and not changed."""
    return recorded.Store(built_once(shared / "recorded", recorded.make))


def built_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """Returns the folder, which the first process that asks for it has filled with `build`."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture
def store(recorded_once: recorded.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[recorded.Store]:
    """Trained trials and every kind of record, to be damaged."""
    copied = recorded_once.copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    user_data.search_from(tmp_path)
    yield copied
    user_data.search_from(Path())


@pytest.fixture
def stored_mlflow(store: recorded.Store, empty_mlflow_store: Path) -> None:
    """Gives the storage of `store` an MLflow database without runs, which a command would take seconds to make."""
    shutil.copy(empty_mlflow_store, Path(str(store.ledger.storage)) / "mlflow.db")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with slow tests first, so that no process is left with one of them when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
