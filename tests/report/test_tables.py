"""The LaTeX table of cells: compiles as it is, and says what the seeds can tell apart."""

import random
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from orchestrator.analysis.aggregation import cell_table
from orchestrator.analysis.fronts import front
from orchestrator.analysis.significance.pairwise import cell_differences
from orchestrator.report.render import tables
from orchestrator.spec.sections import Objective
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, result

GOALS = (Objective(metric=COHERENCE, goal="max"), Objective(metric=LIKELIHOOD, goal="max"))
CELLS = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (1.0, 2.5)]


def table(cells, results, seeds=4):
    """The readable table."""
    long = cell_table(cells, range(seeds), results)
    found = front(GOALS, cells, range(seeds), results)
    return tables.cell_rows(cells, {of.id: seeds for of in cells}, long, found, results)


def made(values, seeds=4):
    """A cell a list of coherences, one a seed."""
    cells = CELLS[: len(values)]
    results = [
        result(of, seed, {COHERENCE: value, LIKELIHOOD: -1.0})
        for of, own in zip(cells, values, strict=True)
        for seed, value in enumerate(own)
    ]
    return table(cells, results, seeds)


def near(rows):
    """Which cells have a dagger in joint coherence, in their order."""
    return [COHERENCE in row.near for row in rows.rows]


def test_a_dagger_stands_where_the_seeds_do_not_tell_a_cell_from_the_best():
    """The best varies much and the second with it, so that the pair differs; the third varies on its own, and includes 0."""
    rows = made([[0.5, 0.7, 0.6, 0.8], [0.48, 0.685, 0.58, 0.782], [0.8, 0.5, 0.7, 0.4]])
    assert near(rows) == [False, False, True]
    text = tables.latex(rows, "x")
    assert text.count(tables.DAGGER) == 2  # in the table, and in the note that explains it
    assert "paired" in text


def test_the_dagger_is_the_paired_interval_of_the_comparisons():
    """For numbers that cross from seed to seed: exactly the cells whose difference to the best includes 0, as the report compares."""
    drawn = random.Random(1)
    results = [
        result(of, s, {o.metric: place + drawn.gauss(0, 1) for o in GOALS}) for place, of in enumerate(CELLS) for s in range(4)
    ]
    rows = table(CELLS, results)
    for goal in GOALS:
        (best,) = [row.label for row in rows.rows if row.entries[goal.metric].best]
        pairs = [one for one in cell_differences(goal.metric, CELLS, range(4), results) if best in (one.first, one.second)]
        expected = {({one.first, one.second} - {best}).pop() for one in pairs if one.over_seeds.low <= 0 <= one.over_seeds.high}
        assert 0 < len(expected) < len(CELLS) - 1
        assert {row.label for row in rows.rows if goal.metric in row.near} == expected


def test_what_cannot_be_compared_has_no_dagger():
    """With one seed there is no interval; of two that share the best mean neither is the other's rival; a cell that lacks a seed has
    no comparable mean.
    """
    assert near(made([[0.5], [0.5001]], 1)) == [False, False]
    assert near(made([[0.5, 0.6], [0.6, 0.5]], 2)) == [False, False]
    assert near(made([[0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.69]], 4)) == [False, False]


def test_a_cell_that_lacks_seeds_is_not_the_best():
    """It has the mean of the best complete cell, and only the complete cell is marked."""
    rows = made([[0.5, 0.5, 0.5, 0.5], [0.5]], 4)
    assert [row.entries[COHERENCE].best for row in rows.rows] == [True, False]


def test_a_number_that_fewer_seeds_have_says_how_many():
    """All three trials of two cells completed, and two trials of one cell lack a metric: its entry has one seed, in every table."""
    cells = CELLS[:2]
    results = [
        result(of, seed, {o.metric: 0.5 for o in GOALS} | ({} if of is cells[1] and seed else {"coherence/given_1": 0.4}))
        for of in cells
        for seed in range(3)
    ]
    rows = table(cells, results, 3)
    assert [row.n for row in rows.rows] == [3, 3]
    assert [row.entries["coherence/given_1"].n for row in rows.rows] == [3, 1]
    assert [row.entries["coherence/given_1"].best for row in rows.rows] == [True, False]
    for text in (tables.markdown(rows), tables.latex(rows, "x")):
        assert text.count("(1/3)") == 1


def test_the_comment_says_command_commit_and_the_time_of_the_latest_result():
    """Not the time of writing: two days later the same results give the same bytes."""
    results = [replace(one, provenance={"commit": "c0ffee"}) for one in grid_results(CELLS, 2)]
    first, second = (tables.latex(table(CELLS, some, 2), "orchestrator report\nx.yaml") for some in (results, results[::-1]))
    assert first == second
    assert first.splitlines()[:2] == [
        "% orchestrator report x.yaml",
        "% commit c0ffee; the latest result was trained until 2023-11-14 22:13:20 UTC",
    ]


def hostile():
    """A table whose names hold every character that LaTeX reads."""
    rows = table(CELLS, grid_results(CELLS, 4))
    names = ["a_b", "50 % & more", "#1 {x}", r"\input{x}", "~^$", "plain"]
    return replace(rows, rows=tuple(replace(row, label=name) for row, name in zip(rows.rows, names, strict=True)))


def test_environments_braces_columns_and_escapes_are_balanced():
    """Whatever the names hold: one tabular, pairs of braces and dollars, the declared columns in each row, nothing unescaped."""
    body = "\n".join(line for line in tables.latex(hostile(), "x").splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[&%$#_{}]", "", body)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\(begin|end)\{tabular\}", body) == ["begin", "end"]
    columns = len(re.search(r"\{tabular\}\{(\w+)\}", body).group(1))
    rows = [line for line in bare.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(CELLS) + 1
    assert all(row.count("&") == columns - 1 for row in rows)
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[%#_^~]|\\input", outside)


@pytest.mark.skipif(not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="no LaTeX here")
def test_it_compiles_as_it_is(tmp_path):
    """A document that loads booktabs and reads the file makes a PDF."""
    (tmp_path / "cells.tex").write_text(tables.latex(hostile(), "x"), encoding="utf-8")
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{cells.tex}\end{document}"
    (tmp_path / "document.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    done = subprocess.run([*command, "document.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "document.pdf").stat().st_size > 1000
