"""The LaTeX table of chosen metrics."""

import re
import shutil
import subprocess

import pytest

from mopoe_core.errors import UserError
from orchestrator.report.render import tables
from orchestrator.report.sections import chosen_table
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, grid_results

COMMAND = "mopoe report page.yaml --table x"
MANY = {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5 + step for step in range(20)]}


def table_of(metrics, seeds=3, **changes):
    """The table of a sweep with plausible results."""
    spec = parse(PAGE | changes)
    return chosen_table.latex(spec, grid_results(spec.cells, seeds), metrics, COMMAND)


def body(text):
    """The rows between the header and the end of a table, as lists of texts."""
    rows = re.findall(r"^(.*) \\\\$", text.split(r"\midrule")[-1], re.MULTILINE)
    return [row.split(" & ") for row in rows]


def compiled(text, folder, options):
    """What LaTeX says of an article with the table between paragraphs."""
    (folder / "table.tex").write_text(text)
    words = "Some words that fill a line and another one. " * 30
    (folder / "paper.tex").write_text(
        rf"\documentclass[{options}]{{article}}\usepackage{{booktabs,longtable}}\begin{{document}}{words}\input{{table}}{words}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_row_is_a_cell_and_a_column_a_metric():
    """Mean and sd are those of the results: coherence of MVAE at beta 0.5 is 0.105, 0.115 and 0.125."""
    text = table_of([COHERENCE])
    rows = body(text)
    assert len(rows) == 6
    assert rows[0][0].startswith("MVAE")
    assert "0.115" in rows[0][1]
    assert "0.010" in rows[0][1]
    assert r"\label{tab:page}" in text
    assert r"\caption{" in text


def test_cells_that_lack_seeds_have_a_column_of_counts():
    """And where all have theirs the caption says it once."""
    assert "3 seeds" in table_of([COHERENCE])
    assert {row[1] for row in body(table_of([COHERENCE], seeds=2))} == {"2/3"}


def test_metrics_that_are_wider_than_a_page_are_refused():
    """With what to do."""
    with pytest.raises(UserError, match="fewer"):
        table_of([COHERENCE, LIKELIHOOD, "coherence/given_1", "probe/given_1", "log_likelihood_paper_view/joint"] * 2)


THIRDS = {"beta": [0.5, 10], "networks": ["small", "paper"], "reconstruction_weights": ["size", [3.9183673469387754, 1, 1]]}


def test_long_numbers_in_labels_leave_room_for_a_metric():
    """A row is named by networks, weights of seventeen digits and beta, and fits beside a metric."""
    rows = body(table_of([COHERENCE], base={"dataset": "mnist_svhn_text", "model": "mopoe"}, grid=THIRDS))
    assert len(rows) == 8
    assert len({row[0].removesuffix(tables.STAR) for row in rows}) == 8


def test_a_label_that_leaves_no_room_is_named():
    """It is the widest part of a table of one metric, so the error says which label it is."""
    grid = THIRDS | {"batch_size": [128, 256], "latent_dim": [16, 32]}
    with pytest.raises(UserError, match=r"\b1 metric\b.*`MoPoE .*latent_dim=\d+.*`"):
        table_of([COHERENCE], base={"dataset": "mnist_svhn_text", "model": "mopoe"}, grid=grid)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
@pytest.mark.parametrize("options", ["twocolumn", "onecolumn"])
@pytest.mark.parametrize(
    "metrics",
    [[COHERENCE], [COHERENCE, LIKELIHOOD], [COHERENCE, LIKELIHOOD, "coherence/given_1", "probe/given_1"]],
    ids=len,
)
def test_a_table_compiles_and_fits(tmp_path, options, metrics):
    """In an article of one column and of two, no line is too wide, and one or two metrics take a column."""
    text = table_of(metrics)
    assert "Overfull" not in compiled(text, tmp_path, options)
    assert (r"\begin{table}" in text) == (len(metrics) <= 2)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_a_long_table_goes_over_pages(tmp_path):
    """Sixty cells, in one column; its header stands on each page."""
    text = table_of([COHERENCE, LIKELIHOOD], grid=MANY)
    assert len(body(text)) == 60
    told = compiled(text, tmp_path, "onecolumn")
    assert "Overfull" not in told
    assert int(re.search(r"\((\d+) pages?", told)[1]) >= 2
