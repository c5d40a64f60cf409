"""Samples as the page shows them: a table for the prior and for each subset; a row a modality, a column a model. Pure but for reading.

The pictures of a trial are grids whose layout `mopoe_core.metrics.picture_layout` describes. They are cut into modalities here, so that
models stand side by side. The page has the first `COLUMNS` columns of each grid, as WebP.
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
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, labels, series

COLUMNS = 4
"""Three models and the test examples fit a page of 1280 pixels."""
QUALITY = 80  # of WebP: strokes and words are as sharp as in the PNG, at a quarter of its size
SMALLEST_TILE = 2  # a pixel and the white one beside it
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
    """A strip a model; None if the trial has no such picture."""


@dataclass(frozen=True)
class SampleTable:
    """What all models draw from the prior, or given one subset of modalities."""

    caption: str
    is_given: bool
    """Whether it has a column of test examples."""
    models: tuple[str, ...]
    """Labels of the trials, a column each."""
    rows: tuple[Row, ...]


def pictured(spec: SweepSpec, results: Sequence[TrialResult], front: Front) -> Sequence[TrialResult]:
    """The results whose pictures are shown. In a search, where almost every cell is a series, only those of cells on the front."""
    members = {point.cell_id for point in front.members}
    return results if spec.search is None else [result for result in results if result.trial.cell.id in members]


def tables(
    spec: SweepSpec, results: Sequence[TrialResult], samples: Mapping[str, Mapping[str, AnyPath]], grouped: Sequence[FrontGroup]
) -> list[tuple[str, list[SampleTable]]]:
    """For each group of cells that may be compared, its label and its tables; the prior first, then small subsets first.

    A series is shown by one trial: the lowest completed seed at the middle beta. Trials with other modalities have tables of their own.
    """
    group_labels = {cell.id: group.label for group in grouped for cell in group.cells}
    alike: dict[tuple[str, tuple[str, ...]], list[Trial]] = {}
    lines, short = series(spec.cells), labels(spec.cells)
    for line in dict.fromkeys(lines.values()):
        drawn = [r.trial for r in results if lines.get(r.trial.cell.id) == line and samples.get(r.trial.id)]
        if drawn:
            trial = _middle(drawn)
            alike.setdefault((group_labels[trial.cell.id], trial.config.modalities), []).append(trial)
    by_label: dict[str, list[SampleTable]] = {}
    for (label, modalities), trials in alike.items():
        titles = [f"{proper(short[trial.cell.id])}, seed {trial.seed}" for trial in trials]
        by_label.setdefault(label, []).extend(_tables_of(trials, titles, modalities, samples))
    return list(by_label.items())


def _middle(drawn: Sequence[Trial]) -> Trial:
    betas = sorted({trial.config.beta for trial in drawn})
    middle = betas[len(betas) // 2]
    return min((trial for trial in drawn if trial.config.beta == middle), key=lambda trial: trial.seed)


def _tables_of(
    trials: Sequence[Trial], titles: Sequence[str], modalities: Sequence[str], samples: Mapping[str, Mapping[str, AnyPath]]
) -> list[SampleTable]:
    names = sorted(
        {name for trial in trials for name in samples[trial.id] if name == PRIOR or name.startswith(GIVEN)},
        key=lambda name: (name != PRIOR, name.count("."), name),
    )
    made = []
    for name in names:
        given = [] if name == PRIOR else name.removeprefix(GIVEN).split(".")
        cuts = [_cut(samples[trial.id].get(name), given, modalities, title) for trial, title in zip(trials, titles, strict=True)]
        examples = next((cut.examples for cut in cuts if cut), {})
        rows = tuple(
            Row(modality, examples.get(modality), tuple(cut.generated[modality] if cut else None for cut in cuts))
            for modality in modalities
        )
        caption = f"Given {' and '.join(given)}" if given else "Drawn from the prior"
        made.append(SampleTable(caption, bool(given), tuple(titles), rows))
    return made


@dataclass(frozen=True)
class _Cut:
    """A trial's picture in parts, by modality."""

    examples: Mapping[str, Strip]
    generated: Mapping[str, Strip]


def _cut(path: AnyPath | None, given: Sequence[str], modalities: Sequence[str], label: str) -> _Cut | None:
    """The parts of a picture; None if there is no picture, if it is damaged, or if its layout is another."""
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
    """A block of `GRID` x `GRID` draws a modality, beside each other; the same place in each is one joint draw."""
    side = pixels.height
    tile, rest = divmod(side, GRID)
    if tile < SMALLEST_TILE or rest or pixels.width != len(modalities) * (side + GAP) - GAP:
        return None
    boxes = {name: (place * (side + GAP), 0, COLUMNS * tile, SAMPLES * tile) for place, name in enumerate(modalities)}
    return _Cut({}, {name: _strip(pixels, box, f"{name} drawn from the prior by {label}") for name, box in boxes.items()})


def _of_subset(pixels: Image.Image, given: Sequence[str], modalities: Sequence[str], label: str) -> _Cut | None:
    """Above a line a row a given modality, below it `SAMPLES` rows a modality."""
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
    """The part of a picture at left, top, width, height; without the white pixel after its last tile."""
    left, top, width, height = box
    part = pixels.crop((left, top, left + width - 1, top + height - 1))
    return Strip(webp_uri(part, QUALITY), part.width, part.height, alt)
