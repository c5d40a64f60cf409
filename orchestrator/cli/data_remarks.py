"""Warnings about datasets of the user's own that a sweep names, as lines for a terminal."""

from collections.abc import Iterable

from mopoe_core.data.cards import is_own
from orchestrator.spec.sweep_spec import SweepSpec


def of_sweep(spec: SweepSpec) -> list[str]:
    """A line for each oddity of each dataset that the sweep's file names; none for the published datasets."""
    lists = [section["dataset"] for section in (spec.grid, spec.zip) if section and "dataset" in section]
    single = [entry["dataset"] for entry in (spec.base, *spec.include) if "dataset" in entry]
    return of_datasets([*single, *(name for names in lists for name in names)])


def of_datasets(names: Iterable[object]) -> list[str]:
    """As `of_sweep`, of these datasets, each once."""
    lines = []
    for name in dict.fromkeys(names):
        if isinstance(name, str) and is_own(name):
            from mopoe_core.data.own import user_data  # numpy, and the user's module: only where one is named

            lines += [f"dataset: {name}: {remark.text}" for remark in user_data.odd(name)]
    return lines
