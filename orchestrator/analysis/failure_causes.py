"""Groups a sweep's failed trials by cause, and finds the values that a group's trials share and the other trials do not.

Reads the ledger and writes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.ledger.failure import Failure
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import ENDED, TrialResult
from orchestrator.ledger.state import State
from orchestrator.spec.trial import Trial

RAN = (*ENDED, "failed")
"""Statuses of the trials that failed trials are compared with."""
DIVERGED = "diverged: a loss, a weight or a metric is not finite"


@dataclass(frozen=True)
class Shared:
    """A value that all trials of a group have, and that some other trials that ran do not have."""

    field: str
    value: Any
    others: int
    """How many other trials have it."""


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed for the same cause, or that diverged."""

    cause: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]
    """A note on each trial: where it diverged, or empty."""
    shared: tuple[Shared, ...]
    """The value that the fewest others have comes first."""
    others: int
    """Trials that ran and are not in this group."""
    traceback: str
    """The traceback of the first trial; empty if there is none."""


def find(
    trials: Sequence[Trial],
    states: Mapping[str, State],
    ledger: Ledger,
    result_of: Callable[[Trial], TrialResult | None] | None = None,
) -> list[FailureGroup]:
    """Returns the failed trials by cause, the largest group first, then the diverged trials.

    `states` has each trial's state, by its id. `result_of` returns a trial's result; by default it is read from the ledger.
    """
    ran = [trial for trial in trials if states[trial.id].status in RAN]
    failed = [trial for trial in ran if states[trial.id].status == "failed"]
    diverged = [trial for trial in ran if states[trial.id].status == "diverged"]
    if not failed and not diverged:
        return []
    failures = dict(zip(failed, ledger.each(ledger.failure, failed), strict=True))
    facts = dict(zip(ran, ledger.each(lambda trial: _facts(trial, ledger), ran), strict=True))
    by_cause: dict[str, list[Trial]] = {}
    for trial, failure in failures.items():
        by_cause.setdefault(failure.cause, []).append(trial)
    counts = _counted(facts.values())
    groups = [_group(cause, of_cause, facts, counts, failures[of_cause[0]]) for cause, of_cause in by_cause.items()]
    groups.sort(key=lambda group: -len(group.trials))
    if diverged:
        notes = ledger.each(lambda trial: _where_diverged(trial, (result_of or ledger.result)(trial)), diverged)
        groups.append(_group(DIVERGED, diverged, facts, counts, None, notes))
    return groups


def _counted(facts: Iterable[Mapping[str, Any]]) -> dict[str, Counter[Any]]:
    """Returns, by field, how many trials have each value. Counted once, because there may be as many causes as failed trials."""
    counts: dict[str, Counter[Any]] = {}
    for of_trial in facts:
        for field, value in of_trial.items():
            counts.setdefault(field, Counter())[value] += 1
    return counts


def _group(
    cause: str,
    trials: Sequence[Trial],
    facts: Mapping[Trial, dict[str, Any]],
    counts: Mapping[str, Counter[Any]],
    failure: Failure | None,
    notes: Sequence[str] = (),
) -> FailureGroup:
    return FailureGroup(
        cause=cause,
        trials=tuple(trials),
        notes=tuple(notes) or ("",) * len(trials),
        shared=_shared([facts[trial] for trial in trials], counts, len(facts)),
        others=len(facts) - len(trials),
        traceback=failure.traceback.strip() if failure else "",
    )


def _shared(group_facts: Sequence[Mapping[str, Any]], counts: Mapping[str, Counter[Any]], ran: int) -> tuple[Shared, ...]:
    """Returns the values that the group's trials share and not all of the `ran` trials have.

    The value that the fewest other trials have comes first. Ties keep the configuration's order.
    """
    shared_values = []
    for field, value in group_facts[0].items():
        if counts[field][value] < ran and all(facts[field] == value for facts in group_facts):
            shared_values.append(Shared(field, value, counts[field][value] - len(group_facts)))
    return tuple(sorted(shared_values, key=lambda shared: shared.others))


def _facts(trial: Trial, ledger: Ledger) -> dict[str, Any]:
    """Returns the values that could explain a failure: the configuration, the seed, and the host of the last attempt."""
    config = {field: value for field, value in trial.config if field != "data_hash"}
    return {"model": trial.config.model} | config | {"seed": trial.seed, "host": ledger.host(trial)}


def _where_diverged(trial: Trial, result: TrialResult | None) -> str:
    step = None if result is None else result.diverged_at_step
    return f"at step {step} of {trial.config.epochs * trial.config.steps_per_epoch}"
