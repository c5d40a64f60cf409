"""The front of a sweep that may still run, for display. Pure, and separate from `current_front`, whose imports take seconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FrontCell:
    """A cell on a front."""

    cell_id: str
    label: str
    n: int
    """The number of its seeds, all completed."""
    means: Mapping[str, float]
    """The mean over seeds of each objective, by metric."""


@dataclass(frozen=True)
class ShownFront:
    """The front of one group of comparable cells."""

    group: str
    """The label of the group; empty if there is only one group."""
    cells: Sequence[FrontCell]
    hypervolume: float | None = None
    """None if the sweep has one objective, or an objective without a reference."""


def front_lines(fronts: Sequence[ShownFront], name: Callable[[str], str] = str) -> list[str]:
    """Returns a line for each cell and one for the hypervolume. If there are several groups, each line begins with the group's label.

    `name` returns the form in which a cell's label is shown.
    """
    lines = []
    for front in fronts:
        heading = f"{front.group}: " if front.group else ""
        lines += [f"{heading}{name(cell.label)}: {_values(cell)}" for cell in front.cells]
        if front.hypervolume is not None:
            lines.append(f"{heading}hypervolume {front.hypervolume:.4g}")
    return lines


def _values(cell: FrontCell) -> str:
    return ", ".join(f"{metric} {mean:.4g}" for metric, mean in cell.means.items())
