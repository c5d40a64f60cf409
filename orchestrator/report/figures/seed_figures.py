"""What seeds do: the attainment surfaces of each series, and learning curves with their spread."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from orchestrator.analysis.attainment import Attainment, Surface
from orchestrator.analysis.dominance import Floats, maximised
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures.model_styles import model_of, model_style, series_styles
from orchestrator.report.figures.plot_style import (
    NamedFigure,
    blank,
    dress,
    few_ticks,
    frame,
    handle,
    legend_above,
    objective_label,
    write_words,
)
from orchestrator.report.figures.theme import INK
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import Cell, spelled

MOST_MODELS = 7
MOST_CURVES = 16  # of a model: of hundreds, bands cover one another
LEAST_BETA = 1e-6  # stands for a beta of 0, which has no logarithm
PALEST = 0.35  # share of its colour that the curve of the lowest beta has
SECONDS = "train/seconds"
WARM_UP = 0.1  # share of the epochs that does not govern the frame: a first loss makes all others a line along the floor


def attainment(found: Sequence[Attainment], title: str, units: Sequence[str]) -> Figure | None:
    """A staircase a series: what the median seed attains, and the band between what 90 % and 10 % of the seeds do.

    None where no series has two complete seeds, or where there are not two objectives.
    """
    shown = [one for one in found if one.n > 1 and one.surfaces]
    if not shown:
        return None
    figure = blank(5.2, 4.5)
    axes = figure.subplots()
    objectives = shown[0].objectives
    sign_O = np.where(maximised(objectives), 1.0, -1.0)
    corners = np.concatenate([np.array(surface.corners) for one in shown for surface in one.surfaces]) * sign_O
    worst_O = corners.min(0) - 0.06 * (np.ptp(corners, 0) + 1e-12)
    styles = series_styles(one.series for one in found)
    for one in shown:
        style = styles[one.series]
        few, median, most = (_staircase(surface, sign_O, worst_O) for surface in one.surfaces)
        band = np.concatenate([few, most[::-1]]) * sign_O
        axes.fill(band[:, 0], band[:, 1], color=style.colour, alpha=0.16, linewidth=0)
        axes.plot(*(median * sign_O).T, color=style.colour, linestyle=style.line, linewidth=1.6)
    dress(axes)
    few_ticks(axes, 5)
    for place, (objective, unit) in enumerate(zip(objectives, units, strict=True)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    handles = [handle(f"{proper(one.series)} (n = {one.n})", styles[one.series]) for one in shown]
    for line in handles:
        line.set_marker("")
    legend_above(axes, handles)
    write_words(figure, f"What the seeds attain\n{title}", _attained_said(shown))
    return figure


def attainment_numbers(found: Sequence[Attainment]) -> pd.DataFrame:
    """A row for each corner of each surface that `attainment` draws."""
    rows = []
    for one in found:
        for surface in one.surfaces if one.n > 1 else ():
            row = {
                "series": one.series,
                "model": model_of(one.series),
                "n": one.n,
                "percent": surface.percent,
                "seeds": surface.level,
            }
            metrics = [objective.metric for objective in one.objectives]
            rows += [row | dict(zip(metrics, corner, strict=True)) for corner in surface.corners]
    return pd.DataFrame(rows)


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


def named_learning(name: str, cells: Sequence[Cell], results: Sequence[TrialResult], title: str) -> NamedFigure | None:
    """The learning curves of these cells, of whose trials `results` may have others beside them, with their numbers; None without an
    epoch.
    """
    ids = {cell.id for cell in cells}
    of_cells = [result for result in results if result.trial.cell.id in ids]
    figure = learning(cells, of_cells, title)
    return None if figure is None else NamedFigure(name, figure, learning_numbers(cells, of_cells))


def learning(cells: Sequence[Cell], results: Sequence[TrialResult], title: str) -> Figure | None:
    """A column a model, a row a quantity that training reports, a line a cell with ± 1 standard deviation over its seeds.

    A row has one scale. A line has the colour of its model, paler for a lower beta. Crosses mark where trials diverged. None without an
    epoch. Of many cells of a model some, as `_thinned` has it.
    """
    by_cell = _with_history(results)
    reported = [cell for cell in cells if cell.id in by_cell]
    drawn = _thinned(reported)
    models = list(dict.fromkeys(cell.config.model for cell in drawn))[:MOST_MODELS]
    if not models:
        return None
    quantities = _quantities(by_cell)
    figure = blank(2.1 * len(models) + 1.0, 1.25 * len(quantities) + 1.1, lowest=len(quantities) + 0.7)
    grid = figure.subplots(len(quantities), len(models), squeeze=False, sharex="col", sharey="row")
    stands_for = _with_logarithms([cell.config.beta for cell in drawn])
    lowest, highest = min(stands_for.values()), max(stands_for.values())
    shade = LogNorm(lowest if highest > lowest else lowest / 10, highest)  # a single beta has the full colour
    for row, quantity in enumerate(quantities):
        for column, model in enumerate(models):
            for cell in (cell for cell in drawn if cell.config.model == model):
                curve = mean_curve(by_cell[cell.id], quantity)
                _curve(grid[row, column], cell, curve, _opacity(shade, stands_for[cell.config.beta]))
                _diverged(grid[row, column], by_cell[cell.id], quantity, cell)
            dress(grid[row, column])
        _limit(grid[row, 0], [result for cell in drawn for result in by_cell[cell.id]], quantity)
        grid[row, 0].set_ylabel(_short(quantity), fontsize="small")
        grid[row, 0].yaxis.set_major_locator(MaxNLocator(4))
    for column, model in enumerate(models):
        grid[0, column].set_title(proper(model), fontsize="medium", loc="left")
        grid[-1, column].set_xlabel("epoch", fontsize="small")
        grid[-1, column].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    betas = beta_ticks(stands_for) if len(stands_for) > 1 else {}
    handles = [Line2D([], [], color=INK, alpha=_opacity(shade, at), label=f"β {text}") for at, text in betas.items()]
    frame(figure, f"Learning curves\n{title}", _learning_words(drawn, len(reported), by_cell), handles)
    return figure


def learning_numbers(cells: Sequence[Cell], results: Sequence[TrialResult]) -> pd.DataFrame:
    """A row for each cell, quantity and epoch of the learning curves: n, mean and sd over completed seeds; and a row for each diverged
    trial, which has a seed. All cells are in it, also those that `learning` thins out.
    """
    by_cell, parts = _with_history(results), []
    for cell in (cell for cell in cells if cell.id in by_cell):
        known = {"cell_id": cell.id, "model": cell.config.model, "beta": cell.config.beta}
        for quantity in _quantities(by_cell):
            curve = mean_curve(by_cell[cell.id], quantity)
            columns = {"epoch": curve.epochs.astype(int), "n": curve.n, "mean": curve.means, "sd": curve.sds}
            parts.append(pd.DataFrame(known | {"quantity": quantity, "seed": math.nan} | columns))
            for result in (result for result in by_cell[cell.id] if result.status == "diverged"):
                steps, values = _finite(result, quantity)
                columns = {"epoch": steps, "n": 1, "mean": values, "sd": math.nan}
                parts.append(pd.DataFrame(known | {"quantity": quantity, "seed": result.trial.seed} | columns))
    return pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else pd.DataFrame()


@dataclass(frozen=True)
class MeanCurve:
    """A quantity over the completed seeds of a cell, epoch by epoch."""

    n: int
    epochs: Floats
    means: Floats
    sds: Floats
    """NaN for a single seed."""


def mean_curve(results: Sequence[TrialResult], quantity: str) -> MeanCurve:
    """The mean and standard deviation of a quantity over the completed trials among the results, of one cell."""
    whole = [result for result in results if result.status == "completed"]
    epochs = min((len(result.history) for result in whole), default=0)
    values_SE = np.array([[epoch.values.get(quantity, math.nan) for epoch in result.history[:epochs]] for result in whole])
    values_SE = values_SE.reshape(len(whole), epochs)
    sd_E = values_SE.std(0, ddof=1) if len(whole) > 1 else np.full(epochs, math.nan)
    return MeanCurve(len(whole), np.arange(1.0, epochs + 1), values_SE.mean(0) if len(whole) else np.empty(0), sd_E)


def _with_history(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """The results that have an epoch, by the id of their cell."""
    by_cell: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.history:
            by_cell.setdefault(result.trial.cell.id, []).append(result)
    return by_cell


def _quantities(by_cell: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """The names of what training reports."""
    return [name for name in next(iter(by_cell.values()))[0].history[0].values if name != SECONDS] if by_cell else []


def _opacity(shade: LogNorm, beta: float) -> float:
    """How much of its model's colour a curve has: more for a higher beta. It serves a light and a dark page."""
    return PALEST + (1 - PALEST) * float(shade(beta))


def _learning_words(drawn: Sequence[Cell], reported: int, by_cell: Mapping[str, Sequence[TrialResult]]) -> str:
    """The caption of the learning curves."""
    sentences = [
        "Training's own numbers, in nats an example, means over an epoch. Line: mean over seeds; band: ± 1 standard deviation."
    ]
    if any(result.status == "diverged" for cell in drawn for result in by_cell[cell.id]):
        sentences.append("×: where a trial diverged.")
    sentences.append("The models share the scale of a row. The first tenth of the epochs may lie outside the frame.")
    if len(drawn) < reported:
        sentences.append(f"{len(drawn)} of {reported} cells: of a model at most {MOST_CURVES}, evenly spaced in the order of β.")
    return " ".join(sentences)


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


def _curve(axes: Axes, cell: Cell, curve: MeanCurve, opacity: float) -> None:
    colour, marker = model_style(cell.config.model).colour, "" if len(curve.epochs) > 1 else "o"
    if curve.n:
        axes.plot(curve.epochs, curve.means, color=colour, linewidth=1.2, marker=marker, alpha=opacity)
    if curve.n > 1:
        low, high = curve.means - curve.sds, curve.means + curve.sds
        axes.fill_between(curve.epochs, low, high, color=colour, alpha=0.2 * opacity, linewidth=0)


def _diverged(axes: Axes, results: Sequence[TrialResult], quantity: str, cell: Cell) -> None:
    """Draw each diverged trial, with a cross at its last finite value."""
    colour = model_style(cell.config.model).colour
    for result in (result for result in results if result.status == "diverged"):
        steps, values = _finite(result, quantity)
        if steps:
            axes.plot(steps, values, color=colour, linewidth=0.8, linestyle=":")
            axes.plot(steps[-1], values[-1], color=colour, marker="x", markersize=6, linestyle="none")


def _finite(result: TrialResult, quantity: str) -> tuple[list[int], list[float]]:
    """The epochs in which the quantity was finite, and its values there."""
    values = [epoch.values.get(quantity, math.nan) for epoch in result.history]
    finite = [(step, value) for step, value in enumerate(values, 1) if math.isfinite(value)]
    return [step for step, _ in finite], [value for _, value in finite]


def _limit(axes: Axes, results: Sequence[TrialResult], quantity: str) -> None:
    """A frame for what completed trials did after the first epochs."""
    values = []
    for result in (result for result in results if result.status == "completed"):
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
