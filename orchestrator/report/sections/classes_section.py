"""Tables of the classes that cells generate: effective number, commonest class, and the coherence that chance explains. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core import metric_names
from mopoe_core.config.training_config import TrainingConfig
from orchestrator.analysis import chance, collapse
from orchestrator.analysis.aggregation import Seeds, completed_of_each, planned
from orchestrator.analysis.intervals import mean
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render.numbers import MISSING
from orchestrator.report.render.short_labels import shortened
from orchestrator.report.sections.front_section import Card
from orchestrator.spec.trial import Cell, labels


@dataclass(frozen=True)
class ClassTable:
    """The table of one dataset in one group of cells."""

    dataset: str
    label: str
    """The label of the group of cells; empty for the only group."""
    modalities: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """A row for each cell: short label, n of n planned, joint coherence, joint coherence by chance; for each modality the effective
    classes and the commonest class; collapsed seeds. The last row is for the test examples."""


def tables(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult], label: str = "") -> list[ClassTable]:
    """Returns a table for each dataset with a trial that reports its classes. `label` is that of the group of cells."""
    completed, planned_seeds, label_of = completed_of_each(cells, seeds, results), planned(cells, seeds), labels(cells)
    short = shortened(label_of.values())
    cells_by_data: dict[tuple[str, str, tuple[str, ...]], list[Cell]] = {}
    for cell in cells:
        cells_by_data.setdefault((cell.config.dataset, cell.config.source, cell.config.modalities), []).append(cell)
    class_tables = []
    for (dataset, source, modalities), members in cells_by_data.items():
        reporting = [result for cell in members for result in completed[cell.id] if _reports(result)]
        if not reporting:
            continue
        rows = [
            (
                short[label_of[cell.id]],
                f"{len(completed[cell.id])}/{len(planned_seeds[cell.id])}",
                *_numbers(cell, completed[cell.id]),
            )
            for cell in members
        ]
        class_tables.append(
            ClassTable(f"{dataset}, {source} data", label, modalities, (*rows, _of_labels(reporting[0], modalities)))
        )
    return class_tables


def noted(cards: Sequence[Card], collapsed: Mapping[str, str]) -> list[Card]:
    """Returns the cards of the front, with a sentence on each collapsed cell."""
    return [
        replace(card, standing=f"{card.standing}; {collapsed[card.cell_id]}") if card.cell_id in collapsed else card
        for card in cards
    ]


def _reports(result: TrialResult) -> bool:
    """Whether a result reports the classes of its trial."""
    return result.value(f"{metric_names.EFFECTIVE_CLASSES}/{metric_names.LABELS}") is not None


def _numbers(cell: Cell, results: Sequence[TrialResult]) -> list[str]:
    """Returns the columns of a row from the joint coherence on: means over the seeds that report classes."""
    reporting = [result for result in results if _reports(result)]
    coherence = _mean([result.value(metric_names.JOINT_COHERENCE) for result in results])
    modalities = cell.config.modalities
    if not reporting:
        return [coherence, *[MISSING] * (len(modalities) + 2)]
    shares = [[chance.generated_shares(result, modality) for modality in modalities] for result in reporting]
    by_chance = [chance.agreement(of_seed, bool(cell.config.attributes)) for of_seed in shares if all(of_seed)]
    count = sum(bool(collapse.collapses(result)) for result in reporting)
    generated = [_generated(reporting, modality, _class_names(cell.config)) for modality in modalities]
    return [coherence, _mean(by_chance), *generated, f"{count}/{len(reporting)}" if count else ""]


def _class_names(config: TrainingConfig) -> Sequence[str]:
    """Returns the names of the classes; empty if labels are attributes, of which none is the commonest."""
    return [] if config.attributes else metric_names.class_names(config.attributes, config.card.classes)


def _generated(results: Sequence[TrialResult], modality: str, class_names: Sequence[str]) -> str:
    """Returns `8.91; most: 3 (14 %)`, from means over seeds."""
    effective = _mean([result.value(f"{metric_names.EFFECTIVE_CLASSES}/{modality}") for result in results], ".2f")
    shares = [share for result in results if (share := chance.generated_shares(result, modality))]
    return f"{effective}{_most([mean(of_class) for of_class in zip(*shares, strict=True)], class_names)}"


def _of_labels(result: TrialResult, modalities: Sequence[str]) -> tuple[str, ...]:
    """Returns the row of the test examples, whose classes are the same in every modality."""
    effective = _mean([result.value(f"{metric_names.EFFECTIVE_CLASSES}/{metric_names.LABELS}")], ".2f")
    text = f"{effective}{_most(chance.label_shares(result), _class_names(result.trial.config))}"
    return "test examples", "", "", _mean([chance.joint_coherence(result)]), *[text] * len(modalities), ""


def _most(shares: Sequence[float], class_names: Sequence[str]) -> str:
    """Returns the commonest class and its share; empty if either is not known."""
    if not shares or not class_names:
        return ""
    place = max(range(len(shares)), key=lambda index: shares[index])
    return f"; most: {class_names[place]} ({shares[place]:.0%})"


def _mean(values: Sequence[float | None], spelling: str = ".3f") -> str:
    reported = [value for value in values if value is not None]
    return f"{mean(reported):{spelling}}" if reported else MISSING
