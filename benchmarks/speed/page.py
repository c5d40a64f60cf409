"""`docs/performance.md` from the numbers of `docs/performance.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

Found = dict[str, Any]

OPTIONS = Path(__file__).parents[2] / "docs" / "performance_options.jsonl"
NOTES = Path(__file__).parents[2] / "docs" / "performance_notes.md"

TARGETS: Sequence[tuple[str, str, str, float]] = (
    ("training step, MNIST-SVHN-Text, paper networks", "step", "step/{model}/mnist_svhn_text", 1.25),
    ("training step, PolyMNIST, paper networks", "step", "step/{model}/polymnist", 1.3),
    ("training epoch with data loading, MNIST-SVHN-Text", "step", "epoch/{model}/mnist_svhn_text", 1.8),
    ("training epoch with data loading, PolyMNIST", "step", "epoch/{model}/polymnist", 1.8),
    ("evaluation, MNIST-SVHN-Text, small networks", "evaluation", "evaluation/{model}/mnist_svhn_text/small", 3),
    ("evaluation, MNIST-SVHN-Text, paper networks", "evaluation", "evaluation/{model}/mnist_svhn_text/paper", 3),
    ("evaluation, PolyMNIST's 31 subsets, small networks", "evaluation", "evaluation/{model}/polymnist/small", 3),
    ("evaluation, PolyMNIST's 31 subsets, paper networks", "evaluation", "evaluation/{model}/polymnist/paper", 3),
    ("stack of 16 perceptrons on tables", "stacks", "stack/16/tabular/small/batch 50", 3.5),
    ("stack of 16 perceptrons on images, batch 16", "stacks", "stack/16/mnist_svhn_text/small/batch 16", 3.5),
    ("stack of paper networks as `auto` chooses, on a CPU", "stacks", "auto/mnist_svhn_text/paper", 0.95),
    ("sweep of 18 trials, one a worker", "sweeps", "sweep of 18 trials, stack: 1", 2.5),
    ("sweep of 18 trials, `stack: auto`", "sweeps", "sweep of 18 trials, stack: auto", 2.5),
)
"""What is shown, its section, the name of its row, and the least ratio that was aimed at."""
MODELS = ("mvae", "mmvae", "mopoe")
OVERHEAD = 0.15
PARTS = ("convolutions_s", "products_s", "other_torch_s", "outside_s")
"""How `benchmarks.speed.where_time_goes` shares out the time."""


def page(performance: Found) -> str:
    """The whole page as Markdown."""
    machine, sections = performance["machine"], performance["sections"]
    rows = {name: section["rows"] for name, section in sections.items()}
    parts = [
        "# Performance",
        _about(machine),
        _targets(rows),
        NOTES.read_text(encoding="utf-8").strip(),
        "## Where the time goes\n\n" + _where_time_goes(rows["where_time_goes"]),
        "## Every comparison\n\n" + _comparisons(rows),
        "## Growth\n\n" + _growth(rows["growth"]),
        "## Kernels\n\n" + _kernels(rows["kernels"]),
        "## Options of the step\n\n" + _options(),
        "## When this was measured\n\n" + _sections(sections),
    ]
    return "\n\n".join(parts) + "\n"


def _about(machine: Found) -> str:
    packages = machine["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "ray", "mlflow", "scikit-learn"))
    return (
        "`make bench` writes this page and `performance.json`. This one is of a machine with "
        f"{machine['processor']}, {machine['cpus']} CPUs, no GPU, Python {machine['python']}, {versions}. "
        "Both sides of a comparison take turns. A ratio is the median over the rounds. Times are core seconds on one thread, because the "
        "machine is shared; those of sweeps are on the clock. The reference is `benchmarks/reference/`: the same models with the same "
        "losses, as research code is usually written. For sweeps it is a pool of processes, one a core, that writes nothing to disk."
    )


def _sections(sections: Found) -> str:
    rows = [[name, section["date"], section["commit"][:12], _rounds(section["rows"])] for name, section in sections.items()]
    return table(["section", "date", "commit", "rounds"], rows)


def _rounds(rows: Sequence[Found]) -> str:
    """How many rounds the comparisons of a section have: `3`, or `3 to 7`; a dash if it compares nothing in rounds."""
    counts = sorted({row["n"] for row in rows if "n" in row})
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "-"


def _targets(measured: Found) -> str:
    rows = [_target(measured, *target) for target in TARGETS]
    (overhead,) = (row for row in measured["sweeps"] if row["name"].startswith("overhead"))
    met = "yes" if overhead["seconds"] <= OVERHEAD else "**no**"
    rows.append(["overhead of an instant trial", f"{overhead['seconds'] * 1e3:.0f} ms", f"<= {OVERHEAD * 1e3:.0f} ms", met])
    return table(["against the reference", "measured", "aimed at", "met"], rows)


def _target(measured: Found, shown: str, section: str, name: str, least: float) -> list[str]:
    wanted = {model: name.format(model=model) for model in MODELS} if "{model}" in name else {"": name}
    ratios = {m: row["ratio"] for m, n in wanted.items() for row in measured[section] if row["name"].split(", which")[0] == n}
    said = ", ".join(f"{model} {ratio:.2f}".strip() for model, ratio in ratios.items())
    return [shown, said, f">= {least:g}", "yes" if min(ratios.values()) >= least else "**no**"]


def _where_time_goes(measured: Sequence[Found]) -> str:
    rows = [
        [
            row["name"],
            _seconds(row["seconds"]),
            *(f"{100 * row[part] / row['seconds']:.0f} %" for part in PARTS),
            f"{row['gflop']:.1f}",
            _seconds(row["gflop"] / row["peak"]),
        ]
        for row in measured
    ]
    peaks = sorted(row["peak"] for row in measured)
    text = (
        "MoPoE on one core. Convolutions and matrix products have to be done by any implementation. The last column is how long they "
        f"would take at the core's peak, which was {peaks[0]:.0f} to {peaks[-1]:.0f} GFLOP a second on a product of two square matrices. "
        "Outside torch are Python, NumPy and scikit-learn, which fits the probes (`python -m benchmarks.speed.where_time_goes`)."
    )
    head = ["", "takes", "convolutions", "products", "other torch", "outside torch", "GFLOP", "these at the peak"]
    return text + "\n\n" + table(head, rows)


def _comparisons(measured: Found) -> str:
    rows = [
        [
            row["name"],
            _seconds(row["ours_s"]),
            _seconds(row["reference_s"]),
            f"{row['ratio']:.2f}",
            f"{row['low']:.2f} to {row['high']:.2f}",
        ]
        for section in ("step", "evaluation", "stacks")
        for row in measured[section]
    ]
    rows += [[row["name"], *_clock(row), ""] for row in measured["sweeps"]]
    return table(["", "ours", "reference", "ratio", "quartiles"], rows)


def _clock(row: Found) -> list[str]:
    if row["reference_s"] is None:
        return [_seconds(row["seconds"]), "", ""]
    return [_seconds(row["seconds"]), _seconds(row["reference_s"]), f"{row['ratio']:.2f}"]


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def _growth(rows: Sequence[Found]) -> str:
    cells = [
        [
            row["model"],
            str(row["modalities"]),
            str(row["subsets"]),
            str(row["stacked"]),
            _seconds(row["step_s"]),
            _seconds(row["evaluation_s"]),
            f"{row['peak_bytes'] / 2**30:.2f} GB",
        ]
        for row in rows
    ]
    head = ["model", "modalities", "subsets", "stacked trials", "step", "evaluation of one, 200 examples", "peak of the process"]
    return "PolyMNIST, small networks, batches of 256; each line in a process of its own.\n\n" + table(head, cells)


def _kernels(rows: Sequence[Found]) -> str:
    cells = [[row["name"], str(row["alone"]), str(row["stacked"]), f"{16 * row['alone'] / row['stacked']:.1f}"] for row in rows]
    text = (
        "Kernels of a training step, counted without a GPU (`python -m benchmarks.speed.kernels`). Where a GPU's step is bound by "
        "launches, as with models this small, the last column is how much faster a stack of 16 can be at most. This is an estimate, and "
        "nothing of it was measured on a GPU. `python -m benchmarks.speed.gpu` measures it on one and writes `performance_gpu.md`."
    )
    return text + "\n\n" + table(["step", "alone", "stack of 16", "at most times as fast"], cells)


def _options() -> str:
    rows = [json.loads(line) for line in OPTIONS.read_text(encoding="utf-8").splitlines()]
    cells = [[row["name"], "-" if row["ratio"] is None else f"{row['ratio']:.2f}", _quartiles(row), row["note"]] for row in rows]
    text = (
        "Time with the option over time without, MoPoE (`python -m benchmarks.speed.options > docs/performance_options.jsonl`)."
    )
    return text + "\n\n" + table(["option", "time", "quartiles", "note"], cells)


def _quartiles(row: Found) -> str:
    return "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
