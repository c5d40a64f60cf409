"""The front so far as a table, or as lines if the table is too wide. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mopoe_core.terminal import escaped
from orchestrator.monitor.shown_front import ShownFront, front_lines
from orchestrator.spec.proper_names import proper


@dataclass(frozen=True)
class FrontTable:
    """Fronts of groups, as a rich renderable."""

    title: str
    fronts: Sequence[ShownFront]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields a table with one column for each metric; if that is too wide, a line for each cell with its values."""
        table = self._table()
        if Measurement.get(console, options.update(width=1_000), table).maximum <= options.max_width:
            yield table
            return
        yield Text(self.title, style="bold")
        for line in front_lines(self.fronts, proper):
            yield Padding(Text(escaped(line)), (0, 0, 0, 2))

    def _table(self) -> Table:
        metrics = list(self.fronts[0].cells[0].means)
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True)
        for _ in metrics:
            table.add_column(no_wrap=True, justify="right")
        table.add_row(Text(self.title, style="bold"), *(Text(escaped(metric), style="dim") for metric in metrics))
        for front in self.fronts:
            if front.group:
                table.add_row(Text(f"  {escaped(front.group)}", style="dim"))
            for cell in front.cells:
                table.add_row(Text(f"  {escaped(proper(cell.label))}"), *(f"{cell.means[metric]:.4g}" for metric in metrics))
            if front.hypervolume is not None:
                table.add_row(Text(f"  hypervolume {front.hypervolume:.4g}", style="dim"))
        return table
