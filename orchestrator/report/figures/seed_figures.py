"""What seeds do: the attainment surfaces of each series, and learning curves with their spread."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from orchestrator.analysis.attainment import Attainment, Surface
from orchestrator.analysis.dominance import Floats, maximised
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures.plot_style import blank, dress, frame, handle, objective_label, style
from orchestrator.spec.trial import Cell, spelled

MOST_MODELS = 7
MOST_CURVES = 16  # of a model: of hundreds, bands cover one another
LEAST_BETA = 1e-6  # stands for a beta of 0, which has no logarithm
TITLE_CHARACTERS = 11  # in an inch
SECONDS = "train/seconds"
WARM_UP = 0.1  # share of the epochs that does not govern the frame: a first loss makes all others a line along the floor


def attainment(found: Sequence[Attainment], title: str, units: Sequence[str]) -> Figure | None:
    """A staircase a series: what the median seed attains, and the band between what 90 % and 10 % of the seeds do.

    None where no series has two complete seeds, or where there are not two objectives.
    """
    shown = [one for one in found if one.n > 1 and one.surfaces]
    if not shown:
        return None
    figure = blank(8.2, 5.0)
    axes = figure.subplots()
    objectives = shown[0].objectives
    sign_O = np.where(maximised(objectives), 1.0, -1.0)
    corners = np.concatenate([np.array(surface.corners) for one in shown for surface in one.surfaces]) * sign_O
    worst_O = corners.min(0) - 0.06 * (np.ptp(corners, 0) + 1e-12)
    for index, one in enumerate(shown):
        colour, _ = style(index)
        few, median, most = (_staircase(surface, sign_O, worst_O) for surface in one.surfaces)
        band = np.concatenate([few, most[::-1]]) * sign_O
        axes.fill(band[:, 0], band[:, 1], color=colour, alpha=0.16, linewidth=0)
        axes.plot(*(median * sign_O).T, color=colour, linewidth=1.6)
    dress(axes)
    for place, (objective, unit) in enumerate(zip(objectives, units, strict=True)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    handles = [handle(f"{one.series} (n = {one.n})", index) for index, one in enumerate(shown)]
    for line in handles:
        line.set_marker("")
    frame(figure, _heading("What the seeds attain", title, figure), _attained_said(shown), handles)
    return figure


def _heading(what: str, title: str, figure: Figure) -> str:
    return f"{what}\n{textwrap.fill(title, int(figure.get_size_inches()[0] * TITLE_CHARACTERS))}"


def _attained_said(shown: Sequence[Attainment]) -> str:
    levels = sorted({one.n: [surface.level for surface in one.surfaces] for one in shown}.items())
    said = "; ".join(f"of {n} seeds {few}, {median} and {most}" for n, (few, median, most) in levels)
    return (
        "Each seed has a front of its own. Line: what at least half of the seeds attain; band: from what 90 % do to what 10 % do "
        f"({said}, in the order 10, 50, 90 %). Left and below a line is attained, where larger is better. "
        "Seeds that a cell lacks are left out."
    )


def _staircase(surface: Surface, sign_O: Floats, worst_O: Floats) -> Floats:
    """(P, 2): the border of what is attained, larger being better, from the worst first value to the worst second."""
    corners = sorted((tuple(corner) for corner in np.array(surface.corners) * sign_O), key=lambda corner: corner[0])
    path = [(worst_O[0], corners[0][1])]
    for here, following in pairwise(corners):
        path += [here, (here[0], following[1])]
    return np.array([*path, corners[-1], (corners[-1][0], worst_O[1])])


def learning(cells: Sequence[Cell], results: Sequence[TrialResult], title: str) -> Figure | None:
    """A column a model, a row a quantity that training reports, a line a cell with ± 1 standard deviation over its seeds, coloured by
    beta. Crosses mark where trials diverged. None without an epoch. Of many cells of a model some, as `_thinned` has it.
    """
    by_cell: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.history:
            by_cell.setdefault(result.trial.cell.id, []).append(result)
    reported = [cell for cell in cells if cell.id in by_cell]
    drawn = _thinned(reported)
    models = list(dict.fromkeys(cell.config.model for cell in drawn))[:MOST_MODELS]
    if not models:
        return None
    quantities = [name for name in next(iter(by_cell.values()))[0].history[0].values if name != SECONDS]
    figure = blank(2.9 * len(models) + 1.4, 1.9 * len(quantities) + 1.2)
    grid = figure.subplots(len(quantities), len(models), squeeze=False, sharex="col")
    stands_for = _with_logarithms([cell.config.beta for cell in drawn])
    betas = list(stands_for.values())
    norm = LogNorm(min(betas), max(betas) if max(betas) > min(betas) else 10 * min(betas))
    colours = matplotlib.colormaps["viridis_r"]
    for column, model in enumerate(models):
        for row, quantity in enumerate(quantities):
            axes = grid[row, column]
            own = [cell for cell in drawn if cell.config.model == model]
            for cell in own:
                _curve(axes, by_cell[cell.id], quantity, colours(norm(stands_for[cell.config.beta])))
            _limit(axes, [result for cell in own for result in by_cell[cell.id]], quantity)
            dress(axes)
            axes.tick_params(labelsize=7)
            if column == 0:
                axes.set_ylabel(_short(quantity), fontsize=8)
        grid[0, column].set_title(model, fontsize=9, loc="left")
        grid[-1, column].set_xlabel("epoch", fontsize=8)
    if len(set(betas)) > 1:
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=grid[:, -1].tolist(), fraction=0.05, aspect=40)
        bar.set_label("β", fontsize=8)
        bar.minorticks_off()
        ticks = beta_ticks(stands_for)
        bar.set_ticks(list(ticks), labels=list(ticks.values()), fontsize=7)
    said = "Training's own numbers, in nats an example, means over an epoch. Line: mean over seeds; band: ± 1 standard deviation."
    crosses = " ×: where a trial diverged." if any(r.status == "diverged" for cell in drawn for r in by_cell[cell.id]) else ""
    early = " The first tenth of the epochs may lie outside the frame."
    fewer = f" {len(drawn)} of {len(reported)} cells: of a model at most {MOST_CURVES}, evenly spaced in the order of β."
    some = fewer if len(drawn) < len(reported) else ""
    frame(figure, _heading("Learning curves", title, figure), said + crosses + early + some, [])
    return figure


def _with_logarithms(betas: Sequence[float]) -> dict[float, float]:
    """Each beta and what stands for it on a logarithmic scale: itself, or for 0 a number below all others."""
    least = min([LEAST_BETA, *(beta / 10 for beta in betas if beta > 0)])
    return {beta: beta or least for beta in betas}


def beta_ticks(stands_for: Mapping[float, float]) -> dict[float, str]:
    """Places on the scale with their labels: every beta, exactly; of many the lowest, the highest and a round one in the middle."""
    betas = sorted(stands_for)
    if len(betas) <= MOST_MODELS:
        return {stands_for[beta]: spelled(beta) for beta in betas}
    low, high = betas[0], betas[-1]
    middle = float(f"{math.sqrt(stands_for[low] * high):.3g}")
    between = {middle: spelled(middle)} if stands_for[low] < middle < high else {}
    return {stands_for[low]: spelled(low), **between, high: spelled(high)}


def _thinned(cells: Sequence[Cell]) -> list[Cell]:
    """Of each model at most `MOST_CURVES` cells, evenly spaced in the order of their betas, with both ends."""
    kept = set()
    for model in {cell.config.model for cell in cells}:
        own = sorted((cell for cell in cells if cell.config.model == model), key=lambda cell: cell.config.beta)
        places = np.linspace(0, len(own) - 1, min(len(own), MOST_CURVES)).round().astype(int)
        kept |= {own[place].id for place in places}
    return [cell for cell in cells if cell.id in kept]


def _curve(axes: Axes, found: Sequence[TrialResult], quantity: str, colour: tuple[float, ...]) -> None:
    whole = [result for result in found if result.status == "completed"]
    if whole:
        epochs = min(len(result.history) for result in whole)
        values_SE = np.array([[epoch.values.get(quantity, math.nan) for epoch in result.history[:epochs]] for result in whole])
        steps, mean_E = np.arange(1, epochs + 1), values_SE.mean(0)
        axes.plot(steps, mean_E, color=colour, linewidth=1.1, marker="" if epochs > 1 else "o")
        if len(whole) > 1:
            sd_E = values_SE.std(0, ddof=1)
            axes.fill_between(steps, mean_E - sd_E, mean_E + sd_E, color=colour, alpha=0.18, linewidth=0)
    for result in found:
        values = [epoch.values.get(quantity, math.nan) for epoch in result.history]
        finite = [(step, value) for step, value in enumerate(values, 1) if math.isfinite(value)]
        if result.status == "diverged" and finite:
            axes.plot(*zip(*finite, strict=True), color=colour, linewidth=0.8, linestyle=":")
            axes.plot(*finite[-1], color=colour, marker="x", markersize=6, linestyle="none")


def _limit(axes: Axes, found: Sequence[TrialResult], quantity: str) -> None:
    """A frame for what completed trials did after the first epochs."""
    values = []
    for result in (one for one in found if one.status == "completed"):
        late = result.history[math.ceil(WARM_UP * len(result.history)) if len(result.history) > 2 else 0 :]
        values += [epoch.values[quantity] for epoch in late if math.isfinite(epoch.values.get(quantity, math.nan))]
    if values:
        room = 0.06 * (max(values) - min(values)) or abs(values[0]) * 0.01 or 1.0
        axes.set_ylim(min(values) - room, max(values) + room)


def _short(quantity: str) -> str:
    """`train/reconstruction/svhn` as an axis says it."""
    spelled = {"kl": "KL", "private_kl": "private KL"}
    name = quantity.removeprefix("train/")
    return spelled.get(name, name.replace("/", "\n"))
