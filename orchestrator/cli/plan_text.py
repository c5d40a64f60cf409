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
    """Returns lines on how many trials are done, to resume, new and damaged, on which data, and what the rest costs.

    With `list_cells`, the cells of these trials are listed, too.
    """
    lines = [_headline(spec, plan)]
    lines += [f"  {text}" for text in data_texts(spec)]
    lines.append(f"  storage: {storage}")
    groups = [("done", plan.done), ("resume", plan.resume), ("new", plan.fresh)]
    if plan.damaged:
        groups.append(("damaged", tuple(plan.damaged)))
    for word, trials in groups:
        lines.append(f"  {word:<6}  {len(trials):>4}")
        if list_cells:
            lines += [f"            {line}" for line in _by_cell(trials, spec.labels)]
    if plan.to_run or plan.to_come.trials:
        return [*lines, *(f"  {difference.explanation}" for difference in plan.differing), *_cost(spec, plan)]
    return [*lines, "  nothing to run"]


def _headline(spec: SweepSpec, plan: planning.Plan) -> str:
    """Returns the numbers of trials, cells and seeds; for a search also how many cells it may still propose."""
    counts = {len(seeds) for seeds in spec.seeds_by_cell.values()} or {len(spec.seed_list)}
    seeds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    line = f"{spec.name}: {len(spec.trials)} trials = {len(spec.labels)} cells x {seeds} seeds"
    if spec.search is None:
        return line
    left = plan.to_come
    return f"{line} so far, by {spec.search.sampler}; up to {left.cells} cells ({left.trials} trials) to be found"


def data_texts(spec: SweepSpec) -> list[str]:
    """Returns a line for each dataset and source that the sweep trains on, with the scales."""
    scales_of: dict[tuple[str, str], dict[str, None]] = {}
    for config in sweep_file.example_configs(spec):
        scales_of.setdefault((config.dataset, config.source), {})[config.scale or "as the file says"] = None
    folder = spec.resources.data_folder
    return [
        f"{dataset}: {_source(dataset, source, folder)}; scale: {', '.join(scales)}"
        for (dataset, source), scales in scales_of.items()
    ]


def _source(dataset: str, source: str, folder: str) -> str:
    """Returns a text that says where the data come from."""
    if is_own(dataset):
        return "your own dataset"
    if source == "embedded":
        return f"embedded data, which need no download (kept in {folder})"
    fetched = ", downloaded if they are not there" if dataset == "mnist_svhn_text" else ""
    return f"the original files in {folder}{fetched}"


def _by_cell(trials: Sequence[Trial], names: dict[str, str]) -> list[str]:
    """Returns a line for each cell with its seeds among `trials`; `names` has each cell's label by its id."""
    seeds_of: dict[str, list[int]] = {}
    for trial in trials:
        seeds_of.setdefault(trial.cell.id, []).append(trial.seed)
    return [
        f"{names[cell_id]}: seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
        for cell_id, seeds in seeds_of.items()
    ]


def _cost(spec: SweepSpec, plan: planning.Plan) -> list[str]:
    """Returns lines on how long the rest takes on this machine, over all trials, and over those still to be proposed."""
    estimate, left = plan.estimate, plan.to_come
    cores = cpus.usable()
    seconds = planning.wall_hours(plan, spec.resources, cores, gpus.usable()) * 3600
    lines = [
        f"  {durations.about(seconds)} on the {cores} CPU{'' if cores == 1 else 's'} of this process, "
        f"{durations.done_about(seconds, datetime.now())} if it starts now ({_basis(plan)})"
    ]
    if plan.to_run:
        total = durations.about(estimate.trial_hours * 3600)
        evaluation = durations.about(estimate.evaluation_hours * 3600)
        lines.append(f"  {total} over all trials; {evaluation} of that is evaluation: {_evaluations(estimate.work)}")
    if left.trials:
        lines.append(f"  {durations.about(left.seconds)} over the {left.trials} trials that the search has still to propose")
    return lines


def _basis(plan: planning.Plan) -> str:
    """Returns for how many trials the estimate comes from past trials, and for how many it is a guess."""
    left = plan.to_come
    guessed = plan.estimate.guessed + (left.trials if left.guessed else 0)
    measured = len(plan.to_run) + left.trials - guessed
    parts = []
    if measured:
        parts.append(f"from past trials for {measured}")
    if guessed:
        parts.append(f"guessed for {guessed}: no past trial of that dataset, networks and model")
    return "; ".join(parts)


def _evaluations(work: Sequence[Evaluation]) -> str:
    """Returns the work of the evaluations, as a product of ranges."""
    fields = ("subsets", "test_examples", "samples")
    subsets, tested, samples = (_range([getattr(evaluation, field) for evaluation in work]) for field in fields)
    return f"{subsets} subsets x {tested} test examples x {samples} importance samples"


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
