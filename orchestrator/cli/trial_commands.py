"""The commands about single trials: `failures`, `rerun` and `audit`."""

import random
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.cli import exit_codes
from orchestrator.cli.as_json import failures_json
from orchestrator.cli.common import JsonOption, ScaleOption, SpecArgument, StorageOption, Typed, check_there, open_sweep
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.snapshot import state_or_damage
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

if TYPE_CHECKING:
    from orchestrator.driver.reset_trials import ResetTrial

TrialOption = Annotated[list[str] | None, typer.Option("--trial", metavar="ID", help="A trial; may be given more than once.")]
FailedOption = Annotated[bool, typer.Option("--failed", help="All failed trials.")]
DivergedOption = Annotated[bool, typer.Option("--diverged", help="All diverged trials.")]
HereOption = Annotated[bool, typer.Option("--here", help="Train the one trial now, in this process; the ledger does not change.")]


def failures(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Group failed and diverged trials by cause, with what they share and the command that runs one here. Creates nothing."""
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.analysis import failure_causes as causes
    from orchestrator.report.render.failure_lines import failure_lines

    ledger, trials, typed = Ledger(folder), spec.trials, Typed(file, scale, storage)
    states_in_order = ledger.each(lambda trial: state_or_damage(trial, ledger), trials)
    states = {trial.id: state for trial, state in zip(trials, states_in_order, strict=True)}
    groups = causes.find(trials, states, ledger)

    def rerun_command(trial: Trial) -> str:
        return typed.command("rerun", "--trial", trial.id, "--here")

    if as_json:
        say(failures_json(spec, groups, {group.trials[0].id: rerun_command(group.trials[0]) for group in groups}))
        return
    counts = Counter(state.status for state in states.values())
    damaged = f", {counts['damaged']} damaged (`status --trials` says which)" if counts["damaged"] else ""
    failures = f"{counts['failed']} failed, {counts['diverged']} diverged{damaged}" if groups else f"nothing failed{damaged}"
    say(f"{spec.name}: {failures}, of {len(trials)} trials")
    for line in failure_lines(groups, spec.labels, rerun_command):
        say(line)


def rerun(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    trial: TrialOption = None,
    failed: FailedOption = False,
    diverged: DivergedOption = False,
    here: HereOption = False,
) -> None:
    """Reset trials, so that the next `sweep` trains them from the start; with --here, train one now and change nothing.

    Their files are moved to `aside` in storage. Failed trials need this only to start over: `sweep` by itself tries them again from their
    last checkpoint.
    """
    spec, folder = open_sweep(file, scale, storage)
    check_there(Typed(file, scale, storage), folder)
    from orchestrator.driver import rerun as rerunning

    named = rerunning.named(trial or [], spec.trials)
    if here:
        _train_here(named, failed or diverged, spec, folder)
        return
    statuses_to_rerun = {status for status, chosen in (("failed", failed), ("diverged", diverged)) if chosen}
    if not named and not statuses_to_rerun:
        raise UserError("rerun: no trial is named; name some with --trial, --failed or --diverged (`failures` lists them)")
    _reset(named, statuses_to_rerun, spec, folder, Typed(file, scale, storage).command("sweep"))


def _reset(named: Collection[Trial], statuses_to_rerun: Collection[str], spec: SweepSpec, folder: AnyPath, sweep: str) -> None:
    """Set aside the files of the named trials, and of all trials with these statuses. `sweep` is the command that trains them."""
    from orchestrator.driver import rerun as rerunning

    ledger, trials = Ledger(folder), spec.trials
    stamps = dict(zip(trials, ledger.each(ledger.stamp, trials), strict=True))
    statuses = dict(zip(trials, ledger.each(lambda trial: state_or_damage(trial, ledger).status, trials), strict=True))
    named_ids = {trial.id for trial in named}
    chosen = [trial for trial in trials if trial.id in named_ids or statuses[trial] in statuses_to_rerun]
    if not chosen:
        say(f"{spec.name}: no trial is {' or '.join(sorted(statuses_to_rerun))}; nothing was changed")
        return
    try:
        reset_trials = rerunning.reset({trial: stamps[trial] for trial in chosen}, ledger)
    except OSError as error:
        raise UserError(f"storage: {folder} cannot be changed ({error.strerror}); see that it can be written") from None
    for reset_trial in reset_trials:
        say(f"{reset_trial.trial.id}  {reset_trial.trial.label}  {statuses[reset_trial.trial]}; {_what_was_done(reset_trial)}")
    count = sum(not reset_trial.has_changed for reset_trial in reset_trials)
    if count:
        say(f"to train {'it' if count == 1 else 'them'} from the start, now type  {sweep}")


def _what_was_done(reset_trial: "ResetTrial") -> str:
    if reset_trial.has_changed:
        return "has a new result since then, and was not reset"
    return "it had no files" if reset_trial.aside is None else f"set aside as {reset_trial.aside}"


def audit(
    file: SpecArgument,
    sample: Annotated[int, typer.Option("--sample", metavar="N", help="Completed trials to train again.")],
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="K", help="Seed of the random choice; a new one when left out.")
    ] = None,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Train some completed trials again, here, and compare with what is recorded. Exit code 1 if one differs. Changes nothing."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(Typed(file, scale, storage), folder)
    from orchestrator.driver import audit as auditing

    ledger = Ledger(folder)
    seed = random.randrange(2**31) if seed is None else seed
    chosen = auditing.choose(ledger.results_of(spec.trials), sample, seed)
    minutes = sum(result.seconds for result in chosen) / 60
    say(f"{spec.name}: {sample} of the completed trials, chosen by --seed {seed}; took {minutes:.2g} minutes when recorded")
    labels = spec.labels
    all_hold = True
    for recorded, verdict in auditing.run(chosen, spec, ledger):
        trial = recorded.trial
        all_hold = all_hold and verdict.holds
        say(f"{trial.id}  {labels[trial.cell.id]} seed={trial.seed}  {verdict.explanation}")
    if not all_hold:
        raise typer.Exit(exit_codes.UNFINISHED)


def _train_here(named: list[Trial], has_statuses: bool, spec: SweepSpec, folder: AnyPath) -> None:
    """Train the one named trial in this process. Raises UserError if there is not one, or if statuses are asked for, too."""
    if len(named) != 1 or has_statuses:
        raise UserError("--here: trains one trial; name it with one --trial, without --failed or --diverged")
    from orchestrator.driver import rerun as rerunning

    (trial,) = named
    say(f"{trial.id}  {trial.label}: in this process, in a temporary storage")
    result = rerunning.train_in_foreground(trial, spec, folder)
    if result.status == "diverged":
        say(f"diverged at step {result.diverged_at_step}")
        return
    say("completed: " + ", ".join(f"{o.metric} {result.value(o.metric)!r}" for o in spec.objectives))
