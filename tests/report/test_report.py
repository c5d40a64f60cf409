"""Report files: complete, deterministic, self-contained, harmless."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import AVERAGE_PRECISION, metric_names
from orchestrator.report import report
from orchestrator.report.figures import front_figure
from orchestrator.report.figures.front_figure import write_front
from orchestrator.report.paper import claim_tables
from orchestrator.report.paper.claim_power import power_text
from orchestrator.report.render import tables
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import Cell
from tests.support.builders import cell, grid_results, result
from tests.support.drawings import without_drawing
from tests.support.naming import unnamed

RAW = {
    "name": "demo",
    "base": {"dataset": "mnist_svhn_text", "networks": "small"},
    "grid": {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 2.5, 10]},
    "seeds": 2,
}


class Page(HTMLParser):
    """What a page refers to and contains."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note a tag and what it refers to."""
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data):
        """Collect text."""
        self.text += data


def written(folder, results=None, **changes):
    """A report of the demo sweep."""
    spec = parse(RAW | changes)
    every = spec.trials
    results = grid_results([trial.cell for trial in every if trial.seed == 0], 2) if results is None else results
    done = {result.trial.id for result in results}
    states = {trial.id: "completed" if trial.id in done else "failed" for trial in every}
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(folder / "picture.png")
    samples = {trial.id: {"unconditional": folder / "picture.png"} for trial in every}
    return report.write(spec, results, states, samples, "python -m orchestrator report x_y.yaml", folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Where the report of the demo sweep is, complete; drawing it takes seconds."""
    return written(tmp_path_factory.mktemp("demo"))


def test_every_file_is_there_and_the_tables_agree(demo):
    """CSV and parquet hold the same cells; every figure has its numbers beside it, and the front is in three formats."""
    paths, folder = demo, demo.page.parent
    csv, parquet = (
        pd.read_csv(paths.cells_csv, dtype={"attribute": str, "scale": str}).fillna({"target": "", "attribute": "", "scale": ""}),
        pd.read_parquet(paths.cells_parquet),
    )
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert len(pd.read_parquet(paths.trials_parquet)) == 18 * 8
    for figure, more in (("front", [".pdf", ".png"]), ("seeds/attainment-*", []), ("seeds/learning-*", [])):
        assert sorted(path.suffix for path in folder.glob(f"{figure}.*")) == [".csv", *more, ".svg"]


def test_the_same_results_give_the_same_bytes(demo, tmp_path):
    """Nothing in the report depends on when or where it is written."""
    written(tmp_path)
    first = demo.page.parent
    files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]
    assert {"paper", "seeds"} <= {path.parent.name for path in files}
    for path in files:
        assert (first / path).read_bytes() == (tmp_path / path).read_bytes(), path


def test_the_page_needs_no_network_and_shows_every_cell(demo):
    """Every picture is inside the page, and each of the nine cells is in its table."""
    page = Page(demo.page.read_text())
    assert page.sources
    files = [source for source in page.sources if not source.startswith(("data:", "#"))]
    assert all((demo.page.parent / source).is_file() for source in files)
    assert {"front.pdf", "cells.csv", "cells.tex", "paper/figure1.svg"} <= set(files)
    assert all(f"{model} β={beta}" in page.text for model in ("MVAE", "MMVAE", "MoPoE") for beta in ("0.5", "2.5", "10"))


def test_what_is_written_by_others_is_escaped(tmp_path, undrawn):
    """A provenance field that holds markup is shown, not run."""
    results = [r for r in grid_results([cell("mvae", 0.5)], 2)]
    results[0].provenance["commit"] = "<script>alert(1)</script>"
    page = Page(written(tmp_path, results).page.read_text())
    assert page.tags.count("script") == 1  # the page's own
    assert "<script>alert(1)</script>" in page.text


def test_trials_of_different_data_or_code_are_pointed_out(tmp_path, undrawn):
    """Mixed data hashes and commits in one table are a warning at the top."""
    results = grid_results([cell("mvae", 0.5)], 2)
    results[0].provenance["data_hash"] = "other"
    assert re.search(r"\bd, other\b", Page(written(tmp_path, results).page.read_text()).text)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_sweep_without_results_has_a_report(tmp_path, seeds, undrawn):
    """Before any trial has completed the report says so."""
    paths = written(tmp_path, [], seeds=seeds)
    assert "0 of" in Page(paths.page.read_text()).text
    assert "0/" in paths.markdown.read_text()


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """Where the report is of a sweep whose last cell has one of two seeds."""
    every = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (0.5, 2.5, 10)]
    with without_drawing():
        return written(tmp_path_factory.mktemp("lacking"), grid_results(every, 2)[:-1])


def test_missing_seeds_are_said_in_the_tables(lacking):
    """A cell with one of two seeds says 1/2 in Markdown, LaTeX and page, and is left out of the front."""
    assert "1/2" in lacking.markdown.read_text()
    assert "1/2" in lacking.latex.read_text()
    assert "mopoe beta=10 (1/2)" in Page(lacking.page.read_text()).text


def test_the_latex_table_is_balanced(demo):
    """Braces and environments close, every row has the declared number of columns, special characters are escaped."""
    text = demo.latex.read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") == body.count("}")
    assert body.count("$") % 2 == 0
    assert re.findall(r"\\(begin|end)\{tabular\}", body) == ["begin", "end"]
    columns = len(re.search(r"\{tabular\}\{(\w+)\}", body).group(1))
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 10
    assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
    assert not re.search(r"(?<!\\)_", body)


def test_the_best_of_a_column_is_bold():
    """Exactly the largest joint coherence is marked, in Markdown and LaTeX."""
    entry = [tables.Entry(0.2, 0.01, False, 2, 2), tables.Entry(0.4, 0.01, True, 2, 2)]
    rows = tuple(tables.Row(f"c{i}", 2, 2, 0.5, i == 1, {"coherence/joint": e}) for i, e in enumerate(entry))
    table = tables.CellRows(("coherence/joint",), rows)
    assert re.findall(r"\*\*(.+?)\*\*", tables.markdown(table)) == ["0.400 ± 0.010"]
    assert re.findall(r"mathbf\{(.+?)\}", tables.latex(table, "x")) == [r"0.400 \pm 0.010"]


def test_a_single_seed_has_no_spread_in_the_tables(tmp_path, undrawn):
    """With n = 1 a number stands alone: no sd, no nan."""
    every = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (0.5, 2.5, 10)]
    paths = written(tmp_path, grid_results(every, 1), seeds=1)
    for path in (paths.markdown, paths.latex):
        text = path.read_text()
        assert "1/1" in text
        assert not re.search(r"nan|n/a|±|\\pm", text)


def test_heat_maps_name_the_cells_that_lack_seeds(lacking):
    """Every table of the page that shows a mean over surviving seeds says over how many."""
    text = Page(lacking.page.read_text()).text
    assert text.count("MoPoE β=10 (1/2)") >= 4


def faces(seeds=2):
    """Results of CelebA as its trials report them: judged by average precision, but for the joint coherence."""
    config = {"dataset": "celeba", "networks": "small", "beta": 2.5}
    made = [Cell(TrainingConfig.model_validate({**config, "model": model})) for model in ("mvae", "mmvae", "mopoe")]
    found = []
    for of, seed in itertools.product(made, range(seeds)):
        names = metric_names(of.config.modalities, of.config.attributes)
        one = result(of, seed, {name: 0.01 * len(name) + 0.1 * seed for name in names})
        judged = [m.kind in ("coherence", "probe") and m.name != "coherence/joint" for m in one.metrics]
        units = [AVERAGE_PRECISION if own else m.unit for own, m in zip(judged, one.metrics, strict=True)]
        found.append(replace(one, metrics=tuple(replace(m, unit=u) for m, u in zip(one.metrics, units, strict=True))))
    return found


FACES = {
    "base": {"dataset": "celeba", "networks": "small", "beta": 2.5},
    "grid": {"model": ["mvae", "mmvae", "mopoe"]},
    "objectives": [{"metric": "coherence/text/image", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}],
}


def test_attributes_are_labelled_as_average_precisions(tmp_path, monkeypatch, undrawn):
    """CelebA's front has the unit of the long table on its axis, and no note speaks of shares of examples or of accuracy."""
    drawn = []
    monkeypatch.setattr(
        front_figure, "write_front", lambda f, t, units, *more: drawn.extend(units) or write_front(f, t, units, *more)
    )
    text = Page(written(tmp_path, faces(), **FACES).page.read_text()).text
    assert drawn == [AVERAGE_PRECISION, "nats"]
    assert len(re.findall(AVERAGE_PRECISION, text, re.IGNORECASE)) >= 2
    assert not re.search("share of test examples|accuracy of a ", text, re.IGNORECASE)


def test_classes_are_labelled_as_shares(demo):
    """Where labels are classes, notes are of shares and accuracies."""
    text = Page(demo.page.read_text()).text
    assert re.search("share of test examples", text, re.IGNORECASE)
    assert re.search("accuracy of a ", text, re.IGNORECASE)
    assert not re.search(AVERAGE_PRECISION, text, re.IGNORECASE)


@pytest.mark.parametrize(("preset", "count"), [("paper", 15), ("released_code", 12)])
def test_the_number_of_samples_is_the_configurations(tmp_path, preset, count, undrawn):
    """The page says how many samples the bound has: 15 in the paper, 12 in its released code."""
    base = {"dataset": "mnist_svhn_text", "networks": "small", "preset": preset}
    spec = parse(RAW | {"base": base})
    cells = [trial.cell for trial in spec.trials if trial.seed == 0]
    text = Page(written(tmp_path, grid_results(cells, 2), base=base).page.read_text()).text
    assert re.findall(r"(\d+) samples", text) == [str(count)] * 2


def test_the_page_says_what_the_tests_can_show(tmp_path, undrawn):
    """The correction, the sign test's limit, and every comparison behind a claim are on the page as in the claims' Markdown."""
    every = parse(RAW | {"seeds": 3}).cells
    paths = written(tmp_path, grid_results(every, 3), seeds=3)
    claims, text = paths.paper.claims, Page(paths.page.read_text()).text
    assert "details" in Page(paths.page.read_text()).tags
    assert claim_tables.CORRECTION in text
    assert not unnamed(text, "n = 3", "sign test", "p ≥ 0.25")
    compared = [comparison.what for claim in claims for comparison in claim.comparisons]
    assert compared
    assert all(what in text for what in compared)


def test_the_page_says_how_each_claim_is_read_and_with_what_power(tmp_path, undrawn):
    """Each claim's row has its reading in one sentence, and how often the rule finds the paper right on the paper's own numbers."""
    paths = written(tmp_path, grid_results(parse(RAW | {"seeds": 3}).cells, 3), seeds=3)
    tables = {name: (paths.page.parent / f"paper/claims.{name}").read_text() for name in ("md", "csv")}
    tables["page"] = Page(paths.page.read_text()).text
    for text in tables.values():
        assert all(" ".join(claim.rule.reading.split()) in text for claim in paths.paper.claims)
        assert power_text("C5", "mnist_svhn_text", 3) in text


def test_a_command_cannot_leave_its_comment():
    """A line break in the command does not become LaTeX."""
    assert tables.latex(tables.CellRows((), ()), "a\r\nb").splitlines()[0] == "% a b"
