"""The benchmark for GPUs: rehearsed on a CPU as a whole, and its sums."""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.speed.gpu import __main__ as program
from benchmarks.speed.gpu import agreement, clock, measurements
from benchmarks.speed.gpu.agreement import Check
from benchmarks.speed.gpu.cases import random_data
from benchmarks.speed.gpu.clock import Budget
from benchmarks.speed.gpu.measurements import StepTime, evaluation_time
from benchmarks.speed.gpu.page import REHEARSAL, Measured, page, share
from benchmarks.speed.gpu.projection import CASE, projections, seconds_of_a_step
from mopoe_core.data.types import Split
from mopoe_core.networks import precision
from mopoe_core.networks.stacked_layers import NotStackable
from mopoe_core.training.graphed_step import GraphedStep
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack

ROOT = Path(__file__).parents[2]
WITHOUT = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "optuna"):
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Blocked())
sys.argv = ["gpu", *sys.argv[1:]]
runpy.run_module("benchmarks.speed.gpu", run_name="__main__")
"""


def started(*words: object) -> subprocess.CompletedProcess:
    """The program, where neither Ray nor MLflow can be imported and a warning is an error."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_the_whole_program_is_rehearsed_without_ray_or_mlflow(tmp_path):
    """On a CPU: every section has its rows, all checks pass, nothing failed, and the page says that it is a rehearsal."""
    done = started("--device", "cpu", "--budget", 120, "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "performance_gpu.json").read_text())
    assert content["is_rehearsal"]
    assert not content["failed"]
    assert {check["name"].split()[0] for check in content["checks"]} >= {"rounding", "loss", "gradient", "losses", "weights"}
    assert all(check["difference"] <= check["tolerance"] for check in content["checks"])
    assert {row["way"] for row in content["steps"]} == {"eager", "graph", "stack of 2"}
    assert {row["precision"] for row in content["steps"]} == {"fp32", "bf16"}
    assert content["evaluations"]
    assert content["peak_bytes"] > 0
    assert content["projections"] == []
    assert REHEARSAL in (tmp_path / "performance_gpu.md").read_text()


def test_a_short_budget_leaves_a_page_that_says_what_is_missing(tmp_path):
    """Also without Ray and MLflow; everything that was not measured is named, the least important too."""
    done = started("--device", "cpu", "--budget", 5, "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "performance_gpu.json").read_text())
    assert "check of celeba, small: evaluation" in content["left_out"]
    assert content["machine"]["torch"] == torch.__version__
    assert "## Left out" in (tmp_path / "performance_gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_is_refused_in_one_line(tmp_path):
    """With exit code 2, and nothing is written; a rehearsal is not written over the page either."""
    for words in (("--into", tmp_path), ("--device", "cpu")):
        done = started(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_killed_leaves_what_it_has(tmp_path, monkeypatch):
    """The sections before are on the page."""

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(agreement, "checks", killed)
    monkeypatch.setattr(clock, "PEAK_SECONDS", 0.01)
    with pytest.raises(KeyboardInterrupt):
        program.Benchmark(torch.device("cpu"), Budget(60), tmp_path).run()
    assert json.loads((tmp_path / "performance_gpu.json").read_text())["peak_flops"].keys() == {"fp32", "bf16"}


def test_checks_come_before_times_and_those_of_evaluations_last(tmp_path, monkeypatch):
    """Of each case but the first: a short budget leaves out the dear checks of its evaluation rather than the cheap ones of its steps."""
    benchmark, begun = program.Benchmark(torch.device("cpu"), Budget(60), tmp_path), []
    monkeypatch.setattr(benchmark, "_measure", lambda name, work: begun.append(name))
    benchmark.run()
    for case in benchmark.cases[1:]:
        names = [name for name in begun if case.name in name]
        assert names[:4] == [f"check of {case.name}: {name}" for name in ("first step", "stack", "graph", "resume")]
        assert f"check of {case.name}: evaluation" not in names[:-1]
    assert begun[-len(benchmark.cases[1:]) :] == [f"check of {case.name}: evaluation" for case in benchmark.cases[1:]]


def test_the_cpu_takes_one_small_first_step_for_all_precisions(monkeypatch):
    """It is what the steps of a GPU in every precision are compared with; here the device is another CPU run."""
    steps = []
    real = agreement._loss_and_gradient
    monkeypatch.setattr(agreement, "_loss_and_gradient", lambda run, *rest: steps.append(run.config) or real(run, *rest))
    config = replace(program.CASES[0], networks="small").config("fp32", False)
    found = agreement.first_steps(config, ("fp32", "bf16"), random_data(config), agreement.CPU)
    assert [one.precision for one in steps] == ["fp32", "fp32", "bf16"]
    assert {one.batch_size for one in steps} == {agreement.CHECKED_BATCH}
    assert [check.difference == 0 for check in found] == [True, True, False, False]
    assert all(check.passed for check in found)


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """The numbers with so many bits of mantissa, to the nearest."""
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp(torch.round(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent)


@pytest.mark.parametrize(("policy", "bits", "passes"), [
    ("fp32", 23, True), ("fp32", 10, False), ("tf32", 10, True), ("tf32", 23, False), ("tf32", 7, False),
    ("bf16", 7, True), ("bf16", 23, False), ("bf16", 10, False),
])  # fmt: skip
def test_a_precision_that_is_not_in_use_does_not_pass(monkeypatch, policy, bits, passes):
    """A card is played that rounds factors to so many bits, of which TF32 has 10 and bfloat16 7, whatever it is asked for."""
    mm, conv2d = torch.mm, torch.conv2d
    for name, operation in (("mm", mm), ("conv2d", conv2d)):

        def played(left, right, operation=operation):
            return operation(left, right) if left.dtype == torch.float64 else operation(rounded(left, bits), rounded(right, bits))

        monkeypatch.setattr(torch, name, played)
    monkeypatch.setattr(precision, "in_forward", lambda policy, device: contextlib.nullcontext())
    assert [check.passed for check in agreement.rounding(policy, agreement.CPU)] == [passes] * 2


@pytest.mark.parametrize("policy", ["fp32", "bf16"])
def test_a_cpu_rounds_as_its_precisions_say(policy):
    """The two that it has."""
    assert all(check.passed for check in agreement.rounding(policy, agreement.CPU))


def test_the_budget_breaks_off_and_leaves_out(monkeypatch):
    """Work that does not end is broken off when the time is up, and what comes after is not begun."""
    budget, begun = Budget(clock.RESERVE + 0.1), []

    def endless():
        begun.append("endless")
        while True:
            pass

    assert budget.measure("short", lambda: 7) == 7
    assert budget.measure("endless", endless) is None
    assert budget.measure("later", lambda: begun.append("later")) is None
    assert budget.left_out == ["endless", "later"]
    assert begun == ["endless"]


def test_the_end_of_the_budget_cannot_be_swallowed(monkeypatch):
    """An error that arises while work is broken off, and that the work handles, puts the end off by `AGAIN` seconds only."""
    monkeypatch.setattr(clock, "AGAIN", 0.1)
    budget, swallowed = Budget(clock.RESERVE + 0.1), []

    def recorded():
        try:
            try:
                endless()
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")
        except RuntimeError as error:
            swallowed.append(error)
        endless()

    def endless():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            pass

    started = time.monotonic()
    assert budget.measure("recorded", recorded) is None
    assert time.monotonic() - started < 10
    assert budget.left_out == ["recorded"]
    assert len(swallowed) == 1


@pytest.mark.parametrize(
    "error", [AssertionError("no graph"), KeyError("mnist"), TypeError(), MemoryError(), NotStackable("LayerNorm")]
)
def test_no_error_of_a_measurement_ends_the_program(tmp_path, error):
    """It is on the page with its kind, and the next measurement is made."""
    benchmark = program.Benchmark(torch.device("cpu"), Budget(60), tmp_path)

    def work():
        raise error

    assert benchmark._measure("step", work) is None
    assert benchmark._measure("next", lambda: 7) == 7
    benchmark._write()
    text = str(error)
    assert f"- step: {type(error).__name__}{f': {text}' if text else ''}\n" in (tmp_path / "performance_gpu.md").read_text()


def test_slow_calls_are_few():
    """A call that takes longer than there is time for is made twice: to warm up and to be timed. A short one is made until the time is
    filled.
    """
    calls = []
    seconds = clock.seconds_a_call(lambda: calls.append(time.sleep(0.02)), torch.device("cpu"), at_least=0.001)
    assert len(calls) == 2
    assert seconds >= 0.02
    calls.clear()
    clock.seconds_a_call(lambda: calls.append(time.sleep(0.001)), torch.device("cpu"), at_least=0.05)
    assert len(calls) > 5


def test_one_long_measurement_does_not_forbid_short_ones(monkeypatch):
    """After work that took two thirds of the budget, work begins as long as more than `LONG` is left."""
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    budget = Budget(90.0, started=0.0)
    budget.measure("long", lambda: now.__setitem__(0, 60.0))
    assert budget.measure("short", lambda: 7) == 7
    now[0] = 90.0 - clock.LONG
    assert budget.measure("too late", lambda: 7) is None


@pytest.mark.parametrize(("gigabytes", "tried"), [(50, [4, 16]), (200, [4, 16, 64]), (0, [4, 16, 64])])
def test_a_stack_that_cannot_fit_is_not_tried(tmp_path, monkeypatch, gigabytes, tried):
    """Where each trial takes a gigabyte, a stack of 64 is tried with 200 GB, and not with 50, which the page says; with 0, memory is not
    known. After a stack that ran out of memory no larger one is tried.
    """
    sizes = []

    def stacked(case, policy, size, device, is_rehearsal):
        sizes.append(size)
        return replace(step(f"stack of {size}", size, 0.001), peak_bytes=size * 10**9)

    monkeypatch.setattr(measurements, "flops_a_step", lambda *_: 1)
    monkeypatch.setattr(measurements, "alone", lambda *_: [])
    monkeypatch.setattr(measurements, "memory", lambda device: gigabytes * 10**9)
    monkeypatch.setattr(measurements, "stacked", stacked)
    benchmark = program.Benchmark(torch.device("cpu"), Budget(60), tmp_path)
    benchmark.sizes = (4, 16, 64)
    benchmark.times(CASE, "fp32")
    assert sizes == tried
    assert [row.trials for row in benchmark.measured.steps] == [4, 16, 64]
    assert ("too large" in page(benchmark.measured).split("|", 1)[1]) == (tried == [4, 16])
    monkeypatch.setattr(measurements, "stacked", lambda case, policy, size, *_: step("stack", size, None))
    benchmark.times(CASE, "fp32")
    assert [row.was_tried for row in benchmark.measured.steps[3:]] == [True, False, False]


def test_the_runs_of_a_stack_share_one_copy_of_the_data(monkeypatch):
    """As in a sweep, so that the memory on the page is what a sweep takes: one copy for three runs, and one for the trial beside them."""
    copies: list[object] = []

    def to(split: Split, device: torch.device) -> Split:
        """As to a GPU: a copy, unless it is on the GPU already."""
        if not any(split.items is items for items in copies):
            split = replace(split, items=dict(split.items))
            copies.append(split.items)
        return split

    monkeypatch.setattr(Split, "to", to)
    monkeypatch.setattr(measurements, "seconds_a_call", lambda call, device: call() is None or 1.0)
    measurements.stacked(replace(CASE, networks="small"), "fp32", 3, torch.device("cpu"), True)
    assert len(copies) == 2


def step(way: str, trials: int, seconds: float | None) -> StepTime:
    """Of MNIST-SVHN-Text's networks of the paper."""
    return StepTime(CASE.name, "fp32", way, trials, seconds)


def test_the_projection_is_trials_times_steps_times_seconds():
    """Ninety trials of 150 epochs of 1,121,360 triples in batches of 256, of which the last ten fill no stack of 16; of the evaluation,
    only what test examples cost grows with the 200,000 of them.
    """
    steps = [step("eager", 1, 0.004), step("stack of 16", 16, 0.008), step("stack of 64", 64, None)]
    eager, stacked = projections(steps, [evaluation_time(CASE, "fp32", (500, 1.5), (2000, 3.0))])
    hours = 90 * 150 * (1_121_360 // 256) * 0.004 / 3600
    assert eager.training_hours == pytest.approx(hours)
    assert stacked.training_hours == pytest.approx(hours / 90 * 6 * 2)  # six stacks, each as long as two eager steps
    assert stacked.hours == pytest.approx(stacked.training_hours + 90 * (1.0 + 0.001 * 200_000) / 3600)
    assert projections(steps[:1], [])[0].evaluation_hours is None


@pytest.mark.parametrize(("seconds_of_16", "expected"), [(0.008, 0.02 + 2 * 0.008), (0.03, 0.02 * 2), (None, 0.02 * 2)])
def test_what_fills_no_stack_is_trained_in_the_fastest_way(seconds_of_16, expected):
    """Ninety trials in stacks of 64 are one of 64 and 26 more: two stacks of 16, or another of 64, or 26 single trials."""
    ways = [step("eager", 1, 0.004), step("stack of 16", 16, seconds_of_16), step("stack of 64", 64, 0.02)]
    assert seconds_of_a_step(90, ways[2], ways) == pytest.approx(expected)
    assert seconds_of_a_step(90, ways[0], ways) == pytest.approx(90 * 0.004)
    other = replace(ways[0], precision="tf32", seconds=1e-9)
    assert seconds_of_a_step(90, ways[2], [*ways, other]) == pytest.approx(expected)


def test_the_memory_of_a_stack_is_not_that_of_trying_out_its_convolutions(monkeypatch):
    """The first step, which tries them out, is before the peak is counted."""
    happened = []
    real = Stack.step
    monkeypatch.setattr(Stack, "step", lambda stack, rows: happened.append("step") or real(stack, rows))
    monkeypatch.setattr(measurements, "_reset_peak", lambda device: happened.append("peak"))
    monkeypatch.setattr(measurements, "seconds_a_call", lambda call, device: call() is None or 1.0)
    measurements.stacked(replace(CASE, networks="small"), "fp32", 2, torch.device("cpu"), True)
    assert happened[:2] == ["step", "peak"]
    assert happened.count("peak") == 1


def test_noise_makes_no_evaluation_cheaper_with_more_examples():
    """If more examples happened to take less time, all of the time counts as fixed."""
    time_ = evaluation_time(CASE, "fp32", (500, 1.5), (2000, 1.4))
    assert [time_.seconds_for(examples) for examples in (500, 200_000)] == [1.5, 1.5]


def test_the_share_is_of_the_cards_own_peak():
    """Sixteen trials of 10^9 operations in a millisecond are 16 TFLOP/s; a rehearsal has no share."""
    measured = Measured({"device": "a card"}, False, {"fp32": 64e12}, flops={CASE.name: 10**9})
    assert share(measured, step("stack of 16", 16, 1e-3)) == pytest.approx(0.25)
    measured.is_rehearsal = True
    assert share(measured, step("stack of 16", 16, 1e-3)) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_difference_that_is_no_number_does_not_pass(place):
    """Wherever it stands among the differences: `max` keeps the first of two numbers that it cannot compare."""
    differences = [0.0, 0.0, 0.0]
    differences[place] = float("nan")
    assert not Check("weights", agreement.largest(differences), 1.0, "").passed
    assert Check("weights", agreement.largest([0.0, 0.5]), 1.0, "").passed


def test_weights_of_which_one_is_nan_do_not_agree():
    """Two runs that differ in the last weight alone, which is NaN in one of them."""
    case = program.CASES[0]
    config = replace(case, networks="small").config("fp32", True)
    left, right = (Run(config, 0, random_data(config), agreement.CPU) for _ in range(2))
    assert agreement._largest_difference(left, right) == 0
    with torch.no_grad():
        [*right.model.parameters()][-1][0] = float("nan")
    assert not agreement._largest_difference(left, right) <= 1e9


def test_steps_without_a_graph_are_no_check_of_graphs():
    """On a GPU, ungraphed steps would agree with ungraphed steps."""
    with pytest.raises(RuntimeError, match="graph"):
        agreement._check_graphed(GraphedStep(None), torch.device("cuda"))
    agreement._check_graphed(GraphedStep(None), agreement.CPU)


@pytest.mark.parametrize(("difference", "verdict"), [(0.1, "yes"), (0.3, "**no**"), (float("nan"), "**no**")])
def test_a_check_that_fails_is_said_to(difference, verdict):
    """A difference that is not a number does not pass."""
    text = page(Measured({"device": "a card"}, False, checks=[Check("loss", difference, 0.2, "")]))
    (line,) = [line for line in text.splitlines() if line.startswith("| loss |")]
    assert line.endswith(f"| {verdict} |")
