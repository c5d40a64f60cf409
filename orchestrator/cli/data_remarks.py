"""Warnings about a user's own datasets, as lines for a terminal."""

from collections.abc import Iterable

from mopoe_core.data.cards import is_own
from orchestrator.spec.sweep_spec import SweepSpec


def of_sweep(spec: SweepSpec) -> list[str]:
    """Returns a line for each unusual thing in each dataset that the sweep file names; none for the published datasets."""
    names = [entry["dataset"] for entry in (spec.base, *spec.include) if "dataset" in entry]
    for section in (spec.grid, spec.zip):
        if section and "dataset" in section:
            names += section["dataset"]
    return of_datasets(names)


def of_datasets(names: Iterable[object]) -> list[str]:
    """Returns a line for each unusual thing in each of these datasets; a dataset that is named twice counts once."""
    lines = []
    for name in dict.fromkeys(names):
        if isinstance(name, str) and is_own(name):
            from mopoe_core.data.own import user_data  # imports numpy and the user's module: only if the sweep names one

            lines += [f"dataset: {name}: {remark.text}" for remark in user_data.remarks_on(name)]
    return lines
