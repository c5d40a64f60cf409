"""The work of the command `data`: fetch or build a dataset, check it, and describe it."""

from dataclasses import dataclass
from pathlib import Path

from mopoe_core.data import loading
from mopoe_core.data.cards import is_own
from mopoe_core.data.dataset_card import DataKey, DatasetCard
from mopoe_core.data.types import Dataset, Split
from mopoe_core.errors import DataError
from mopoe_core.metrics.pictures import write_contact_sheet


@dataclass(frozen=True)
class Checked:
    """The description of a dataset that was fetched or built and passed the checks."""

    lines: tuple[str, ...]
    """Its content, for a terminal."""
    sheet: Path
    """A picture of ten training examples, with a column for each example and a row for each modality."""


def check(card: DatasetCard, source: str, folder: Path) -> Checked:
    """Fetch or build the dataset under `folder`, check its counts and content, and draw a contact sheet.

    Raises DataError if its files are missing, wrong, or different from those it was built from, if its counts are not the published
    ones, or if nothing can be written.
    """
    key = DataKey(card.name, source, len(card.modalities), "test")
    dataset = loading.load(key, folder)
    sheet_folder = Path() if is_own(card.name) else folder
    stem = "".join(character if character.isalnum() else "-" for character in f"{card.name}-{source}")
    sheet = (sheet_folder / f"{stem}.png").absolute()
    try:
        write_contact_sheet(dataset, sheet)
    except OSError as error:
        raise DataError(f"{sheet}: cannot be written ({error.strerror or error}); make room and see to the rights") from None
    return Checked((*_lines(dataset), *(f"note: {remark}" for remark in dataset.remarks), f"sha256 {dataset.hash}"), sheet)


def _lines(dataset: Dataset) -> list[str]:
    lines = []
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        items = ", ".join(f"{len(split.items[m.name])} of {m.name}" for m in dataset.modalities)
        lines.append(f"{name:<6} {len(split)} examples; distinct items: {items}")
        lines.append(f"       {_labels(dataset, split)}")
    for m in dataset.modalities:
        lines.append(f"{m.name:<6} {m.kind} {' x '.join(map(str, m.shape))}")
    return lines


def _labels(dataset: Dataset, split: Split) -> str:
    if dataset.attributes:
        shares = split.labels.double().mean(0).tolist()
        return "attributes: " + ", ".join(f"{a} {share:.1%}" for a, share in zip(dataset.attributes, shares, strict=True))
    counts = split.labels.bincount(minlength=dataset.classes).tolist()
    return "examples a class: " + ", ".join(map(str, counts))
