"""The origin of a report's numbers: warnings about trials that are hard to compare, and the provenance. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.analysis.comparable_groups import trials_text
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.comparison_key import ComparisonKey, MeasuredWith, comparison_key, measured_with
from orchestrator.spec.trial import Cell

SPELLED = {
    "data_hash": "hash of the data",
    "classifiers.hash": "hash of the classifiers",
    "device": "trained on",
    "threads": "threads a trial",
    "cpus": "CPUs of the machine",
}
CLASSIFIERS = {
    "accuracy": "accuracy of the {} classifier",
    "balanced_accuracy": "balanced accuracy of the {} classifier",
    "chance": "chance level of the {} classifier",
    "majority_share": "share of the commonest class among {} test items",
    "p": "p of the {} classifier being no better than chance",
    "not_better_than_chance": "attributes on which the {} classifier is no better than chance",
}
"""The name of each measure of a classifier, with a place for the modality."""


def warnings(results: Sequence[TrialResult], set_aside: Sequence[TrialResult] = ()) -> list[str]:
    """Returns sentences on why some trials of the sweep are hard to compare.

    `set_aside` has the trials that were measured on other data, or by other classifiers, than most trials of their configuration.
    """
    sentences = []
    for origin, hashes in _different_instruments(results):
        sentences.append(f"These trials come from {origin}: {', '.join(hashes)}. Only cells that agree in this are compared.")
    if set_aside:
        sentences.append(
            f"Set aside: {trials_text(set_aside)} measured on other data or by other classifiers than most trials of the same "
            "configuration. To train one again, use `rerun --trial ID`, and then `sweep`."
        )
    commits = {str(result.provenance.get("commit", "unknown")) for result in results}
    if len(commits) > 1:
        sentences.append(f"These trials come from different commits of the code: {', '.join(sorted(commits))}.")
    if any(result.trial.config.scale == "smoke" for result in results):
        sentences.append("Smoke scale: a few steps, to see that everything runs. Its numbers say nothing about the models.")
    if any(str(result.provenance.get("commit", "")).endswith("+changes") for result in results):
        sentences.append("Some trials ran from a checkout with uncommitted changes.")
    return sentences


def _different_instruments(results: Sequence[TrialResult]) -> list[tuple[str, list[str]]]:
    """Returns whether results of one configuration were measured on different data or by different classifiers, and the hashes."""
    instruments: dict[ComparisonKey, set[MeasuredWith]] = {}
    for result in results:
        if result.status == "completed":
            instruments.setdefault(comparison_key(result.trial.config), set()).add(measured_with(result.provenance))
    differences = []
    for origin, field in (("data of different content", "data"), ("different classifiers", "classifiers")):
        differing: set[str] = set()
        for of_configuration in instruments.values():
            hashes = {getattr(measured, field) or "unknown" for measured in of_configuration}
            if len(hashes) > 1:
                differing |= hashes
        if differing:
            differences.append((origin, sorted(differing)))
    return differences


def provenance(cells: Sequence[Cell], results: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """Returns the estimator of each model, and every field of the provenance with the distinct values of the trials."""
    values: dict[str, dict[str, None]] = {}  # of each field an ordered set
    for result in results:
        for field, value in _flat(result.provenance):
            values.setdefault(field, {})[value] = None
    estimators = dict.fromkeys(f"{cell.config.model}: {cell.config.estimator}" for cell in cells)
    return [("estimator", ", ".join(estimators))] + [(_spelled(field), ", ".join(distinct)) for field, distinct in values.items()]


def _spelled(field: str) -> str:
    """Returns the words for a field of the provenance."""
    section, _, rest = field.partition(".")
    measure, _, modality = rest.partition(".")
    if section == "classifiers" and measure in CLASSIFIERS:
        return CLASSIFIERS[measure].format(modality)
    return SPELLED.get(field, field)


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns the values of nested mappings as texts, with the names of their fields joined by dots."""
    flat = []
    for field, value in record.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{field}.")
        else:
            flat.append((f"{prefix}{field}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return flat
