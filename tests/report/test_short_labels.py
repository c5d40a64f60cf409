"""Labels of cells in tables and figures: short numbers, one label a cell, and every digit in files of numbers."""

import random

import pandas as pd

from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.sweep_file import parse
from tests.report.test_report import RAW, written
from tests.support.builders import grid_results

WEIGHTS = {
    "grid": {"beta": [0.5, 1 / 3], "reconstruction_weights": ["size", [3.9183673469387754, 1, 1]]},
    "base": RAW["base"] | {"model": "mopoe"},
}


def test_long_numbers_keep_four_digits_and_other_words_stay():
    """Also small numbers; not whole numbers, short ones, large ones, and parts of names."""
    expected = {
        "mopoe w=(3.9183673469387754, 1.0, 1.0) beta=0.5": "mopoe w=(3.918, 1.0, 1.0) beta=0.5",
        "mopoe rate=0.00012345678 beta=1e-05": "mopoe rate=0.0001235 beta=1e-05",
        "mopoe beta=0.30000000000000004": "mopoe beta=0.3",
        "mopoe rate=1.2345678e-05 beta=1": "mopoe rate=1.235e-05 beta=1",
        "mopoe latent_dim=123456 own=a_1.234567 beta=1234567.5": "mopoe latent_dim=123456 own=a_1.234567 beta=1234567.5",
    }
    assert shortened(expected) == expected


def test_no_two_labels_become_equal():
    """Whatever the numbers, and however near one another: as many different labels come out as went in."""
    drawn = random.Random(0)
    for digits in range(1, 17):
        near = [1 + drawn.random() * 10.0**-digits for _ in range(5)]
        labels = [f"mopoe beta={value!r}" for value in [*near, *near]]
        assert len(set(shortened(labels).values())) == len(set(labels)) == len(shortened(labels))


def test_files_of_numbers_keep_every_digit(tmp_path, undrawn):
    """The labels of the CSV are those of the sweep; those of Markdown and of the page are shorter, and as many."""
    spec = parse(RAW | WEIGHTS)
    paths = written(tmp_path, grid_results(spec.cells, 2), **WEIGHTS)
    assert set(pd.read_csv(paths.cells_csv).label) == set(spec.labels.values())
    lines = paths.markdown.read_text().splitlines()[2:]
    shown = [line.split("|")[1].strip() for line in lines]
    assert len(set(shown)) == len(spec.cells)
    assert max(map(len, shown)) < max(map(len, spec.labels.values()))
    assert not any("3.9183673" in text for text in [*shown, paths.latex.read_text()])
