"""What all figures share: a colour and marker a model, proper names, and colours that follow the theme of a page."""

import itertools
import re
from dataclasses import replace

import matplotlib.colors
import numpy as np
import pytest

from mopoe_core.family.registry import MODELS, TITLES
from orchestrator.report.figures import model_styles, theme
from orchestrator.report.figures.front_figure import draw_front
from orchestrator.report.figures.learning_figure import learning
from orchestrator.report.figures.model_styles import LINES, model_style, series_styles
from orchestrator.report.figures.plot_style import FOR_A_PAPER, ON_A_PAGE, drawn_for, save
from orchestrator.report.figures.tradeoff_figures import given_one, joint
from orchestrator.spec.proper_names import proper
from tests.report.test_figures import CELLS, found
from tests.report.test_paper_figures import group_of
from tests.support.builders import cell, grid_results


def luminance(colour):
    """The relative luminance of the Web Content Accessibility Guidelines."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in matplotlib.colors.to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """Their contrast, from 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def colours_in(figure):
    """The colours of the lines and markers of each model, by the legend's name for it."""
    entries = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return {
        text.get_text().partition(" (")[0]: (line.get_color(), line.get_marker())
        for legend in entries
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }


@pytest.mark.parametrize("series", [1, 24])
def test_a_long_legend_takes_no_height_from_the_axes(series):
    """With one series and with 24, each with a long label, the axes are at least 0.4 of the figure's width high."""
    cells = [cell(beta=beta, batch_size=16 + n, latent_dim=64) for n in range(series) for beta in (1.0, 5.0)]
    figure = draw_front(found(grid_results(cells, 2), 2, cells), "t", ["share", "nats"])
    width, height = figure.get_size_inches()
    assert figure.axes[0].get_position().height * height >= 0.4 * width


def long_series(count):
    """The front of some series of MoPoE with long labels."""
    weights = [(3.9183673469387754, 1.0, 1.0 + n) for n in range(count)]
    cells = [cell(beta=beta, reconstruction_weights=of_series) for of_series in weights for beta in (1, 5)]
    return found(grid_results(cells, 2), 2, cells)


def test_a_legend_breaks_between_words_and_values():
    """The lines of an entry are its label without a change, and end at a space, an equals sign or a comma."""
    points = long_series(3)
    legend = draw_front(points, "t", ["share", "nats"]).axes[0].get_legend()
    for text, number in zip(legend.get_texts(), ("1.0", "2.0", "3.0"), strict=True):
        rest = f"MoPoE reconstruction_weights=(3.918, 1.0, {number})"
        lines = text.get_text().splitlines()
        assert len(lines) > 1
        for line in lines:
            assert rest.startswith(line)
            rest = rest.removeprefix(line)
            assert not rest or line[-1] in "=," or rest[0] == " "
            rest = rest.lstrip()
        assert not rest


@pytest.mark.parametrize("look", [ON_A_PAGE, FOR_A_PAPER])
def test_a_dashed_line_has_a_gap_beside_the_marker_of_its_legend_entry(look):
    """On a page and in a paper, at least one and a half points of the entry's line are empty, and not behind the marker."""
    with drawn_for(look):
        lines = draw_front(long_series(len(LINES)), "t", ["share", "nats"]).axes[0].get_legend().get_lines()
    for line, pattern in zip(lines, LINES, strict=True):
        if pattern == "-":
            continue
        start, strokes = pattern
        points = np.arange(0, line.get_xdata()[-1], 0.1)
        places = (points / line.get_linewidth() + start) % sum(strokes)
        is_gap = np.searchsorted(np.cumsum(strokes), places, side="right") % 2 == 1
        is_beside = abs(points - points.mean()) > line.get_markersize() / 2 + 0.5
        assert 0.1 * (is_gap & is_beside).sum() >= 1.5, pattern


def test_no_two_models_share_a_marker_or_a_colour():
    """So they can be told apart in colour and, by their markers, in grey."""
    styles = [model_style(model) for model in MODELS]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == len(MODELS)


def test_models_to_come_have_pairs_of_their_own(monkeypatch):
    """Forty-nine places of the registry give forty-nine pairs of colour and marker, whatever the models are called."""
    card = next(iter(MODELS.values()))
    monkeypatch.setattr(
        model_styles, "MODELS", {f"model{place}": replace(card, name=f"model{place}", place=place) for place in range(49)}
    )
    styles = [model_style(f"model{place}") for place in range(49)]
    assert len({(style.colour, style.marker) for style in styles}) == 49


def test_a_model_looks_the_same_in_every_figure_of_every_sweep():
    """With MVAE and without it, on the front and in a figure of the paper, MoPoE has one colour and one marker."""
    few = [cell("mopoe", beta) for beta in (0.5, 2.5, 5)]
    figures = [draw_front(found(grid_results(cells, 2), 2, cells), "t", ["share", "nats"]) for cells in (CELLS, few)]
    looks = {colours_in(figure)["MoPoE"] for figure in [*figures, joint(group_of(few))]}
    style = model_style("mopoe")
    assert looks == {(style.colour, style.marker)}
    curves = learning(few, grid_results(few, 2), "t")
    assert {line.get_color() for axes in curves.axes for line in axes.lines} == {style.colour}


def test_series_of_one_model_differ_in_their_lines_alone():
    """Two sizes of MoPoE have its colour and marker, and two lines."""
    styles = series_styles(["mvae", "mopoe latent_dim=8", "mopoe latent_dim=16"])
    small, large = styles["mopoe latent_dim=8"], styles["mopoe latent_dim=16"]
    assert (small.colour, small.marker) == (large.colour, large.marker)
    assert small.line != large.line


def test_cells_that_no_line_tells_apart_are_named_in_full():
    """Of two sizes at one beta, each marker says its size."""
    sizes = [cell("mopoe", 2.5, latent_dim=size) for size in (8, 16)]
    figure = draw_front(found(grid_results(sizes, 2), 2, sizes), "t", ["share", "nats"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["latent_dim=8, β 2.5", "latent_dim=16, β 2.5"]


@pytest.mark.parametrize("model", MODELS)
def test_a_label_has_the_proper_name_of_its_model(model):
    """The title of the registry, then the fields, also where a value has spaces."""
    assert proper(model) == TITLES[model]
    assert proper(f"{model} beta=2.5 latent_dim=16") == f"{TITLES[model]} β=2.5 latent_dim=16"
    assert proper(f"{model} subsets=[['a'], ['b', 'c']] beta=1") == f"{TITLES[model]} subsets=[['a'], ['b', 'c']] β=1"


def test_every_colour_that_is_not_a_model_follows_the_theme(tmp_path):
    """In an embedded front each colour is a model's, or a variable that falls back to the light colour."""
    figure = draw_front(found(grid_results(CELLS, 2), 2), "t", ["share", "nats"])
    svg = theme.embedded(save(figure, tmp_path / "front")[0])
    fixed = set(re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"var\([^)]*\)", "", svg)))
    assert fixed <= {colour.lower() for colour in model_styles.COLOURS}
    names = set(re.findall(r"var\((--[\w-]+), #", svg))
    assert names
    assert all(f"{name}:" in theme.css() for name in names)
    assert "fill: #000000" not in svg


def test_models_and_words_are_legible_on_a_light_and_a_dark_page():
    """Marks have a contrast of three or more to a dark page and two or more to a light one, words four and a half or more to both."""
    papers = (theme.PAPER, theme.VARIABLES[theme.PAPER][1])
    for colour in model_styles.COLOURS:
        assert contrast(colour, papers[0]) >= 2
        assert contrast(colour, papers[1]) >= 3
    for words in (theme.INK, theme.FAINT_INK):
        assert contrast(words, papers[0]) >= 4.5
        assert contrast(theme.VARIABLES[words][1], papers[1]) >= 4.5


def test_figures_of_one_page_share_no_id(tmp_path):
    """Two embedded figures have different ids, each id that is referred to is there, and markers of cells keep theirs."""
    figure = draw_front(found(grid_results(CELLS, 2), 2), "t", ["share", "nats"])
    path = save(figure, tmp_path / "front")[0]
    ids = [set(re.findall(r'\bid="([^"]+)"', theme.embedded(path, prefix=prefix))) for prefix in ("a", "b")]
    marks = {f"cell-{of.id}" for of in CELLS}
    assert ids[0] & ids[1] == marks
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', theme.embedded(path, prefix="a")))
    assert referred
    assert referred <= ids[0]


def test_the_front_fits_a_phone(tmp_path):
    """It is not wider than 360 pixels with a margin of sixteen on either side, where its smallest words still have six pixels."""
    figure = draw_front(found(grid_results(CELLS, 2), 2), "t", ["share", "nats"])
    svg = theme.embedded(save(figure, tmp_path / "front")[0])
    least = float(re.search(r"min-width: (\d+)px", svg)[1])
    assert least <= 328
    width = float(re.search(r'viewBox="\S+ \S+ ([\d.]+)', svg)[1])
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert min(sizes) * 328 / width >= 5.4


def tick_labels(axis):
    """The labels of the ticks that are within the limits; matplotlib keeps others, which it does not draw."""
    low, high = sorted(axis.get_view_interval())
    return [label for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if low <= tick <= high]


def test_texts_of_a_figure_stay_inside_of_it_and_apart():
    """Title, caption, labels of axes and ticks of the front and of a figure with panels are within the figure; no two ticks touch."""
    for figure in (draw_front(found(grid_results(CELLS, 2), 2), "t " * 150, ["share", "nats"]), given_one(group_of(CELLS))):
        figure.canvas.draw()
        texts = [figure._suptitle, figure._supxlabel]
        for axes in figure.axes:
            across, up = (
                [label.get_window_extent() for label in tick_labels(axis) if label.get_text()]
                for axis in (axes.xaxis, axes.yaxis)
            )
            assert not any(one.overlaps(other) for ticks in (across, up) for one, other in itertools.combinations(ticks, 2))
            texts += [axes.xaxis.label, axes.yaxis.label, axes.title, *tick_labels(axes.xaxis), *tick_labels(axes.yaxis)]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        assert len(boxes) > 10
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
