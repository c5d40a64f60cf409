"""An audit: some completed trials are trained again, in the foreground, and compared with what the ledger has of them."""

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
    """So many completed trials, drawn at random. Raises UserError where there are fewer."""
    completed = [result for result in results if result.status == "completed"]
    if not 1 <= count <= len(completed):
        allowed = f"1 to {len(completed)}, the completed trials" if completed else "none, because no trial has completed"
        raise UserError(f"--sample: {count} is not possible; allowed: {allowed}; `sweep` completes more")
    return random.Random(seed).sample(completed, count)


def run(chosen: Sequence[TrialResult], spec: SweepSpec, ledger: Ledger) -> Iterator[tuple[TrialResult, Verdict]]:
    """Train each again, with as many threads as before, on a GPU if it was trained on one, and compare."""
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
        again = place.train(recorded.trial, int(where["threads"]), 0.0 if where["device"] == "cpu" else 1.0)
    except UserError:
        raise
    except Exception as error:  # of one trial; the others are still to be audited
        return Verdict(False, f"parts: was completed, and fails here ({type(error).__name__}: {error})".replace("\n", " "))
    return compare(recorded, again, _weights(recorded, ledger, Ledger(place.storage)))


def _check(recorded: TrialResult, ledger: Ledger) -> None:
    """Raise DamagedError or CheckpointError where the checkpoint or a picture is not the one that the result names.

    A result of an earlier version names neither: then the checkpoint says whose it is, and its epochs have to be the result's.
    """
    folder, trial = ledger.folder(recorded.trial), recorded.trial
    there = artifact_check.check_checkpoint(folder, ledger.checkpoint(trial), recorded)
    for path in ledger.samples(trial).values():
        artifact_check.check_picture(path, recorded)
    if not there or recorded.checkpoint is not None:
        return
    from mopoe_core.training.checkpoint import history_in

    history = history_in(ledger.checkpoint(trial), trial.config, trial.seed, trial.id)
    if [epoch.timestamp_ms for epoch in history] != [epoch.timestamp_ms for epoch in recorded.history]:
        raise records.damaged(ledger.checkpoint(trial), "its epochs are not the result's")


def _weights(recorded: TrialResult, ledger: Ledger, again: Ledger) -> float | None:
    """The distance between the weights of the two checkpoints; None where the recorded one is gone."""
    from mopoe_core.training.checkpoint import weights_in

    before, after = (weights_in(place.checkpoint(recorded.trial)) for place in (ledger, again))
    return None if before is None or after is None else distance(before, after)
