"""Writes the causes of failures as lines for a terminal. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from orchestrator.analysis.failure_causes import FailureGroup
from orchestrator.spec.trial import Trial

MOST_NAMED = 5
"""The most trials of a group that are named; the others are counted."""


def failure_lines(groups: Sequence[FailureGroup], names: Mapping[str, str], here: Callable[[Trial], str]) -> Iterator[str]:
    """Yields the groups as lines for a terminal. `names` has each cell's label, by its id; `here` returns the command for one trial."""
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


def in_common(group: FailureGroup) -> str:
    """Returns the values that the trials of a group share, as a clause without its full stop."""
    if not group.others:
        return "no other trial has run to compare with"
    if not group.shared:
        return f"they share nothing that not all of the {group.others} others that ran have"
    values = ", ".join(f"{shared.field}={shared.value} ({shared.others})" for shared in group.shared)
    subject = "it has" if len(group.trials) == 1 else "they share"
    return f"{subject} {values}; in brackets how many of the {group.others} others that ran have it too"
