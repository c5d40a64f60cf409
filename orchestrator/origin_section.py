"""Where the numbers of a report come from: what makes trials hard to compare, and every field of their provenance. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.trial import Cell, TrialResult

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
"""Measures of a classifier in words, with a place for the modality."""


def warnings(results: Sequence[TrialResult]) -> list[str]:
    """What makes trials of one table hard to compare."""
    said = []
    for field, what in (("data_hash", "data of different content"), ("commit", "different commits of the code")):
        found = {str(result.provenance.get(field, "unknown")) for result in results}
        if len(found) > 1:
            said.append(f"These trials come from {what}: {', '.join(sorted(found))}.")
    if any(result.trial.config.scale == "smoke" for result in results):
        said.append("Smoke scale: a few steps, to see that everything runs. Its numbers say nothing of the models.")
    if any(str(result.provenance.get("commit", "")).endswith("+changes") for result in results):
        said.append("Some trials ran from a checkout with uncommitted changes.")
    return said


def provenance(cells: Sequence[Cell], results: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """How each model's expectation over subsets is estimated, and every field of the provenance with the distinct values that the
    trials have.
    """
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
