"""An audit: some completed trials are trained again, in the foreground, and compared with what the ledger says of them."""

import random
from collections.abc import Iterator, Sequence

from mopoe_core.errors import CheckpointError, UserError
from orchestrator.analysis.reproducibility import Verdict, compare, distance
from orchestrator.errors import DamagedError
from orchestrator.execution import foreground, provenance
from orchestrator.execution.foreground import Foreground
from orchestrator.ledger import artifact_check, records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec


def choose(results: Sequence[TrialResult], count: int, seed: int) -> list[TrialResult]:
    """As many completed trials, by chance. Raises UserError where that cannot be."""
    completed = [result for result in results if result.status == "completed"]
    if not 1 <= count <= len(completed):
        allowed = f"1 to {len(completed)}, the completed trials" if completed else "none, because no trial has completed"
        raise UserError(f"--sample: {count} is not possible; allowed: {allowed}; `sweep` completes more")
    return random.Random(seed).sample(completed, count)


def run(chosen: Sequence[TrialResult], spec: SweepSpec, ledger: Ledger) -> Iterator[tuple[TrialResult, Verdict]]:
    """Train each again, with as many threads as before and on a GPU if that was so, and compare."""
    with foreground.beside(ledger.storage, spec.resources.data_folder, provenance.commit()) as place:
        for recorded in chosen:
            yield recorded, _again(recorded, ledger, place)


def _again(recorded: TrialResult, ledger: Ledger, place: Foreground) -> Verdict:
    where = recorded.provenance
    try:
        _check(recorded, ledger)
    except (DamagedError, CheckpointError) as error:
        return Verdict(False, f"parts: {error}; it was not trained again")
    try:
        found = place.train(recorded.trial, int(where["threads"]), 0.0 if where["device"] == "cpu" else 1.0)
    except UserError:
        raise
    except Exception as error:  # of one trial; the others are still to be seen
        return Verdict(False, f"parts: was completed, and fails here ({type(error).__name__}: {error})".replace("\n", " "))
    return compare(recorded, found, _weights(recorded, ledger, Ledger(place.storage)))


def _check(recorded: TrialResult, ledger: Ledger) -> None:
    """Raise DamagedError or CheckpointError where checkpoint or pictures are not those that the result names.

    A result of an earlier version names none: then the checkpoint says whose it is, and its epochs have to be the result's.
    """
    folder, trial = ledger.folder(recorded.trial), recorded.trial
    there = artifact_check.check_checkpoint(folder, ledger.checkpoint(trial), recorded)
    for path in ledger.samples(trial).values():
        artifact_check.check_picture(path, recorded)
    if not there or recorded.checkpoint is not None:
        return
    from mopoe_core.training.training import history_in

    history = history_in(ledger.checkpoint(trial), trial.config, trial.seed, trial.id)
    if [epoch.timestamp_ms for epoch in history] != [epoch.timestamp_ms for epoch in recorded.history]:
        raise records.damaged(ledger.checkpoint(trial), "its epochs are not the result's")


def _weights(recorded: TrialResult, ledger: Ledger, again: Ledger) -> float | None:
    """How far the models of the two checkpoints are apart; None where the recorded one is gone."""
    from mopoe_core.training.training import weights_in

    before, after = (weights_in(one.checkpoint(recorded.trial)) for one in (ledger, again))
    return None if before is None or after is None else distance(before, after)
