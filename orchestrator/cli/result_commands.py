"""The commands that show results: `report`, `export`, `track` and `ui`."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.terminal import complain, say
from orchestrator.cli import exit_codes
from orchestrator.cli.as_json import report_json
from orchestrator.cli.common import (
    JsonOption,
    ScaleOption,
    SpecArgument,
    StorageOption,
    Typed,
    check_there,
    expanded,
    open_sweep,
)
from orchestrator.cli.program import recorded_command
from orchestrator.ledger import snapshot
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage.identity import current_id
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.artifact_location import follow_for_reading
from orchestrator.tracking.mlflow.store_address import check_address, default_uri
from orchestrator.tracking.mlflow.ui import PORT

if TYPE_CHECKING:
    from orchestrator.driver.report_stamp import DrawnReport

MOST_PROBLEMS = 3  # lines about MLflow that are printed

LOOKS = ("--figure-width", "--font-size")
WITHOUT_EFFECT = {
    "--json": ("has the report in short", ("--against-paper", "--table", "--figures", *LOOKS)),
    "--table": ("only prints a table", ("--figures", "--to", "--against-paper", "--rank-unequal", *LOOKS)),
    "--figures": ("only writes figures, into its own folder", ("--to", "--against-paper", "--rank-unequal")),
}
"""Options of `report` that do one thing only: what that is, and the options that have no effect on it."""

AgainstOption = Annotated[bool, typer.Option("--against-paper", help="Put the published numbers beside the sweep's.")]
UnequalOption = Annotated[
    bool, typer.Option("--rank-unequal", help="Compare models whose complete seeds differ, on the seeds that both have.")
]


def report(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    against_paper: AgainstOption = False,
    rank_unequal: UnequalOption = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Write into this folder, and not into the one in storage.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="METRIC,METRIC", help="Only print a LaTeX table of these metrics; see `metrics`."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures", metavar="FOLDER", help="Only write each figure as PDF, and its numbers as CSV, into this folder."
        ),
    ] = None,
    figure_width: Annotated[
        float | None, typer.Option("--figure-width", metavar="INCHES", min=1.5, max=30, help="How wide these figures are.")
    ] = None,
    font_size: Annotated[
        float | None, typer.Option("--font-size", metavar="POINTS", min=4, max=30, help="How large their letters are.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write figure, tables and page from what the ledger holds, where something is new."""
    options = {
        "--json": as_json or None,
        "--table": table,
        "--figures": figures,
        "--to": to,
        "--against-paper": against_paper or None,
        "--rank-unequal": rank_unequal or None,
        "--figure-width": figure_width,
        "--font-size": font_size,
    }
    _check_together({option for option, value in options.items() if value is not None})
    spec, folder = open_sweep(file, scale, storage)
    check_there(Typed(file, scale, storage), folder)
    if table is not None:
        say(_latex_table(spec, folder, table))
        return
    if figures is not None:
        say("\n".join(f"figure  {path}" for path in _figures(spec, folder, figures, figure_width, font_size)))
        return
    if against_paper or to or as_json:
        _drawn_now(spec, folder, against_paper, rank_unequal, _report_folder(to) if to else None, as_json)
        return
    from orchestrator.driver import report_step

    tell_report(report_step.current_report(spec, folder, report_step.Options(recorded_command(), unequal=rank_unequal)))


def _check_together(named: Collection[str]) -> None:
    """Raise UserError if one of the options that are named would have no effect beside the others."""
    for option, (does, others) in WITHOUT_EFFECT.items():
        ignored = [other for other in others if other in named]
        if option in named and ignored:
            raise UserError(f"{option}: {does}; leave {' and '.join(ignored)} out")
    looks = [option for option in LOOKS if option in named]
    if looks and "--figures" not in named:
        raise UserError(f"{looks[0]}: is for figures that are written alone; add --figures FOLDER")


def _drawn_now(spec: SweepSpec, storage: AnyPath, against_paper: bool, unequal: bool, to: Path | None, as_json: bool) -> None:
    """Draw the report even if nothing is new, and print it with what a stored report lacks: the published numbers, or JSON."""
    from orchestrator.driver import report_step
    from orchestrator.report.paper import beside_published  # imports pandas and matplotlib

    paths = report_step.write_report(spec, storage, recorded_command(), against_paper, unequal, to)
    if as_json:
        say(report_json(spec, paths.overview, paths.page))
        return
    say(paths.summary)
    if paths.search:
        say(paths.search.line)
    for comparison in paths.paper.comparisons:
        say(beside_published.markdown(comparison))
    _tell_places(paths.page, [(front.label, front.png) for front in paths.fronts])


def tell_report(drawn: "DrawnReport") -> None:
    """Print the summary of a report, and the paths of its page and figures."""
    say(drawn.summary)
    if drawn.search_line:
        say(drawn.search_line)
    _tell_places(drawn.page, drawn.figures)


def _figures(spec: SweepSpec, storage: AnyPath, to: Path, width: float | None, font_size: float | None) -> list[Path]:
    """Write each figure in the style of a paper; returns the paths. Raises UserError if `to` is a file."""
    from orchestrator.driver import report_step
    from orchestrator.report.figures.plot_style import FOR_A_PAPER  # imports pandas and matplotlib

    folder = LocalPath(expanded("--figures", to)).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--figures: {folder} is a file; name a folder")
    style = replace(FOR_A_PAPER, width=width, font_size=font_size or FOR_A_PAPER.font_size)
    return report_step.write_figures(spec, storage, style, folder)


def _latex_table(spec: SweepSpec, folder: AnyPath, metrics: str) -> str:
    """Returns a LaTeX table of metrics, which are separated by commas. Raises UserError if one is no metric of the sweep."""
    chosen = [name.strip() for name in metrics.split(",")]
    if repeated := [name for name, count in Counter(chosen).items() if count > 1]:
        raise UserError(f"--table: {repeated[0]} is named twice; name each metric once")
    sweep_file.check_metrics([("--table", name) for name in chosen], sweep_file.offered_metrics(spec))
    from orchestrator.report.sections import chosen_table  # imports pandas

    results = snapshot.read(spec, Ledger(folder)).results
    if not results:
        raise UserError(f"--table: {spec.name} has no result yet")
    return chosen_table.latex(spec, results, chosen, recorded_command())


def export(
    file: SpecArgument,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.parquet", help="The file to write; beside the report when left out.")
    ] = None,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Write one tidy table, a row a trial and metric, as parquet."""
    typed = Typed(file, scale, storage)
    spec, folder = open_sweep(file, scale, storage)
    check_there(typed, folder)
    if not spec.cells:
        raise UserError(f"{spec.name}: this search has no cell yet; `{typed.command('sweep')}` proposes some")
    from orchestrator.report import export as exporting  # imports pandas

    ledger_state = snapshot.read(spec, Ledger(folder))
    path = expanded("--to", to) if to else exporting.default_path(spec, folder)
    rows = exporting.write(exporting.tidy(ledger_state.trials, ledger_state.statuses, ledger_state.results), path)
    say(f"{rows} rows of {len(ledger_state.trials)} trials\ntable   {path}")


def track(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Write every run anew.")] = False,
) -> None:
    """Bring MLflow to where the ledger is; nothing is trained. With --rebuild, make the sweep's runs anew from the ledger."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(Typed(file, scale, storage), folder)
    from orchestrator.driver import tracking_step

    uri, problems = tracking_step.track(spec, folder, Typed(file, scale, storage).command("sweep"), rebuild)
    say(f"MLflow  {masked(uri)}")
    tell_tracking_problems(problems)
    if problems:
        raise typer.Exit(exit_codes.UNFINISHED)


def ui(
    file: SpecArgument,
    port: Annotated[int, typer.Option("--port", metavar="P", help="Its port; only this machine can reach it.")] = PORT,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Start MLflow's UI and print where it shows the sweep's cells. Only this machine can reach it; Ctrl-C ends it."""
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.tracking.mlflow import ui as serving

    server, uri = serving.address(port), default_uri(folder)
    check_address(uri, folder)
    serving.check_store(uri, Typed(file, scale, storage).command("sweep"))
    if hindrance := follow_for_reading(uri, folder):
        complain(f"warning: {hindrance}")
    page = serving.sweep_page(server, uri, spec, current_id(folder))
    say(f"{spec.name}: {page}  (Ctrl-C ends it)")
    serving.become(uri, port, os.environ)


def _tell_places(page: Path, figures: Sequence[tuple[str, Path]]) -> None:
    """Print the paths of page and figures; if there are several fronts, each figure with the label of its group."""
    lines = [f"report  {page}"]
    for label, path in figures:
        lines.append(f"figure  {path}  ({label})" if label else f"figure  {path}")
    say("\n".join(lines))


def tell_tracking_problems(problems: Sequence[str]) -> None:
    """Print the first problems that MLflow had."""
    for problem in problems[:MOST_PROBLEMS]:
        complain(f"MLflow: {problem}; `track` or the next sweep command writes it")


def _report_folder(path: Path) -> Path:
    """Returns the folder that `report --to` names. Raises UserError if it has other files than a report, as it would be replaced."""
    from orchestrator.report.report import PAGE, is_part

    folder = LocalPath(expanded("--to", path)).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--to: {folder} is a file; name a folder")
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    if names and (PAGE not in names or not all(map(is_part, names))):
        raise UserError(f"--to: {folder} holds other files than a report; name a new or empty folder, or one that holds a report")
    return folder
