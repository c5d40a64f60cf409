"""Writes the measurements as a page and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.speed.gpu.agreement import Check
from benchmarks.speed.gpu.measurements import EvaluationTime, StepTime
from benchmarks.speed.gpu.projection import GOAL_HOURS, Projection
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.whole_files import write_text

REHEARSAL = (
    "**This is a rehearsal on a CPU, at tiny sizes. Its numbers say that the program runs, and nothing of any GPU's speed.**"
)


@dataclass
class Measured:
    """All measurements so far."""

    machine: dict[str, Any]
    is_rehearsal: bool
    peak_flops: dict[str, float] = field(default_factory=dict)
    """Floating-point operations per second, by precision."""
    peak_bytes: float | None = None
    checks: list[Check] = field(default_factory=list)
    steps: list[StepTime] = field(default_factory=list)
    flops: dict[str, int] = field(default_factory=dict)
    """Floating-point operations of one trial's step, by case."""
    evaluations: list[EvaluationTime] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Measurements that ended in an error, with the error's first line."""
    left_out: list[str] = field(default_factory=list)
    """Measurements for which there was no time."""
    seconds: float = 0.0


def share(measured: Measured, step: StepTime) -> float | None:
    """Returns the share of the card's measured peak that a step reaches in its precision; None if it is not known."""
    if measured.is_rehearsal:
        return None
    peak, flops = measured.peak_flops.get(step.precision), measured.flops.get(step.case)
    return None if not peak or not flops or not step.seconds else step.trials * flops / step.seconds / peak


def write(measured: Measured, into: Path) -> None:
    """Writes `performance_gpu.md` and `.json` into a folder, each whole or not at all."""
    into.mkdir(parents=True, exist_ok=True)
    write_text(LocalPath(into / "performance_gpu.json"), json.dumps(asdict(measured), indent=1) + "\n")
    write_text(LocalPath(into / "performance_gpu.md"), page(measured))


def page(measured: Measured) -> str:
    """Returns the whole page as Markdown."""
    parts = [f"# Training on {measured.machine['device']}", *([REHEARSAL] if measured.is_rehearsal else []), _about(measured)]
    sections = {
        "Does it compute the same?": _checks(measured.checks),
        "The card's own limits": _limits(measured),
        "Steps": _steps(measured),
        "Evaluation": _evaluations(measured.evaluations),
        "mst.yaml at the paper's scale": _projections(measured.projections),
        "Left out": "\n".join(f"- {name}: no time left in the budget" for name in measured.left_out),
        "Failed": "\n".join(f"- {line}" for line in measured.failed),
    }
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def _about(measured: Measured) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in measured.machine.items() if name != "device")
    return f"`python -m benchmarks.speed.gpu` wrote this page and `performance_gpu.json` in {measured.seconds:.0f} s: {facts}."


def _checks(checks: Sequence[Check]) -> str:
    head = ("", "difference", "allowed", "of what", "passed")
    rows = [(c.name, f"{c.difference:.1e}", f"{c.tolerance:g}", c.unit, "yes" if c.passed else "**no**") for c in checks]
    return table(head, rows) if rows else ""


def _limits(measured: Measured) -> str:
    rows = [(f"product, {name}", f"{peak / 1e12:.2f} TFLOP/s") for name, peak in measured.peak_flops.items()]
    rows += [("copy, read and written", f"{measured.peak_bytes / 1e9:.0f} GB/s")] if measured.peak_bytes else []
    return table(("", "measured"), rows) if rows else ""


def _steps(measured: Measured) -> str:
    head = (
        "networks",
        "precision",
        "way",
        "ms a step",
        "times eager alone",
        "times graph alone",
        "of the peak",
        "memory",
        "graph",
    )
    rows = [
        (
            step.case,
            step.precision,
            step.way,
            _milliseconds(step),
            _times(step.over_eager),
            _times(step.over_graph),
            _percent(share(measured, step)),
            f"{step.peak_bytes / 2**30:.2f} GB" if step.peak_bytes else "",
            "" if step.seconds is None else "yes" if step.is_graphed else "no",
        )
        for step in measured.steps
    ]
    text = (
        "MoPoE, medians of rounds. In those of a stack, it takes turns with a single trial, kernel by kernel and under a graph; in those "
        "of a single trial alone, these two follow each other. `times eager alone` is the speedup over the same number of trials one "
        "after another, kernel by kernel. The goal for a stack of 16 of MNIST-SVHN-Text on an H100 is 8, and 2.5 times the graph alone. "
        "`of the peak` compares the step's floating-point operations with the card's product above. `memory` is the peak of the whole "
        "process on the device, with the single trial that is measured beside the stack. A stack is `too large` if by the memory of a "
        "smaller one it cannot fit, and is not tried."
    )
    return f"{text}\n\n{table(head, rows)}" if rows else ""


def _milliseconds(step: StepTime) -> str:
    if step.seconds is None:
        return "out of memory" if step.was_tried else "too large"
    return f"{step.seconds * 1e3:.2f}"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _evaluations(evaluations: Sequence[EvaluationTime]) -> str:
    head = ("networks", "precision", "one evaluation", "test examples", "of it fixed", "each further 1,000 examples")
    rows = [
        (e.case, e.precision, f"{e.seconds:.2f} s", str(e.examples), f"{e.fixed:.2f} s", f"{e.per_example * 1e3:.2f} s")
        for e in evaluations
    ]
    return table(head, rows) if rows else ""


def _projections(projections: Sequence[Projection]) -> str:
    if not projections:
        return ""
    best = min(projections, key=lambda p: p.hours)
    without_evaluation = " without the evaluation" if best.evaluation_hours is None else ""
    rows = [
        (
            p.precision,
            p.way,
            f"{p.training_hours:.1f} h",
            "not measured" if p.evaluation_hours is None else f"{p.evaluation_hours:.1f} h",
            f"{p.hours:.1f} h",
        )
        for p in projections
    ]
    text = (
        f"{best.trials} trials of {best.steps:,} steps. The fastest way is {best.way} in {best.precision}: {best.hours:.1f} hours"
        f"{without_evaluation}; the goal is under {GOAL_HOURS:g}. Trials that do not fill a stack are trained in the fastest "
        "measured way. Loading and writing are not included."
    )
    return f"{text}\n\n" + table(("precision", "way", "training", "evaluation", "together"), rows)
