"""From trials to cells: n, mean, spread and interval."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.aggregation import cell_table, trial_table
from orchestrator.spec.trial import labels, series
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, metric, result

CELLS = [cell("mvae"), cell("mopoe"), cell("mopoe", 5.0)]


def row(table, of, name):
    """One row of the cell table as a dict."""
    (found,) = table[(table.cell_id == of.id) & (table["name"] == name)].to_dict("records")
    return found


def test_the_interval_is_students_t():
    """mean, sd and the 95 % interval agree with scipy's t interval computed from the values."""
    values = [0.31, 0.35, 0.28, 0.4, 0.33]
    results = [result(CELLS[1], seed, {COHERENCE: value}) for seed, value in enumerate(values)]
    found = row(cell_table(CELLS, range(5), results), CELLS[1], COHERENCE)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found["mean"], found["sd"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (found["n"], found["n_planned"], found["complete"]) == (5, 5, True)
    assert found["mc_error"] == pytest.approx(0.01), "seeds share the test set: its error does not shrink with them"


def test_a_diverged_or_missing_seed_never_becomes_a_number():
    """Two of four seeds completed: the mean is theirs, and the cell says 2 of 4."""
    results = [
        result(CELLS[0], 0, {COHERENCE: 0.2}),
        result(CELLS[0], 1, {}, status="diverged"),
        result(CELLS[0], 3, {COHERENCE: 0.4}),
    ]
    found = row(cell_table(CELLS, range(4), results), CELLS[0], COHERENCE)
    assert (found["mean"], found["n"], found["n_planned"], found["complete"]) == (pytest.approx(0.3), 2, 4, False)


def test_one_seed_has_no_spread():
    """sd and interval of a single seed are NaN, not zero."""
    found = row(cell_table(CELLS, [0], [result(CELLS[0], 0, {COHERENCE: 0.2})]), CELLS[0], COHERENCE)
    assert all(math.isnan(found[part]) for part in ("sd", "low", "high"))


def test_seeds_that_the_sweep_does_not_name_are_left_out():
    """A shared ledger may hold more seeds than this sweep asks for."""
    results = [result(CELLS[0], seed, {COHERENCE: seed}) for seed in range(4)]
    assert row(cell_table(CELLS, [1, 2], results), CELLS[0], COHERENCE)["mean"] == 1.5


def test_the_trial_table_has_a_row_a_trial_and_metric():
    """Six trials with eight metrics each give 48 rows; a diverged one adds none."""
    results = [*grid_results(CELLS, 2), result(CELLS[0], 9, {}, status="diverged")]
    table = trial_table(results)
    assert len(table) == 6 * 8
    assert set(table.seed) == {0, 1}
    assert set(table[table["name"] == LIKELIHOOD].unit) == {"nats"}


def test_a_series_is_a_model_and_what_varies_within_it():
    """Fields other than beta in which cells of one model differ are named; what all share is not."""
    cells = [cell("mvae", 1.0), cell("mopoe", 1.0), cell("mopoe", 2.0), cell("mopoe", 1.0, latent_dim=5)]
    assert list(series(cells).values()) == ["mvae", "mopoe latent_dim=20", "mopoe latent_dim=20", "mopoe latent_dim=5"]
    assert len(set(labels(cells).values())) == 4


def test_betas_that_differ_in_the_eighth_digit_read_differently():
    """A label never rounds two betas to one text."""
    assert list(labels([cell("mvae", 0.1234567), cell("mvae", 0.1234568)]).values()) == [
        "mvae beta=0.1234567",
        "mvae beta=0.1234568",
    ]


def test_a_cell_without_a_completed_seed_says_so():
    """It has a row for each metric of the other cells, with n = 0 of n_planned and no number."""
    found = row(cell_table(CELLS, range(2), [result(CELLS[0], 0, {COHERENCE: 0.2})]), CELLS[1], COHERENCE)
    assert (found["n"], found["n_planned"], found["complete"]) == (0, 2, False)
    assert all(math.isnan(found[part]) for part in ("mean", "sd", "low", "high", "mc_error"))


def test_lines_stand_in_the_papers_order():
    """MVAE, MMVAE, MoPoE, whatever the order of the cells; and each cell keeps its own label."""
    cells = [cell("mopoe", 2.0), cell("mvae", 3.0), cell("mmvae", 4.0)]
    assert list(series(cells).values()) == ["mvae", "mmvae", "mopoe"]
    assert [labels(cells)[c.id] for c in cells] == ["mopoe beta=2", "mvae beta=3", "mmvae beta=4"]


def test_of_one_metric_reported_twice_the_first_counts():
    """A result's value by name is the first of that name, and None for a name that it lacks."""
    twice = replace(
        result(cell("mvae"), 0, {}), metrics=(metric(COHERENCE, 0.25), metric(LIKELIHOOD, -9.0), metric(COHERENCE, 0.75))
    )
    assert (twice.value(COHERENCE), twice.value(LIKELIHOOD), twice.value("probe/mnist")) == (0.25, -9.0, None)
