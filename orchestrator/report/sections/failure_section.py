"""Lists the trials that did not complete, by cause, with the command that reproduces one. Pure.

Cells that a search stopped have a separate list.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis.failure_causes import FailureGroup
from orchestrator.report.render.failure_lines import in_common
from orchestrator.search.outcomes import ProposedCell
from orchestrator.spec.sweep_spec import SweepSpec

SWEEP_OPTIONS = ("--scale", "--storage")
"""Options that identify the sweep."""


@dataclass(frozen=True)
class Block:
    """Trials that failed for the same cause, or that diverged."""

    cause: str
    trials: tuple[tuple[str, str, str], ...]
    """For each trial its id, its label and the step at which it diverged."""
    shared: str
    traceback: str
    """The traceback of the first trial; empty if there is none."""
    command: str
    """The command that trains the first trial alone, in the foreground; empty if the sweep's file is not known."""


@dataclass(frozen=True)
class NotCompleted:
    """The contents of the section."""

    blocks: tuple[Block, ...]
    others: tuple[tuple[str, str], ...]
    """Label and status of trials that are in no block and were not stopped."""
    stopped: tuple[tuple[str, str], ...]
    """The label of each cell that the search stopped, and when and why."""


def not_completed(
    spec: SweepSpec, states: Mapping[str, str], groups: Sequence[FailureGroup], proposed: Sequence[ProposedCell], command: str
) -> NotCompleted:
    """Returns the contents of the section. `states` has each trial's status, by its id; `command` is the command that the user typed."""
    names, trials = spec.labels, {trial.id: trial for trial in spec.trials}
    stopped = {
        proposal.cell.id: f"at epoch {proposal.stopped.epoch}; {proposal.stopped.why}"
        for proposal in proposed
        if proposal.stopped
    }
    grouped = {trial.id for group in groups for trial in group.trials}
    others = []
    for trial_id, status in states.items():
        if status == "completed" or trial_id in grouped:
            continue
        trial = trials[trial_id]
        if not (status == "cancelled" and trial.cell.id in stopped):
            others.append((f"{names[trial.cell.id]} seed={trial.seed}", status))
    blocks = tuple(_block(group, names, command) for group in groups)
    return NotCompleted(blocks, tuple(others), tuple((names[cell_id], why) for cell_id, why in stopped.items()))


def _block(group: FailureGroup, names: Mapping[str, str], command: str) -> Block:
    listed = tuple(
        (trial.id, f"{names[trial.cell.id]} seed={trial.seed}", note)
        for trial, note in zip(group.trials, group.notes, strict=True)
    )
    return Block(group.cause, listed, f"{in_common(group)}.", group.traceback, rerun_command(command, group.trials[0].id))


def rerun_command(command: str, trial_id: str) -> str:
    """Returns the command that trains one trial of the same sweep; empty if `command` names no sweep file.

    `mopoe sweep x.yaml --scale small` gives `mopoe rerun x.yaml --scale small --trial ID --here`. Earlier versions recorded
    `python -m orchestrator sweep x.yaml`.
    """
    recorded = shlex.split(command)
    words = iter(recorded[4:] if recorded[1:2] == ["-m"] else recorded[2:])
    file, options = "", []
    for word in words:
        option, mark, _ = word.partition("=")
        if option in SWEEP_OPTIONS:
            options += [word] if mark else [word, next(words, "")]
        elif not word.startswith("-"):
            file = file or word
    if not file:
        return ""
    return shlex.join(["mopoe", "rerun", file, *options, "--trial", trial_id, "--here"])
