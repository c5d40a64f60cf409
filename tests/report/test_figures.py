"""The front's figure: what is drawn, and that it can be read."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from orchestrator.analysis.fronts import front
from orchestrator.report.figures.front_figure import MOST_LABELLED, caption, draw_front
from orchestrator.report.figures.label_placement import OFFSETS, place_label, strokes_of
from orchestrator.report.figures.learning_figure import MOST_CURVES, PALEST, learning
from orchestrator.report.figures.model_styles import model_style
from orchestrator.report.figures.theme import PAPER
from orchestrator.spec.sections import Objective
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, result
from tests.support.naming import names, names_in_order

OBJECTIVES = (Objective(metric=COHERENCE, goal="max", reference=0), Objective(metric=LIKELIHOOD, goal="max", reference=-2300))
CELLS = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (0.5, 1, 2.5, 5, 10, 20)]


@pytest.fixture
def drawn():
    """Draws a front."""
    return lambda found: draw_front(found, "a title", ["share", "nats"])


def found(results, seeds, cells=CELLS):
    """The front of these results."""
    return front(OBJECTIVES, cells, range(seeds), results)


def beta_labels(figure):
    """The labels at the markers."""
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_no_label_covers_another_or_leaves_the_frame(drawn, seeds):
    """Each of the eighteen cells has a label of its own, and no two of the boxes overlap."""
    figure = drawn(found(grid_results(CELLS, seeds), seeds))
    boxes = [text.get_window_extent() for text in beta_labels(figure)]
    frame = figure.axes[0].get_window_extent()
    assert len(boxes) == 18
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)


def test_a_marker_is_filled_if_and_only_if_its_cell_is_on_the_front(drawn):
    """Every point's marker is looked up by its place; white is hollow."""
    points = found(grid_results(CELLS, 2), 2)
    markers = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line.get_markerfacecolor() != PAPER
        for line in drawn(points).axes[0].lines
        if line.get_marker() not in ("None", "|", "_")
    }
    assert markers == {point.means: point.on_front for point in points.points}


def test_bars_are_one_standard_deviation_of_the_seeds(drawn):
    """The horizontal and vertical segments end at each cell's mean minus and plus the sd that numpy computes from its trials."""
    points = found(grid_results(CELLS, 3), 3)
    ends = {tuple(s.ravel()) for c in drawn(points).axes[0].collections for s in c.get_segments()}
    for point in points.points:
        own = [r for r in grid_results(CELLS, 3) if r.trial.cell.id == point.cell_id]
        (a, b), (x, y) = np.std([[r.value(COHERENCE), r.value(LIKELIHOOD)] for r in own], axis=0, ddof=1), point.means
        for bar in ((x - a, y, x + a, y), (x, y - b, x, y + b)):
            assert any(end == pytest.approx(bar) for end in ends)


def test_an_incomplete_cell_is_faint_named_and_off_the_line(drawn):
    """Its label and the caption say 1/2, its marker is faint, and the line is broken there."""
    points = found([r for r in grid_results(CELLS, 2) if r.trial.id != grid_results(CELLS, 2)[5].trial.id], 2)
    figure = drawn(points)
    assert "β 2.5, 1/2" in [text.get_text() for text in beta_labels(figure)]
    assert "MVAE β=2.5 (1/2)" in caption(points)
    assert [line.get_alpha() for line in figure.axes[0].lines].count(0.35) == 1
    assert sum(x != x for line in figure.axes[0].lines for x in line.get_xdata()) == 1


def test_a_cell_without_a_result_is_neither_called_faint_nor_in_the_legend(drawn):
    """Of MVAE one cell lacks a seed and is faint; MMVAE has no result, no marker and no entry, and the others keep their styles."""
    every = grid_results(CELLS, 2)
    points = found([r for r in every[1:] if r.trial.config.model != "mmvae"], 2)
    faint, absent = caption(points).split("faint")[1].split(". ")[:2]
    assert names(faint, "MVAE β=0.5 (1/2)")
    assert names(absent, "MMVAE β=0.5 (0/2)")
    assert "(0/2)" not in faint
    axes = drawn(points).axes[0]
    entries = zip(axes.get_legend().get_texts(), axes.get_legend().get_lines(), strict=True)
    assert {text.get_text(): line.get_color() for text, line in entries} == {
        "MVAE": model_style("mvae").colour,
        "MoPoE": model_style("mopoe").colour,
    }


def test_a_long_bar_leaves_the_frame_to_the_means(drawn):
    """One cell whose seeds disagree wildly does not squeeze the others, and the caption says that its bar is cut."""
    cells = [cell("mvae", 1), cell("mvae", 2)]
    values = [(0.1, -2000), (0.9, -2000), (0.6, -1900), (0.6, -1900)]
    results = [result(cells[i // 2], i % 2, {COHERENCE: a, LIKELIHOOD: b}) for i, (a, b) in enumerate(values)]
    figure = drawn(found(results, 2, cells))
    left, right = figure.axes[0].get_xlim()
    assert 0.4 < left < 0.5
    assert 0.6 < right < 0.7
    assert names(figure.get_supxlabel().replace("\n", " "), "frame")


def test_constant_objectives_can_be_drawn(drawn):
    """No spread on either axis: one place, a frame around it, no warning."""
    cells = [cell("mvae", 1), cell("mvae", 2)]
    results = [result(c, seed, {COHERENCE: 0.0, LIKELIHOOD: -1900}) for c in cells for seed in range(2)]
    left, right = drawn(found(results, 2, cells)).axes[0].get_xlim()
    assert left < 0 < right


def test_no_completed_trial_is_said_in_the_figure(drawn):
    """An empty front is a figure that says so."""
    assert [text.get_text() for text in drawn(found([], 2)).axes[0].texts] == ["no complete cell yet"]


def many(count, tied):
    """Cells whose front is every tenth, or all of them."""
    cells = [cell("mvae", beta) for beta in range(1, count + 1)]
    values = [(b / 1000, -1900.0 - b) if tied or b % 10 == 0 else (b / 2000, -1950.0 - b) for b in range(1, count + 1)]
    pairs = zip(cells, values, strict=True)
    return cells, [result(of, seed, {COHERENCE: x + seed / 1e5, LIKELIHOOD: y}) for of, (x, y) in pairs for seed in (0, 1)]


def test_of_many_cells_only_those_on_the_front_have_a_label(drawn):
    """Of a hundred cells the labels are the betas of the ten on the front, and the caption says so; every cell has its marker."""
    cells, results = many(100, False)
    points = found(results, 2, cells)
    figure = drawn(points)
    assert [text.get_text() for text in beta_labels(figure)] == [f"β {p.beta:g}" for p in points.points if p.on_front]
    assert 0 < len(beta_labels(figure)) < MOST_LABELLED
    assert names(figure.get_supxlabel().replace("\n", " "), 100, "only", "front", "label")
    assert sum(line.get_gid() is not None for line in figure.axes[0].lines) == 100


def test_of_many_cells_on_the_front_none_has_a_label(drawn):
    """Where the front alone has more cells than there is room for, the caption says that none is labelled."""
    cells, results = many(MOST_LABELLED + 1, True)
    figure = drawn(found(results, 2, cells))
    assert not beta_labels(figure)
    assert names(figure.get_supxlabel().replace("\n", " "), MOST_LABELLED + 1, "none", "label")


def test_a_label_stands_where_a_plain_loop_over_boxes_and_strokes_would_put_it(drawn):
    """At random places, the offset chosen is the first of the least cost, counted box by box and stroke by stroke."""
    figure = drawn(found(grid_results(CELLS, 2), 2))
    frame, chance = figure.axes[0].get_window_extent(), np.random.default_rng(0)
    text = beta_labels(figure)[0]
    for _ in range(20):
        centre = np.array(text.get_window_extent().min)
        taken = [Bbox.from_bounds(*(centre + chance.uniform(-60, 60, 2)), 14, 14) for _ in range(12)]
        strokes = centre + chance.uniform(-60, 60, (200, 2))
        costs = []
        for x, y in OFFSETS:
            text.set(position=(x, y), horizontalalignment="left" if x > 0 else "right" if x < 0 else "center")
            box = text.get_window_extent()
            shared = [Bbox.intersection(box, other) for other in taken]
            area = sum(common.width * common.height for common in shared if common is not None)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            crossed = sum(box.x0 < u < box.x1 and box.y0 < v < box.y1 for u, v in strokes)
            costs.append(1e6 * (not inside) + 1e3 * area + crossed)
        place_label(text, frame, taken, strokes)
        assert text.get_position() == OFFSETS[int(np.argmin(costs))]


def test_of_many_cells_learning_curves_have_a_few_over_the_whole_range_of_betas():
    """Of forty cells of a model sixteen have a line, with the lowest and highest beta, and the caption says how many."""
    cells, results = many(40, False)
    figure = learning(cells, results, "some data")
    assert len(figure.axes[0].lines) == MOST_CURVES
    assert names_in_order(figure.get_supxlabel().replace("\n", " "), MOST_CURVES, 40, "cells")
    opacities = [line.get_alpha() for line in figure.axes[0].lines]
    assert (min(opacities), max(opacities)) == (PALEST, 1.0)


def test_between_the_bars_of_two_cells_there_is_no_stroke(drawn):
    """Where the line between two cells is broken by an incomplete one, what a label must not cover is the two crosses alone."""
    cells = [cell("mvae", beta) for beta in (1, 2, 3)]
    results = [result(of, s, {COHERENCE: b + s / 9, LIKELIHOOD: b + s / 9}) for b, of in enumerate(cells) for s in (0, 1)]
    axes = drawn(found([r for r in results if r.trial.id != results[2].trial.id], 2, cells)).axes[0]
    strokes = axes.transData.inverted().transform(strokes_of(axes))
    assert len(strokes)
    centres = np.array([[1 / 18, 1 / 18], [2 + 1 / 18, 2 + 1 / 18]])
    assert np.isclose(strokes[:, None], centres).any(2).any(1).all()


@pytest.mark.parametrize(("level", "is_drawn"), [(0.2, True), (0.01, False), (None, False)])
def test_joint_coherence_by_chance_is_a_dotted_line_where_the_frame_has_room(level, is_drawn):
    """At its value, across the frame; a level outside of it does not stretch the frame."""
    points = found(grid_results(CELLS, 2), 2)
    axes = draw_front(points, "t", ["share", "nats"], level).axes[0]
    at = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert at == ([level] if is_drawn else [])
    assert axes.get_xlim() == draw_front(points, "t", ["share", "nats"]).axes[0].get_xlim()
