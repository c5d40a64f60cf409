"""Checks all files of a trial, down to the bytes of its checkpoint and pictures, for `sweep --retrain-damaged`."""

from mopoe_core.errors import CheckpointError
from mopoe_core.storage.folders import listed
from orchestrator.errors import MisplacedError
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


def inspect(trial: Trial, ledger: Ledger) -> None:
    """Raise DamagedError if any file of a trial is damaged or belongs to another trial.

    A note that was cut, such as the record of an attempt, is ignored: the trial can do without it.
    """
    folder, result = ledger.folder(trial), ledger.result(trial)
    ledger.check(trial)
    ledger.of(trial).check()
    if result is None:
        _check_unfinished(trial, ledger)
        return
    artifact_check.check_checkpoint(folder, ledger.checkpoint(trial), result)
    artifact_check.check_pictures(folder, ledger.samples(trial), result)


def _check_unfinished(trial: Trial, ledger: Ledger) -> None:
    folder = ledger.layout.trial(trial.id)
    checkpoints = [*listed(folder.path, "checkpoint.*"), *folder.attempt_files("checkpoint.*")]
    if not checkpoints:
        return
    from mopoe_core.training.checkpoint import history_in  # imports torch, which takes seconds

    for path in checkpoints:
        try:
            history_in(path, trial.config, trial.seed, trial.id)
        except CheckpointError as error:
            raise MisplacedError(str(error)) from None
