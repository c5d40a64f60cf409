"""Trials that did not complete: by cause, with the command that reproduces one. Cells that a search stopped are listed apart. Pure."""

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
    """Trials that ended in one way."""

    cause: str
    trials: tuple[tuple[str, str, str], ...]
    """Id, label and where it diverged, of each trial."""
    shared: str
    traceback: str
    """The traceback of the first trial; empty if there is none."""
    command: str
    """The command that trains the first trial alone, in the foreground; empty if the sweep's file is not known."""


@dataclass(frozen=True)
class NotCompleted:
    """What the section shows."""

    blocks: tuple[Block, ...]
    others: tuple[tuple[str, str], ...]
    """Label and status of trials that are in no block and were not stopped."""
    stopped: tuple[tuple[str, str], ...]
    """Label of a cell, and when and why the search stopped it."""


def not_completed(
    spec: SweepSpec, states: Mapping[str, str], groups: Sequence[FailureGroup], proposed: Sequence[ProposedCell], command: str
) -> NotCompleted:
    """What the section shows. `states` has each trial's status by its id; `command` is the one that was typed."""
    names, by_id = spec.labels, {trial.id: trial for trial in spec.trials}
    stopped = {one.cell.id: f"at epoch {one.stopped.epoch}; {one.stopped.why}" for one in proposed if one.stopped}
    grouped = {trial.id for group in groups for trial in group.trials}
    others = [
        (f"{names[by_id[key].cell.id]} seed={by_id[key].seed}", status)
        for key, status in states.items()
        if status != "completed" and key not in grouped and not (status == "cancelled" and by_id[key].cell.id in stopped)
    ]
    blocks = tuple(_block(group, names, command) for group in groups)
    return NotCompleted(blocks, tuple(others), tuple((names[cell_id], why) for cell_id, why in stopped.items()))


def _block(group: FailureGroup, names: Mapping[str, str], command: str) -> Block:
    listed = tuple(
        (trial.id, f"{names[trial.cell.id]} seed={trial.seed}", note)
        for trial, note in zip(group.trials, group.notes, strict=True)
    )
    return Block(group.cause, listed, f"{in_common(group)}.", group.traceback, rerun_command(command, group.trials[0].id))


def rerun_command(command: str, trial_id: str) -> str:
    """The command that trains a trial of the same sweep alone; empty if `command` is not one on a sweep's file.

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
