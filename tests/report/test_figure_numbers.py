"""The numbers behind each figure are what it shows, and figures for a paper have the width and letters that are asked for."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.analysis.aggregation import cell_table
from orchestrator.analysis.attainment import attainments
from orchestrator.report import figure_export
from orchestrator.report.figures import attainment_figure, curve_figures, heat_figure, learning_figure, tradeoff_figures
from orchestrator.report.figures.front_figure import draw_front, front_numbers
from orchestrator.report.figures.plot_style import FOR_A_PAPER, Look, drawn_for
from orchestrator.spec.sweep_file import parse
from tests.report.test_figures import CELLS, OBJECTIVES, found
from tests.report.test_paper_figures import POLY, group_of, trials
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, cell, grid_results, result


def markers(axes):
    """Where the markers of cells stand."""
    shown = [line for line in axes.lines if line.get_marker() in tuple("os^") and len(line.get_xdata()) == 1]
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in shown)


def test_the_numbers_of_the_front_are_where_its_markers_and_bars_stand():
    """Each row's means are a marker, and its standard deviations the halves of two bars."""
    points = found(grid_results(CELLS, 3), 3)
    figure, table = draw_front(points, "t", ["share", "nats"]), front_numbers(points)
    assert markers(figure.axes[0]) == sorted(zip(table[COHERENCE], table[LIKELIHOOD], strict=True))
    bars = {tuple(np.round(segment.ravel(), 9)) for lines in figure.axes[0].collections for segment in lines.get_segments()}
    for x, y, sd in zip(table[COHERENCE], table[LIKELIHOOD], table[f"{COHERENCE}.sd"], strict=True):
        assert tuple(np.round((x - sd, y, x + sd, y), 9)) in bars
    filled = [line for line in figure.axes[0].lines if line.get_gid() and line.get_markerfacecolor() == line.get_color()]
    assert {line.get_gid() for line in filled} == {f"cell-{key}" for key in table[table.on_front].cell_id}


def test_the_numbers_of_the_learning_curves_are_their_lines():
    """In the panel of each quantity and model, the line of each cell is the rows of that cell; a diverged trial has rows of its own."""
    cells = [cell(model, beta) for model in ("mvae", "mopoe") for beta in (1, 2)]
    results = [*grid_results(cells, 2), result(cells[0], 2, {}, "diverged")]
    figure, table = learning_figure.learning(cells, results, "t"), learning_figure.learning_numbers(cells, results)
    means = table[table.seed.isna()]
    quantities = list(dict.fromkeys(means.quantity))
    panels = iter(figure.axes)
    for quantity in quantities:
        for model in ("mvae", "mopoe"):
            lines = [line.get_ydata() for line in next(panels).lines if line.get_linestyle() == "-"]
            wanted = [rows["mean"] for _, rows in means[(means.quantity == quantity) & (means.model == model)].groupby("beta")]
            assert len(lines) == len(wanted) == 2
            for line, rows in zip(lines, wanted, strict=True):
                np.testing.assert_array_equal(line, rows)
    history = next(r for r in results if r.trial.cell == cells[0] and r.trial.seed == 1).history
    other = next(r for r in results if r.trial.cell == cells[0] and r.trial.seed == 0).history
    first = means[(means.cell_id == cells[0].id) & (means.quantity == quantities[0])].iloc[0]
    values = [epochs[0].values[quantities[0]] for epochs in (history, other)]
    assert (first["mean"], first["sd"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert set(table[table.seed == 2].cell_id) <= {cells[0].id}


def test_models_share_the_scale_of_a_quantity():
    """Every panel of a row has the same limits, so that heights can be compared."""
    cells = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (1, 2)]
    axes = learning_figure.learning(cells, grid_results(cells, 2), "t").axes
    for row in range(0, len(axes), 3):
        assert len({panel.get_ylim() for panel in axes[row : row + 3]}) == 1


def test_the_numbers_of_the_attainment_surfaces_are_their_corners():
    """Each corner of the median surface lies on the line of its series."""
    surfaces = attainments(OBJECTIVES, CELLS, range(3), grid_results(CELLS, 3))
    figure, table = attainment_figure.attainment(surfaces, "t", ["share", "nats"]), attainment_figure.attainment_numbers(surfaces)
    median = table[table.percent == 50]
    for line, (_, rows) in zip(figure.axes[0].lines, median.groupby("series", sort=False), strict=True):
        path = {tuple(point) for point in np.round(np.stack([line.get_xdata(), line.get_ydata()], 1), 9).tolist()}
        assert {tuple(point) for point in np.round(rows[[COHERENCE, LIKELIHOOD]].to_numpy(), 9).tolist()} <= path


@pytest.mark.parametrize("name", ["joint", "given_two", "given_one"])
def test_the_numbers_of_a_tradeoff_are_its_markers_panel_by_panel(name):
    """As many panels as there are pairs of metrics, and in each the markers of its rows."""
    group = group_of(CELLS, 2)
    figure = getattr(tradeoff_figures, name)(group)
    table = tradeoff_figures.numbers(group, getattr(tradeoff_figures, f"{name}_panels")(group))
    panels = table.groupby(["x_metric", "y_metric"], sort=False)
    for axes, (_, rows) in zip(figure.axes, panels, strict=True):
        assert markers(axes) == sorted(zip(rows.x, rows.y, strict=True))


def test_the_numbers_of_the_curves_by_size_are_their_lines():
    """In each panel a line a model, whose heights are that model's rows."""
    group = group_of(POLY, 3, trials(POLY, 3))
    figure, table = curve_figures.by_size(group), curve_figures.numbers(group, curve_figures.by_size_metrics(group))
    for axes, (_, panel) in zip(figure.axes, table.groupby("panel", sort=False), strict=True):
        for line, (_, rows) in zip(axes.lines, panel.groupby("cell_id", sort=False), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), rows["mean"])


def test_a_heat_map_has_one_scale_and_the_means_of_its_cells():
    """Each tile is the mean of its cell and metric over seeds; the scale goes from the lowest to the highest tile of all columns."""
    cells, results = CELLS[:3], trials(CELLS[:3], 2)
    table = cell_table(cells, {of.id: [0, 1] for of in cells}, results)
    table = table[table["kind"] == "coherence"]
    figure, numbers = heat_figure.heat_map(cells, table, "t"), heat_figure.heat_numbers(cells, table)
    (mesh,) = (shown for shown in figure.axes[0].collections if shown.get_array() is not None)
    tiles = numbers.drop(columns=["cell_id", "label"])
    np.testing.assert_array_equal(np.asarray(mesh.get_array()), tiles)
    assert mesh.get_clim() == (tiles.to_numpy().min(), tiles.to_numpy().max())
    own = [r.value("coherence/mnist.text/svhn") for r in results if r.trial.cell == cells[1]]
    assert tiles["coherence/mnist.text/svhn"][1] == pytest.approx(np.mean(own))


@pytest.mark.parametrize(("width", "points"), [(3.3, 7), (6.9, 9)])
def test_figures_for_a_paper_have_the_width_and_the_letters_that_are_asked_for(tmp_path, width, points):
    """Every page is so wide, the fonts are inside as TrueType, and each figure has its numbers beside it."""
    spec = parse(PAGE)
    results = grid_results(spec.cells, 3)
    written = figure_export.write(spec, results, {}, (), Look(width, points, has_words=False), tmp_path)
    names = {path.stem for path in written}
    assert {"front"} < names
    assert {name.partition("-")[0] for name in names} >= {"front", "attainment", "learning", "figure1"}
    for path in written:
        pdf = path.read_bytes()
        boxes = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) [\d.]+ ?\]", pdf)
        assert [float(box) for box in boxes] == [pytest.approx(72 * width, abs=0.1)]
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf
        assert len(pd.read_csv(path.with_suffix(".csv"))) > 0


def test_the_letters_of_a_paper_have_the_size_that_is_asked_for():
    """Labels of the axes have that size, and neither title nor caption is in the figure."""
    points = found(grid_results(CELLS, 2), 2)
    with drawn_for(Look(3.3, 7.5, has_words=False)):
        figure = draw_front(points, "a title", ["share", "nats"])
    assert figure.axes[0].xaxis.label.get_fontsize() == 7.5
    assert figure.get_suptitle() == figure.get_supxlabel() == ""
    assert draw_front(points, "a title", ["share", "nats"]).get_suptitle() == "a title"
    assert not FOR_A_PAPER.has_words


def test_the_command_writes_figures_alone(store, types_here, tmp_path):
    """PDFs and CSVs are in the folder, each PDF is named, and nothing of storage changes."""

    def there():
        return {path: path.stat().st_mtime_ns for path in Path(store.ledger.storage).rglob("*")}

    before, into = there(), tmp_path / "figures"
    code, out, err = types_here("report", store.file, "--figures", into, "--figure-width", 3.3, "--font-size", 8)
    assert (code, err) == (0, "")
    written = {path.name for path in into.iterdir()}
    assert {"front.pdf", "front.csv"} <= written
    assert {line.rpartition("/")[2] for line in out.splitlines()} == {name for name in written if name.endswith(".pdf")}
    assert there() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--figure-width", 3.3], "--figure-width"),
        (["--font-size", 8], "--font-size"),
        (["--figures", "FILE"], "--figures"),
        (["--figures", "FOLDER", "--figure-width", 0], "--figure-width"),
        (["--figures", "FOLDER", "--font-size", 200], "--font-size"),
    ],
)
def test_options_of_figures_that_make_no_sense_are_refused(store, types_here, tmp_path, options, named):
    """Sizes without a folder, a file in place of a folder, and sizes that no page has are mistakes; nothing is written."""
    places = {"FILE": store.file, "FOLDER": tmp_path / "figures"}
    code, _, err = types_here("report", store.file, *[places.get(word, word) for word in options])
    assert code == 2
    assert named in err
    assert not (tmp_path / "figures").exists()
