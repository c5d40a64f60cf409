"""What has to be equal before two numbers may be compared. Pure.

Two cells may be compared if their metrics mean the same: they are evaluated on the same data and in the same way. How a model was trained
does not matter for that: its size, its objective and its epochs are what a sweep compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from orchestrator.errors import SpecError

MEANING = fields_with(Role.MEANING)
"""Fields of a configuration that decide what its metrics mean. `likelihood` is one, because log p(X) in nats is then that of another
density or probability. `scale` is one, because it stands for the size of the whole experiment."""
NOT_SEARCHED = (*MEANING, "preset")
"""Fields that no search may vary. A preset sets some of `MEANING`."""
SHORTEST_HASH = 8


@dataclass(frozen=True)
class MeasuredWith:
    """The data and the classifiers that results were measured with, from their provenance; empty if it does not say."""

    data: str = ""
    """Hash of the data."""
    classifiers: str = ""
    """Hash of the classifiers, which judge coherence."""

    def as_provenance(self) -> dict[str, Any]:
        """The part of a result's provenance from which `measured_with` reads the same again."""
        return {"data_hash": self.data, "classifiers": {"hash": self.classifiers}}


@dataclass(frozen=True)
class ComparisonKey:
    """What the metrics of a cell mean. Cells with equal keys may be compared; others may not."""

    values: tuple[Any, ...]
    """The values of the fields of `MEANING`, in that order."""
    measured: MeasuredWith = MeasuredWith()
    """What the cell's results were measured with. The configuration names a dataset; it does not hold its content."""

    def __getitem__(self, field: str) -> Any:
        return self.values[MEANING.index(field)]


def comparison_key(config: TrainingConfig, measured: MeasuredWith | None = None) -> ComparisonKey:
    """The key of a cell."""
    return ComparisonKey(tuple(getattr(config, field) for field in MEANING), measured or MeasuredWith())


def measured_with(provenance: Mapping[str, Any]) -> MeasuredWith:
    """What a result with this provenance was measured with."""
    classifiers = provenance.get("classifiers")
    judged_by = classifiers.get("hash", "") if isinstance(classifiers, Mapping) else ""
    return MeasuredWith(str(provenance.get("data_hash", "")), str(judged_by))


def key_labels(keys: Sequence[ComparisonKey]) -> dict[ComparisonKey, str]:
    """A label for each key, with what tells it from the others and nothing that all share. Empty for a single key."""
    distinct = list(dict.fromkeys(keys))
    fields = [field for field in MEANING if len({key[field] for key in distinct}) > 1]
    if len({key["dataset"] for key in distinct}) == len({(key["dataset"], key["data_hash"]) for key in distinct}):
        fields = [field for field in fields if field != "data_hash"]  # the dataset's name tells as much
    alike: dict[tuple[Any, ...], list[ComparisonKey]] = {}
    for key in distinct:
        alike.setdefault(key.values, []).append(key)
    return {
        key: ", ".join([*(_spelled(field, key[field]) for field in fields), *measured_words(key, alike[key.values])])
        for key in distinct
    }


def measured_words(key: ComparisonKey, keys: Sequence[ComparisonKey]) -> list[str]:
    """What a key was measured with, if keys with the same fields differ in that."""
    alike = [other.measured for other in keys if other.values == key.values]
    words = []
    for name in ("data", "classifiers"):
        hashes = {getattr(other, name) for other in alike}
        if len(hashes) > 1:
            words.append(f"{name} {_short(getattr(key.measured, name), hashes) or 'unknown'}")
    return words


def check_searched(place: str, field: str) -> None:
    """Raise SpecError if a search over this field would compare cells that cannot be compared."""
    if field in NOT_SEARCHED:
        raise SpecError(
            f"{place}: decides what is measured, so that cells cannot be compared; fix it in base, or write a grid, which has a front "
            "for each group of cells that can"
        )


def _spelled(field: str, value: Any) -> str:
    if field == "dataset":
        return str(value)
    if field == "source":
        return f"{value} data"
    if field == "scale":
        return f"{value} scale" if value else "own sizes"
    return f"{field}={'all' if value is None else value}"


def _short(digest: str, among: set[str]) -> str:
    """As many characters of a hash as tell it from the others."""
    lengths = range(SHORTEST_HASH, max(map(len, among)) + 1)
    return next((digest[:length] for length in lengths if len({other[:length] for other in among}) == len(among)), digest)
