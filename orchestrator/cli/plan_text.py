"""A plan as lines for a terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime

from mopoe_core.data.cards import is_own
from mopoe_core.storage.paths import AnyPath
from orchestrator.execution import cpus, gpus
from orchestrator.execution import plan as planning
from orchestrator.execution.costs import Evaluation
from orchestrator.monitor import durations
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


def plan_lines(spec: SweepSpec, plan: planning.Plan, storage: AnyPath, list_cells: bool = False) -> list[str]:
    """Returns how many trials are done, to resume, new and damaged, on which data, and what the rest costs.

    With `list_cells`, the cells of each of these too.
    """
    names = spec.labels
    counts = {len(seeds) for seeds in spec.seeds_by_cell.values()} or {len(spec.seed_list)}
    seeds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    lines = [f"{spec.name}: {len(spec.trials)} trials = {len(names)} cells x {seeds} seeds"]
    if spec.search:
        left = plan.proposals
        lines[0] += f" so far, by {spec.search.sampler}; up to {left.cells} cells ({left.trials} trials) to be found"
    lines += [f"  {text}" for text in data_texts(spec)]
    lines.append(f"  storage: {storage}")
    groups = [("done", plan.done), ("resume", plan.resume), ("new", plan.fresh)]
    for word, group in [*groups, *([("damaged", tuple(plan.damaged))] if plan.damaged else [])]:
        lines.append(f"  {word:<6}  {len(group):>4}")
        lines += [f"            {line}" for line in _by_cell(group, names)] if list_cells else []
    if plan.to_run or plan.proposals.trials:
        return [*lines, *(f"  {difference.said}" for difference in plan.differing), *_cost(spec, plan)]
    return [*lines, "  nothing to run"]


def data_texts(spec: SweepSpec) -> list[str]:
    """Returns a line for each dataset and source that the sweep trains on, with the scales."""
    scales: dict[tuple[str, str], dict[str, None]] = {}
    for config in sweep_file.example_configs(spec):
        scales.setdefault((config.dataset, config.source), {})[config.scale or "as the file says"] = None
    folder = spec.resources.data_folder
    return [f"{dataset}: {_source(dataset, source, folder)}; scale: {', '.join(of)}" for (dataset, source), of in scales.items()]


def _source(dataset: str, source: str, folder: str) -> str:
    """Returns where the data come from, in words."""
    if is_own(dataset):
        return "your own dataset"
    if source == "embedded":
        return f"embedded data, which need no download (kept in {folder})"
    fetched = ", downloaded if they are not there" if dataset == "mnist_svhn_text" else ""
    return f"the original files in {folder}{fetched}"


def _by_cell(trials: Sequence[Trial], names: dict[str, str]) -> list[str]:
    """A line a cell with the seeds that are among `trials`; `names` gives each cell's label by its id."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell.id, []).append(trial.seed)
    return [f"{names[key]}: seed{'' if len(own) == 1 else 's'} {', '.join(map(str, own))}" for key, own in seeds.items()]


def _cost(spec: SweepSpec, plan: planning.Plan) -> list[str]:
    estimate, most, left = plan.estimate, cpus.usable(), plan.proposals
    wall = planning.wall_hours(plan, spec.resources, most, gpus.usable())
    guessed = estimate.guessed + (left.trials if left.guessed else 0)
    known = len(plan.to_run) + left.trials - guessed
    basis = f"from past trials for {known}" if known else ""
    guess = f"guessed for {guessed}: no past trial of that dataset, networks and model" if guessed else ""
    here = f"{most} CPU{'' if most == 1 else 's'}"
    lines = [
        f"  {durations.about(wall * 3600)} on the {here} of this process, {durations.done_about(wall * 3600, datetime.now())} "
        f"if it starts now ({'; '.join(part for part in (basis, guess) if part)})"
    ]
    if plan.to_run:
        every, evaluation = (durations.about(hours * 3600) for hours in (estimate.trial_hours, estimate.evaluation_hours))
        lines.append(f"  {every} over all trials; {evaluation} of that is evaluation: {_evaluations(estimate.work)}")
    if left.trials:
        lines.append(f"  {durations.about(left.seconds)} over the {left.trials} trials that the search has still to propose")
    return lines


def _evaluations(work: Sequence[Evaluation]) -> str:
    """What the evaluations do, as a product of ranges."""
    fields = ("subsets", "test_examples", "samples")
    subsets, tested, samples = (_range([getattr(evaluation, field) for evaluation in work]) for field in fields)
    return f"{subsets} subsets x {tested} test examples x {samples} importance samples"


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
