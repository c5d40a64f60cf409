"""The classes that cells generate: their effective number, the commonest class, and the joint coherence that they explain. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core import metric_names
from orchestrator.analysis import chance, collapse
from orchestrator.analysis.aggregation import Seeds, completed_of_each, planned
from orchestrator.analysis.intervals import mean
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render.numbers import MISSING
from orchestrator.report.sections.front_section import Card
from orchestrator.spec.trial import Cell, labels


@dataclass(frozen=True)
class ClassTable:
    """The cells of one dataset."""

    dataset: str
    modalities: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Label, n of n planned, joint coherence, the same for independent modalities; for each modality its effective classes and the
    commonest class; collapsed seeds. The last row is for the test examples."""


def tables(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> list[ClassTable]:
    """A table for each dataset with a trial that reports its classes."""
    completed, wanted, short = completed_of_each(cells, seeds, results), planned(cells, seeds), labels(cells)
    alike: dict[tuple[str, str, tuple[str, ...]], list[Cell]] = {}
    for cell in cells:
        alike.setdefault((cell.config.dataset, cell.config.source, cell.config.modalities), []).append(cell)
    class_tables = []
    for (dataset, source, modalities), of_dataset in alike.items():
        reporting = [result for cell in of_dataset for result in completed[cell.id] if _reports(result)]
        if not reporting:
            continue
        rows = [
            (short[cell.id], f"{len(completed[cell.id])}/{len(wanted[cell.id])}", *_numbers(cell, completed[cell.id]))
            for cell in of_dataset
        ]
        class_tables.append(ClassTable(f"{dataset}, {source} data", modalities, (*rows, _of_labels(reporting[0], modalities))))
    return class_tables


def noted(cards: Sequence[Card], collapsed: Mapping[str, str]) -> list[Card]:
    """The cards of the front, with a sentence on each collapsed cell."""
    return [replace(c, standing=f"{c.standing}; {collapsed[c.cell_id]}") if c.cell_id in collapsed else c for c in cards]


def _reports(result: TrialResult) -> bool:
    return result.value(f"{metric_names.EFFECTIVE_CLASSES}/{metric_names.LABELS}") is not None


def _numbers(cell: Cell, results: Sequence[TrialResult]) -> list[str]:
    """A row from the joint coherence on: means over the seeds that report classes."""
    reporting = [result for result in results if _reports(result)]
    coherence = _mean([result.value(metric_names.JOINT_COHERENCE) for result in results])
    shown = metric_names.class_names(cell.config.attributes, cell.config.card.classes)
    modalities = cell.config.modalities
    if not reporting:
        return [coherence, *[MISSING] * (len(modalities) + 2)]
    shares = [[chance.generated_shares(result, modality) for modality in modalities] for result in reporting]
    by_chance = [chance.agreement(of_seed, bool(cell.config.attributes)) for of_seed in shares if all(of_seed)]
    count = sum(bool(collapse.collapses(result)) for result in reporting)
    generated = [_generated(reporting, modality, [] if cell.config.attributes else shown) for modality in modalities]
    return [coherence, _mean(by_chance), *generated, f"{count}/{len(reporting)}" if count else ""]


def _generated(results: Sequence[TrialResult], modality: str, shown: Sequence[str]) -> str:
    """`8.91; most: 3 (14 %)`, from means over seeds."""
    effective = _mean([result.value(f"{metric_names.EFFECTIVE_CLASSES}/{modality}") for result in results], ".2f")
    shares = [share for result in results if (share := chance.generated_shares(result, modality))]
    return f"{effective}{_most([mean(of_class) for of_class in zip(*shares, strict=True)], shown)}"


def _of_labels(result: TrialResult, modalities: Sequence[str]) -> tuple[str, ...]:
    """The row of the test examples, whose classes are the same in every modality."""
    config = result.trial.config
    shown = metric_names.class_names(config.attributes, config.card.classes)
    shares = chance.label_shares(result)
    effective = _mean([result.value(f"{metric_names.EFFECTIVE_CLASSES}/{metric_names.LABELS}")], ".2f")
    by_chance = [chance.joint_coherence(result)]
    text = f"{effective}{_most(shares, [] if config.attributes else shown)}"
    return "test examples", "", "", _mean(by_chance), *[text] * len(modalities), ""


def _most(shares: Sequence[float], shown: Sequence[str]) -> str:
    if not shares or not shown:
        return ""
    place = max(range(len(shares)), key=lambda index: shares[index])
    return f"; most: {shown[place]} ({shares[place]:.0%})"


def _mean(values: Sequence[float | None], spelling: str = ".3f") -> str:
    reported = [value for value in values if value is not None]
    return f"{mean(reported):{spelling}}" if reported else MISSING
