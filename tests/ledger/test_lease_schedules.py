"""Several workers want one trial: whatever the order of their steps and whichever of them is suspended, one result counts."""

import json

import pytest

from benchmarks.robustness.lease_schedules import KINDS, Actor, MemoryPath, SimulatedLease, World, every_order, simulate
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.record_format import Identity, dumped
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.leases import heartbeat
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from tests.support.builders import cell, result

TRIAL = result(cell(), 0, {}).trial
SEEDS = 100


@pytest.mark.parametrize("kind", KINDS)
def test_one_result_counts_and_no_checkpoint_goes_back(kind):
    """Schedules have pauses, deaths, unequal clocks, late listings. `benchmarks.robustness.lease_schedules` runs 30,000 of them."""
    outcomes = [simulate(seed, KINDS[kind]) for seed in range(SEEDS)]
    assert [(seed, outcome.broken) for seed, outcome in enumerate(outcomes) if outcome.broken] == []
    assert {outcome.kept for outcome in outcomes} <= {0, 1}  # 0 where all had died
    assert (
        sum(outcome.lost + outcome.refused > 0 for outcome in outcomes) > SEEDS // 20
    )  # somebody was taken over, or came second


def test_a_simulation_without_exclusive_creation_finds_two_results(monkeypatch):
    """The schedules would detect it if two results could be recorded."""

    def replacing(self, content):
        self.write_bytes(content)
        return True

    monkeypatch.setattr(MemoryPath, "create", replacing)
    assert any(simulate(seed, KINDS["late listings"]).broken for seed in range(SEEDS))


def test_a_simulation_with_one_folder_for_all_attempts_finds_a_checkpoint_that_goes_back(monkeypatch):
    """The schedules would detect it if attempts overwrote one another's files."""
    monkeypatch.setattr(Attempt, "of", classmethod(lambda cls, folder, number, worker: cls(number, folder / "attempts" / "all")))
    monkeypatch.setattr(attempts, "is_recorded", lambda *_: True)  # the folder has no attempt's name
    broken = [text for seed in range(SEEDS) for text in simulate(seed, KINDS["pauses and a death"]).broken]
    assert any("were replaced by" in text or "names" in text for text in broken)


def test_in_no_order_do_two_hold_the_same(monkeypatch):
    """Two processes claim at once. In every order of their steps, at most one of them gets the claim."""
    monkeypatch.setattr(World, "start_beat", lambda self, beat: None)
    holders: list[list[int]] = []

    def begin(world: World, storage: MemoryPath) -> None:
        holding: list[int] = []
        holders.append(holding)

        def claims(number: int) -> None:
            lease = SimulatedLease(storage).__enter__()
            if lease.claim(storage / "trials/4f0c") is None:
                holding.append(number)

        for number in range(2):
            actor = Actor(number, 0.0, heartbeat.Watcher(storage))
            world.start(actor, lambda *args, number=number: claims(number))

    orders = sum(1 for _ in every_order(begin))
    assert orders > 100
    assert {len(holding) for holding in holders} == {0, 1}


def test_in_every_order_the_first_of_two_results_counts():
    """Two workers record results. In every order of their steps, one result counts, and the checkpoint is the one that it names. Only an
    attempt that began later keeps files of its own.
    """
    outcomes: list[list[bool]] = []

    def begin(world: World, storage: MemoryPath) -> None:
        ledger, recorded = Ledger(storage), []
        outcomes.append(recorded)

        def records(number: int, attempt: Attempt, content: bytes) -> None:
            trial_result = TrialResult(TRIAL, "completed", (), (), None, 0.0, 0.0, number, {}, Digest.of(content))
            recorded.append(ledger.record(trial_result, attempt))

        for number in (1, 2):
            worker, content = f"worker{number}", b'{"epochs": 3, "by": "%d"}' % number
            attempt = Attempt.of(ledger.folder(TRIAL), number, worker)
            record = dumped(Identity("attempt", TRIAL.id, attempt=number), {"worker": worker})
            world.files[ledger.layout.trial(TRIAL.id).attempt(number).path] = (record.encode(), 0.0)
            world.files[attempt.checkpoint.path] = (content, 0.0)
            world.start(Actor(number, 0.0), lambda *args, of=(number, attempt, content): records(*of))

    worlds = 0
    for world in every_order(begin):
        worlds += 1
        raw = world.files[f"trials/{TRIAL.id}/checkpoint.pt"][0]
        record = json.loads(world.files[f"trials/{TRIAL.id}/result.json"][0])
        assert Digest.of(raw).sha256 == record["checkpoint"]["sha256"]
        in_attempts = [path.rpartition("/attempts/")[2] for path in world.files if "/attempts/" in path]
        left = [path for path in in_attempts if not path.endswith(".json")]
        assert all(int(path.partition("-")[0]) > record["attempts"] for path in left)
    assert worlds > 5
    assert all(sorted(recorded) == [False, True] for recorded in outcomes)
