"""Trials and their identity. Pure: no torch, no Ray.

A trial's id is a hash of its parsed configuration with the default values left out, its seed and the recipe. So `1`, `1.0` and
`1e0` are one beta, a new field with a default renames nothing, and a raised recipe makes every trial new.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import RECIPE, TrainingConfig, fields_with
from mopoe_core.family.registry import MODELS

ID_LENGTH = 16  # hexadecimal digits: 64 bits, a collision among a million trials has a probability of 3e-8


def digest(value: Any) -> str:
    """Returns a hash of plain values (dicts, lists, strings, numbers). Raises ValueError for NaN and infinity, which JSON cannot hold."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True)
class Cell:
    """One configuration without its seed: a row of a table, a point of a front."""

    config: TrainingConfig

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits."""
        return digest({"recipe": RECIPE, **self.config.canonical()})

    @property
    def label(self) -> str:
        """Short and readable, for terminals and run names: `mopoe beta=2.5`, and the model's fields that are not defaults. Not unique."""
        labelled = fields_with(Role.LABELLED)
        others = [f"{name}={value}" for name, value in self.config.canonical().items() if name in labelled]
        return " ".join([self.config.model, f"beta={spelled(self.config.beta)}", *others])


@dataclass(frozen=True)
class Trial:
    """A cell and a seed; it has an id and is trained once."""

    cell: Cell
    seed: int

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits."""
        return digest({"recipe": RECIPE, "seed": self.seed, **self.config.canonical()})

    @property
    def config(self) -> TrainingConfig:
        """The cell's configuration."""
        return self.cell.config

    @property
    def label(self) -> str:
        """The cell's label and the seed."""
        return f"{self.cell.label} seed={self.seed}"


def varying_fields(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Returns, for each model, the fields other than beta in which its cells differ."""
    values: dict[str, dict[str, set[Any]]] = {}
    for cell in cells:
        model_values = values.setdefault(cell.config.model, {})
        for field, value in cell.config:
            model_values.setdefault(field, set()).add(value)
    unnamed = ("beta", "data_hash")  # the dataset's name stands for its hash: a sweep has one hash for each dataset
    return {
        model: [field for field, distinct in model_values.items() if len(distinct) > 1 and field not in unnamed]
        for model, model_values in values.items()
    }


def series(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns, by cell id, the cell's line in a figure: its model, and the fields other than beta in which the model's cells differ.

    The cells are in the order of a legend: by model in the order of `MODELS`, which has the paper's models first.
    """
    varying = varying_fields(cells)
    lines = {}
    for cell in sorted(cells, key=lambda cell: MODELS[cell.config.model].place):
        model = cell.config.model
        lines[cell.id] = " ".join([model, *(f"{field}={getattr(cell.config, field)}" for field in varying[model])])
    return lines


def labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns, by cell id, the cell's series and beta. No two cells of a sweep have the same label."""
    lines = series(cells)
    return {cell.id: f"{lines[cell.id]} beta={spelled(cell.config.beta)}" for cell in cells}


def spelled(number: float) -> str:
    """Returns a number as text: short if that is exact, otherwise with all digits. So different betas have different texts."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)
