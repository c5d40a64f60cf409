"""Samples, as pictures inside the page."""

import base64
from collections.abc import Mapping, Sequence

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.analysis.fronts import Front
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, series


def pictured(spec: SweepSpec, results: Sequence[TrialResult], front: Front) -> Sequence[TrialResult]:
    """The results whose pictures are shown. In a search, where almost every cell is a series, only those of cells on the front."""
    members = {point.cell_id for point in front.members}
    return results if spec.search is None else [result for result in results if result.trial.cell.id in members]


def pictures(
    spec: SweepSpec, results: Sequence[TrialResult], samples: Mapping[str, Mapping[str, AnyPath]], grouped: Sequence[FrontGroup]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each series, the name of a trial and its captions and pictures as data URIs: the lowest completed seed at the middle beta.

    If there are several groups of cells that may be compared, the label of the group stands before the name.
    """
    labels = {cell.id: group.label for group in grouped for cell in group.cells}
    shown = []
    lines = series(spec.cells)
    for line in dict.fromkeys(lines.values()):
        drawn = [r.trial for r in results if lines.get(r.trial.cell.id) == line and samples.get(r.trial.id)]
        if drawn:
            trial = _middle(drawn)
            pictures = [(_caption(name), data_uri(path)) for name, path in _in_order(samples[trial.id])]
            shown.append((", ".join(filter(None, (labels[trial.cell.id], trial.label))), pictures))
    return shown


def _middle(drawn: Sequence[Trial]) -> Trial:
    betas = sorted({trial.config.beta for trial in drawn})
    middle = betas[len(betas) // 2]
    return min((trial for trial in drawn if trial.config.beta == middle), key=lambda trial: trial.seed)


def _in_order(pictures: Mapping[str, AnyPath]) -> list[tuple[str, AnyPath]]:
    """Unconditional first, then small subsets first."""
    return sorted(pictures.items(), key=lambda item: (item[0] != "unconditional", item[0].count("."), item[0]))


def _caption(name: str) -> str:
    return "from the prior" if name == "unconditional" else f"given {name.removeprefix('given_').replace('.', ' and ')}"


def data_uri(path: AnyPath) -> str:
    """A PNG or SVG as an address that needs no network."""
    kind = "svg+xml" if path.name.endswith(".svg") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
