"""The shaded tables of the page."""

import numpy as np

from orchestrator.analysis.aggregation import cell_table
from orchestrator.report.sections.heat_map_section import LEAST_RANGE, heat_maps
from tests.support.builders import cell, result

CELLS = [cell("mvae", 1), cell("mmvae", 1), cell("mopoe", 1)]
EASY, HARD, EQUAL = "coherence/text/mnist", "coherence/mnist/svhn", "coherence/svhn/mnist"


def shades(values):
    """The shades of a table whose cells have these means, a column a metric: cells by columns."""
    names = list(values)
    results = [result(of, 0, {name: values[name][row] for name in names}) for row, of in enumerate(CELLS)]
    (table,) = heat_maps(CELLS, cell_table(CELLS, [0], results))
    return dict(zip(names, np.array([[shade for _, shade in row] for _, row in table.rows]).T, strict=True))


def test_shades_compare_the_cells_of_a_column():
    """The best cell of a column is darkest and the worst is blank, however far the columns are from each other."""
    found = shades({EASY: [0.7, 0.8, 0.9], HARD: [0.3, 0.1, 0.2]})
    np.testing.assert_allclose(found[EASY], [0, 0.5, 1])
    np.testing.assert_allclose(found[HARD], [1, 0, 0.5])


def test_cells_that_hardly_differ_have_nearly_one_shade():
    """A column's range counts as at least a part of the table's: a difference of a tenth of that part is a tenth of a shade."""
    found = shades({EASY: [0.0, 0.5, 1.0], HARD: [0.5, 0.5 + 0.1 * LEAST_RANGE, 0.5], EQUAL: [0.2, 0.2, 0.2]})
    np.testing.assert_allclose(found[HARD], [0, 0.1, 0], atol=1e-12)
    np.testing.assert_array_equal(found[EQUAL], 0)
