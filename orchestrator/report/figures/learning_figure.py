"""Draws learning curves: each quantity of training over the epochs, with its spread over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from orchestrator.analysis.dominance import Floats
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures.model_styles import model_style
from orchestrator.report.figures.plot_style import NamedFigure, blank, dress, frame
from orchestrator.report.figures.theme import INK
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import Cell, spelled

MOST_MODELS = 7
MOST_CURVES = 16  # of a model; the bands of hundreds cover one another
LEAST_BETA = 1e-6  # replaces a beta of 0, which has no logarithm
PALEST = 0.35  # opacity of the curve of the lowest beta
SECONDS = "train/seconds"
WARM_UP = 0.1
"""Share of the epochs at the start that the frame need not show. The first losses are so large that the others would be a flat line."""


def named_learning(name: str, cells: Sequence[Cell], results: Sequence[TrialResult], title: str) -> NamedFigure | None:
    """Returns the learning curves of these cells with their numbers; None without an epoch. `results` may have trials of other cells."""
    ids = {cell.id for cell in cells}
    of_cells = [result for result in results if result.trial.cell.id in ids]
    figure = learning(cells, of_cells, title)
    return None if figure is None else NamedFigure(name, figure, learning_numbers(cells, of_cells))


def learning(cells: Sequence[Cell], results: Sequence[TrialResult], title: str) -> Figure | None:
    """Draws a column for each model, a row for each quantity of training, a line for each cell with ± 1 standard deviation over seeds.

    A row has one scale. A line has the colour of its model, paler for a lower beta. Crosses mark where trials diverged. If a model has
    many cells, only some are drawn (`_thinned`). Returns None without an epoch.
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
    positions = _on_log_scale([cell.config.beta for cell in drawn])
    lowest, highest = min(positions.values()), max(positions.values())
    shade = LogNorm(lowest if highest > lowest else lowest / 10, highest)  # a single beta has the full colour
    for row, quantity in enumerate(quantities):
        for column, model in enumerate(models):
            for cell in (cell for cell in drawn if cell.config.model == model):
                curve = mean_curve(by_cell[cell.id], quantity)
                _curve(grid[row, column], cell, curve, _opacity(shade, positions[cell.config.beta]))
                _diverged(grid[row, column], by_cell[cell.id], quantity, cell)
            dress(grid[row, column])
        _limit(grid[row, 0], [result for cell in drawn for result in by_cell[cell.id]], quantity)
        grid[row, 0].set_ylabel(_short(quantity), fontsize="small")
        grid[row, 0].yaxis.set_major_locator(MaxNLocator(4))
    for column, model in enumerate(models):
        grid[0, column].set_title(proper(model), fontsize="medium", loc="left")
        grid[-1, column].set_xlabel("epoch", fontsize="small")
        grid[-1, column].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    ticks = beta_ticks(positions) if len(positions) > 1 else {}
    short = shortened(ticks.values())
    handles = [
        Line2D([], [], color=INK, alpha=_opacity(shade, position), label=f"β {short[text]}") for position, text in ticks.items()
    ]
    frame(figure, f"Learning curves\n{title}", _learning_caption(drawn, len(reported), by_cell), handles)
    return figure


def learning_numbers(cells: Sequence[Cell], results: Sequence[TrialResult]) -> pd.DataFrame:
    """Returns a row for each cell, quantity and epoch of the learning curves: n, mean and sd over completed seeds.

    Diverged trials have separate rows with their seed. All cells have rows, also those that `learning` leaves out.
    """
    by_cell = _with_history(results)
    parts = [
        part
        for cell in cells
        if cell.id in by_cell
        for quantity in _quantities(by_cell)
        for part in _learning_parts(cell, by_cell[cell.id], quantity)
        if len(part)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _learning_parts(cell: Cell, results: Sequence[TrialResult], quantity: str) -> Iterator[pd.DataFrame]:
    """Yields the rows of a cell's mean curve, and then those of each diverged trial."""
    about = {"cell_id": cell.id, "model": cell.config.model, "beta": cell.config.beta, "quantity": quantity}
    curve = mean_curve(results, quantity)
    epochs = curve.epochs.astype(int)
    yield pd.DataFrame(about | {"seed": math.nan, "epoch": epochs, "n": curve.n, "mean": curve.means, "sd": curve.sds})
    for result in results:
        if result.status == "diverged":
            finite_epochs, values = _finite(result, quantity)
            columns = {"seed": result.trial.seed, "epoch": finite_epochs, "n": 1, "mean": values, "sd": math.nan}
            yield pd.DataFrame(about | columns)


@dataclass(frozen=True)
class MeanCurve:
    """A quantity over the completed seeds of a cell, epoch by epoch."""

    n: int
    epochs: Floats
    means: Floats
    sds: Floats
    """NaN for a single seed."""


def mean_curve(results: Sequence[TrialResult], quantity: str) -> MeanCurve:
    """Returns the mean and standard deviation of a quantity over the completed trials of one cell."""
    completed = [result for result in results if result.status == "completed"]
    epochs = min((len(result.history) for result in completed), default=0)
    values_SE = np.array([[epoch.values.get(quantity, math.nan) for epoch in result.history[:epochs]] for result in completed])
    values_SE = values_SE.reshape(len(completed), epochs)
    mean_E = values_SE.mean(0) if completed else np.empty(0)
    sd_E = values_SE.std(0, ddof=1) if len(completed) > 1 else np.full(epochs, math.nan)
    return MeanCurve(len(completed), np.arange(1.0, epochs + 1), mean_E, sd_E)


def _with_history(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Returns the results that have an epoch, by the id of their cell."""
    by_cell: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.history:
            by_cell.setdefault(result.trial.cell.id, []).append(result)
    return by_cell


def _quantities(by_cell: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """Returns the names of the quantities that training reports, but the seconds."""
    if not by_cell:
        return []
    first_result = next(iter(by_cell.values()))[0]
    return [name for name in first_result.history[0].values if name != SECONDS]


def _opacity(shade: LogNorm, beta: float) -> float:
    """Returns the opacity of a curve, which is higher for a higher beta. Opacity works on a light and on a dark page."""
    return PALEST + (1 - PALEST) * float(shade(beta))


def _learning_caption(drawn: Sequence[Cell], reported: int, by_cell: Mapping[str, Sequence[TrialResult]]) -> str:
    """Returns the caption of the learning curves. `reported` is the number of cells that have an epoch."""
    sentences = [
        "Training's own numbers, in nats an example, means over an epoch. Line: mean over seeds; band: ± 1 standard deviation."
    ]
    if any(result.status == "diverged" for cell in drawn for result in by_cell[cell.id]):
        sentences.append("×: where a trial diverged.")
    sentences.append("The models share the scale of a row. The first tenth of the epochs may lie outside the frame.")
    if len(drawn) < reported:
        sentences.append(f"{len(drawn)} of {reported} cells: of a model at most {MOST_CURVES}, evenly spaced in the order of β.")
    return " ".join(sentences)


def _on_log_scale(betas: Sequence[float]) -> dict[float, float]:
    """Returns the position of each beta on a logarithmic scale: the beta itself, or for 0 a number below all others."""
    least = min([LEAST_BETA, *(beta / 10 for beta in betas if beta > 0)])
    return {beta: beta or least for beta in betas}


def beta_ticks(positions: Mapping[float, float]) -> dict[float, str]:
    """Returns labels by their positions on the scale: all betas, or if these are many the lowest, the highest and a round middle.

    `positions` has the position of each beta.
    """
    betas = sorted(positions)
    if len(betas) <= MOST_MODELS:
        return {positions[beta]: spelled(beta) for beta in betas}
    low, high = betas[0], betas[-1]
    middle = float(f"{math.sqrt(positions[low] * high):.3g}")
    between = {middle: spelled(middle)} if positions[low] < middle < high else {}
    return {positions[low]: spelled(low), **between, high: spelled(high)}


def _thinned(cells: Sequence[Cell]) -> list[Cell]:
    """Returns at most `MOST_CURVES` cells of each model, evenly spaced in the order of their betas, with both ends."""
    chosen = set()
    for model in {cell.config.model for cell in cells}:
        of_model = sorted((cell for cell in cells if cell.config.model == model), key=lambda cell: cell.config.beta)
        places = np.linspace(0, len(of_model) - 1, min(len(of_model), MOST_CURVES)).round().astype(int)
        chosen |= {of_model[place].id for place in places}
    return [cell for cell in cells if cell.id in chosen]


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
        epochs, values = _finite(result, quantity)
        if epochs:
            axes.plot(epochs, values, color=colour, linewidth=0.8, linestyle=":")
            axes.plot(epochs[-1], values[-1], color=colour, marker="x", markersize=6, linestyle="none")


def _finite(result: TrialResult, quantity: str) -> tuple[list[int], list[float]]:
    """Returns the epochs in which the quantity was finite, and its values there."""
    values = [epoch.values.get(quantity, math.nan) for epoch in result.history]
    finite = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    return [epoch for epoch, _ in finite], [value for _, value in finite]


def _limit(axes: Axes, results: Sequence[TrialResult], quantity: str) -> None:
    """Fit the frame to the values of completed trials after the first epochs."""
    values = []
    for result in (result for result in results if result.status == "completed"):
        epochs = len(result.history)
        late = result.history[math.ceil(WARM_UP * epochs) if epochs > 2 else 0 :]
        values += [epoch.values[quantity] for epoch in late if math.isfinite(epoch.values.get(quantity, math.nan))]
    if values:
        room = 0.06 * (max(values) - min(values)) or abs(values[0]) * 0.01 or 1.0
        axes.set_ylim(min(values) - room, max(values) + room)


def _short(quantity: str) -> str:
    """Returns the name of a quantity for an axis, with a line break for each slash."""
    names = {"kl": "KL", "private_kl": "private KL"}
    name = quantity.removeprefix("train/")
    return names.get(name, name.replace("/", "\n"))
