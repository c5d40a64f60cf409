"""Where the numbers of a report come from: warnings about trials that are hard to compare, and the provenance. Pure."""

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
"""The words for each measure of a classifier, with a place for the modality."""


def warnings(results: Sequence[TrialResult], set_aside: Sequence[TrialResult] = ()) -> list[str]:
    """Sentences on what makes trials of one sweep hard to compare.

    `set_aside` has the trials that were measured on other data, or by other classifiers, than most of their configuration.
    """
    sentences = []
    for what, hashes in _different_instruments(results):
        sentences.append(f"These trials come from {what}: {', '.join(hashes)}. Only cells that agree in this are compared.")
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
    """What differs between the measurements of results of one configuration, data or classifiers, and the hashes."""
    instruments: dict[ComparisonKey, set[MeasuredWith]] = {}
    for result in results:
        if result.status == "completed":
            instruments.setdefault(comparison_key(result.trial.config), set()).add(measured_with(result.provenance))
    differences = []
    for what, field in (("data of different content", "data"), ("different classifiers", "classifiers")):
        hashes = {
            frozenset(getattr(one, field) or "unknown" for one in of_configuration) for of_configuration in instruments.values()
        }
        several = sorted({one for group in hashes if len(group) > 1 for one in group})
        if several:
            differences.append((what, several))
    return differences


def provenance(cells: Sequence[Cell], results: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """The estimator of each model, and every field of the provenance with the distinct values of the trials."""
    values: dict[str, dict[str, None]] = {}
    for result in results:
        for field, value in _flat(result.provenance):
            values.setdefault(field, {})[value] = None
    kinds = dict.fromkeys(f"{cell.config.model}: {cell.config.estimator}" for cell in cells)
    return [("estimator", ", ".join(kinds))] + [(_spelled(field), ", ".join(found)) for field, found in values.items()]


def _spelled(field: str) -> str:
    of, _, rest = field.partition(".")
    measure, _, modality = rest.partition(".")
    if of == "classifiers" and measure in CLASSIFIERS:
        return CLASSIFIERS[measure].format(modality)
    return SPELLED.get(field, field)


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat = []
    for field, value in record.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{field}.")
        else:
            flat.append((f"{prefix}{field}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return flat
