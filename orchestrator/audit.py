"""An audit: some completed trials are trained again, in the foreground, and compared with what the ledger says of them."""

import random
from collections.abc import Iterator, Sequence

from mopoe_core.errors import UserError
from mopoe_core.files import AnyPath
from orchestrator import foreground, provenance
from orchestrator.foreground import Foreground
from orchestrator.ledger import Ledger
from orchestrator.sameness import Verdict, compare, distance
from orchestrator.spec import SweepSpec
from orchestrator.trial import TrialResult


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
        found = place.train(recorded.trial, int(where["threads"]), 0.0 if where["device"] == "cpu" else 1.0)
    except UserError:
        raise
    except Exception as error:  # of one trial; the others are still to be seen
        return Verdict(False, f"parts: was completed, and fails here ({type(error).__name__}: {error})".replace("\n", " "))
    return compare(recorded, found, _weights(ledger.checkpoint(recorded.trial), Ledger(place.storage).checkpoint(recorded.trial)))


def _weights(was: AnyPath, now: AnyPath) -> float | None:
    """How far the models of two checkpoints are apart; None where there is not both."""
    from mopoe_core.training import weights_in

    before, after = weights_in(was), weights_in(now)
    return None if before is None or after is None else distance(before, after)
