"""Reads a sweep file and returns a checked sweep. `yaml_reader` reads the YAML and knows the line of each value."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.own.user_code import permit
from mopoe_core.errors import DataError
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec import mistakes, search_space, yaml_reader
from orchestrator.spec.expansion import MOST_TRIALS
from orchestrator.spec.field_checks import field_mistakes, own_datasets, unknown_metric
from orchestrator.spec.fields import FIELDS
from orchestrator.spec.mistakes import kind
from orchestrator.spec.rescaling import check_scale, rescaled
from orchestrator.spec.search_block import MEASURED_BESIDE, Search
from orchestrator.spec.sections import DEFAULT_OBJECTIVES, Objective, Replicates, Resources
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell
from orchestrator.spec.yaml_reader import Document

PLACES = {
    **{field: f"search.{field}" for field in Search.model_fields},
    **{field: f"resources.{field}" for field in Resources.model_fields},
    **{field: f"objectives[0].{field}" for field in Objective.model_fields},
    **{field: f"base.{field}" for field in FIELDS},
    **{field: f"the top level, as {field}" for field in SweepSpec.model_fields},
}
"""Where each field of a sweep file belongs."""


def load(path: Path, scale: str | None = None, with_metrics: bool = True) -> SweepSpec:
    """Returns the sweep that a YAML file describes, fully checked. `scale` replaces the sizes in the file.

    Without `with_metrics`, the file's objectives and constraints are replaced by defaults. So a user whose file names a wrong metric can
    still list the metrics.

    Raises SpecError with one line for each mistake: the file, the line, the field, the value found and what is allowed.
    """
    if scale is not None:
        check_scale(scale)
    document = yaml_reader.read(path)
    try:
        raw = document.value
        permit(own_datasets(raw) if isinstance(raw, dict) else ())  # the user chose the file, and with it the code that it names
        scaled = raw if scale is None else rescaled(raw, scale)
        spec = parse(scaled if with_metrics else _without_metrics(scaled))
    except SpecError as error:
        raise document.pointed(error.mistakes) from None
    except DataError as error:  # raised by one of the user's own datasets
        raise DataError(f"{document.file}:{_line_of_data(document, str(error))}: {error}") from None
    if document.mistakes:
        raise document.pointed(())
    return spec.read_from(document)


def _without_metrics(raw: Any) -> Any:
    """Returns a raw sweep with default objectives and without constraints. A search keeps its number of objectives."""
    if not isinstance(raw, dict):
        return raw
    search, objectives = raw.get("search"), raw.get("objectives")
    count = len(objectives) if isinstance(search, dict) and isinstance(objectives, list) else len(DEFAULT_OBJECTIVES)
    defaults = [objective.model_dump() | {"reference": 0.0} for objective in DEFAULT_OBJECTIVES][: max(1, count)]
    replaced = raw | {"objectives": defaults}
    if isinstance(search, dict):
        replaced["search"] = {key: value for key, value in search.items() if key != "constraints"}
    return replaced


def _line_of_data(document: Document, message: str) -> int:
    """Returns the line of the dataset that a message is about; 1 if none is in the message."""
    for at, value in yaml_reader.values(document.value):
        name = str(value)
        if "dataset" in at and is_own(name) and name.rpartition(":")[0] in message:
            return document.lines[at]
    return 1


def parse(raw: Any, code_of: frozenset[str] | None = None) -> SweepSpec:
    """Returns the sweep that a value from YAML or JSON describes, fully checked. Raises SpecError with every mistake.

    `code_of` has the user's own datasets whose code may run; None allows all. Cells on the other own datasets are left out.
    """
    if not isinstance(raw, dict):
        raise SpecError(f"a sweep is a mapping with a name, not {kind(raw)}; see sweeps/quickstart.yaml")
    own = own_datasets(raw)
    spec = _validated(raw).with_own_datasets(own, left_out=frozenset() if code_of is None else own - code_of)
    _check_objectives(spec, spec.cells if spec.search is None else _example_cells(spec, spec.search))
    return spec


def _validated(raw: dict[str, Any]) -> SweepSpec:
    """Returns the sweep before its cells are built. Raises SpecError with the mistakes of all sections and all fields at once."""
    spec: SweepSpec | None = None
    refused: list[Mistake] = []
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        refused += mistakes.mistakes(error, SweepSpec, PLACES)
    refused += field_mistakes(raw, PLACES)
    if spec is None or refused:
        raise SpecError(*dict.fromkeys(refused))
    return spec


def _example_cells(spec: SweepSpec, search: Search) -> list[Cell]:
    """Returns up to two cells at corners of a search's space. Raises SpecError if the search is not valid."""
    most_seeds = spec.seeds.max if isinstance(spec.seeds, Replicates) else len(spec.seed_list)
    if search.cells * most_seeds > MOST_TRIALS:
        raise SpecError(
            f"search.cells: {search.cells} with {most_seeds} seeds are more than {MOST_TRIALS} trials; lower one of them"
        )
    if spec.left_out:
        return []
    corners = search_space.check(search, spec.base, len(spec.objectives)).corners()
    cells = [Cell(TrainingConfig.model_validate(spec.base | corner)) for corner in islice(corners, 2)]
    _check_constraints(search, cells[0])
    return cells


def _check_constraints(search: Search, cell: Cell) -> None:
    measured = [*cell.config.metrics, *MEASURED_BESIDE]
    for index, constraint in enumerate(search.constraints):
        _check_offered(f"search.constraints[{index}].metric", constraint.metric, measured)


def offered_metrics(spec: SweepSpec) -> dict[DataKey, list[str]]:
    """Returns, for each of a sweep's datasets, the metrics that its trials report. Each of them can be an objective."""
    return _offered_by(spec.cells if spec.search is None else _example_cells(spec, spec.search))


def example_configs(spec: SweepSpec) -> list[TrainingConfig]:
    """Returns the configurations of a sweep's cells. A search without cells has those of two corners of its space."""
    cells = _example_cells(spec, spec.search) if spec.search and not spec.cells else spec.cells
    return [cell.config for cell in cells]


def _offered_by(cells: Sequence[Cell]) -> dict[DataKey, list[str]]:
    configs = {cell.config.data_key: cell.config for cell in cells}
    return {key: config.metrics for key, config in configs.items()}


def check_metrics(named: Sequence[tuple[str, str]], offered: Mapping[DataKey, Sequence[str]]) -> None:
    """Raise SpecError if a dataset lacks a metric. `named` has the metrics, each after its place as errors name it."""
    for key, metrics in offered.items():
        suffix = f"; of {key.dataset}" if len(offered) > 1 else ""
        for place, metric in named:
            _check_offered(place, metric, metrics, suffix)


def _check_objectives(spec: SweepSpec, cells: Sequence[Cell]) -> None:
    named = [(f"objectives[{index}].metric", objective.metric) for index, objective in enumerate(spec.objectives)]
    check_metrics(named, _offered_by(cells))
    names = [objective.metric for objective in spec.objectives]
    if len(set(names)) < len(names):
        raise SpecError(f"objectives: a metric is named twice ({', '.join(names)})")


def _check_offered(place: str, metric: str, offered: Sequence[str], suffix: str = "") -> None:
    if metric not in offered:
        raise SpecError(f"{unknown_metric(place, metric, offered)}{suffix}")
