"""The report of a search: its course, its front, its table, and what it says of them."""

import itertools
import math
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from orchestrator.analysis.fronts import front
from orchestrator.report.figures import search_course_figure, search_front_figure, search_space_figures
from orchestrator.report.figures.model_styles import COLOURS
from orchestrator.report.render.axis_scales import broken, of_field, of_values
from orchestrator.report.render.search_table import Searched, line
from orchestrator.report.sections import search_section
from orchestrator.report.sections.seed_section import OF_A_SEARCH
from orchestrator.search import outcomes
from orchestrator.spec.search_block import Choice, Range
from orchestrator.spec.sections import Objective
from tests.report.test_report import Page
from tests.report.test_report_page import Parsed
from tests.support.builders import COHERENCE, LIKELIHOOD
from tests.support.naming import unnamed
from tests.support.searches import OBJECTIVES, Hunt, of, raw

CONSTRAINED = {"constraints": [{"metric": "probe/mnist", "at_least": 0.5}], "early": {"rule": "dominated", "at": [0.5]}}


def searched(hunt):
    """What its report is made from."""
    spec = hunt.spec
    found = front(spec.objectives, outcomes.feasible(spec, hunt.results), spec.seeds_by_cell, hunt.results)
    return Searched(spec, tuple(hunt.proposed), found, ("share", "nats")[: len(spec.objectives)], "a title")


@pytest.fixture
def eventful(tmp_path):
    """A search with a cell of every fate: 0 from another sweep, 1 and 2 completed, 3 infeasible, 4 diverged, 5 failed, 6 stopped, 7 a
    repeat of 1, 8 open.
    """
    hunt = Hunt(tmp_path / "eventful", raw(**CONSTRAINED))
    good = {"probe/mnist": 0.9}
    hunt.complete(hunt.propose("old", beta=1.0, latent_dim=8, model="mopoe"), of(0.1, -1900, **good), of(0.3, -1900, **good))
    hunt.complete(hunt.propose(beta=2.0, latent_dim=8, model="mvae"), of(0.4, -1950, **good), of(0.4, -1950, **good))
    hunt.complete(hunt.propose(beta=3.0, latent_dim=8, model="mopoe"), of(0.1, -1980, **good), of(0.1, -1980, **good))
    bad = {"probe/mnist": 0.25}
    hunt.complete(hunt.propose(beta=4.0, latent_dim=8, model="mvtcae", alpha=0.5), of(0.9, -1800, **bad), of(0.9, -1800, **bad))
    diverged = hunt.propose(beta=5.0, latent_dim=8, model="mvae")
    hunt.complete(diverged, of(0.5, -1900, **good))
    hunt.diverge(diverged, 1)
    failed = hunt.propose(beta=6.0, latent_dim=8, model="mvae")
    hunt.fail(failed, 0)
    hunt.fail(failed, 1)
    hunt.stop(hunt.propose(beta=7.0, latent_dim=8, model="mvae"), 5, "because <it> is bad", of(0.2, -1960), of(0.4, -1970))
    hunt.propose(beta=2.0, latent_dim=8, model="mvae")
    hunt.propose(beta=8.0, latent_dim=8, model="mvae")
    return hunt


@pytest.fixture
def many(tmp_path):
    """Thirty completed cells."""
    hunt = Hunt(tmp_path / "many", raw())
    drawn = np.random.default_rng(3)
    for _ in range(30):
        beta, coherence = float(f"{10 ** drawn.uniform(-1, 1.3):.4g}"), drawn.uniform(0.1, 0.9)
        cell = hunt.propose(beta=beta, latent_dim=int(drawn.integers(2, 64)), model=str(drawn.choice(["mopoe", "mvae"])))
        hunt.complete(cell, *[of(coherence + 0.01 * seed, -1900 - 90 * coherence**2 - beta) for seed in (0, 1)])
    return hunt


def axes_of(figure):
    """The axes that hold data."""
    return figure.axes[0]


def test_the_course_is_the_hypervolume_that_rectangles_give(eventful):
    """By hand: (0.2, 100) is 20; (0.4, 50) adds 0.2 x 50; what is dominated, infeasible, diverged, failed or stopped adds nothing."""
    drawn = axes_of(search_course_figure.history(searched(eventful)))
    steps = next(x for x in drawn.lines if x.get_drawstyle() == "steps-post")
    assert list(steps.get_xdata()) == [0, 1, 2, 3, 4, 5, 6]
    assert list(steps.get_ydata()) == pytest.approx([20, 30, 30, 30, 30, 30, 30])


def test_every_fate_has_its_mark_at_its_number(eventful):
    """The marks along the bottom stand at the numbers of the cells, with the shape that the legend names."""
    figure = search_course_figure.history(searched(eventful))
    shapes = {handle.get_marker(): text.get_text() for handle, text in zip(
        figure.legends[0].get_lines(), figure.legends[0].get_texts(), strict=True)}  # fmt: skip
    marks = {int(x.get_xdata()[0]): shapes[x.get_marker()] for x in axes_of(figure).lines if x.get_marker() in shapes}
    assert marks == {3: "infeasible", 4: "diverged", 5: "failed", 6: "stopped"}


@pytest.mark.parametrize(("goal", "expected"), [("max", [0.2, 0.4, 0.4]), ("min", [0.2, 0.2, 0.1])])
def test_without_a_hypervolume_the_course_is_the_best_so_far(eventful, goal, expected):
    """Of a single objective the largest or smallest mean of the feasible cells; of two without references, one course each."""
    hunt = Hunt(eventful.storage, raw([OBJECTIVES[0] | {"goal": goal}], **CONSTRAINED))
    course = outcomes.courses(hunt.proposed, hunt.spec)
    assert course[f"best {COHERENCE}"][:3] == pytest.approx(expected)
    bare = [{"metric": objective["metric"], "goal": "max"} for objective in OBJECTIVES]
    hunt = Hunt(eventful.storage, raw(bare, **CONSTRAINED))
    assert list(outcomes.courses(hunt.proposed, hunt.spec)) == [f"best {COHERENCE}", f"best {LIKELIHOOD}"]
    assert len(search_course_figure.history(searched(hunt)).axes) == 2


def test_nothing_is_best_before_the_first_feasible_cell(tmp_path):
    """The course begins with no number, not with zero."""
    hunt = Hunt(tmp_path, raw(OBJECTIVES[:1]))
    hunt.diverge(hunt.propose(beta=1.0, latent_dim=8, model="mopoe"), 0)
    hunt.diverge(hunt.propose(beta=1.0, latent_dim=8, model="mopoe"), 1)
    assert [math.isnan(value) for value in outcomes.best_so_far(hunt.proposed, hunt.spec, 0)] == [True]


@pytest.mark.parametrize("goals", list(itertools.product(("max", "min"), repeat=2)))
def test_the_staircase_is_the_edge_of_what_the_front_dominates(goals):
    """Just inside of each stretch a point is dominated, and just outside it is not, by comparison with every point."""
    signs = np.array([1 if goal == "max" else -1 for goal in goals])
    points = np.random.default_rng(0).uniform(size=(40, 2)) * signs
    kept = [p for p in points if not any((q >= p).all() and (q > p).any() for q in points)]
    objectives = [Objective(metric=COHERENCE, goal=goal) for goal in goals]
    corners = np.array(search_front_figure.staircase([tuple(p * signs) for p in kept], objectives)) * signs
    assert len(corners) == 2 * len(kept) - 1
    for start, end in itertools.pairwise(corners):
        assert (start == end).sum() == 1
        middle = (start + end) / 2
        assert any((q >= middle - 1e-9).all() for q in points)
        assert not any((q >= middle + 1e-9).all() for q in points)


def test_the_front_shows_each_cell_where_it_belongs(eventful):
    """Two cells are ringed, the infeasible and the stopped one have shapes of their own at their means, and no other has a mark."""
    ring = COLOURS[1]
    shown = {}
    for drawn in axes_of(search_front_figure.front(searched(eventful))).lines:
        if drawn.get_marker() in ("o", "s", "v", "X", "P"):
            at = tuple(round(float(v), 6) for v in (drawn.get_xdata()[0], drawn.get_ydata()[0]))
            shown[at] = (drawn.get_marker(), drawn.get_markeredgecolor() == ring)
    assert shown == {
        (0.2, -1900): ("o", True),
        (0.4, -1950): ("o", True),
        (0.1, -1980): ("o", False),
        (0.9, -1800): ("s", False),
        (0.3, -1965): ("v", False),
    }


def test_colours_follow_the_numbers(many):
    """From the first to the last proposal each marker is darker than the one before."""
    data = searched(many)
    at = {mark.at: mark.number for mark in search_front_figure.marks(data)}
    drawn = [x for x in axes_of(search_front_figure.front(data)).lines if x.get_marker() == "o"]
    ordered = sorted(drawn, key=lambda x: at[float(x.get_xdata()[0]), float(x.get_ydata()[0])])
    light = [np.dot(x.get_markerfacecolor()[:3], (0.299, 0.587, 0.114)) for x in ordered]
    assert len(light) == 30
    assert all(a > b for a, b in itertools.pairwise(light))


def test_numbers_at_the_front_can_be_read(many):
    """No two of them overlap, all are within the frame, and they are numbers of cells on the front."""
    data = searched(many)
    figure = search_front_figure.front(data)
    texts = [text for text in axes_of(figure).texts if isinstance(text, Annotation)]
    boxes, frame = [text.get_window_extent() for text in texts], axes_of(figure).get_window_extent()
    assert {int(text.get_text()) for text in texts} <= {mark.number for mark in search_front_figure.marks(data) if mark.on_front}
    assert len(texts) > 3
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)


def test_one_wild_cell_does_not_squeeze_the_others(many):
    """A cell at -100,000 nats is said to be beyond the frame, which stays that of the others."""
    cell = many.propose(beta=9.9, latent_dim=8, model="mopoe")
    many.complete(cell, of(0.05, -1e5), of(0.05, -1e5))
    figure = search_front_figure.front(searched(many))
    assert axes_of(figure).get_ylim()[0] > -2500
    assert not unnamed(figure.get_supxlabel().replace("\n", " "), "1 cell")


def test_the_table_has_what_the_ledger_has(eventful, tmp_path, undrawn):
    """A row a cell in order, with means and spreads that numpy computes from the ledger, and numbers for completed cells alone."""
    paths = eventful.report(tmp_path / "r")
    table = pd.read_parquet(paths.search.parquet)
    assert list(table["number"]) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert list(table["outcome"]) == [
        "completed", "completed", "completed", "infeasible", "diverged", "failed", "stopped", "open"
    ]  # fmt: skip
    assert list(table["on_front"]) == [True, True, *[False] * 6]
    assert list(table["from_sweep"]) == ["old", *[""] * 7]
    for row in table.to_dict("records"):
        own = [r for r in eventful.results if r.trial.cell.id == row["cell_id"] and r.status == "completed"]
        assert row["n"] == len(own)
        values = [r.value(COHERENCE) for r in own]
        if row["outcome"] in ("completed", "infeasible"):
            assert row[COHERENCE] == pytest.approx(np.mean(values))
            assert row[f"{COHERENCE}.sd"] == pytest.approx(np.std(values, ddof=1))
        else:
            assert math.isnan(row[COHERENCE])
    assert [bool(pd.isna(value)) for value in table["alpha"]] == [True] * 3 + [False] + [True] * 4
    csv = pd.read_csv(
        paths.search.csv, keep_default_na=False, na_values={"alpha": [""], COHERENCE: [""], f"{LIKELIHOOD}.sd": [""]}
    )
    assert list(csv["detail"]) == list(table["detail"])


def test_the_page_says_what_came_of_each_cell(eventful, tmp_path, undrawn):
    """Constraint and excess, diverged seeds, epoch and reason of a stop; what others wrote is escaped."""
    page = Page(eventful.report(tmp_path / "r").page.read_text())
    assert not unnamed(
        page.text, re.compile(r"infeasible\W+probe/mnist [^,]*0\.5\b[^,]*, by 0\.25\b"), re.compile(r"diverged\W+1 seed\b")
    )
    assert not unnamed(page.text, re.compile("stopped.{0,20}epoch 5; because <it> is bad"))
    assert "it" not in page.tags
    assert page.tags.count("svg") == len(list((tmp_path / "r").rglob("*.svg")))
    assert page.text.count("epoch 5; because <it> is bad") > 1  # in the table, and where stopped cells are listed
    assert len(re.findall(r"probe/mnist [^,]*0\.5\b[^,]*, by 0\.25\b", page.text)) > 1  # so too


def test_the_page_says_which_of_two_bounds_of_a_metric_is_broken(tmp_path, undrawn):
    """One cell is below the lower bound, one above the upper one. Each has its own bound with its excess, and a third has none."""
    bounds = [{"metric": "probe/mnist", "at_least": 0.5}, {"metric": "probe/mnist", "at_most": 0.75}]
    hunt = Hunt(tmp_path / "storage", raw(constraints=bounds))
    for beta, probe in ((1.0, 0.25), (2.0, 0.875), (3.0, 0.625)):
        measured = of(0.1, -1900, **{"probe/mnist": probe})
        hunt.complete(hunt.propose(beta=beta, latent_dim=8, model="mopoe"), measured, measured)
    paths = hunt.report(tmp_path / "r")
    low, high, kept = pd.read_parquet(paths.search.parquet)["detail"]
    assert not unnamed(low, "probe/mnist", re.compile(r"\b0\.5\b"), re.compile(r"\b0\.25\b"))
    assert not unnamed(high, "probe/mnist", re.compile(r"\b0\.75\b"), re.compile(r"\b0\.125\b"))
    assert kept == ""
    assert [low in text or high in text for text in paths.search.left_out] == [True, True]


def test_markers_of_a_search_have_cards_by_number(eventful, tmp_path):
    """Each marker within the frame has the card of its cell, with the number of its proposal and what came of it."""
    eventful.report(tmp_path / "r")
    page = Parsed((tmp_path / "r" / "index.html").read_text())
    marks = [attributes["id"] for _, attributes in page.elements if attributes.get("class") == "mark"]
    told = {f"cell-{one.cell.id}": one for one in eventful.proposed}
    assert marks
    assert all(page.texts[mark].startswith(f"{told[mark].proposal.number}: ") for mark in marks)
    assert all(f"{told[mark].proposal.number}: " in page.texts[mark.replace("cell-", "card-")] for mark in marks)
    (stopped,) = (key for key, one in told.items() if one.stopped)
    assert not unnamed(page.texts[stopped.replace("cell-", "card-")], "stopped", "epoch 5")


def test_an_infeasible_cell_is_on_no_front_though_it_beats_all(eventful, tmp_path, undrawn):
    """It is left out of the table's stars, of the hypervolume, and of what is said of seeds."""
    paths = eventful.report(tmp_path / "r")
    of_seeds = Page(paths.page.read_text()).text.partition("Hypervolume of a series")[2].partition("Subset by")[0]
    assert "MVAE" in of_seeds
    assert "MVTCAE" not in of_seeds
    rows = [text for text in paths.markdown.read_text().splitlines() if "beta=4 " in text or "beta=4|" in text]
    assert len(rows) == 1
    assert "*" not in rows[0].split("|")[3]
    assert not unnamed(paths.search.line, "1 open", "hypervolume 30")


def test_the_line_counts_every_fate(eventful):
    """ProposedCell are all but the open one; the repeat is none."""
    said = line(searched(eventful))
    assert said.startswith("search  7 cells told: 3 completed, 1 infeasible, 1 diverged, 1 failed, 1 stopped; 1 open")


def test_the_same_search_gives_the_same_bytes(many, tmp_path):
    """Figures, tables and page, written twice; series of one cell each are not compared, and that is said."""
    for name in ("a", "b"):
        many.report(tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert OF_A_SEARCH in (tmp_path / "a" / "index.html").read_text()
    assert {"front.pdf", "front.png", "search/importances.svg", "search/slices.svg", "search/search.parquet"} <= {
        *map(str, files)
    }
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_a_search_with_one_objective_has_a_whole_report(eventful, tmp_path, undrawn):
    """No second axis is asked for anywhere; values stand over the numbers of the proposals."""
    hunt = Hunt(eventful.storage, raw(OBJECTIVES[:1], **CONSTRAINED))
    paths = hunt.report(tmp_path / "r")
    assert sorted(path.name for path in paths.search.figures) == [
        "front.pdf", "front.png", "front.svg", "history.svg", "parallel.svg", "slices.svg"
    ]  # fmt: skip
    shown = [x for x in axes_of(search_front_figure.front(searched(hunt))).lines if x.get_marker() in ("o", "s", "v")]
    assert sorted(float(x.get_xdata()[0]) for x in shown) == [0, 1, 2, 3, 6]
    assert len(plt.get_fignums()) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_a_search_that_has_hardly_begun_has_a_report(tmp_path, count, undrawn):
    """Without a cell, and with one that is open, it says so and nothing breaks."""
    hunt = Hunt(tmp_path / "storage", raw())
    for _ in range(count):
        hunt.propose(beta=1.0, latent_dim=8, model="mopoe")
    paths = hunt.report(tmp_path / "r")
    assert not unnamed(paths.search.line, 0)
    assert ("1 open" in paths.search.line) == (count == 1)
    assert count == 0 or not unnamed(Page(paths.page.read_text()).text.replace("\n", " "), re.compile(r"\bof 1\b"))


def test_importances_are_drawn_where_there_are_cells_enough(many, eventful):
    """Thirty cells have bars that sum to 1 for each objective; four have none, and the notes say why."""
    numbers = search_section.field_importances(searched(many))
    figure = search_space_figures.importances(searched(many), numbers)
    sums = [sum(bar.get_width() for bar in axes.patches) for axes in figure.axes]
    assert sums == pytest.approx([1.0, 1.0])
    assert "alpha" in figure.get_supxlabel()
    assert search_section.field_importances(searched(eventful)) == {}
    assert not unnamed(search_section.section_notes(searched(eventful), False)[-1], "fANOVA", 4, 10)


def test_a_report_that_can_draw_less_leaves_no_figure_of_before(many, eventful, tmp_path, undrawn):
    """The folder is that of the present search."""
    search_section.write(searched(many), many.results, tmp_path / "r")
    assert list((tmp_path / "r" / "search").glob("importances*"))
    eventful.report(tmp_path / "r")
    assert not list((tmp_path / "r" / "search").glob("importances*"))


def test_a_field_that_a_cell_lacks_is_a_gap(eventful):
    """In parallel coordinates exactly the cell that has alpha has a place on its axis; cells without numbers end before objectives."""
    data = searched(eventful)
    lines = [
        np.asarray(x.get_ydata(), dtype=float)
        for x in axes_of(search_space_figures.parallel(data)).lines
        if x.get_marker() == "o"
    ]
    assert len(lines) == 7
    place = data.space.order.index("alpha")
    assert sum(not math.isnan(own[place]) for own in lines) == 1
    assert sorted(len(own) for own in lines) == [4] * 3 + [6] * 4


def test_slices_show_each_value_where_the_scale_says(eventful):
    """Beta's panels are logarithmic between its ends, models stand in the order of the space, alpha has the one cell that has it."""
    figure = search_space_figures.slices(searched(eventful))
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    at = {p.get_xlabel(): [(float(x.get_xdata()[0]), float(x.get_ydata()[0])) for x in p.lines] for p in panels[::-1]}
    assert len(panels) == 8
    expected = [math.log(beta / 0.1) / math.log(200) for beta in (1, 2, 3, 4)]
    assert [x for x, _ in at["beta (log)"]] == pytest.approx(expected)
    assert [x for x, _ in at["model"]] == [0, 0.5, 0, 1]
    assert [x for x, _ in at["alpha"]] == [0.5]


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0.1, 20.0, True), (0.001, 0.004, True), (1e-6, 1e3, True), (0.0, 1.0, False), (2, 64, False), (3, 4, False)],
)
def test_ticks_are_few_and_in_place(low, high, log):
    """Between two and seven, within the range, in order, and where the position of what they say is."""
    scale = of_field("x", Range(low=low, high=high, log=log))
    ticks = scale.ticks(4)
    assert 2 <= len(ticks) <= 7
    assert all(-1e-9 <= at <= 1 + 1e-9 for at, _ in ticks)
    assert ticks == sorted(ticks, key=lambda tick: tick[0])
    assert all(scale.position(float(label.replace("\N{MINUS SIGN}", "-"))) == pytest.approx(at, abs=1e-3) for at, label in ticks)


def test_what_has_no_extent_stands_in_the_middle():
    """One choice, and objectives that are all the same."""
    assert of_field("x", Choice(choices=["a"])).ticks(4) == [(0.5, "a")]
    assert of_values("x", [2.0, 2.0]).position(2.0) == 0.5


def test_a_long_name_is_broken_and_loses_nothing():
    """Lines are as short as asked for where there is a place to break."""
    name = "coherence/mnist.svhn/reconstruction_weights"
    assert broken(name, 16).replace("\n", "") == name
    assert max(map(len, broken(name, 16).split("\n"))) <= 16
    assert broken("beta", 16) == "beta"


@pytest.mark.parametrize(
    ("changes", "base", "named"),
    [
        ({}, {}, ["test examples"]),
        ({}, {"dataset": "celeba"}, ["evaluate_on: validation"]),
        ({}, {"dataset": "celeba", "evaluate_on": "validation"}, ["validation examples"]),
        ({"seeds": {"start": 2, "max": 5}}, {}, ["seeds", 5]),
        ({"seeds": 1}, {}, ["one seed"]),
        ({"early": {"rule": "dominated", "at": [0.5], "after": 4}}, {}, [4]),
        ({"early": {"rule": "halving", "at": [0.5], "keep": 0.25}, "objectives": OBJECTIVES[:1]}, {}, [re.compile(r"\b25 ?%")]),
    ],
)
def test_the_section_says_what_the_numbers_are(tmp_path, changes, base, named):
    """What was told, that chosen values are optimistic, and what early stopping assumes; each where it applies."""
    made = raw(**changes)
    made["base"] |= base
    hunt = Hunt(tmp_path, made)
    hunt.propose(beta=1.0, latent_dim=8, model="mopoe")
    text = " ".join(search_section.section_notes(searched(hunt), has_importances=True))
    assert not unnamed(text, "optimistic", *named)
    assert ("stopped early" in text) == ("early" in changes)
    assert ("evaluate_on" in text) == (base == {"dataset": "celeba"})


def test_the_notes_are_on_the_page(eventful, tmp_path, undrawn):
    """Every sentence of them."""
    paths = eventful.report(tmp_path / "r")
    text = Page(paths.page.read_text()).text
    assert len(paths.search.notes) == 4
    assert all(note in text for note in paths.search.notes)


def test_further_seeds_move_the_front_and_not_what_was_told(tmp_path, undrawn):
    """The table of the search keeps the mean of the two starting seeds; the front has that of all four."""
    hunt = Hunt(tmp_path / "storage", raw(seeds={"start": 2, "max": 4}))
    cell = hunt.propose(beta=1.0, latent_dim=8, model="mopoe")
    outcomes.Proposals(hunt.storage, "hunt").give_seeds(cell.id, 4)
    hunt.complete(cell, of(0.1, -1900), of(0.1, -1900), of(0.5, -1900), of(0.5, -1900))
    paths = hunt.report(tmp_path / "r")
    assert paths.search.rows[0].values[0] == "0.100 ± 0.000"
    assert paths.search.rows[0].n == "2/2"
    assert search_front_figure.marks(searched(hunt))[0].at == (pytest.approx(0.3), -1900)


def test_titles_and_captions_stay_within_the_figure(many):
    """No text of any figure is cut at its edge, also with a long title."""
    data = replace(searched(many), title="a very long title, " * 12)
    numbers = search_section.field_importances(data)
    drawn = [
        search_front_figure.front(data),
        search_course_figure.history(data),
        search_space_figures.parallel(data),
        search_space_figures.slices(data),
    ]
    for figure in [*drawn, search_space_figures.importances(data, numbers)]:
        figure.canvas.draw()
        box, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
        assert box.x0 >= -0.01
        assert box.y0 >= -0.01
        assert box.x1 <= width + 0.01
        assert box.y1 <= height + 0.01
