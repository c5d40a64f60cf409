"""What the commands do for a sweep grows with its trials, and no faster: counted in steps of the interpreter, never in seconds."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orchestrator.analysis import dominance, failure_causes, hypervolume
from orchestrator.analysis.aggregation import cell_table, trial_table
from orchestrator.analysis.attainment import attainments
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.analysis.dominance import dominated_count
from orchestrator.analysis.model_groups import groups
from orchestrator.analysis.significance import rank_correlation
from orchestrator.analysis.significance.hypotheses import ABOVE
from orchestrator.analysis.sweep_analysis import analyse
from orchestrator.driver import report_step
from orchestrator.driver.report_step import Options
from orchestrator.driver.tracking_step import cell_summaries
from orchestrator.execution import plan
from orchestrator.ledger import result_columns, snapshot
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import State
from orchestrator.monitor.live_state import StorageWatch
from orchestrator.monitor.progress import Progress
from orchestrator.report import export
from orchestrator.report.render import table_files
from orchestrator.report.sections import group_section
from orchestrator.report.sections.heat_map_section import heat_maps
from orchestrator.search import outcomes
from orchestrator.search.outcomes import CellOutcome
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from tests.support.builders import COHERENCE, grid_results, metric, result
from tests.support.searches import Hunt, raw

SMALL = 24
"""Cells of the smallest sweep of a count; those after it have twice and four times as many."""
SLACK = 1.15
"""Sorting takes n log n: from 48 to 96 cells that is 18 % more than twice as much, of the little that is sorting."""


def steps(work: Callable[[], object]) -> int:
    """How many steps the interpreter takes: instructions of all Python code, whatever it calls."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def spec_of(count: int, **more: object) -> SweepSpec:
    """A sweep with so many cells of two models, two seeds each."""
    fields = {"model": ["mvae", "mopoe"], "beta": [1.0 + place for place in range(count // 2)], **more}
    return parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "networks": "small"}, "grid": fields, "seeds": 2})


def kept(spec: SweepSpec, every: int = 2) -> list[TrialResult]:
    """Results of one cell in `every`, so that the others have none."""
    return grid_results(spec.cells[::every], 2)


def failing(spec: SweepSpec, results: Sequence[TrialResult], ledger: Ledger) -> object:
    """Every trial failed for a reason of its own."""
    states = {trial.id: State("failed", 1, False) for trial in spec.trials}
    letters = str.maketrans("0123456789", "ghijklmnop")
    failures = {trial.id: Failure(f"{trial.id.translate(letters)}Error", "no", "", "") for trial in spec.trials}
    ledger.failure = lambda trial: failures[trial.id]  # type: ignore[method-assign]
    found = failure_causes.find(spec.trials, states, ledger)
    assert len(found) == len(spec.trials)
    return found


def statuses(spec: SweepSpec) -> dict[str, str]:
    """All pending: what is not in the results has not run."""
    return dict.fromkeys((trial.id for trial in spec.trials), "pending")


WORK: dict[str, Callable[[SweepSpec, Sequence[TrialResult], Ledger], object]] = {
    "cell table": lambda spec, results, _: cell_table(spec.cells, spec.seed_list, results),
    "trial table": lambda _, results, __: list(group_section.trials_table(results)),
    "part of the report": lambda spec, results, _: parts_of(spec, results),
    "heat maps": lambda spec, results, _: heat_maps(spec.cells, cell_table(spec.cells, [0, 1], results)),
    "groups": lambda spec, results, _: groups(spec.cells, spec.seed_list, results),
    "attainment": lambda spec, results, _: attainments(spec.objectives, spec.cells, spec.seed_list, results),
    "export": lambda spec, results, _: list(export.tidy(spec.trials, statuses(spec), results)),
    "failures": failing,
    "plan": lambda spec, _, ledger: plan.make(spec.wanted, ledger, read=snapshot.read(spec, ledger).reading),
    "status": lambda spec, _, ledger: Progress(StorageWatch(spec, ledger.storage).look()).view(),
    "what a report is made from": lambda spec, _, ledger: report_step.inputs(
        report_step.gather(snapshot.read(spec, ledger), ledger), Options("sweep")
    ),
    "rank correlation": lambda spec, _, __: [
        rank_correlation.tau([c.config.beta % 7 for c in spec.cells]),
        rank_correlation.tau_p([[c.config.beta % 7 for c in spec.cells]]),
    ],
}


def parts_of(spec: SweepSpec, results: Sequence[TrialResult]) -> object:
    """What the report says of each group of cells."""
    analysis = analyse(spec, front_groups(spec.cells, results), {cell.id for cell in spec.cells})
    parts = [group_section.make(spec, group) for group in analysis.groups]
    return group_section.markdown(parts), group_section.latex(parts, "x")


@pytest.mark.parametrize("name", WORK)
def test_twice_the_cells_take_twice_the_steps(name, tmp_path, monkeypatch):
    """From 48 to 96 cells as many steps are added, cell by cell, as from 24 to 48; half of the cells have no result."""
    monkeypatch.setattr(rank_correlation, "MOST_PAIRS", 0)  # as of sweeps where counting every order is out of the question
    counts = []
    for size in (SMALL, SMALL, 2 * SMALL, 4 * SMALL):  # the first fills caches
        spec = spec_of(size)
        results = kept(spec)
        assert spec.trials  # makes them, outside of what is counted
        counts.append(steps(lambda spec=spec, results=results: WORK[name](spec, results, Ledger(tmp_path))))
    _, small, middle, large = counts
    assert large - middle <= 2 * SLACK * (middle - small)


def test_a_group_a_cell_takes_no_more_steps_a_cell():
    """Where each learning rate is a group of its own, labels and names of twice the groups take twice the steps."""
    counts = []
    for size in (SMALL, SMALL, 2 * SMALL, 4 * SMALL):
        spec = spec_of(2, learning_rate=[0.001 * place for place in range(1, size + 1)])
        results = kept(spec, 1)
        counts.append(steps(lambda spec=spec, results=results: groups(spec.cells, spec.seed_list, results)))
    _, small, middle, large = counts
    assert large - middle <= 2 * SLACK * (middle - small)


def test_what_mlflow_shows_of_cells_is_found_in_one_pass():
    """`cell_summaries` of twice the cells takes twice the steps, and says of each cell what the cell table says."""
    counts = []
    for size in (SMALL, SMALL, 2 * SMALL, 4 * SMALL):
        spec = spec_of(size)
        results = kept(spec)
        counts.append(steps(lambda spec=spec, results=results: cell_summaries(spec, results)))
    _, small, middle, large = counts
    assert large - middle <= 2 * SLACK * (middle - small)
    table = cell_table(spec.cells, spec.seed_list, results)
    for summary in cell_summaries(spec, results):
        own = table[table.cell_id == summary.cell.id]
        assert summary.n == own["n"].max()
        expected = dict(zip(own["name"], own["mean"], strict=True)) if summary.n else {}
        assert {name: numbers["mean"] for name, numbers in summary.values.items()} == expected


def test_the_course_of_a_search_looks_at_its_front_and_not_at_all_cells(tmp_path, monkeypatch):
    """The hypervolume after each cell is that of all cells so far, and none is taken for a cell that is dominated."""
    hunt = Hunt(tmp_path, raw())
    values = [(float(x), -float(x % 5)) for x in np.random.default_rng(0).integers(0, 40, 60)]
    cells = [type("T", (), {"outcome": CellOutcome("completed", one)})() for one in values]
    expected = [hypervolume.hypervolume(values[: place + 1], hunt.spec.objectives) for place in range(len(values))]
    asked = []
    whole = hypervolume.hypervolume
    monkeypatch.setattr(hypervolume, "hypervolume", lambda points, objectives: asked.append(points) or whole(points, objectives))
    assert outcomes.hypervolumes(cells, hunt.spec) == expected
    assert len(asked) < len(values) / 2
    assert all(points == dominance.front_of(points, hunt.spec.objectives) for points in asked)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_counted_as_one_by_one(seed):
    """Rising and falling pairs are those that a look at every pair finds, ties and all."""
    values = np.random.default_rng(seed).integers(0, 12, 40).tolist()
    pairs = [(a, b) for place, b in enumerate(values) for a in values[:place]]
    found = rank_correlation.ordered_pairs(values)
    assert (found.rising, found.falling) == (sum(b > a for a, b in pairs), sum(b < a for a, b in pairs))


@pytest.mark.parametrize("ties", [False, True])
def test_the_approximation_agrees_with_the_count_of_all_orders(ties, monkeypatch):
    """For five samples of thirty values, with and without ties, both p-values are the exact ones to three decimals."""
    rng = np.random.default_rng(3)
    samples = [(rng.integers(0, 10, 30) if ties else rng.permutation(30)).tolist() for _ in range(5)]
    assert rank_correlation.is_exact(samples)
    exact = rank_correlation.tau_p(samples)
    monkeypatch.setattr(rank_correlation, "MOST_PAIRS", 0)
    assert not rank_correlation.is_exact(samples)
    assert rank_correlation.tau_p(samples) == pytest.approx(exact, abs=1e-3)


def test_a_long_grid_of_beta_has_p_values():
    """Of 500 betas with ten seeds each, for which the exact distribution overflows, a trend is certain and its opposite is not."""
    samples = [[beta + 40 * np.sin(beta * (1 + seed)) for beta in range(500)] for seed in range(10)]
    high, low = rank_correlation.tau_p(samples)
    assert high < 1e-6
    assert low > 1 - 1e-6
    assert ABOVE.room(high, high) >= 0


def test_dominated_points_are_counted_as_one_by_one():
    """A point counts if some point of the front is as good on both axes and better on one; equal ones do not count."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        front, others = rng.integers(0, 6, (9, 2)).astype(float), rng.integers(0, 6, (12, 2)).astype(float)
        expected = sum(any(a >= x and b >= y and (a > x or b > y) for a, b in front) for x, y in others)
        assert dominated_count(front, others) == expected


@pytest.fixture
def recorded(tmp_path):
    """Twelve results in a ledger, one of them diverged, and what was recorded."""
    spec = spec_of(6)
    ledger, found = Ledger(tmp_path), kept(spec, 1)
    found[3] = result(found[3].trial.cell, found[3].trial.seed, {}, "diverged")
    for one in found:
        ledger.begin(one.trial)
        ledger.record(one)
    return spec, ledger, found


def test_a_result_that_is_read_is_the_one_that_was_recorded(recorded):
    """Metrics, curves and values by name are equal, item by item, slice by slice, and as sequences."""
    _, ledger, found = recorded
    for one in found:
        read = ledger.result(one.trial)
        assert read == one
        assert (tuple(read.metrics), tuple(read.history)) == (one.metrics, one.history)
        assert (read.metrics[1:], read.history[-1:]) == (one.metrics[1:], one.history[-1:])
        assert dict(read.values) == {m.name: m.value for m in one.metrics}
        assert read.value("no/such") is None


def test_results_in_memory_share_the_names_of_their_metrics(recorded):
    """What a result adds is its numbers: no metric is an object of its own, and names are the same object in all."""
    _, ledger, found = recorded
    read = [ledger.result(one.trial).metrics for one in found if one.status == "completed"]
    assert all(isinstance(one, result_columns.MetricColumns) for one in read)
    assert len({id(one._names) for one in read}) == 1


def test_results_in_memory_share_where_they_come_from(recorded):
    """Provenance is equal to what was recorded, and what is the same in all results is the same object."""
    _, ledger, found = recorded
    noted = {"commit": "abc", "packages": {"torch": "2.1"}}
    for one in found[:2]:
        (ledger.folder(one.trial) / "result.json").unlink()
        assert ledger.record(replace(one, provenance=noted | {"parameters": one.trial.seed}))
    first, second = (ledger.result(one.trial).provenance for one in found[:2])
    assert (first, second) == tuple(noted | {"parameters": one.trial.seed} for one in found[:2])
    assert first["packages"] is second["packages"]


def test_a_record_without_every_field_is_read_as_before():
    """Metrics of an earlier version have no attribute; epochs may differ in what they report."""
    own = vars(metric(COHERENCE, 0.5)) | {}
    old = {name: value for name, value in own.items() if name != "attribute"}
    assert result_columns.metrics([old, own]) == (metric(COHERENCE, 0.5), metric(COHERENCE, 0.5))
    epochs = [{"epoch": 1, "timestamp_ms": 5, "values": {"a": 1.0}}, {"epoch": 2, "timestamp_ms": 6, "values": {"b": 2.0}}]
    assert [one.values for one in result_columns.history(epochs)] == [{"a": 1.0}, {"b": 2.0}]


@pytest.mark.parametrize("spoiled", [{"name": "x"}, {"value": "0.5"}, {"n": 1.5}])
def test_a_record_with_something_else_is_refused(spoiled):
    """What is no metric raises one of the two errors by which a record is named as damaged."""
    record = spoiled if "name" in spoiled else vars(metric(COHERENCE, 0.5)) | spoiled
    with pytest.raises((KeyError, TypeError)):
        result_columns.metrics([record])


@pytest.mark.parametrize("at_once", [1, 4, 1_000])
def test_a_table_in_parts_is_the_whole_table(at_once, recorded, tmp_path, monkeypatch):
    """Trials one by one, four at a time or all at once: the same rows and types, the same CSV, and no part has more trials."""
    spec, ledger, _ = recorded
    results = ledger.results_of(spec.trials)
    whole = tmp_path / "whole.csv"
    trial_table(results).to_csv(whole, index=False)
    monkeypatch.setattr(table_files, "AT_ONCE", at_once)
    parts = list(group_section.trials_table(results))
    assert max(part["trial_id"].nunique() for part in parts) <= at_once
    table_files.write_both(parts, tmp_path / "t.csv", tmp_path / "t.parquet")
    assert (tmp_path / "t.csv").read_bytes() == whole.read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), trial_table(results))


@pytest.mark.parametrize("at_once", [1, 4])
def test_an_export_in_parts_is_the_whole_export(at_once, recorded, tmp_path, monkeypatch):
    """Also where the first part has no trial that completed, so that its types are not seen in it."""
    spec, ledger, _ = recorded
    every = spec.trials
    results = [one for one in ledger.results_of(every) if one.trial not in every[:5]]
    export.write(export.tidy(every, statuses(spec), results), tmp_path / "whole.parquet")
    monkeypatch.setattr(table_files, "AT_ONCE", at_once)
    rows = export.write(export.tidy(every, statuses(spec), results), tmp_path / "parts.parquet")
    whole, parts = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert rows == len(whole)
    pd.testing.assert_frame_equal(parts, whole)


def test_a_sweep_hashes_each_trial_once():
    """Asked twice, it gives the same trials."""
    spec = spec_of(4)
    assert spec.trials is spec.trials
