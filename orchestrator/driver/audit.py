"""Audits completed trials: trains some of them again in the foreground, and compares the new results with the recorded ones."""

import random
from collections.abc import Iterator, Sequence

from mopoe_core.errors import CheckpointError, UserError
from orchestrator.analysis.reproducibility import Verdict, compare, distance
from orchestrator.errors import DamagedError
from orchestrator.execution import foreground, provenance
from orchestrator.execution.foreground import Foreground
from orchestrator.ledger import records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec


def choose(results: Sequence[TrialResult], count: int, seed: int) -> list[TrialResult]:
    """Returns `count` completed trials, drawn at random. Raises UserError if there are fewer."""
    completed = [result for result in results if result.status == "completed"]
    if not 1 <= count <= len(completed):
        allowed = f"1 to {len(completed)}, the completed trials" if completed else "none, because no trial has completed"
        raise UserError(f"--sample: {count} is not possible; allowed: {allowed}; `sweep` completes more")
    return random.Random(seed).sample(completed, count)


def run(chosen: Sequence[TrialResult], spec: SweepSpec, ledger: Ledger) -> Iterator[tuple[TrialResult, Verdict]]:
    """Train each trial again, and yield its recorded result with the verdict.

    A trial gets as many threads as before, and a GPU if it was trained on one.
    """
    with foreground.beside(ledger.storage, spec.resources.data_folder, provenance.commit()) as trainer:
        for recorded in chosen:
            yield recorded, _audit(recorded, ledger, trainer)


def _audit(recorded: TrialResult, ledger: Ledger, trainer: Foreground) -> Verdict:
    """Returns whether a trial, trained again, gives its recorded result."""
    try:
        _check_files(recorded, ledger)
    except (DamagedError, CheckpointError) as error:
        return Verdict(False, f"parts: {error}; it was not trained again")
    threads = int(recorded.provenance["threads"])
    gpu = 0.0 if recorded.provenance["device"] == "cpu" else 1.0
    try:
        repeated = trainer.train(recorded.trial, threads, gpu)
    except UserError:
        raise
    except Exception as error:  # only this trial fails; the others are still audited
        return Verdict(False, f"parts: was completed, and fails here ({type(error).__name__}: {error})".replace("\n", " "))
    return compare(recorded, repeated, _weight_distance(recorded, ledger, Ledger(trainer.storage)))


def _check_files(recorded: TrialResult, ledger: Ledger) -> None:
    """Raise DamagedError or CheckpointError if the checkpoint or a picture is not the one that the result names, or is lost.

    A result of an earlier version names neither. Then the checkpoint must name the trial, and have the same epochs as the result.
    """
    folder, trial = ledger.folder(recorded.trial), recorded.trial
    has_checkpoint = artifact_check.check_checkpoint(folder, ledger.checkpoint(trial), recorded)
    artifact_check.check_pictures(folder, ledger.samples(trial), recorded)
    if not has_checkpoint or recorded.checkpoint is not None:
        return
    from mopoe_core.training.checkpoint import history_in

    history = history_in(ledger.checkpoint(trial), trial.config, trial.seed, trial.id)
    if [epoch.timestamp_ms for epoch in history] != [epoch.timestamp_ms for epoch in recorded.history]:
        raise records.damaged(ledger.checkpoint(trial), "its epochs are not the result's")


def _weight_distance(recorded: TrialResult, ledger: Ledger, audit_ledger: Ledger) -> float | None:
    """Returns the distance between the weights of the recorded and the new checkpoint; None if either is gone."""
    from mopoe_core.training.checkpoint import weights_in

    recorded_weights = weights_in(ledger.checkpoint(recorded.trial))
    new_weights = weights_in(audit_ledger.checkpoint(recorded.trial))
    return None if recorded_weights is None or new_weights is None else distance(recorded_weights, new_weights)
