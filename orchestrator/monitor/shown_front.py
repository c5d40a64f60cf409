"""The front of a sweep that may not be over, as it is shown. Pure, and light: who shows it need not load what finds it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FrontCell:
    """A cell on a front."""

    cell_id: str
    label: str
    n: int
    """Its seeds, all of which have completed."""
    means: Mapping[str, float]
    """The mean over seeds of each objective, by metric."""


@dataclass(frozen=True)
class ShownFront:
    """The front of one group of cells that may be compared."""

    group: str
    """The label of the group; empty where there is one group."""
    cells: Sequence[FrontCell]
    hypervolume: float | None = None
    """None where the spec states no references."""


def front_lines(fronts: Sequence[ShownFront], name: Callable[[str], str] = str) -> list[str]:
    """A line for each cell, then the hypervolume; where there are several groups, each line begins with the label of its group.

    `name` says how a cell's label is written.
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
