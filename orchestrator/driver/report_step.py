"""The report of a sweep: its material is read from the ledger, and it is drawn only if something is new."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import write_bytes
from orchestrator.analysis import failure_causes
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.driver import replaced_folder, report_stamp
from orchestrator.driver.report_stamp import DrawnReport
from orchestrator.driver.sweep_lease import sweep_folder
from orchestrator.ledger import sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.layout import SweepFolder, local_sweep_folder
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import ENDED
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.snapshot import read as read_snapshot
from orchestrator.ledger.storage.identity import current_id
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking.ledger_marks import digest
from orchestrator.tracking.mlflow.run_links import run_links
from orchestrator.tracking.mlflow.store_address import default_uri

if TYPE_CHECKING:  # pandas and matplotlib take seconds to import; a sweep with nothing new does without them
    from orchestrator.report.figures.plot_style import Look
    from orchestrator.report.report import ReportPaths
    from orchestrator.report.sections.group_section import FrontFiles
    from orchestrator.search.outcomes import ProposedCell
    from orchestrator.spec.search_block import Search


@dataclass(frozen=True)
class Options:
    """A command's options for the report."""

    command: str
    """The command as it was typed, which the report shows."""
    against_paper: bool = False
    """Whether the published numbers are shown beside the sweep's."""
    unequal: bool = False
    """Whether models whose complete seeds differ are ranked, on the seeds that both have."""


@dataclass(frozen=True)
class Material:
    """Everything that a report is made from."""

    snapshot: Snapshot
    pictures: Mapping[str, Mapping[str, AnyPath]]
    """Pictures of generated samples by trial id and name."""
    failures: Sequence[failure_causes.FailureGroup]
    outcomes: Sequence["ProposedCell"]
    """The proposed cells of a search with their outcomes; empty for any other sweep."""
    run_links: Mapping[str, str]
    """Addresses of MLflow's runs by the id of their trial or cell."""
    source: str
    """The text of the sweep file, without secrets."""


def report_folder(storage: AnyPath, spec: SweepSpec) -> Path:
    """Returns the folder of a sweep's report on this machine, which need not exist."""
    return local_sweep_folder(storage, spec.name) / SweepFolder.REPORT


def gather(snapshot: Snapshot, ledger: Ledger) -> Material:
    """Returns the material of a sweep's report."""
    sweep_yaml = sweep_folder(ledger.storage, snapshot.spec) / "sweep.yaml"
    pictures = ledger.each(ledger.samples, snapshot.trials)
    return Material(
        snapshot=snapshot,
        pictures={trial.id: paths for trial, paths in zip(snapshot.trials, pictures, strict=True)},
        failures=failure_causes.find(snapshot.trials, snapshot.states, ledger, snapshot.result),
        outcomes=_outcomes(snapshot, ledger) if snapshot.spec.search else (),
        run_links=run_links(default_uri(ledger.storage), snapshot.spec.name, current_id(ledger.storage)),
        source=sweep_yaml.read_bytes().decode(errors="replace") if sweep_yaml.exists() else "",
    )


def _gathered(spec: SweepSpec, ledger: Ledger) -> Material:
    return gather(read_snapshot(spec, ledger), ledger)


def _outcomes(snapshot: Snapshot, ledger: Ledger) -> "list[ProposedCell]":
    from orchestrator.search import outcomes  # imports pandas and scipy

    failed = {trial_id for trial_id, status in snapshot.statuses.items() if status == "failed"}
    return outcomes.of_search(snapshot.spec, ledger.storage, groups_of(snapshot.spec, snapshot.results).results, failed)


def inputs(material: Material, options: Options) -> dict[str, str]:
    """Returns a hash of each kind of input. Reports with the same hashes differ only in the command that they show."""
    snapshot = material.snapshot
    states = [(trial_id, state.status, state.attempts, state.error) for trial_id, state in snapshot.states.items()]
    pictures = [(trial_id, report_stamp.fingerprint(paths.values())) for trial_id, paths in material.pictures.items()]
    return {
        "code": report_stamp.code(),
        "sweep": digest(sweep_records.as_json(snapshot.spec), material.source),
        "states": digest(states),
        "results": digest(sorted(snapshot.stamps.items())),
        "pictures": digest(pictures),
        "failures": digest(material.failures),
        "search": digest(material.outcomes),
        "runs": digest(sorted(material.run_links.items())),
        "options": digest(options.against_paper, options.unequal),
    }


def drawn_before(material: Material, ledger: Ledger, options: Options) -> DrawnReport | None:
    """Returns the existing report if nothing is new since it was drawn; else None."""
    spec = material.snapshot.spec
    return report_stamp.read(report_folder(ledger.storage, spec), spec.name, inputs(material, options), ledger)


def bring_up_to_date(material: Material, ledger: Ledger, options: Options) -> DrawnReport:
    """Returns the existing report if nothing is new; else draws a new one."""
    drawn = drawn_before(material, ledger, options)
    return drawn if drawn is not None else _drawn_report(draw(material, ledger, options), material.snapshot)


def current_report(spec: SweepSpec, storage: AnyPath, options: Options) -> DrawnReport:
    """Returns the report of what the ledger has now; see `bring_up_to_date`."""
    ledger = Ledger(storage)
    return bring_up_to_date(_gathered(spec, ledger), ledger, options)


def write_report(
    spec: SweepSpec,
    storage: AnyPath,
    command: str,
    against_paper: bool = False,
    unequal: bool = False,
    to: Path | None = None,
) -> "ReportPaths":
    """Draw the sweep's report into its local folder, and into remote storage if that is used; with `to`, only into the folder `to`."""
    ledger = Ledger(storage)
    return draw(_gathered(spec, ledger), ledger, Options(command, against_paper, unequal), to)


def write_figures(spec: SweepSpec, storage: AnyPath, look: "Look", folder: Path) -> list[Path]:
    """Write each figure of the report as PDF and its numbers as CSV into a local folder; returns the paths of the PDFs."""
    from orchestrator.report import figure_export

    material = _gathered(spec, Ledger(storage))
    results = material.snapshot.results
    pictures = {**material.pictures, **_checked_pictures(material)}
    return figure_export.write(spec, results, pictures, material.outcomes, look, folder)


def _checked_pictures(material: Material) -> dict[str, artifact_check.CheckedPictures]:
    return {r.trial.id: artifact_check.CheckedPictures(material.pictures[r.trial.id], r) for r in material.snapshot.results}


def draw(material: Material, ledger: Ledger, options: Options, to: Path | None = None) -> "ReportPaths":
    """Draw a report. It replaces the existing one, or, with `to`, the one in the folder `to`."""
    from orchestrator.report import report

    snapshot = material.snapshot
    storage_folder = ledger.layout.sweep(snapshot.spec.name).report
    hashes = inputs(material, options)  # before the report reads any file: a later change is then new to the next command
    context = report.ReportContext(tuple(material.failures), material.run_links, material.source, options.unequal)

    def build(draft: Path) -> "ReportPaths":
        paths = report.write(
            snapshot.spec,
            snapshot.results,
            snapshot.statuses,
            {**material.pictures, **_checked_pictures(material)},
            options.command,
            draft,
            options.against_paper,
            material.outcomes,
            context,
        )
        if to is None:
            if isinstance(storage_folder, RemotePath):
                upload_report(draft, storage_folder)
            report_stamp.write(draft, snapshot.spec.name, hashes, _drawn_report(paths, snapshot))
        return paths

    return replaced_folder.replaced(to or report_folder(ledger.storage, snapshot.spec), build, report.is_part)


def upload_report(built: Path, remote_folder: RemotePath) -> None:
    """Copy a report to remote storage, file by file, with the page last. Then remove the files of the old report."""
    from orchestrator.report import report

    names = [path.relative_to(built).as_posix() for path in built.rglob("*.*")]
    for name in sorted(names, key=lambda name: name == report.PAGE):
        write_bytes(remote_folder / name, (built / name).read_bytes())
    for remote_file in (*remote_folder.glob("*"), *remote_folder.glob("*/*")):
        name = remote_file.path.removeprefix(f"{remote_folder.path}/")
        if name not in names and report.is_part(name.partition("/")[0]):
            remote_file.unlink(missing_ok=True)


def _drawn_report(paths: "ReportPaths", snapshot: Snapshot) -> DrawnReport:
    """Returns what terminal and MLflow show of a report that has just been drawn."""
    spec, search = snapshot.spec, paths.search
    files = [path for front in paths.fronts for path in (front.png, front.svg, front.pdf)]
    files += [paths.markdown, paths.cells_csv, paths.trials_parquet]
    parameters = {"seeds": json.dumps(spec.seed_list), "objectives": ", ".join(f"{o.goal} {o.metric}" for o in spec.objectives)}
    courses: Mapping[str, Sequence[float]]
    counts: Mapping[str, int]
    if search is not None and spec.search is not None:
        parameters |= _search_parameters(spec.search)
        ended, courses, counts = list(search.ended_cell_ids), search.courses, search.counts
        files = sorted({*files, *search.figures})
    else:
        parameters |= {f"group {front.slug}": front.label for front in paths.fronts if front.slug}
        outcomes = _outcome_of_cells(spec, snapshot.statuses)
        ended = [cell_id for cell_id, outcome in outcomes.items() if outcome == "completed"]
        courses, counts = _final_hypervolumes(paths.fronts, len(ended)), Counter(outcomes.values())
    return DrawnReport(
        page=paths.page,
        summary=paths.summary,
        search_line=search.line if search else "",
        figures=[(front.label, front.png) for front in paths.fronts],
        files=files,
        parameters=parameters,
        cells=ended,
        courses=courses,
        counts=counts,
    )


def _search_parameters(search: "Search") -> dict[str, str]:
    """Returns the fields of a search that differ from their defaults, and always sampler and seed, as text."""
    fields = search.model_dump(mode="json", exclude_defaults=True) | {"sampler": search.sampler, "seed": search.seed}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def _final_hypervolumes(fronts: Sequence["FrontFiles"], ended: int) -> dict[str, list[float]]:
    """Returns a course for the hypervolume of each front: NaN for every cell that has ended except the last."""
    if not ended:
        return {}
    return {
        f"hypervolume/{front.slug}" if front.slug else "hypervolume": [*[math.nan] * (ended - 1), front.hypervolume]
        for front in fronts
        if front.hypervolume is not None
    }


def _outcome_of_cells(spec: SweepSpec, statuses: Mapping[str, str]) -> dict[str, str]:
    """Returns each cell's outcome by its id: `open` while a trial may still be trained, else `diverged`, `failed` or `completed`."""
    outcomes = {}
    for cell in spec.cells:
        cell_statuses = {statuses[Trial(cell, seed).id] for seed in spec.seed_list}
        if cell_statuses - {*ENDED, "failed"}:
            outcomes[cell.id] = "open"
        else:
            outcomes[cell.id] = next((status for status in ("diverged", "failed") if status in cell_statuses), "completed")
    return outcomes
