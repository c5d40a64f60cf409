"""The report of a sweep: gathered from the ledger, drawn where something is new, put into its place."""

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
from orchestrator.ledger import snapshot, sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.layout import SweepFolder, local_sweep_folder
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import ENDED
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.storage.identity import current_id
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking.ledger_marks import digest
from orchestrator.tracking.mlflow.run_links import run_links
from orchestrator.tracking.mlflow.store_address import default_uri

if TYPE_CHECKING:  # pandas and matplotlib: seconds, which a sweep with nothing new need not wait
    from orchestrator.report.figures.plot_style import Look
    from orchestrator.report.report import ReportPaths
    from orchestrator.search.outcomes import ProposedCell


@dataclass(frozen=True)
class Options:
    """What a command asks of the report."""

    command: str
    """As it was typed, for the report to say."""
    against_paper: bool = False
    """Whether the published numbers stand beside the sweep's."""
    unequal: bool = False
    """Whether models whose complete seeds differ are ranked, on those that both have."""


@dataclass(frozen=True)
class Material:
    """All that a report is made from."""

    snapshot: Snapshot
    pictures: Mapping[str, Mapping[str, AnyPath]]
    """Generated samples by trial id and name."""
    failures: Sequence[failure_causes.FailureGroup]
    outcomes: Sequence["ProposedCell"]
    """What has come of the cells of a search; empty for any other sweep."""
    run_links: Mapping[str, str]
    """Addresses of MLflow's runs by the id of their trial or cell."""
    source: str
    """The sweep's file, without secrets."""


def report_folder(storage: AnyPath, spec: SweepSpec) -> Path:
    """Where a sweep's report is on this machine, whether it is there or not."""
    return local_sweep_folder(storage, spec.name) / SweepFolder.REPORT


def gather(seen: Snapshot, ledger: Ledger) -> Material:
    """What the report of a sweep is made from now."""
    kept = sweep_folder(ledger.storage, seen.spec) / "sweep.yaml"
    pictures = ledger.each(ledger.samples, seen.trials)
    return Material(
        snapshot=seen,
        pictures={trial.id: paths for trial, paths in zip(seen.trials, pictures, strict=True)},
        failures=failure_causes.find(seen.trials, seen.states, ledger, seen.result),
        outcomes=_outcomes(seen, ledger) if seen.spec.search else (),
        run_links=run_links(default_uri(ledger.storage), seen.spec.name, current_id(ledger.storage)),
        source=kept.read_bytes().decode(errors="replace") if kept.exists() else "",
    )


def _gathered(spec: SweepSpec, ledger: Ledger) -> Material:
    return gather(snapshot.read(spec, ledger), ledger)


def _outcomes(seen: Snapshot, ledger: Ledger) -> "list[ProposedCell]":
    from orchestrator.search import outcomes  # pandas and scipy

    given_up = {trial_id for trial_id, status in seen.statuses.items() if status == "failed"}
    return outcomes.of_search(seen.spec, ledger.storage, groups_of(seen.spec, seen.results).results, given_up)


def inputs(material: Material, options: Options) -> dict[str, str]:
    """A hash of each kind of input: two reports with the same hashes are the same, but for the command that they name."""
    seen = material.snapshot
    states = [(trial_id, state.status, state.attempts, state.error) for trial_id, state in seen.states.items()]
    pictures = [(trial_id, report_stamp.fingerprint(paths.values())) for trial_id, paths in material.pictures.items()]
    return {
        "code": report_stamp.code(),
        "sweep": digest(sweep_records.record(seen.spec), material.source),
        "states": digest(states),
        "results": digest(sorted(seen.stamps.items())),
        "pictures": digest(pictures),
        "failures": digest(material.failures),
        "search": digest(material.outcomes),
        "runs": digest(sorted(material.run_links.items())),
        "options": digest(options.against_paper, options.unequal),
    }


def drawn_before(material: Material, ledger: Ledger, options: Options) -> DrawnReport | None:
    """The report that is there, if nothing is new since it was drawn."""
    spec = material.snapshot.spec
    return report_stamp.read(report_folder(ledger.storage, spec), spec.name, inputs(material, options), ledger)


def bring_up_to_date(material: Material, ledger: Ledger, options: Options) -> DrawnReport:
    """The report as the ledger has it now: the one that is there, or a new one where something is new."""
    drawn = drawn_before(material, ledger, options)
    return drawn if drawn is not None else _of_paths(draw(material, ledger, options), material.snapshot)


def current_report(spec: SweepSpec, storage: AnyPath, options: Options) -> DrawnReport:
    """As `bring_up_to_date`, from the ledger."""
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
    """Draw the sweep's report from the ledger, into a local folder; for remote storage, there as well. With `to`, only into that."""
    ledger = Ledger(storage)
    return draw(_gathered(spec, ledger), ledger, Options(command, against_paper, unequal), to)


def write_figures(spec: SweepSpec, storage: AnyPath, look: "Look", folder: Path) -> list[Path]:
    """Write each figure of the report as PDF, and its numbers as CSV, into a local folder; returns the paths of the PDFs."""
    from orchestrator.report import figure_export

    material = _gathered(spec, Ledger(storage))
    results = material.snapshot.results
    pictures = {**material.pictures, **_checked_pictures(material)}
    return figure_export.write(spec, results, pictures, material.outcomes, look, folder)


def _checked_pictures(material: Material) -> dict[str, artifact_check.CheckedPictures]:
    return {r.trial.id: artifact_check.CheckedPictures(material.pictures[r.trial.id], r) for r in material.snapshot.results}


def draw(material: Material, ledger: Ledger, options: Options, to: Path | None = None) -> "ReportPaths":
    """Draw a report, and let it take the place of the one that is there, or of what is in `to`."""
    from orchestrator.report import report

    seen, there = material.snapshot, ledger.layout.sweep(material.snapshot.spec.name).report
    made_from = inputs(material, options)  # before anything is read for it: what changes meanwhile is new to the next command
    beside = report.Beside(tuple(material.failures), material.run_links, material.source, options.unequal)

    def build(into: Path) -> "ReportPaths":
        paths = report.write(
            seen.spec,
            seen.results,
            seen.statuses,
            {**material.pictures, **_checked_pictures(material)},
            options.command,
            into,
            options.against_paper,
            material.outcomes,
            beside,
        )
        if to is None and isinstance(there, RemotePath):
            upload_report(into, there)
        if to is None:
            report_stamp.write(into, seen.spec.name, made_from, _of_paths(paths, seen))
        return paths

    return replaced_folder.replaced(to or report_folder(ledger.storage, seen.spec), build, report.is_part)


def upload_report(built: Path, there: RemotePath) -> None:
    """Put a report into remote storage, file by file, the page last; files of a report that was there before go."""
    from orchestrator.report import report

    names = [path.relative_to(built).as_posix() for path in built.rglob("*.*")]
    for name in sorted(names, key=lambda name: name == report.PAGE):
        write_bytes(there / name, (built / name).read_bytes())
    for old in (*there.glob("*"), *there.glob("*/*")):
        name = old.path.removeprefix(f"{there.path}/")
        if name not in names and report.is_part(name.partition("/")[0]):
            old.unlink(missing_ok=True)


def _of_paths(paths: "ReportPaths", seen: Snapshot) -> DrawnReport:
    """What is told of a report that has just been drawn."""
    spec, search = seen.spec, paths.search
    files = [path for front in paths.fronts for path in (front.png, front.svg, front.pdf)]
    files += [paths.markdown, paths.cells_csv, paths.trials_parquet]
    parameters = {"seeds": json.dumps(spec.seed_list), "objectives": ", ".join(f"{o.goal} {o.metric}" for o in spec.objectives)}
    if search is not None and spec.search is not None:
        fields = spec.search.model_dump(mode="json", exclude_defaults=True)
        fields |= {"sampler": spec.search.sampler, "seed": spec.search.seed}
        parameters |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        ended, courses, counts = list(search.told), search.courses, search.counts
        files = sorted({*files, *search.figures})
    else:
        outcomes = _outcome_of_cells(spec, seen.statuses)
        parameters |= {f"group {front.slug}": front.label for front in paths.fronts if front.slug}
        ended, counts = [key for key, outcome in outcomes.items() if outcome == "completed"], Counter(outcomes.values())
        courses = {
            f"hypervolume/{front.slug}" if front.slug else "hypervolume": [*[math.nan] * (len(ended) - 1), front.hypervolume]
            for front in paths.fronts
            if front.hypervolume is not None and ended
        }
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


def _outcome_of_cells(spec: SweepSpec, statuses: Mapping[str, str]) -> dict[str, str]:
    """What has come of each cell by its id: `open` while a trial of it may go on, else `diverged`, `failed` or `completed`."""
    outcomes = {}
    for cell in spec.cells:
        ends = {statuses[Trial(cell, seed).id] for seed in spec.seed_list}
        if ends - {*ENDED, "failed"}:
            outcomes[cell.id] = "open"
        else:
            outcomes[cell.id] = next((end for end in ("diverged", "failed") if end in ends), "completed")
    return outcomes
