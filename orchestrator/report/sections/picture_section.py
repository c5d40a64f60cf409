"""Makes the page's tables of samples, one for the prior and one for each subset. Reads pictures and writes nothing.

A table has a row for each modality and a column for each model. The pictures of a trial are grids (`mopoe_core.metrics.picture_layout`).
They are cut into modalities here, so that models are side by side. The page has the first `COLUMNS` columns of each grid, as WebP.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from mopoe_core.metrics.picture_layout import GAP, GRID, SAMPLES
from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.analysis.fronts import Front
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures.embedded_figures import webp_uri
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, labels, series

COLUMNS = 4
"""Columns of a grid that the page shows. Three models and the test examples then fit a page of 1280 pixels."""
QUALITY = 80
"""Quality of WebP. Strokes and words are as sharp as in the PNG, at a quarter of its size."""
SMALLEST_TILE = 2
"""Side of the smallest possible tile: one pixel, and the white pixel beside it."""
PRIOR = "unconditional"
GIVEN = "given_"


@dataclass(frozen=True)
class Strip:
    """A part of a picture, inside the page."""

    uri: str
    width: int
    """In pixels."""
    height: int
    alt: str


@dataclass(frozen=True)
class Row:
    """One modality of a table."""

    modality: str
    examples: Strip | None
    """The given test examples; None if the modality is not given."""
    generated: tuple[Strip | None, ...]
    """A strip for each model; None if the trial has no such picture."""


@dataclass(frozen=True)
class SampleTable:
    """The samples of all models from the prior, or given one subset of modalities."""

    caption: str
    is_given: bool
    """Whether the table has a column of test examples."""
    models: tuple[str, ...]
    """The label of each column's trial."""
    rows: tuple[Row, ...]


def pictured(spec: SweepSpec, results: Sequence[TrialResult], front: Front) -> Sequence[TrialResult]:
    """Returns the results whose pictures are shown: all, or in a search only those of cells on the front.

    In a search almost every cell is a series of its own, so that all pictures would be too many.
    """
    if spec.search is None:
        return results
    on_front = {point.cell_id for point in front.members}
    return [result for result in results if result.trial.cell.id in on_front]


def tables(
    spec: SweepSpec, results: Sequence[TrialResult], samples: Mapping[str, Mapping[str, AnyPath]], grouped: Sequence[FrontGroup]
) -> list[tuple[str, list[SampleTable]]]:
    """Returns the label and the tables of each group of cells that may be compared: the prior first, then subsets by size.

    Each series is shown by one trial, the lowest completed seed at the middle beta. Trials with other modalities have separate tables.
    """
    group_labels = {cell.id: group.label for group in grouped for cell in group.cells}
    series_of, label_of = series(spec.cells), labels(spec.cells)
    short = shortened(label_of.values())
    trials_by_group: dict[tuple[str, tuple[str, ...]], list[Trial]] = {}
    for name in dict.fromkeys(series_of.values()):
        pictured_trials = [
            result.trial for result in results if series_of.get(result.trial.cell.id) == name and samples.get(result.trial.id)
        ]
        if pictured_trials:
            trial = _middle(pictured_trials)
            trials_by_group.setdefault((group_labels[trial.cell.id], trial.config.modalities), []).append(trial)
    tables_by_label: dict[str, list[SampleTable]] = {}
    for (label, modalities), trials in trials_by_group.items():
        titles = [f"{proper(short[label_of[trial.cell.id]])}, seed {trial.seed}" for trial in trials]
        tables_by_label.setdefault(label, []).extend(_tables_of(trials, titles, modalities, samples))
    return list(tables_by_label.items())


def _middle(trials: Sequence[Trial]) -> Trial:
    """Returns the trial with the lowest seed at the middle beta."""
    betas = sorted({trial.config.beta for trial in trials})
    middle = betas[len(betas) // 2]
    return min((trial for trial in trials if trial.config.beta == middle), key=lambda trial: trial.seed)


def _tables_of(
    trials: Sequence[Trial], titles: Sequence[str], modalities: Sequence[str], samples: Mapping[str, Mapping[str, AnyPath]]
) -> list[SampleTable]:
    names = sorted(
        {name for trial in trials for name in samples[trial.id] if name == PRIOR or name.startswith(GIVEN)},
        key=lambda name: (name != PRIOR, name.count("."), name),
    )
    sample_tables = []
    for name in names:
        given = [] if name == PRIOR else name.removeprefix(GIVEN).split(".")
        cuts = [_cut(samples[trial.id].get(name), given, modalities, title) for trial, title in zip(trials, titles, strict=True)]
        examples = next((cut.examples for cut in cuts if cut), {})
        rows = tuple(
            Row(modality, examples.get(modality), tuple(cut.generated[modality] if cut else None for cut in cuts))
            for modality in modalities
        )
        caption = f"Given {' and '.join(given)}" if given else "Drawn from the prior"
        sample_tables.append(SampleTable(caption, bool(given), tuple(titles), rows))
    return sample_tables


@dataclass(frozen=True)
class _Cut:
    """A trial's picture in parts, by modality."""

    examples: Mapping[str, Strip]
    generated: Mapping[str, Strip]


def _cut(path: AnyPath | None, given: Sequence[str], modalities: Sequence[str], label: str) -> _Cut | None:
    """Returns the parts of a picture; None if there is no picture, if it is damaged, or if it has another layout."""
    if path is None:
        return None
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            pixels = picture.convert("RGB")
    except OSError:
        return None
    return _of_subset(pixels, given, modalities, label) if given else _of_prior(pixels, modalities, label)


def _of_prior(pixels: Image.Image, modalities: Sequence[str], label: str) -> _Cut | None:
    """Cuts draws from the prior: beside each other a block of `GRID` x `GRID` for each modality. A joint draw has one place in all."""
    side = pixels.height
    tile, rest = divmod(side, GRID)
    if tile < SMALLEST_TILE or rest or pixels.width != len(modalities) * (side + GAP) - GAP:
        return None
    boxes = {name: (place * (side + GAP), 0, COLUMNS * tile, SAMPLES * tile) for place, name in enumerate(modalities)}
    return _Cut({}, {name: _strip(pixels, box, f"{name} drawn from the prior by {label}") for name, box in boxes.items()})


def _of_subset(pixels: Image.Image, given: Sequence[str], modalities: Sequence[str], label: str) -> _Cut | None:
    """Cuts draws given a subset: above a line one row for each given modality, below it `SAMPLES` rows for each modality."""
    rows = len(given) + SAMPLES * len(modalities)
    tile, rest = divmod(pixels.height - GAP, rows)
    if tile < SMALLEST_TILE or rest:
        return None
    width = min(COLUMNS * tile, pixels.width)
    observed = [name for name in modalities if name in given]
    examples = {
        name: _strip(pixels, (0, place * tile, width, tile), f"{name} of the test examples")
        for place, name in enumerate(observed)
    }
    top, subset = len(given) * tile + GAP, " and ".join(given)
    generated = {
        name: _strip(pixels, (0, top + place * SAMPLES * tile, width, SAMPLES * tile), f"{name} drawn by {label} given {subset}")
        for place, name in enumerate(modalities)
    }
    return _Cut(examples, generated)


def _strip(pixels: Image.Image, box: tuple[int, int, int, int], alt: str) -> Strip:
    """Returns the part of a picture in `box` (left, top, width, height), without the white pixel after its last tile."""
    left, top, width, height = box
    part = pixels.crop((left, top, left + width - 1, top + height - 1))
    return Strip(webp_uri(part, QUALITY), part.width, part.height, alt)
