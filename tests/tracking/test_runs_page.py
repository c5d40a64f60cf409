"""The page that `ui` opens: the sweep's cells, sorted by the first objective, with the columns that matter."""

import json
import shutil
import signal
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jinja2
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator.report.sections.front_section import Card, Run
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow import ui
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.builders import COHERENCE, LIKELIHOOD
from tests.support.users import User, wait_for
from tests.tracking.test_tracking import Sweep, catch_up, record, small_sweep, stored_runs
from tests.tracking.test_ui import free_port

SERVER = "http://127.0.0.1:5000"


@pytest.fixture
def sweep(tmp_path: Path, empty_mlflow_store: Path) -> Sweep:
    """Six cells in MLflow that have ended; another storage in the store has the same cells."""
    shutil.copy(empty_mlflow_store, tmp_path / "mlflow.db")
    for folder in (tmp_path / "other", tmp_path):
        sweep = small_sweep(folder, model=["mvae", "mmvae", "mopoe"], beta=[0.5, 2.5], latent_dim=[8])
        record(sweep, *sweep.every)
        assert sweep.runs(catch_up, f"sqlite:///{tmp_path / 'mlflow.db'}") == ()
    return sweep


def storage_id(sweep: Sweep) -> str:
    """The storage id of the sweep's runs."""
    return json.loads((Path(str(sweep.ledger.storage)) / "storage.json").read_text())["id"]


def view_of(sweep: Sweep, page: str) -> dict:
    """Returns the view that the address names, from the store."""
    query = parse_qs(urlsplit(page).fragment.partition("?")[2])
    assert query["workflowType"] == ["machine_learning"]
    tags = MlflowClient(sweep.uri).get_experiment_by_name("t").tags
    return json.loads(tags[f"mlflow.sharedViewState.{query['viewStateShareKey'][0]}"])


def test_the_view_finds_the_cells_of_this_storage_best_first(sweep):
    """MLflow, with the view's filter and order, returns the cells of this storage and no other run."""
    page = ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep))
    experiment = MlflowClient(sweep.uri).get_experiment_by_name("t").experiment_id
    assert page.startswith(f"{SERVER}/#/experiments/{experiment}/runs?")
    view = view_of(sweep, page)
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    runs = MlflowClient(sweep.uri).search_runs([experiment], view["searchFilter"], order_by=[order])
    assert {run.data.tags["kind"] for run in runs} == {"cell"}
    assert len(runs) == 6
    assert len(stored_runs(sweep.uri)) > 2 * len(runs)
    values = [run.data.metrics[COHERENCE] for run in runs]
    assert values == sorted(values, reverse=True)


def test_the_columns_are_what_differs_and_the_objectives(sweep):
    """The columns are model, beta, other fields in which cells differ, objectives and number of seeds. Each is in the store."""
    ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep))
    columns = view_of(sweep, ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep)))["selectedColumns"]
    metrics = [f"metrics.`{COHERENCE}`", f"metrics.`{LIKELIHOOD}`"]
    assert columns == ["params.`model`", "params.`beta`", *metrics, "tags.`n`", "tags.`group`"]
    run = next(run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "cell")
    assert {"model", "beta"} <= run.data.params.keys()
    assert {COHERENCE, LIKELIHOOD} <= run.data.metrics.keys()
    assert "n" in run.data.tags


def test_an_objective_to_be_minimised_is_sorted_upwards_and_varied_fields_are_columns(sweep):
    """The sweep file may change between two calls, and the view follows it."""
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text"}, "grid": {"model": ["mopoe"], "latent_dim": [8, 16]}}
    spec = parse(raw | {"objectives": [{"metric": "probe/mnist", "goal": "min"}, {"metric": COHERENCE, "goal": "max"}]})
    ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep))
    view = view_of(sweep, ui.sweep_page(SERVER, sweep.uri, spec, storage_id(sweep)))
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`probe/mnist`", True)
    assert "params.`latent_dim`" in view["selectedColumns"]


def test_asking_again_leaves_the_store_as_it_is(sweep):
    """The second call changes no byte of the file, so that the next sweep need not load MLflow."""
    pages = [ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep))]
    path = Path(str(sweep.ledger.storage)) / "mlflow.db"
    content = path.read_bytes()
    pages.append(ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep)))
    assert pages[0] == pages[1]
    assert path.read_bytes() == content


def test_a_store_that_can_only_be_read_is_shown_by_search_and_order(sweep, monkeypatch):
    """The address then has filter and order in the UI's format, and names no view."""

    def refuse(*args: object) -> None:
        raise MlflowException("attempt to write a readonly database")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    query = parse_qs(urlsplit(ui.sweep_page(SERVER, sweep.uri, sweep.spec, storage_id(sweep))).fragment.partition("?")[2])
    assert query == {
        "workflowType": ["machine_learning"],
        "searchFilter": [f"tags.kind = 'cell' and tags.storage_id = '{storage_id(sweep)}'"],
        "orderByKey": [f"metrics.`{COHERENCE}`"],
        "orderByAsc": ["false"],
    }


def test_a_store_without_the_sweep_is_opened_on_its_first_page(sweep, tmp_path):
    """The same holds for a file that is no store."""
    (tmp_path / "broken.db").write_text("no database")
    spec = parse({"name": "unknown", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}})
    assert ui.sweep_page(SERVER, sweep.uri, spec, storage_id(sweep)) == SERVER
    assert ui.sweep_page(SERVER, f"sqlite:///{tmp_path / 'broken.db'}", sweep.spec, storage_id(sweep)) == SERVER


PLACED = """[...document.querySelectorAll('%s')].map(element => [element.getBoundingClientRect().%s, element.innerText.trim()])
.sort(([one], [other]) => one - other).map(([_, text]) => text)"""
"""Texts of elements in the order in which they are seen: the UI's own order of elements is another."""
NAMES = PLACED % ("[role=row] a", "top")
HEADERS = PLACED % ("[role=columnheader]", "left")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_shows_the_cells_in_order_with_their_columns(sweep, tmp_path):
    """The real UI is opened, at the address that `ui` prints, in a browser that has never seen MLflow."""
    raw = {
        "name": "t",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 8},
        "grid": {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 2.5]},
        "seeds": 2,
        "storage": str(tmp_path),
    }
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    port = free_port()
    running = User(tmp_path, tmp_path, tmp_path).starts("ui", tmp_path / "t.yaml", "--port", port, PYTHONUNBUFFERED="1")
    try:
        page = running.stdout.readline().split()[1]
        wait_for(lambda: answers(port))
        with browser(tmp_path / "profile") as tab:
            tab.order("Emulation.setDeviceMetricsOverride", width=2200, height=900, deviceScaleFactor=1, mobile=False)
            tab.order("Page.navigate", url=page)
            wait_for(lambda: len(shown_cells(tab)) == 6)
            names, headers = shown_cells(tab), list(dict.fromkeys(tab.run(HEADERS)))
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
    runs = [run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "cell"]
    coherence = {run.info.run_name: run.data.metrics[COHERENCE] for run in runs}
    assert [coherence[name] for name in names] == sorted((coherence[name] for name in names), reverse=True)
    assert [name for name in headers if name in ("model", "beta", COHERENCE, LIKELIHOOD, "n")] == [
        "model",
        "beta",
        COHERENCE,
        LIKELIHOOD,
        "n",
    ]


def shown_cells(tab: Browser) -> list[str]:
    """Returns the names of the runs, from top to bottom."""
    return [name for name in tab.run(NAMES) if "beta=" in name]


def answers(port: int) -> bool:
    """Returns whether the UI answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("link", ["", f"{SERVER}/#/experiments/1/runs/abc"], ids=["without links", "with links"])
def test_a_card_of_the_report_says_what_its_links_need(link):
    """The card names the command exactly if it has a link to MLflow."""
    pages = jinja2.Environment(loader=jinja2.PackageLoader("orchestrator.report"), autoescape=True, trim_blocks=True)
    card = Card("c", "mopoe beta=1", 1, 1, (), "on the front", (Run("t", 0, "completed", link),), link)
    assert ("mopoe ui" in pages.get_template("card.html.j2").render(card=card, proper=proper)) == bool(link)
