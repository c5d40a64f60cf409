"""A sweep over two datasets is two sweeps: each group's front, hypervolume, best and tables are those of a sweep of its own."""

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from mopoe_core.data.own import user_data
from mopoe_core.family.registry import TITLES
from mopoe_core.storage.whole_files import write_text
from orchestrator.analysis import comparable_groups, fronts
from orchestrator.analysis.comparable_groups import check_search, groups_of
from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.analysis.model_groups import groups
from orchestrator.driver import preconditions, report_step, retention, tracking_step
from orchestrator.driver import sweep as driver
from orchestrator.errors import LedgerError
from orchestrator.execution import plan
from orchestrator.ledger import sweep_records
from orchestrator.ledger.ledger import Ledger
from orchestrator.monitor.current_front import current_fronts
from orchestrator.monitor.live_state import condensed
from orchestrator.monitor.shown_front import front_lines
from orchestrator.report import export
from orchestrator.report.paper import paper_tables
from orchestrator.report.report import ReportPaths
from orchestrator.report.sections import picture_section
from orchestrator.search.engine import SearchEngine
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.report.test_report_page import Parsed
from tests.support import searches, two_groups
from tests.support.browser import CHROMIUM, browser
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, result
from tests.support.naming import naming
from tests.support.two_groups import FIRST, SECOND, swept

BOTH, ALONE = "both", {FIRST: "alone-first", SECOND: "alone-second"}
SLUGS = {FIRST: "first-py-made", SECOND: "second-py-made"}


@dataclass(frozen=True)
class Home:
    """Where three sweeps are: over both datasets, and over each; MLflow and the reports are written."""

    folder: Path

    def storage(self, name: str) -> Path:
        """A sweep's own."""
        return self.folder / name

    def report(self, name: str) -> Path:
        """A sweep's."""
        return self.storage(name) / "sweeps" / name / "report"


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_mlflow_store):
    """All trials have completed, with known results; commands are typed in its folder."""
    folder, before = tmp_path_factory.mktemp("home"), Path.cwd()
    two_groups.write_datasets(folder)
    os.chdir(folder)
    user_data.search_from(folder)
    made = Home(folder)
    for name, datasets in ((BOTH, (FIRST, SECOND)), (ALONE[FIRST], (FIRST,)), (ALONE[SECOND], (SECOND,))):
        spec, ledger = swept(made.storage(name), name, datasets)
        shutil.copy(empty_mlflow_store, made.storage(name) / "mlflow.db")
        assert tracking_step.track(spec, ledger.storage, f"python -m orchestrator sweep {name}.yaml", rebuild=False)[1] == ()
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(two_groups.raw(name, datasets, storage=str(ledger.storage))))
    yield made
    os.chdir(before)
    user_data.search_from(Path())


@pytest.fixture
def both(home):
    """The sweep over both datasets, and its results."""
    spec = parse(two_groups.raw(BOTH))
    return spec, Ledger(home.storage(BOTH)).results_of(spec.trials)


def test_each_group_has_the_front_of_a_sweep_of_its_own(home, both):
    """Cell by cell: means, spread, probability and membership, and the hypervolume; every cell is in one group."""
    spec, results = both
    found = groups_of(spec, results)
    assert [group.label for group in found.groups] == [FIRST, SECOND]
    assert tuple(c for group in found.groups for c in group.cells) == spec.cells
    assert found.set_aside == ()
    for group in found.groups:
        alone = parse(two_groups.raw("x", [group.label]))
        expected = fronts.front(
            alone.objectives, alone.cells, alone.seed_list, Ledger(home.storage(BOTH)).results_of(alone.trials)
        )
        assert fronts.front(spec.objectives, group.cells, spec.seed_list, group.results) == expected
        assert 0 < sum(point.on_front for point in expected.points) < len(expected.points)


@pytest.mark.parametrize("dataset", [FIRST, SECOND])
def test_the_figures_of_a_group_are_those_of_a_sweep_of_its_own(home, dataset):
    """The front and what the seeds attain, and their numbers, to the byte."""
    ours, alone = home.report(BOTH), home.report(ALONE[dataset])
    of_seeds = [f"seeds/{kind}-{SLUGS[dataset]}-own-own" for kind in ("attainment", "learning")]
    pairs = [(f"front-{SLUGS[dataset]}.{suffix}", f"front.{suffix}") for suffix in ("svg", "png", "pdf", "csv")]
    for name, other in [*pairs, *((f"{stem}.{suffix}",) * 2 for stem in of_seeds for suffix in ("svg", "csv"))]:
        assert (ours / name).read_bytes() == (alone / other).read_bytes(), name
    assert not list(ours.glob("front.*"))


def test_the_tables_of_the_groups_are_those_of_sweeps_of_their_own(home):
    """Rows of the CSV and the parquet with a column more; the Markdown below a heading each, so that each group has its own best."""
    ours = home.report(BOTH)
    for name in ("cells", "trials"):
        table, parquet = pd.read_csv(ours / f"{name}.csv"), pd.read_parquet(ours / f"{name}.parquet")
        assert table.columns[0] == parquet.columns[0] == "group"
        for dataset, alone in ALONE.items():
            expected = pd.read_csv(home.report(alone) / f"{name}.csv")
            assert "group" not in expected
            own_rows = table[table.group == dataset].drop(columns="group").reset_index(drop=True)
            if name == "trials":  # which names trials by what tells them from all others of their sweep
                own_rows, expected = own_rows.drop(columns="label"), expected.drop(columns="label")
            pd.testing.assert_frame_equal(own_rows, expected)
            assert (parquet.group == dataset).sum() == len(expected)
    alone = [(home.report(ALONE[dataset]) / "cells.md").read_text() for dataset in (FIRST, SECOND)]
    assert (ours / "cells.md").read_text() == f"**{FIRST}**\n\n{alone[0]}\n**{SECOND}**\n\n{alone[1]}"
    latex, separate = (
        (ours / "cells.tex").read_text(),
        [(home.report(ALONE[d]) / "cells.tex").read_text() for d in (FIRST, SECOND)],
    )
    assert [latex.count(part) for part in (r"\begin{tabular}", r"\end{tabular}", r"\mathbf")] == [
        2,
        2,
        sum(text.count(r"\mathbf") for text in separate),
    ]


def mlflow_runs(home, name):
    """The runs of a sweep by kind and id."""
    client = MlflowClient(default_uri(home.storage(name)))
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    return {(run.data.tags["kind"], run.data.tags[f"{run.data.tags['kind']}_id"]): run for run in found}


def test_mlflow_has_a_hypervolume_for_each_group_and_says_to_which_a_cell_belongs(home):
    """Each hypervolume is that of the sweep of its own; so are the metrics of each cell's run."""
    ours = mlflow_runs(home, BOTH)
    of_sweep = ours["sweep", BOTH].data
    assert "hypervolume" not in of_sweep.metrics
    assert {name for name in of_sweep.metrics if name.startswith("hypervolume")} == {
        f"hypervolume/{slug}" for slug in SLUGS.values()
    }
    for dataset, name in ALONE.items():
        alone = mlflow_runs(home, name)
        assert of_sweep.metrics[f"hypervolume/{SLUGS[dataset]}"] == alone["sweep", name].data.metrics["hypervolume"]
        assert of_sweep.params[f"group {SLUGS[dataset]}"] == dataset
        for key, run in alone.items():
            if key[0] == "cell":
                assert ours[key].data.metrics == run.data.metrics
                assert (ours[key].data.tags["group"], run.data.tags.get("group")) == (dataset, None)
    client = MlflowClient(default_uri(home.storage(BOTH)))
    artifacts = {file.path for file in client.list_artifacts(ours["sweep", BOTH].info.run_id)}
    assert {f"front-{slug}.svg" for slug in SLUGS.values()} <= artifacts


def test_status_has_a_front_for_each_group(home, both, types_here, monkeypatch):
    """Each line begins with its group; what follows is what the sweep of its own says. The table has a heading a group."""
    monkeypatch.chdir(home.folder)
    spec, results = both
    expected = []
    for dataset in (FIRST, SECOND):
        alone = parse(two_groups.raw("x", [dataset]))
        own_results = [r for r in results if r.trial.config.dataset == dataset]
        expected += [f"{dataset}: {line}" for line in front_lines(current_fronts(alone, own_results))]
    assert front_lines(current_fronts(spec, [condensed(r, spec) for r in results])) == expected
    assert sum("hypervolume" in line for line in expected) == 2
    code, out, _ = types_here("status", f"{BOTH}.yaml")
    assert code == 0
    headings = [line.strip() for line in out.splitlines()]
    assert [headings.count(dataset) for dataset in (FIRST, SECOND)] == [1, 1]
    assert out.count("hypervolume") == 2


def test_checkpoints_of_each_groups_front_stay(home, both):
    """Also those of the dataset whose cells are worse in every number."""
    spec, results = both
    ledger = Ledger(home.storage(BOTH))
    for trial in spec.trials:
        write_text(ledger.checkpoint(trial), "weights")
    write_text(ledger.storage / "sweeps" / BOTH / "sweep.json", sweep_records.as_json(spec))
    surplus = {trial.cell.id for trial in retention.surplus(spec, ledger.storage).trials}
    expected = set()
    for group in groups_of(spec, results).groups:
        found = fronts.front(spec.objectives, group.cells, spec.seed_list, group.results)
        expected |= {point.cell_id for point in found.points if not point.on_front}
    assert surplus == expected
    assert Counter(c.config.dataset for c in spec.cells if c.id in surplus) == {FIRST: 1, SECOND: 1}


def test_an_export_says_which_numbers_may_be_compared(home, both):
    """A column `group` where there are several; none where there is one."""
    spec, results = both
    every = spec.trials
    table = pd.concat(export.tidy(every, dict.fromkeys((t.id for t in every), "completed"), results))
    assert (table.group == table.dataset).all()
    alone = parse(two_groups.raw("x", [FIRST])).trials
    kept = [r for r in results if r.trial.config.dataset == FIRST]
    assert "group" not in next(export.tidy(alone, dict.fromkeys((t.id for t in alone), "completed"), kept))


@pytest.fixture(scope="module")
def page(home):
    """That of the sweep over both."""
    return Parsed((home.report(BOTH) / "index.html").read_text())


def test_the_page_shows_every_group_under_its_name(home, page, both):
    """Fronts, tables and heat maps; no id is there twice, and every cell has a marker and a card; a page of one group names none."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [key for key, count in Counter(ids).items() if count > 1] == []
    assert page.strays == []
    spec, results = both
    every = spec.cells
    assert set(page.ids("section")) - {"summary"} == {f"card-{c.id}" for c in every}
    assert {a["id"] for _, a in page.elements if a.get("class") == "mark"} == {f"cell-{c.id}" for c in every}
    text = (home.report(BOTH) / "index.html").read_text()
    sections = {part.partition('"')[0]: part for part in text.split('<h2 id="')[1:]}
    for anchor in ("front", "cells"):
        assert [sections[anchor].count(f"<h3>{dataset}</h3>") for dataset in (FIRST, SECOND)] == [1, 1]
    coherence = text.partition(f'<h3 id="heat-coherence-{SLUGS[FIRST]}">')[2].partition("<h3")[0]
    assert [coherence.count(f"<h4>{dataset}</h4>") for dataset in (FIRST, SECOND)] == [1, 1]
    each = [fronts.front(spec.objectives, g.cells, spec.seed_list, g.results) for g in groups_of(spec, results).groups]
    volumes = [front.hypervolume for front in each]
    assert all(f"Hypervolume {volume:.5g}, against" in sections["front"] for volume in volumes)
    assert len(set(volumes)) == 2
    alone = (home.report(ALONE[FIRST]) / "index.html").read_text()
    assert f"<h3>{FIRST}</h3>" not in alone
    assert '<h2 id="front">The front</h2>' in alone


def test_pictures_are_headed_by_their_group(both, tmp_path):
    """Two datasets have cells of the same model and beta: their samples are in tables of their own. Those of one group name none."""
    spec, results = both
    (tmp_path / "x.png").write_bytes(b"")
    samples = {r.trial.id: {"unconditional": tmp_path / "x.png"} for r in results}
    grouped = groups_of(spec, results).groups
    tables = picture_section.tables(spec, results, samples, grouped)
    assert [heading for heading, _ in tables] == [FIRST, SECOND]
    alone, kept = parse(two_groups.raw("x", [FIRST])), grouped[0].results
    ((heading, (table,)),) = picture_section.tables(alone, kept, samples, groups_of(alone, kept).groups)
    assert heading == ""
    assert [model.partition(" ")[0] for model in table.models] == ["MVAE", "MoPoE"]


def test_pairs_of_series_are_of_one_group(home):
    """Each group's differences and hypervolumes seed by seed are those of the sweep of its own."""
    ours = (home.report(BOTH) / "index.html").read_text()
    for name in ALONE.values():
        alone = (home.report(name) / "index.html").read_text()
        pairs = alone.partition("Differences between series, paired by seed</h4>")[2].partition("</table>")[0]
        volumes = alone.partition("seed by seed</h4>")[2].partition("</table>")[0]
        assert pairs
        assert volumes
        assert ours.count(pairs) == 1
        assert ours.count(volumes) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_markers_of_every_front_open_their_cards(home, tmp_path):
    """Of both groups, by a link in the table and by the keyboard's focus; nothing is wider than the window and the console is silent."""
    every = parse(two_groups.raw(BOTH)).cells
    with browser(tmp_path / "profile") as tab:
        for width in (1280, 400):
            tab.open(home.report(BOTH) / "index.html", width)
            assert tab.run("document.documentElement.scrollWidth <= innerWidth")
            for chosen in (every[0], every[-1]):
                tab.run(f"""document.querySelector('.wide a[href="#cell-{chosen.id}"]').click()""")
                assert (
                    tab.run("document.querySelector('#tip h4').textContent")
                    == f"{TITLES[chosen.config.model]} β={chosen.config.beta:g}"
                )
                box = tab.run(
                    f"(r => [r.top, r.bottom, innerHeight])(document.getElementById('cell-{chosen.id}').getBoundingClientRect())"
                )
                assert 0 <= box[0] <= box[1] <= box[2]
        assert tab.complaints == []


def test_a_figure_of_a_front_that_is_no_more_does_not_stay(home, tmp_path, undrawn):
    """A sweep that loses a dataset has `front.svg`, and the other way round."""
    both_spec, ledger = swept(tmp_path, "x")
    one_spec = parse(two_groups.raw("x", [FIRST]))

    def drawn(spec) -> ReportPaths:
        return report_step.write_report(spec, ledger.storage, "python -m orchestrator report x.yaml")

    assert [front.svg.name for front in drawn(both_spec).fronts] == [f"front-{slug}.svg" for slug in SLUGS.values()]
    folder = drawn(one_spec).page.parent
    assert sorted(path.name for path in folder.glob("front*")) == ["front.csv", "front.pdf", "front.png", "front.svg"]
    drawn(both_spec)
    assert len(list(folder.glob("front-*"))) == 8
    assert not list(folder.glob("front.*"))


RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
    "grid": {"beta": [1, 2, 3]},
    "seeds": 2,
    "objectives": two_groups.raw("t")["objectives"],
}


def measured(data, classifiers="c", of=RAW):
    """Results of a sweep whose trials were measured on the data that `data` says of beta and seed."""
    spec = parse(of)
    return spec, [
        result(
            t.cell,
            t.seed,
            {COHERENCE: 0.1 * t.config.beta, LIKELIHOOD: -100.0 * t.config.beta},
            data_hash=data(t.config.beta, t.seed),
            classifiers={"hash": classifiers if isinstance(classifiers, str) else classifiers(t.config.beta)},
        )
        for t in spec.trials
    ]


def test_cells_of_one_configuration_on_other_data_are_another_group():
    """By the hash of the data, and by that of the classifiers; the label has the hashes, and the paper's groups are split, too."""
    by_data = measured(lambda beta, seed: "old" if beta == 3 else "new")
    by_classifiers = measured(lambda beta, seed: "d", lambda beta: "old" if beta == 3 else "new")
    for what, (spec, results) in (("data", by_data), ("classifiers", by_classifiers)):
        found = groups_of(spec, results)
        assert [(group.label, [c.config.beta for c in group.cells]) for group in found.groups] == [
            (f"{what} new", [1.0, 2.0]),
            (f"{what} old", [3.0]),
        ]
        assert [len(group.cells) for group in groups(spec.cells, spec.seed_list, results)] == [2, 1]
        assert [group.label.rpartition(", ")[2] for group in groups(spec.cells, spec.seed_list, results)] == [
            f"{what} new",
            f"{what} old",
        ]


def test_a_cell_whose_seeds_were_measured_on_different_data_lacks_seeds():
    """The seed that disagrees with most of its configuration is set aside: the cell says 1/2, is on no front, and no mean mixes the two
    kinds.
    """
    spec, results = measured(lambda beta, seed: "old" if (beta, seed) == (2.0, 1) else "new")
    found = groups_of(spec, results)
    (group,) = found.groups
    assert group.label == ""
    assert [(r.trial.config.beta, r.trial.seed) for r in found.set_aside] == [(2.0, 1)]
    front = fronts.front(spec.objectives, group.cells, spec.seed_list, group.results)
    assert [(out.label, out.n, out.n_planned) for out in front.left_out] == [("mopoe beta=2", 1, 2)]
    assert [point.beta for point in front.points] == [1.0, 3.0]


HASHES = re.compile(r"different content: ([\w, ]+)")
"""The warning of a page that lists the hashes of data sets of one name."""


def test_a_report_names_what_it_has_set_aside(tmp_path, undrawn):
    """The page names trial and hashes; the table says 1/2; MLflow's run of the cell has the mean of the seed that counts."""
    spec, results = measured(lambda beta, seed: "old" if (beta, seed) == (2.0, 1) else "new")
    ledger = Ledger(tmp_path)
    for one in results:
        ledger.begin(one.trial)
        ledger.record(one)
    paths = report_step.write_report(spec, tmp_path, "python -m orchestrator report x.yaml")
    text = paths.page.read_text()
    (aside,) = groups_of(spec, results).set_aside
    assert re.search(rf"\b1 trial\b[^<]*\b{aside.trial.id}\b[^<]*\bdata\b", text)
    assert HASHES.search(text).group(1) == "new, old"
    assert [line.split("|")[2].strip() for line in paths.markdown.read_text().splitlines()[2:]] == ["2/2", "1/2", "2/2"]
    assert [(s.n, s.n_planned) for s in tracking_step.cell_summaries(spec, results)] == [(2, 2), (1, 2), (2, 2)]


def test_no_warning_says_that_datasets_have_different_content(home):
    """Where each dataset was the same for all its trials."""
    assert not HASHES.search((home.report(BOTH) / "index.html").read_text())


def test_a_cell_without_results_is_with_those_of_its_configuration():
    """A pending cell waits in the group that most results are in, and makes none of its own."""
    spec, results = measured(lambda beta, seed: "d")
    found = groups_of(spec, [r for r in results if r.trial.config.beta != 3])
    assert [len(group.cells) for group in found.groups] == [3]
    assert [len(group.cells) for group in groups_of(spec, []).groups] == [3]


def test_a_diverged_trial_is_of_its_cells_group_whatever_it_says():
    """It has no number that could be compared."""
    spec, results = measured(lambda beta, seed: "d")
    results[1] = result(results[1].trial.cell, 1, {}, "diverged", data_hash="other")
    found = groups_of(spec, results)
    assert [len(group.results) for group in found.groups] == [6]
    assert found.set_aside == ()


def test_all_cells_that_the_paper_would_compare_are_in_one_group(both):
    """A group of the paper's tables is part of one front's group."""
    spec, results = both
    fronts = [group.ids for group in groups_of(spec, results).groups]
    for group in groups(spec.cells, spec.seed_list, results):
        assert sum({c.id for c in group.cells} <= ids for ids in fronts) == 1


def test_no_table_of_the_paper_mixes_what_cannot_be_compared():
    """Cells with 15 and with 12 importance samples have a table each, with a name, a best and a note of its own."""
    models = ("mvae", "mmvae", "mopoe")
    every = [cell(model, 5.0, importance_samples=samples) for samples in (15, 12) for model in models]
    values = {"log_likelihood/joint": -2000.0, "probe/mnist": 0.5}
    results = [result(c, seed, {k: v + i for k, v in values.items()}) for i, c in enumerate(every) for seed in (0, 1)]
    comparable = comparable_groups.front_groups(every, results).groups
    made = [table for table in paper_tables.paper_tables(comparable, [0, 1]) if table.key == "table2"]
    assert [[row.cell.config.importance_samples for row in table.rows] for table in made] == [[15] * 3, [12] * 3]
    assert len({table.name for table in made}) == 2
    assert [sum(entry.best for row in table.rows for entry in row.entries if entry.n) for table in made] == [1, 1]
    assert ["importance_samples=15" in made[0].note, "importance_samples=12" in made[1].note] == [True, True]


def test_slugs_differ_and_are_fit_for_files():
    """Also where labels differ in signs or case alone, and where one is as long as a path may be."""
    labels = ["a/b.py:f", "a-b.py:f", "A/B.py:f", "é:é", "ß:ß", "x" * 300]
    made = comparable_groups.slugs_of(labels)
    assert len({slug.lower() for slug in made}) == len(labels)
    assert all(
        slug and len(slug) < 70 and set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        for slug in made
    )
    assert comparable_groups.slugs_of([""]) == [""]


@pytest.fixture
def hunt(tmp_path):
    """A search with two completed cells; the second was measured on other data."""
    found = searches.Hunt(tmp_path, searches.raw(seeds=1))
    for latent, data in ((8, "new"), (9, "new"), (10, "old")):
        made = found.propose(model="mopoe", beta=1.0, latent_dim=latent)
        found.record(result(made, 0, searches.of(0.1 * latent, -100 - latent), data_hash=data))
    return found


def test_a_search_has_one_group_and_sets_the_rest_aside(hunt, tmp_path, undrawn):
    """Its report has one front, of the cells that most results agree with; `sweep` refuses to go on and names the trial."""
    (group,) = groups_of(hunt.spec, hunt.results).groups
    assert [r.trial.config.latent_dim for r in group.results] == [8, 9]
    assert len(group.cells) == 3
    paths = hunt.report(tmp_path / "report")
    (front,) = paths.fronts
    assert front.hypervolume == pytest.approx(hypervolume([(0.8, -108), (0.9, -109)], hunt.spec.objectives))
    (wrong,) = [r.trial for r in hunt.results if r.trial.config.latent_dim == 10]
    with pytest.raises(LedgerError, check=naming(wrong.id)):
        check_search(hunt.spec, hunt.results)
    check_search(hunt.spec, [r for r in hunt.results if r.trial != wrong])
    ledger = Ledger(hunt.storage)
    with pytest.raises(LedgerError, check=naming(wrong.id)):  # as `plan` says it
        preconditions.check_results(hunt.spec, plan.make(hunt.spec.wanted, ledger), ledger)
    with pytest.raises(LedgerError, check=naming(wrong.id)):
        driver.run(hunt.spec, "", hunt.storage, "python -m orchestrator sweep hunt.yaml")
    assert not (hunt.storage / "sweeps" / "hunt" / "sweep.json").exists()


def test_a_search_is_not_told_what_was_measured_on_other_data(hunt):
    """The study gets no number for such a cell."""
    search = SearchEngine(hunt.spec, hunt.ledger, {r.trial.id: r for r in hunt.results}, lambda spec: None, lambda line: None)
    assert [one.outcome.kind for one in search.proposed_cells()] == ["completed", "completed", "failed"]
