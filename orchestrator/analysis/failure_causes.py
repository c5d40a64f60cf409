"""Why trials of a sweep failed: grouped by cause, with what those of a group have in common and the others do not. Pure but for reading
the ledger.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.ledger.failure import Failure
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import ENDED
from orchestrator.ledger.state import State
from orchestrator.spec.trial import Trial

MOST_NAMED = 5
"""Trials of a group that are named; the others are counted."""
RAN = (*ENDED, "failed")
"""Statuses of trials that say something of a failure by being alike or not."""
DIVERGED = "diverged: a loss, a weight or a metric is not finite"


@dataclass(frozen=True)
class Shared:
    """A value that all trials of a group have, and not all others that ran."""

    field: str
    value: Any
    others: int
    """How many others have it."""


@dataclass(frozen=True)
class Group:
    """Trials that ended in one way."""

    cause: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]
    """What there is to say of each trial beside its name: where it diverged."""
    shared: tuple[Shared, ...]
    """Most telling first."""
    others: int
    """Trials that ran, and are not of this group."""
    traceback: str
    """Of the first of them; empty where there is none."""


def find(every: Sequence[Trial], states: Mapping[str, State], ledger: Ledger) -> list[Group]:
    """The failed trials by cause, the largest group first, then the diverged ones. `states` has each trial's by its id."""
    ran = [trial for trial in every if states[trial.id].status in RAN]
    failed = [trial for trial in ran if states[trial.id].status == "failed"]
    diverged = [trial for trial in ran if states[trial.id].status == "diverged"]
    if not failed and not diverged:
        return []
    failures = dict(zip(failed, ledger.each(ledger.failure, failed), strict=True))
    facts = dict(zip(ran, ledger.each(lambda trial: _facts(trial, ledger), ran), strict=True))
    causes: dict[str, list[Trial]] = {}
    for trial, failure in failures.items():
        causes.setdefault(failure.cause, []).append(trial)
    counts = _counted(facts.values())
    groups = [_group(cause, trials, facts, counts, failures[trials[0]]) for cause, trials in causes.items()]
    groups.sort(key=lambda group: -len(group.trials))
    steps = ledger.each(lambda trial: _where_diverged(trial, ledger), diverged)
    return [*groups, *([_group(DIVERGED, diverged, facts, counts, None, steps)] if diverged else [])]


def _counted(facts: Iterable[Mapping[str, Any]]) -> dict[str, Counter[Any]]:
    """How many of the trials have each value, by field: counted once, as there may be as many causes as failed trials."""
    counts: dict[str, Counter[Any]] = {}
    for fact in facts:
        for field, value in fact.items():
            counts.setdefault(field, Counter())[value] += 1
    return counts


def _group(
    cause: str,
    trials: Sequence[Trial],
    facts: Mapping[Trial, dict[str, Any]],
    counts: Mapping[str, Counter[Any]],
    failure: Failure | None,
    notes: Sequence[str] = (),
) -> Group:
    shared, others = _shared([facts[trial] for trial in trials], counts, len(facts)), len(facts) - len(trials)
    traceback = failure.traceback.strip() if failure else ""
    return Group(cause, tuple(trials), tuple(notes) or ("",) * len(trials), shared, others, traceback)


def _shared(these: Sequence[Mapping[str, Any]], counts: Mapping[str, Counter[Any]], ran: int) -> tuple[Shared, ...]:
    """What the fewest others have comes first; of equals, in the order of the configuration."""
    found = []
    for field, value in these[0].items():
        if counts[field][value] < ran and all(fact[field] == value for fact in these):
            found.append(Shared(field, value, counts[field][value] - len(these)))
    return tuple(sorted(found, key=lambda shared: shared.others))


def _facts(trial: Trial, ledger: Ledger) -> dict[str, Any]:
    """What could be behind a failure: the configuration, the seed, and where the last attempt ran."""
    config = {field: value for field, value in trial.config if field != "data_hash"}
    return {"model": trial.config.model} | config | {"seed": trial.seed, "host": ledger.host(trial)}


def _where_diverged(trial: Trial, ledger: Ledger) -> str:
    result = ledger.result(trial)
    step = None if result is None else result.diverged_at_step
    return f"at step {step} of {trial.config.epochs * trial.config.steps_per_epoch}"


def told(groups: Sequence[Group], names: Mapping[str, str], here: Callable[[Trial], str]) -> Iterator[str]:
    """The groups as lines. `names` gives each cell's label by its id, `here` the command that trains a trial alone."""
    for number, group in enumerate(groups, 1):
        count = len(group.trials)
        yield f"\n{number}. {group.cause}: {count} trial{'' if count == 1 else 's'}"
        for trial, note in list(zip(group.trials, group.notes, strict=True))[:MOST_NAMED]:
            yield f"     {trial.id}  {names[trial.cell.id]} seed={trial.seed}  {note}".rstrip()
        if count > MOST_NAMED:
            yield f"     and {count - MOST_NAMED} more"
        yield f"   {in_common(group)}"
        if group.traceback:
            yield f"   the traceback of {group.trials[0].id}:\n"
            yield from (f"     {line}" for line in group.traceback.splitlines())
            yield ""
        yield f"   to see it here, alone:  {here(group.trials[0])}"


def in_common(group: Group) -> str:
    """What the trials of a group share, as a clause without its full stop."""
    if not group.others:
        return "no other trial has run to compare with"
    if not group.shared:
        return f"they share nothing that not all of the {group.others} others that ran have"
    said = ", ".join(f"{shared.field}={shared.value} ({shared.others})" for shared in group.shared)
    verb = "has" if len(group.trials) == 1 else "share"
    subject = "it" if len(group.trials) == 1 else "they"
    return f"{subject} {verb} {said}; in brackets how many of the {group.others} others that ran have it too"
