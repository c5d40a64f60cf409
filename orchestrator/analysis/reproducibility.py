"""Compares the numbers of a trial that was trained twice. Pure.

Each trial has its own random streams. So two trainings agree to the last bit if they add numbers in the same order. Another processor,
number of threads, library or stack adds float32 numbers in another order, and training makes the differences in the last digit grow.
Then `TOLERANCE` applies.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.ledger.result import TrialResult

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3
"""The largest relative difference of a number that another order of additions explains. A metric may also differ by its Monte-Carlo
error, because a share of n examples moves in steps of 1/n."""
WEIGHTS_TOLERANCE = 1.0
"""The largest relative distance of two models, in their worst tensor, that another order of additions explains.

Measured with MoPoE and small networks on embedded MNIST-SVHN-Text: a trial alone and the same trial in a stack of three are 2e-8 apart
after 10 steps, 0.16 after 200 and 0.39 after 800. After 800 steps, their losses differ by 2e-4. Two seeds are 1.5 to 1.7 apart at each of
these steps."""
EXCUSES = (
    ("device",),
    ("processor",),
    ("threads",),
    ("packages", "torch"),
    ("packages", "numpy"),
    ("packages", "scikit-learn"),
    ("stack", "trials"),
)
"""Fields of the provenance that change the order of additions."""
SUSPECTS = (("commit",), ("data_hash",), ("classifiers", "hash"))
"""Fields of the provenance that change results. The verdict names a difference in them, but does not accept it as an explanation."""


@dataclass(frozen=True)
class Number:
    """A number of a result, and its Monte-Carlo error."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison."""

    holds: bool
    """Whether the trial is reproduced."""
    explanation: str
    """The outcome in words."""


def compare(recorded: TrialResult, repeated: TrialResult, weights: float | None) -> Verdict:
    """Returns the verdict on a trial that was trained again.

    `weights` is the `distance` of the two models; None if the recorded model is gone.
    """
    if recorded.status != repeated.status:
        return Verdict(False, f"parts: was {recorded.status}, is {repeated.status} at step {repeated.diverged_at_step}")
    was, now = _numbers(recorded), _numbers(repeated)
    differing = [name for name in {**was, **now} if name not in was or name not in now or not _same(was[name], now[name])]
    suffix = "; its checkpoint is gone, so that weights were not compared" if weights is None else ""
    if not differing and not weights:
        compared = f"{len(recorded.history)} epochs, {len(recorded.metrics)} metrics"
        return Verdict(True, f"bit-equal in {compared}{' and all weights' if weights is not None else suffix}")
    excuses = _differences(recorded.provenance, repeated.provenance, EXCUSES)
    changes = _changes(recorded, repeated, excuses)
    unexplained = [name for name in differing if not (excuses and _close(was.get(name), now.get(name)))]
    if unexplained:
        return Verdict(False, f"parts at {_both(unexplained[0], was, now)}{changes}")
    if not excuses or (weights is not None and weights > WEIGHTS_TOLERANCE):
        allowed = f", more than {WEIGHTS_TOLERANCE:g}" if excuses else ""
        alone = "" if differing else " alone"
        return Verdict(False, f"parts in weights{alone}: relative distance {weights:.2g}{allowed}{changes}")
    apart = "" if weights is None else f", weights {weights:.2g} apart"
    allowed = f"{TOLERANCE:g}, and {WEIGHTS_TOLERANCE:g} for weights" if apart else f"{TOLERANCE:g}"
    return Verdict(
        True, f"within tolerance ({_largest(differing, was, now)}{apart}), which is {allowed}, because {excuses}{suffix}"
    )


def distance(was: Mapping[str, "Tensor"], now: Mapping[str, "Tensor"]) -> float:
    """Returns the largest relative distance |a - b| / |a| over the tensors of two models; infinite if their tensors differ in shape."""
    if {name: x.shape for name, x in was.items()} != {name: x.shape for name, x in now.items()}:
        return math.inf
    return max((_distance(x.double(), now[name].double()) for name, x in was.items()), default=0.0)


def _distance(a: "Tensor", b: "Tensor") -> float:
    difference = float((a - b).norm())
    return difference / (float(a.norm()) or 1.0) if difference else 0.0


def _numbers(result: TrialResult) -> dict[str, Number]:
    """Returns all numbers of a result but the measured times, in the order in which training and evaluation compute them."""
    epochs = {
        f"epoch {epoch.epoch}, {name}": Number(value)
        for epoch in result.history
        for name, value in epoch.values.items()
        if name != "train/seconds"
    }
    return epochs | {metric.name: Number(metric.value, metric.mc_error) for metric in result.metrics}


def _same(was: Number, now: Number) -> bool:
    pairs = ((was.value, now.value), (was.error, now.error))
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def _relative(was: Number, now: Number) -> float:
    return abs(was.value - now.value) / max(abs(was.value), abs(now.value), 1e-300)


def _close(was: Number | None, now: Number | None) -> bool:
    if was is None or now is None:
        return False
    return _relative(was, now) <= TOLERANCE or abs(was.value - now.value) <= was.error


def _both(name: str, was: Mapping[str, Number], now: Mapping[str, Number]) -> str:
    """Returns a number in words, with its recorded and its new value."""
    if name not in was or name not in now:
        return f"{name}, which was {'not recorded' if name not in was else 'recorded'} and is {'found' if name in now else 'not found'}"
    if was[name].value == now[name].value:
        return f"the Monte-Carlo error of {name}: recorded {was[name].error!r}, found {now[name].error!r}"
    difference = f"relative difference {_relative(was[name], now[name]):.2g}"
    return f"{name}: recorded {was[name].value!r}, found {now[name].value!r} ({difference})"


def _largest(differing: Sequence[str], was: Mapping[str, Number], now: Mapping[str, Number]) -> str:
    if not differing:
        return "weights differ, no number does"
    name = max(differing, key=lambda name: _relative(was[name], now[name]))
    return f"largest relative difference {_relative(was[name], now[name]):.2g} in {name}"


def _changes(recorded: TrialResult, repeated: TrialResult, excuses: str) -> str:
    """Returns the changes in the provenance, as the end of a sentence."""
    changes = [text for text in (excuses, _differences(recorded.provenance, repeated.provenance, SUSPECTS)) if text]
    return f"; {'; '.join(changes)}" if changes else "; nothing that the provenance knows has changed"


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], fields: Sequence[tuple[str, ...]]) -> str:
    """Returns the fields of a provenance that differ, with both values; empty if none differs."""
    pairs = [(field, _at(was, field), _at(now, field)) for field in fields]
    return ", ".join(f"{' '.join(field)} was {a} and is {b}" for field, a, b in pairs if a != b)


def _at(record: Mapping[str, Any], field: Sequence[str]) -> Any:
    value: Any = record
    for key in field:
        value = value.get(key, "unknown") if isinstance(value, Mapping) else "unknown"
    return value
