"""A plan as lines for a terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime

from orchestrator.execution import cpus
from orchestrator.execution import plan as planning
from orchestrator.execution.costs import Evaluation
from orchestrator.monitor import durations
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


def plan_lines(spec: SweepSpec, plan: planning.Plan, list_cells: bool = False) -> list[str]:
    """How many trials are done, to resume, new and damaged, and what the rest costs; with `list_cells`, the cells of each of these."""
    names = spec.labels
    counts = {len(seeds) for seeds in spec.seeds_by_cell.values()} or {len(spec.seed_list)}
    seeds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    lines = [f"{spec.name}: {len(spec.trials)} trials = {len(names)} cells x {seeds} seeds"]
    if spec.search:
        left = max(0, spec.search.cells - len(names))
        lines[0] += f" so far, by {spec.search.sampler}; up to {left} cells ({left * len(spec.seed_list)} trials) to be found"
    groups = [("done", plan.done), ("resume", plan.resume), ("new", plan.fresh)]
    for word, group in [*groups, *([("damaged", tuple(plan.damaged))] if plan.damaged else [])]:
        lines.append(f"  {word:<6}  {len(group):>4}")
        lines += [f"            {line}" for line in _by_cell(group, names)] if list_cells else []
    if plan.to_run:
        return [*lines, *(f"  {difference.said}" for difference in plan.differing), *_cost(spec, plan)]
    return lines if spec.search and len(names) < spec.search.cells else [*lines, "  nothing to run"]


def _by_cell(trials: Sequence[Trial], names: dict[str, str]) -> list[str]:
    """A line a cell with the seeds that are among `trials`; `names` gives each cell's label by its id."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell.id, []).append(trial.seed)
    return [f"{names[key]}: seed{'' if len(own) == 1 else 's'} {', '.join(map(str, own))}" for key, own in seeds.items()]


def _cost(spec: SweepSpec, plan: planning.Plan) -> list[str]:
    estimate, most = plan.estimate, cpus.usable()
    wall = planning.wall_hours(plan, spec.resources, most)
    known = len(plan.to_run) - estimate.guessed
    basis = f"from past trials for {known}" if known else ""
    guess = f"guessed for {estimate.guessed}: no past trial of that dataset, networks and model" if estimate.guessed else ""
    here = f"{most} CPU{'' if most == 1 else 's'}"
    every, evaluation = (durations.about(hours * 3600) for hours in (estimate.trial_hours, estimate.evaluation_hours))
    return [
        f"  {durations.about(wall * 3600)} on the {here} of this process, {durations.done_about(wall * 3600, datetime.now())} "
        f"if it starts now ({'; '.join(part for part in (basis, guess) if part)})",
        f"  {every} over all trials; {evaluation} of that is evaluation: {_evaluations(estimate.work)}",
    ]


def _evaluations(work: Sequence[Evaluation]) -> str:
    """What the evaluations do, as a product of ranges."""
    fields = ("subsets", "test_examples", "samples")
    subsets, tested, samples = (_range([getattr(evaluation, field) for evaluation in work]) for field in fields)
    return f"{subsets} subsets x {tested} test examples x {samples} importance samples"


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
