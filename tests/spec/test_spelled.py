"""Numbers that tell cells apart: two different ones never read the same, and those that are short stay short."""

import math

import numpy as np
import pytest

from orchestrator.analysis.fronts import front
from orchestrator.analysis.hypervolume import references_text
from orchestrator.report.figures import front_figure, learning_figure
from orchestrator.report.render import axis_scales
from orchestrator.report.render.search_table import broken_text
from orchestrator.spec.search_block import Choice, Search
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import spelled
from orchestrator.tracking.mlflow.points import cell_tags
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, result

NEAR = (2.5, 2.5000001)
OBJECTIVES = (Objective(metric=COHERENCE, goal="max", reference=0), Objective(metric=LIKELIHOOD, goal="max", reference=-2200))


def test_two_numbers_read_the_same_only_if_they_are_the_same():
    """What is read is the number itself: of numbers of every size, and of each the next that a computer has."""
    drawn = np.random.default_rng(0)
    for number in (10.0 ** drawn.uniform(-12, 12, 1000)).tolist():
        for other in (number, round(number, 6), float(f"{number:.7g}"), math.nextafter(number, math.inf)):
            assert float(spelled(other)) == other
            assert (spelled(other) == spelled(number)) == (other == number)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.5, "0.5"),
        (1.0, "1"),
        (2.5, "2.5"),
        (1e-3, "0.001"),
        (1e-5, "1e-05"),
        (20, "20"),
        (0.1, "0.1"),
        (-2600.0, "-2600"),
        (0.0, "0"),
    ],
)
def test_short_numbers_stay_short(number, text):
    """As they have always been written."""
    assert spelled(number) == text


def test_two_near_betas_have_different_labels_in_the_figure_of_the_front():
    """Each marker's label is the beta itself."""
    every = [cell("mopoe", beta) for beta in NEAR]
    found = front(OBJECTIVES, every, [0], [result(c, 0, {COHERENCE: 0.1 * i, LIKELIHOOD: -10 * i}) for i, c in enumerate(every)])
    drawn = front_figure.draw_front(found, "t", ["share", "nats"])
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert texts == ["β 2.5", "β 2.5000001"]


def test_two_near_betas_have_different_tags_in_mlflow():
    """The tag `beta` is the beta itself."""
    assert [cell_tags(cell("mopoe", beta))["beta"] for beta in NEAR] == ["2.5", "2.5000001"]


def legend(betas):
    """The labels of the learning curves' shades."""
    every = [cell("mopoe", beta) for beta in betas]
    figure = learning_figure.learning(every, grid_results(every, 1), "t")
    return [text.get_text().removeprefix("β ") for text in figure.legends[0].get_texts()]


def test_two_near_betas_have_different_labels_beside_the_learning_curves():
    """So have 0, which has no logarithm, and the number that stood for it."""
    assert legend(NEAR) == ["2.5", "2.5000001"]
    assert legend([0.0, learning_figure.LEAST_BETA, 1.0]) == ["0", "1e-06", "1"]


def test_of_many_betas_the_labels_beside_the_learning_curves_are_true():
    """Each label is where it says; the ends are betas of the sweep."""
    ticks = learning_figure.beta_ticks({beta: beta for beta in (0.5, 0.7, 1.1, 2.0, 3.0, 5.0, 8.0, 20.000001)})
    assert list(ticks.values()) == ["0.5", "3.16", "20.000001"]
    assert all(float(text) == at for at, text in ticks.items())
    near = [1 + 1e-9 * step for step in range(9)]
    labels = list(learning_figure.beta_ticks({beta: beta for beta in near}).values())
    assert labels == [spelled(near[0]), spelled(near[-1])]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5000001), (1.0, 1.00002), (0.001, 10.0), (3, 4000), (0.1, 0.7)])
def test_no_two_ticks_of_a_field_read_the_same(low, high, log):
    """Each is where it says, to the last digit."""
    scale = axis_scales.Scale("beta", low, high, log=log)
    ticks = scale.ticks(4)
    assert len({text for _, text in ticks}) == len(ticks) > 1
    for at, text in ticks:
        assert math.isclose(scale.position(float(text.replace("−", "-"))), at, abs_tol=1e-9)


def test_the_ends_of_an_objective_are_told_apart():
    """With four digits where that is enough."""
    assert [text for _, text in axis_scales.of_values("x", [0.123456, 0.923456]).ticks(4)] == ["0.1235", "0.5235", "0.9235"]
    ends = [text for _, text in axis_scales.of_values("x", [-1900.00001, -1900.0]).ticks(4)]
    assert len(set(ends)) == 3


def test_two_choices_that_begin_alike_are_not_shortened_to_the_same():
    """Long ones are shortened where they can still be told apart."""
    alike = axis_scales.of_field("w", Choice(choices=[[1.0, 0.33333333333333], [1.0, 0.33333333333334]])).ticks(4)
    assert [text for _, text in alike] == ["[1.0, 0.33333333333333]", "[1.0, 0.33333333333334]"]
    others = axis_scales.of_field("w", Choice(choices=["a" * 40, "b" * 40])).ticks(4)
    assert {len(text) for _, text in others} == {axis_scales.LONGEST}


def test_references_and_bounds_are_what_the_file_says():
    """Every digit of them, in captions, on the page and in the table of a search."""
    near = [Objective(metric=m, goal="max", reference=value) for m, value in ((COHERENCE, 0.25), (LIKELIHOOD, -2600.0000001))]
    assert references_text(near) == "0.25, -2600.0000001"
    search = Search.model_validate(
        {"space": {"beta": [1, 2]}, "cells": 2, "constraints": [{"metric": "train_seconds", "at_most": 10.0000001}]}
    )
    (bound,) = search.constraints
    assert broken_text({bound.name: 2.0}, search) == "train_seconds at most 10.0000001, by 2"
