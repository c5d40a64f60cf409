"""Finds one completed trial of a storage by its sweep, its seed and fields of its configuration. Does not import torch.

docs/ledger-format.md describes the files of a storage. Code that a record names is never run.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mopoe_core.config.field_types import same_number
from mopoe_core.config.training_config import RECIPE, TrainingConfig, with_defaults
from mopoe_core.errors import CheckpointError
from mopoe_core.family.registry import ALIASES
from mopoe_core.spelling import first_of, nearest
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import DamagedRecord, Identity, MisplacedRecord, Record, parsed
from mopoe_core.training.sweep_membership import RecordedSweep

AT_ONCE = 32
"""Records that are read at the same time. Reading one from an object store takes some ten milliseconds, mostly waiting."""
MOST_SHOWN = 8
"""Values of one field that a message shows at most."""
SELECTING = ("sweep", *TrainingConfig.model_fields, "seed")
"""The names by which a trial can be selected."""


@dataclass(frozen=True)
class Selection:
    """A user's selection of one trial."""

    sweep: str = ""
    seed: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration."""

    @property
    def values(self) -> dict[str, Any]:
        """Seed and fields by name; an alias of a model is replaced by its fields. Raises CheckpointError if there is no such field."""
        for name in self.fields:
            if name not in SELECTING:
                raise CheckpointError(
                    f"{name}: selects no trial{nearest(name, SELECTING)}; what selects is {', '.join(SELECTING)}"
                )
        seed = {} if self.seed is None else {"seed": self.seed}
        return {**self.fields, **ALIASES.get(str(self.fields.get("model")), {}), **seed}


@dataclass(frozen=True)
class StoredTrial:
    """A trial that has begun, read from its record."""

    folder: AnyPath
    cell_id: str
    values: Mapping[str, Any]
    """Every field of its configuration, and its seed."""

    def fits(self, selected: Mapping[str, Any]) -> bool:
        """Whether the trial has all these values."""
        return all(_same(self.values[name], value) for name, value in selected.items())


@dataclass(frozen=True)
class CompletedTrial:
    """A trial with a result."""

    id: str
    checkpoint: AnyPath
    result: Mapping[str, Any]
    """The content of its result.json."""


def find(storage: AnyPath, selection: Selection) -> CompletedTrial:
    """The only trial of the storage that fits the selection.

    Raises CheckpointError if no trial fits or several do, or if the trial has not completed.
    """
    selected = selection.values
    trials, unusable = _begun(storage)
    if selection.sweep:
        sweep = RecordedSweep.read(storage, selection.sweep)
        trials = [trial for trial in trials if sweep.has(trial.folder.name, trial.cell_id, trial.values["seed"])]
    fitting = [trial for trial in trials if trial.fits(selected)]
    if len(fitting) == 1:
        return _completed(fitting[0].folder)
    place = f"{storage}, sweep {selection.sweep}" if selection.sweep else str(storage)
    raise CheckpointError(f"{place}: {_several_fit(fitting, selected) if fitting else _none_fits(trials, selected, unusable)}")


def _begun(storage: AnyPath) -> tuple[list[StoredTrial], int]:
    """The trials that have begun, and the number of records that are damaged or of another recipe."""
    paths = listed(storage, "trials/*/trial.json")
    if not paths:
        raise CheckpointError(f"{storage}: holds no trials; name the storage of a sweep, or a checkpoint.pt")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = [trial for trial in pool.map(_read, paths) if trial is not None]
    return trials, len(paths) - len(trials)


def _read(path: AnyPath) -> StoredTrial | None:
    """The trial of a trial.json; None if this record is damaged or of another recipe."""
    try:
        content = parsed(path.read_text(encoding="utf-8"), Identity("trial", path.parent.name)).content
    except (DamagedRecord, MisplacedRecord, UnicodeDecodeError, FileNotFoundError):
        return None
    config = content.get("config")
    if not isinstance(config, dict) or content.get("recipe") != RECIPE:
        return None
    return StoredTrial(path.parent, str(content.get("cell_id")), with_defaults(config) | {"seed": content.get("seed")})


def _same(stored: Any, selected: Any) -> bool:
    """Whether a stored value equals a selected one. `1`, `1.0` and `"1"` are the same number; tuples are compared as lists."""
    return same_number(stored, list(selected) if isinstance(selected, tuple) else selected)


def _completed(folder: AnyPath) -> CompletedTrial:
    """The completed trial in a folder. Raises CheckpointError if the trial has another status."""
    record = _record(folder, "result")
    status = _status_without_result(folder) if record is None else str(record.content.get("status"))
    if record is None or status != "completed":
        raise CheckpointError(
            f"{folder}: the trial is {status}, and only a completed one has a model to load; choose another, or type "
            "its `mopoe sweep` again (`mopoe status` and `mopoe failures` say more)"
        )
    return CompletedTrial(folder.name, _checkpoint(folder, record.content), record.content)


def _status_without_result(folder: AnyPath) -> str:
    """`failed` or `cancelled` if a record says so and no attempt began after it; else `pending or running`."""
    attempts = [int(path.stem) for path in listed(folder / "attempts", "*.json") if path.stem.isdecimal()]
    latest = max(attempts, default=0)
    for status in ("failed", "cancelled"):
        record = _record(folder, status)
        if record is not None and record.identity.get("attempt", latest) >= latest:
            return status
    return "pending or running"


def _checkpoint(folder: AnyPath, result: Mapping[str, Any]) -> AnyPath:
    """The path of the result's checkpoint: in the attempt's folder until it is moved to the trial's folder, then there."""
    unpublished = folder / str(result["files"]) / "checkpoint.pt" if result.get("files") else None
    if unpublished is not None and unpublished.exists():
        return unpublished
    published = folder / "checkpoint.pt"
    if not published.exists():
        reason = "was deleted by `mopoe gc`" if (folder / "deleted.json").exists() else "is missing"
        raise CheckpointError(f"{published}: {reason}; choose another trial, or train this one again (`mopoe rerun`)")
    return published


def _record(folder: AnyPath, kind: str) -> Record | None:
    """A record of the trial; None if there is none. Raises CheckpointError if the record is damaged or another trial's."""
    path = folder / f"{kind}.json"
    if not path.exists():
        return None
    try:
        return parsed(path.read_text(encoding="utf-8"), Identity(kind, folder.name))
    except (DamagedRecord, MisplacedRecord, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); restore it") from None


def _none_fits(trials: Sequence[StoredTrial], selected: Mapping[str, Any], unusable: int) -> str:
    """A message that no trial fits. It shows the trials' values of the selected fields."""
    condition = f" with {_spelled(selected)}" if selected else ""
    values = f"; there: {_values(trials, list(selected))}" if trials and selected else ""
    unusable_records = f" ({unusable} further trial.json are damaged or of another recipe)" if unusable else ""
    return f"no trial has begun{condition}{values}{unusable_records}"


def _several_fit(trials: Sequence[StoredTrial], selected: Mapping[str, Any]) -> str:
    """A message that several trials fit. It shows the fields in which they differ."""
    differing = [name for name in SELECTING if _differs(name, trials)]
    condition = f"have {_spelled(selected)}" if selected else "are there"
    return f"{len(trials)} trials {condition}; say which one: {_values(trials, differing)}"


def _differs(name: str, trials: Sequence[StoredTrial]) -> bool:
    """Whether some trials of the same model differ in a field. For `model` all trials are compared. Fields that depend only on the model,
    as `estimator` often does, thus do not differ.
    """
    if name == "sweep":
        return False
    values_by_model: dict[Any, list[Any]] = {}
    for trial in trials:
        group = None if name == "model" else trial.values["model"]
        values_by_model.setdefault(group, []).append(trial.values[name])
    return any(value != values[0] for values in values_by_model.values() for value in values)


def _values(trials: Sequence[StoredTrial], names: Sequence[str]) -> str:
    """The trials' values of each field: `beta=0.5, 2.5; seed=0, 1`."""
    return "; ".join(f"{name}={_listed([trial.values[name] for trial in trials])}" for name in names)


def _listed(values: Sequence[Any]) -> str:
    """The different values in order, at most MOST_SHOWN of them."""
    value_of_text = {repr(value): value for value in values}
    is_numeric = all(isinstance(value, int | float) for value in value_of_text.values())
    texts = sorted(value_of_text, key=lambda text: value_of_text[text]) if is_numeric else sorted(value_of_text)
    return first_of(texts, MOST_SHOWN)


def _spelled(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
