"""Finds one completed trial of a storage by its sweep, its seed and fields of its configuration. It does not import torch.

A storage is read as docs/ledger-format.md describes it. No code that a record names is run.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mopoe_core.config.field_types import same_number, text_or_empty
from mopoe_core.config.training_config import RECIPE, TrainingConfig
from mopoe_core.errors import CheckpointError
from mopoe_core.family.registry import ALIASES, MODELS
from mopoe_core.spelling import first_of, nearest
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import Identity, NotHere, NotWhole, Record, parsed
from mopoe_core.training.sweep_membership import RecordedSweep

AT_ONCE = 32
"""Records that are read at a time. Each takes an object store some ten milliseconds, most of them waiting."""
MOST_SHOWN = 8
"""Values of one field that a message shows."""
SELECTING = ("sweep", *TrainingConfig.model_fields, "seed")
"""The names by which a trial can be selected."""


@dataclass(frozen=True)
class Selection:
    """What a user says of the trial that is meant."""

    sweep: str = ""
    seed: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration."""

    @property
    def values(self) -> dict[str, Any]:
        """Seed and fields by name, with those that an alias of the model stands for. Raises CheckpointError if there is no such field."""
        for name in self.fields:
            if name not in SELECTING:
                raise CheckpointError(
                    f"{name}: selects no trial{nearest(name, SELECTING)}; what selects is {', '.join(SELECTING)}"
                )
        seed = {} if self.seed is None else {"seed": self.seed}
        return {**self.fields, **ALIASES.get(str(self.fields.get("model")), {}), **seed}


@dataclass(frozen=True)
class StoredTrial:
    """A trial that has begun, as its record has it."""

    folder: AnyPath
    cell_id: str
    values: Mapping[str, Any]
    """Every field of its configuration, and its seed."""

    def fits(self, wanted: Mapping[str, Any]) -> bool:
        """Whether it has all these values."""
        return all(_same(self.values[name], value) for name, value in wanted.items())


@dataclass(frozen=True)
class CompletedTrial:
    """A trial with a result."""

    id: str
    checkpoint: AnyPath
    result: Mapping[str, Any]
    """The content of its result.json."""


def find(storage: AnyPath, selection: Selection) -> CompletedTrial:
    """The only trial of the storage that fits the selection.

    Raises CheckpointError if not exactly one fits, or if it has not completed.
    """
    wanted = selection.values
    trials, unusable = _begun(storage)
    if selection.sweep:
        sweep = RecordedSweep.read(storage, selection.sweep)
        trials = [trial for trial in trials if sweep.has(trial.folder.name, trial.cell_id, trial.values["seed"])]
    fitting = [trial for trial in trials if trial.fits(wanted)]
    if len(fitting) == 1:
        return _completed(fitting[0].folder)
    place = f"{storage}, sweep {selection.sweep}" if selection.sweep else str(storage)
    raise CheckpointError(f"{place}: {_several_fit(fitting, wanted) if fitting else _none_fits(trials, wanted, unusable)}")


def _begun(storage: AnyPath) -> tuple[list[StoredTrial], int]:
    """The trials that have begun, and the number of those whose records are damaged or of another recipe."""
    paths = listed(storage, "trials/*/trial.json")
    if not paths:
        raise CheckpointError(f"{storage}: holds no trials; name the storage of a sweep, or a checkpoint.pt")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = [trial for trial in pool.map(_read, paths) if trial is not None]
    return trials, len(paths) - len(trials)


def _read(path: AnyPath) -> StoredTrial | None:
    """The trial of a trial.json; None if the record is damaged or of another recipe."""
    try:
        content = parsed(path.read_text(encoding="utf-8"), Identity("trial", path.parent.name)).content
    except (NotWhole, NotHere, UnicodeDecodeError, FileNotFoundError):
        return None
    config = content.get("config")
    if not isinstance(config, dict) or content.get("recipe") != RECIPE:
        return None
    return StoredTrial(path.parent, str(content.get("cell_id")), _with_defaults(config) | {"seed": content.get("seed")})


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with defaults for the fields that it lacks, as one lacks them that an earlier version stored."""
    defaults = {name: known.default for name, known in TrainingConfig.model_fields.items() if not known.is_required()}
    model = text_or_empty(config.get("model"))
    return defaults | (MODELS[model].defaults if model in MODELS else {}) | dict(config)


def _same(stored: Any, wanted: Any) -> bool:
    """Whether a field of a stored configuration has this value. `1`, `1.0` and `"1"` are one number, a tuple is a list."""
    return same_number(stored, list(wanted) if isinstance(wanted, tuple) else wanted)


def _completed(folder: AnyPath) -> CompletedTrial:
    record = _record(folder, "result")
    status = _status_without_result(folder) if record is None else str(record.content.get("status"))
    if record is None or status != "completed":
        raise CheckpointError(
            f"{folder}: the trial is {status}, and only a completed one has a model to load; choose another, or type "
            "its `mopoe sweep` again (`mopoe status` and `mopoe failures` say more)"
        )
    return CompletedTrial(folder.name, _checkpoint(folder, record.content), record.content)


def _status_without_result(folder: AnyPath) -> str:
    """`failed` or `cancelled` if a note says so and no attempt began after it."""
    last = max((int(path.stem) for path in listed(folder / "attempts", "*.json") if path.stem.isdecimal()), default=0)
    for status in ("failed", "cancelled"):
        note = _record(folder, status)
        if note is not None and note.identity.get("attempt", last) >= last:
            return status
    return "pending or running"


def _checkpoint(folder: AnyPath, result: Mapping[str, Any]) -> AnyPath:
    """Where the result's checkpoint is: in the trial's folder, or still in that of the attempt, if nobody has moved it yet."""
    unpublished = folder / str(result["files"]) / "checkpoint.pt" if result.get("files") else None
    if unpublished is not None and unpublished.exists():
        return unpublished
    if not (folder / "checkpoint.pt").exists():
        why = "was deleted by `mopoe gc`" if (folder / "deleted.json").exists() else "is missing"
        raise CheckpointError(f"{folder / 'checkpoint.pt'}: {why}; choose another trial, or train this one again (`mopoe rerun`)")
    return folder / "checkpoint.pt"


def _record(folder: AnyPath, kind: str) -> Record | None:
    """A record of the trial; None if there is none. Raises CheckpointError if it is damaged or another trial's."""
    path = folder / f"{kind}.json"
    if not path.exists():
        return None
    try:
        return parsed(path.read_text(encoding="utf-8"), Identity(kind, folder.name))
    except (NotWhole, NotHere, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); restore it") from None


def _none_fits(trials: Sequence[StoredTrial], wanted: Mapping[str, Any], unusable: int) -> str:
    """That no trial fits, with what there is of the fields that the user named."""
    there = f"; there: {_values(trials, list(wanted))}" if trials and wanted else ""
    more = f" ({unusable} further trial.json are damaged or of another recipe)" if unusable else ""
    return f"no trial has begun{f' with {_spelled(wanted)}' if wanted else ''}{there}{more}"


def _several_fit(trials: Sequence[StoredTrial], wanted: Mapping[str, Any]) -> str:
    """That several trials fit, with what tells them apart."""
    differing = [name for name in SELECTING if _differs(name, trials)]
    having = f"have {_spelled(wanted)}" if wanted else "are there"
    return f"{len(trials)} trials {having}; say which one: {_values(trials, differing)}"


def _differs(name: str, trials: Sequence[StoredTrial]) -> bool:
    """Whether a field tells some of the trials apart. One that follows from the model, as `estimator` often does, does not."""
    if name == "sweep":
        return False
    groups: dict[Any, list[Any]] = {}
    for trial in trials:
        groups.setdefault(None if name == "model" else trial.values["model"], []).append(trial.values[name])
    return any(value != values[0] for values in groups.values() for value in values)


def _values(trials: Sequence[StoredTrial], names: Sequence[str]) -> str:
    """Which values the trials have, field by field: `beta=0.5, 2.5; seed=0, 1`."""
    return "; ".join(f"{name}={_listed([trial.values[name] for trial in trials])}" for name in names)


def _listed(values: Sequence[Any]) -> str:
    texts = {repr(value): value for value in values}
    numeric = all(isinstance(value, int | float) for value in texts.values())
    shown = sorted(texts, key=lambda text: texts[text]) if numeric else sorted(texts)
    return first_of(shown, MOST_SHOWN)


def _spelled(wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in wanted.items())
