"""Records contain their identity and a checksum: a record that was moved, exchanged, stripped or cut is named and never used."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mopoe_core.storage import record_format as core
from mopoe_core.storage.record_format import Identity
from orchestrator.driver import retention
from orchestrator.errors import DamagedError, MisplacedError, SpecError
from orchestrator.execution import plan, stack_sizes
from orchestrator.ledger import records, sweep_records, training_progress
from orchestrator.ledger.leases import claims
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposals
from tests.support import recorded
from tests.support.naming import unnamed
from tests.support.recorded import Store, errors_in, exchange

EXPECTED = {
    "trial": {"trial"},
    "attempt": {"trial", "attempt"},
    "stack": {"trial"},
    "result": {"trial", "attempt"},
    "epoch": {"trial", "epoch"},
    "failed": {"trial", "attempt"},
    "cancelled": {"trial", "attempt"},
    "deleted": {"trial"},
    "progress": {"trial"},
    "claim": {"folder", "key"},
    "sweep": {"sweep"},
    "proposal": {"sweep", "proposal"},
    "stopped": {"sweep", "cell"},
    "seeds": {"sweep", "cell"},
    "stack size": {"key"},
}
"""Every kind of record, and what it says that it is of."""


def test_every_json_file_in_storage_says_what_it_is_of_and_that_is_its_place(store):
    """In a storage with all kinds of records, the kinds are those above, and each identity agrees with the file's folder and name."""
    recorded.delete_as_gc_does(store.ledger, store.trials[1])
    storage, identities = store.home / "runs", {}
    with Lease(storage) as lease:
        for folder in (store.ledger.folder(store.others[0]), storage / "sweeps" / "own"):
            assert lease.claim(folder) is None
        paths = [path for path in storage.rglob("*.json") if not path.is_relative_to(storage / "classifiers")]
        for path in paths:
            content = json.loads(path.read_text())
            record = content["record"]
            assert record["format"] == 2, path
            identities.setdefault(record["kind"], set()).update(record.keys() - {"format", "kind"})
            named = {"trial": path.parts, "sweep": path.parts, "cell": [path.stem], "key": [path.stem]}
            assert all(record[name] in places for name, places in named.items() if name in record), path
            numbers = {"attempt": path.parent.name == "attempts", "epoch": True, "proposal": True}
            assert all(record[name] == int(path.stem) for name, holds in numbers.items() if name in record and holds), path
            del content["sha256"]
            again = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
            assert json.loads(path.read_text())["sha256"] == hashlib.sha256(again).hexdigest(), path
    assert identities == EXPECTED


EXCHANGED = ["trial.json", "attempts/0001.json", "stack.json", "result.json", "epochs/0001.json", "checkpoint.pt"]
"""Of two trials that have completed."""


@pytest.mark.parametrize("name", EXCHANGED)
def test_a_file_exchanged_between_two_trials_is_found_by_the_thorough_plan(store, name):
    """Both trials, which were done before, are damaged, and each message names the file."""
    assert plan.make(store.trials, store.ledger, thorough=True).damaged == {}
    exchange(*(store.ledger.folder(trial) / name for trial in store.trials))
    damaged = plan.make(store.trials, store.ledger, thorough=True).damaged
    assert set(damaged) == set(store.trials)
    assert all(str(store.ledger.folder(trial) / name) in said for trial, said in damaged.items())


@pytest.mark.parametrize("picture", ["unconditional", "given_a"])
def test_exchanged_pictures_are_found(store, picture):
    """The hashes in the results show it."""
    exchange(*(store.ledger.folder(trial) / "samples" / f"{picture}.png" for trial in store.trials))
    damaged = plan.make(store.trials, store.ledger, thorough=True).damaged
    assert all(f"{picture}.png" in damaged[trial] for trial in store.trials)


@pytest.mark.parametrize(
    ("name", "kind"), [("failed.json", "failed"), ("cancelled.json", "cancelled"), ("progress.json", "progress")]
)
def test_a_note_that_was_moved_to_another_trial_is_found(store, name, kind):
    """The note of one unfinished trial is in the folder of another. The message names the trial that it belongs to."""
    ledger = store.ledger
    source = next(trial for trial in store.others if (ledger.folder(trial) / name).exists())
    target = next(trial for trial in store.others if trial != source)
    (ledger.folder(source) / name).replace(ledger.folder(target) / name)
    damaged = plan.make(store.others, ledger, thorough=True).damaged
    assert str(ledger.folder(target) / name) in damaged[target]
    assert not unnamed(damaged[target], kind, source.id)


def test_the_checkpoint_of_another_unfinished_trial_is_found(store):
    """After an exchange, both trials are damaged, because a checkpoint names its trial."""
    exchange(*map(store.ledger.checkpoint, store.others))
    assert set(plan.make(store.others, store.ledger, thorough=True).damaged) == set(store.others)


@pytest.mark.parametrize("which", ["trials", "others"])
@pytest.mark.parametrize("old", [False, True], ids=["now", "format 1"])
def test_whole_folders_exchanged_are_found_by_plan_status_and_export(store, types_here, which, old):
    """Whether trials have ended or not, and whichever version wrote them, each is damaged, and the file that shows it is named."""
    trials = getattr(store, which)
    if old:
        make_old(store)
    exchange(*map(store.ledger.folder, trials))
    file = store.file if which == "trials" else store.others_file
    code, out, err = types_here("plan", file)
    assert (code, errors_in(err)) == (2, 1)
    assert all(str(store.ledger.folder(trial)) in err for trial in trials)
    code, out, _ = types_here("status", file, "--trials")
    assert (code, out.count(" damaged ")) == (0, 3)
    code, _, err = types_here("export", file)
    assert (code, errors_in(err)) == (2, 1)
    assert "sweep --retrain-damaged" in err


@pytest.mark.parametrize("command", ["plan", "sweep", "export", "track", "report", "gc", "audit"])
def test_exchanged_results_stop_every_command_with_one_line(store, types_here, command):
    """Each exits with 2, names the file of a result and the repair, and prints no numbers."""
    exchange(*(store.ledger.folder(trial) / "result.json" for trial in store.trials))
    more = ["--sample", 1] if command == "audit" else []
    code, _, err = types_here(command, store.file, *more)
    assert (code, errors_in(err)) == (2, 1)
    assert any(str(store.ledger.folder(trial) / "result.json") in err for trial in store.trials)
    assert not unnamed(err, "--retrain-damaged")
    assert "Traceback" not in err


def test_a_record_of_another_attempt_or_epoch_is_none_of_this_one(store):
    """The first attempt's note has the second's name, and the metrics of epoch 1 have the name of epoch 2."""
    ledger, trial = store.ledger, store.trials[0]
    for name, copied in (("attempts/0001.json", "attempts/0002.json"), ("epochs/0001.json", "epochs/0002.json")):
        shutil.copy(ledger.folder(trial) / name, ledger.folder(trial) / copied)
    with pytest.raises(MisplacedError, match=r"attempts/0002\.json.*attempt 1\b.*attempt 2\b"):
        ledger.last_failure(trial)
    with pytest.raises(MisplacedError, match=r"epochs/0002\.json.*epoch 1\b.*epoch 2\b"):
        ledger.at_epoch(trial, 2)


def test_records_of_a_search_are_of_their_sweep_number_and_cell(store):
    """Proposals, stops and seeds that were exchanged, or are in another sweep's folder, are named with advice."""
    storage = store.ledger.storage
    search = storage / "sweeps" / "hunt" / "search"
    reads = {"": Proposals.every, "stopped": Proposals.stopped, "seeds": Proposals.seed_counts}
    for folder, read in reads.items():
        a, b = sorted((search / folder).glob("*.json"))[:2]
        exchange(a, b)
        with pytest.raises(SpecError) as caught:
            read(Proposals(storage, "hunt"))
        assert not unnamed(caught.value, a.name)
        exchange(a, b)
        read(Proposals(storage, "hunt"))
    (storage / "sweeps" / "hunt").rename(storage / "sweeps" / "chase")
    for read in reads.values():
        with pytest.raises(SpecError, match=r"sweep hunt\b.*sweep chase\b"):
            read(Proposals(storage, "chase"))


@pytest.mark.parametrize("old", [False, True], ids=["now", "plain JSON"])
def test_a_recorded_sweep_is_that_of_its_folder(store, old):
    """If it was exchanged with another sweep's, it cannot be read and `gc` deletes nothing, also for a file that was no record yet."""
    storage = store.ledger.storage
    if old:
        for spec in (store.spec, recorded.parse(recorded.OTHERS)):
            (storage / "sweeps" / spec.name / "sweep.json").write_text(sweep_records.as_json(spec))
    assert sweep_records.read_sweep(storage, "own").name == "own"
    exchange(storage / "sweeps" / "own" / "sweep.json", storage / "sweeps" / "others" / "sweep.json")
    with pytest.raises(SpecError, match=r"sweep\.json"):
        sweep_records.read_sweep(storage, "own")
    with pytest.raises(SpecError, match=r"sweep\.json"):
        retention.surplus(store.spec, storage)


def test_a_remembered_stack_size_of_another_shape_is_measured_again(store):
    """Under another shape's name a size is not used. A file of an earlier version, plain JSON, is still read."""
    storage, config = store.ledger.storage, store.others[0].config
    (path,) = (storage / "stacks").glob("*.json")
    known = stack_sizes.read(storage, config, "a machine")
    assert known.size == 2
    plain = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("record", "sha256")}
    stack_sizes.write(storage, config, replace(known, machine="another machine"))
    (other,) = set((storage / "stacks").glob("*.json")) - {path}
    path.replace(other)
    assert stack_sizes.read(storage, config, "another machine") is None
    path.write_text(json.dumps(plain))
    assert stack_sizes.read(storage, config, "a machine") == known


def test_a_claim_that_was_moved_to_another_trial_tells_no_more_than_its_token(store):
    """While its holder lives the trial counts as held, and afterwards as free. No process, host or driver is read from it."""
    ledger, (trial, other) = store.ledger, store.trials
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.folder(trial)) is None
        folder = ledger.storage / "claims" / "trials"
        (folder / other.id).mkdir(exist_ok=True)
        moved = folder / other.id / f"{lease.holder.token}.json"
        (folder / trial.id / moved.name).replace(moved)
        assert claims.apparent_holder(ledger.storage, ledger.folder(other)) == Holder(lease.holder.token, "unknown", 0, 0)
    assert claims.apparent_holder(ledger.storage, ledger.folder(other)) is None


def test_progress_of_another_trial_is_not_shown(store):
    """`status` shows none of its epochs."""
    assert all(training_progress.read_progress(trial, store.ledger).epoch == 1 for trial in store.others)
    exchange(*(store.ledger.folder(trial) / "progress.json" for trial in store.others))
    assert [training_progress.read_progress(trial, store.ledger) for trial in store.others] == [None, None]


def strip(path: Path) -> None:
    """Removes a record's identity and corrects its checksum, so that it is as an earlier version would have written it."""
    content = json.loads(path.read_text())
    record = content.pop("record")
    content |= {"id": record["trial"]} if record["kind"] in ("trial", "result") else {}
    if record["kind"] == "result":
        del content["checkpoint"], content["samples"], content["files"]
    if record["kind"] == "attempt":
        del content["worker"]
    write_unidentified(path, content)


def write_unidentified(path: Path, content: dict) -> None:
    """Writes a whole record of format 1."""
    content.pop("sha256", None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(content | {"sha256": hashlib.sha256(text.encode()).hexdigest()}, indent=1))


def make_old(store: Store) -> None:
    """Rewrites the trials' records as an earlier version wrote them."""
    for path in (store.home / "runs" / "trials").rglob("*.json"):
        strip(path)


def test_records_of_an_earlier_version_are_read_as_before(store):
    """Results, states, errors, attempts, epochs and stacks are the same, except for hashes, which did not exist."""
    facts = lambda: [  # noqa: E731
        (ledger.state(t), ledger.failure(t), ledger.host(t), ledger.started_ms(t), ledger.stack(t), ledger.at_epoch(t, 1))
        for t in [*store.trials, *store.others]
    ]
    ledger = store.ledger
    before, results = facts(), ledger.results_of(store.trials)
    make_old(store)
    assert facts() == before
    again = ledger.results_of(store.trials)
    assert [(r.metrics, r.history, r.provenance) for r in again] == [(r.metrics, r.history, r.provenance) for r in results]
    assert [(r.checkpoint, r.samples) for r in again] == [(None, {})] * 2
    assert plan.make(store.trials, ledger, thorough=True).damaged == {}


def test_results_of_an_earlier_version_that_were_exchanged_are_found(store):
    """They have their trial in a field outside `record`."""
    make_old(store)
    exchange(*(store.ledger.folder(trial) / "result.json" for trial in store.trials))
    with pytest.raises(MisplacedError, match=rf"result of trial {store.trials[1].id}\b"):
        store.ledger.result(store.trials[0])


@pytest.mark.parametrize("name", ["result.json", "trial.json", "attempts/0001.json", "stack.json", "epochs/0001.json"])
def test_a_record_without_identity_is_refused_where_others_have_one(store, name):
    """Its checksum is right, but it has no trial, or is of an earlier version in a folder of this one."""
    ledger, trial = store.ledger, store.trials[0]
    path = ledger.folder(trial) / name
    content = json.loads(path.read_text())
    del content["record"]
    write_unidentified(path, content)
    assert name in plan.make([trial], ledger, thorough=True).damaged[trial]


@pytest.mark.parametrize(
    "said",
    [{"format": 3, "kind": "result"}, {"kind": "result"}, {"format": 1, "kind": "result"}, {"format": 2}, "result", None, 2, {}],
)
def test_an_identity_that_is_none_is_refused(said):
    """A later format, no format, no kind and another shape are never read as a record of this kind."""
    content = {"record": said, "value": 1}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    whole = json.dumps(content | {"sha256": hashlib.sha256(text.encode()).hexdigest()})
    with pytest.raises((core.DamagedRecord, core.MisplacedRecord)):
        core.parsed(whole, Identity("result", trial="4f0c"))


def test_a_record_comes_back_and_any_other_kind_of_it_does_not(tmp_path):
    """A reader that expects its identity, or less of it, gets what was written. If a field differs, it is refused and the file named."""
    path = tmp_path / "note.json"
    records.write(path, Identity("attempt", "4f0c", attempt=2), {"value": float("inf"), "kind": "own"})
    for expected in (Identity("attempt", "4f0c", attempt=2), Identity("attempt", "4f0c"), Identity("attempt")):
        assert records.read(path, expected) == {"value": float("inf"), "kind": "own"}
    for expected in (
        Identity("result", "4f0c"),
        Identity("attempt", "4f0d"),
        Identity("attempt", "4f0c", attempt=1),
        Identity("attempt", epoch=2),
    ):
        with pytest.raises(MisplacedError, match=r"note\.json: .*attempt of trial 4f0c, attempt 2\b"):
            records.read(path, expected)
    path.write_text(path.read_text().replace('"attempt": 2', '"attempt": 3'))
    with pytest.raises(DamagedError, match="checksum"):
        records.read(path, Identity("attempt", "4f0c", attempt=3))


def test_a_seed_that_is_not_the_trials_is_found(store):
    """A trial.json has the right id and another seed, which no version writes."""
    path = store.ledger.folder(store.others[0]) / "trial.json"
    content = records.read(path, Identity("trial", store.others[0].id))
    records.write(path, Identity("trial", store.others[0].id), content | {"seed": 99})
    with pytest.raises(MisplacedError, match=r"seed\b.*\b99\b.*\b2\b"):
        store.ledger.check(store.others[0])


def test_a_moved_folder_is_no_trial_to_estimate_from(store):
    """An estimate from another sweep's trials ignores a folder whose records have another id."""
    ledger = Ledger(store.home / "runs")
    config_only = {path.name for path in (store.home / "runs" / "trials").iterdir()}
    assert config_only == {t.id for t in [*store.trials, *store.others]}
    os.rename(ledger.folder(store.trials[0]), ledger.folder(store.trials[0]).with_name("0" * 16))
    assert list(ledger.results()) == []


def test_trials_with_damaged_records_are_trained_again_and_no_other(store):
    """The trials that the thorough plan names are set aside, and the next plan has only these."""
    exchange(*(store.ledger.folder(trial) / "stack.json" for trial in store.trials))
    for trial in plan.make(store.trials, store.ledger, thorough=True).damaged:
        store.ledger.set_aside(trial)
    new_plan = plan.make(store.trials, store.ledger, thorough=True)
    assert (new_plan.fresh, new_plan.damaged) == (tuple(store.trials), {})
    assert store.spec.trials == tuple(store.trials)
