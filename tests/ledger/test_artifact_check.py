"""A result names its checkpoint and pictures: every reader notices if they were exchanged, changed, cut or deleted."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch

import mopoe_core
from mopoe_core.data import loading
from mopoe_core.errors import CheckpointError, ClassifierError
from mopoe_core.metrics.classifiers import trained_classifiers
from mopoe_core.storage.file_facts import Digest
from mopoe_core.training.checkpoint import history_in, previous_checkpoint, progress_in
from mopoe_core.training.stacked_training import Member, train_stack
from mopoe_core.training.training import resumed, train
from orchestrator.driver import retention
from orchestrator.errors import DamagedError
from orchestrator.execution import plan
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.leases.lease import Lease
from orchestrator.tracking.mlflow import run_files
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.core.storage.test_records import make_old
from tests.support.naming import line_naming, names, names_in_order, naming
from tests.support.recorded import Store, delete_as_gc_does, errors_in, exchange

CPU = torch.device("cpu")


def checkpoints(store: Store) -> list[Path]:
    """The checkpoints of the completed trials."""
    return [Path(str(store.ledger.checkpoint(trial))) for trial in store.trials]


def turn_a_byte(path: Path) -> None:
    """Change one byte in the middle, among the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def put_an_older_one(path: Path) -> None:
    """Replace the checkpoint by the same trial's checkpoint after its first epoch."""
    state = torch.load(path, weights_only=True)
    assert len(state["history"]) > 1
    torch.save(state | {"history": state["history"][:1]}, path)


HARMS = {
    "an older one": lambda one, other: put_an_older_one(one),
    "exchanged": lambda one, other: exchange(one, other),
    "another trial's": lambda one, other: shutil.copy(other, one),
    "a byte turned": lambda one, other: turn_a_byte(one),
    "cut": lambda one, other: os.truncate(one, one.stat().st_size // 2),
    "empty": lambda one, other: os.truncate(one, 0),
    "deleted": lambda one, other: one.unlink(),
}


def test_a_result_names_the_checkpoint_that_was_evaluated(store):
    """It names SHA-256 and size of the checkpoint, and the pictures, for trials of a stack and for a single trial."""
    for trial, path in zip(store.trials, checkpoints(store), strict=True):
        result = store.ledger.result(trial)
        assert result.checkpoint == Digest.of(path.read_bytes())
        digests = {picture.stem: Digest.of(picture.read_bytes()).sha256 for picture in (path.parent / "samples").iterdir()}
        assert result.samples == digests
        assert {"dataset", "unconditional", "tuples", "given_a", "given_b", "given_a.b"} == set(digests)
        assert torch.load(path, weights_only=True)["trial"] == trial.id


def test_a_trial_whose_checkpoint_was_written_before_the_crash_names_it(store):
    """After a crash between the last checkpoint and the result, the next attempt names the existing file and writes no other."""
    trial, path = store.trials[0], checkpoints(store)[0]
    dataset, written = loading.load(trial.config.data_key, store.home / "data"), path.read_bytes()
    trained = train(trial.config, trial.seed, dataset, CPU, path, trial=trial.id)
    assert (path.read_bytes(), trained.checkpoint) == (written, Digest.of(written))


@pytest.mark.parametrize("how", HARMS)
def test_audit_parts_and_names_the_trial(store, types_here, how):
    """Exit 1 and one line with the trial's id and the problem. The other trial matches. The damaged trial is not trained."""
    HARMS[how](*checkpoints(store))
    code, out, err = types_here("audit", store.file, "--sample", 2, "--seed", 1)
    assert (code, err) == (1, "")
    lines = {line.partition(" ")[0]: line for line in out.splitlines()}
    assert names(lines[store.trials[0].id], checkpoints(store)[0])
    assert "bit-equal" not in lines[store.trials[0].id]
    assert ("bit-equal" not in lines[store.trials[1].id]) == (how == "exchanged")


@pytest.mark.parametrize("how", ["exchanged", "another trial's"])
def test_audit_finds_exchanged_checkpoints_of_an_earlier_version(store, types_here, how):
    """Such results name no checkpoint. The checkpoint names its trial, or at least its seed if it has no id."""
    make_old(store)
    for path in checkpoints(store):
        state = torch.load(path, weights_only=True)
        del state["trial"]
        torch.save(state, path)
    HARMS[how](*checkpoints(store))
    code, out, _ = types_here("audit", store.file, "--sample", 2, "--seed", 1)
    assert code == 1
    assert names_in_order(line_naming(out, store.trials[0].id), "seed", store.trials[1].seed, store.trials[0].seed)


@pytest.mark.parametrize("how", HARMS)
def test_load_refuses_what_is_not_the_results_checkpoint(store, how):
    """The error names the file, also if it is missing. The other trial's checkpoint loads as long as it is the right one."""
    one, other = checkpoints(store)
    before_it = mopoe_core.load(one).state_dict()
    HARMS[how](one, other)
    with pytest.raises((ValueError, FileNotFoundError), match=str(one)):
        mopoe_core.load(one)
    if how == "exchanged":
        with pytest.raises(CheckpointError, match=str(other)):
            mopoe_core.load(other)
        exchange(one, other)
        assert all(torch.equal(a, b) for a, b in zip(mopoe_core.load(one).state_dict().values(), before_it.values(), strict=True))


def test_load_compares_what_is_beside_the_checkpoint(store, tmp_path):
    """A copy in another folder loads. A checkpoint beside a damaged or foreign result, or in another trial's folder, does not."""
    one, other = checkpoints(store)
    shutil.copytree(one.parent, tmp_path / "copied")
    mopoe_core.load(tmp_path / "copied" / "checkpoint.pt")
    shutil.copy(one, tmp_path / "alone.pt")
    mopoe_core.load(tmp_path / "alone.pt")
    shutil.copy(other.parent / "result.json", tmp_path / "copied")
    with pytest.raises(CheckpointError, check=naming(tmp_path / "copied" / "checkpoint.pt")):
        mopoe_core.load(tmp_path / "copied" / "checkpoint.pt")
    (other.parent / "result.json").unlink()
    shutil.copy(one, other)
    with pytest.raises(CheckpointError) as caught:
        mopoe_core.load(other)
    assert names_in_order(str(caught.value), other, store.trials[0].id, store.trials[1].id)
    os.truncate(one.parent / "result.json", 100)
    with pytest.raises(CheckpointError, check=naming(one.parent / "result.json")):
        mopoe_core.load(one)


def test_load_compares_the_epochs_where_an_earlier_version_wrote_the_result(store):
    """Such a result names no checkpoint, but a checkpoint of another trial has other epochs."""
    make_old(store)
    one, other = checkpoints(store)
    mopoe_core.load(one)
    (one.parent.parent / "elsewhere").mkdir()
    copied = one.parent.parent / "elsewhere"
    state = torch.load(other, weights_only=True) | {"trial": ""}
    torch.save(state, one)
    with pytest.raises(CheckpointError, check=naming(one, "epochs")):
        mopoe_core.load(one)
    copied.rmdir()


@pytest.mark.parametrize("how", ["deleted", "cut", "empty", "an older one"])
@pytest.mark.parametrize("command", ["plan", "sweep", "status", "failures"])
def test_a_lost_or_cut_checkpoint_is_found_without_reading_weights(store, types_here, monkeypatch, how, command):
    """`plan` and `sweep` name the file and the remedy, with exit 2. `status` shows the trial as damaged, and `failures` counts it."""
    HARMS[how](*checkpoints(store))
    monkeypatch.setattr(Digest, "of_file", lambda path: pytest.fail(f"{path} was read"))
    code, out, err = types_here(command, store.file)
    if command in ("plan", "sweep"):
        assert (code, errors_in(err)) == (2, 1)
        assert str(checkpoints(store)[0]) in err
        assert str(checkpoints(store)[1]) not in err
        assert "--retrain-damaged" in err
    else:
        assert (code, "1 damaged" in out) == (0, True)  # a count of a status, as every table has it


def test_what_gc_deleted_is_not_lost(store, types_here):
    """`gc` records a deletion before it deletes. A record of another checkpoint or of another trial does not count."""
    one, other = store.trials
    surplus = retention.Surplus((one,), (store.ledger.stamp(one),), (store.ledger.checkpoint(one),), (), ())
    with Lease(store.ledger.storage) as lease:
        retention.delete(surplus, store.ledger.storage, lease)
    assert not checkpoints(store)[0].exists()
    assert types_here("plan", store.file)[0] == 0
    code, out, _ = types_here("audit", store.file, "--sample", 2, "--seed", 1)
    lines = {line.partition(" ")[0]: line for line in out.splitlines()}
    assert code == 0
    assert "bit-equal" in lines[one.id]
    assert names(lines[one.id], "checkpoint")
    assert not names(lines[other.id], "checkpoint")
    note = store.ledger.folder(one) / "deleted.json"
    shutil.copy(note, store.ledger.folder(other) / "deleted.json")
    checkpoints(store)[1].unlink()
    assert str(store.ledger.folder(other) / "deleted.json") in types_here("plan", store.file)[2]
    artifact_check.note_deleted(store.ledger.folder(other), other.id, store.ledger.result(one).checkpoint, "of another")
    assert str(checkpoints(store)[1]) in types_here("plan", store.file)[2]


def test_a_gc_that_was_killed_between_note_and_deletion_did_no_harm(store):
    """Record and checkpoint both exist: the trial is done, and its checkpoint is still checked."""
    trial, path = store.trials[0], checkpoints(store)[0]
    artifact_check.note_deleted(path.parent, trial.id, store.ledger.result(trial).checkpoint, "gc")
    assert plan.make([trial], store.ledger, thorough=True).done == (trial,)
    turn_a_byte(path)
    assert set(plan.make([trial], store.ledger, thorough=True).damaged) == {trial}


def test_the_user_may_do_without_a_lost_checkpoint(store, types_here):
    """`gc --accept-lost` names the trial. Afterwards nothing is damaged, and the numbers have not changed."""
    result = store.ledger.result(store.trials[0])
    checkpoints(store)[0].unlink()
    code, out, _ = types_here("gc", store.file, "--accept-lost")
    assert (code, out.splitlines()[-1].partition(" ")[0]) == (0, "1")
    assert store.trials[0].id in out
    assert store.trials[1].id not in out
    assert types_here("plan", store.file)[0] == 0
    assert store.ledger.result(store.trials[0]) == result
    assert types_here("gc", store.file, "--accept-lost")[1].partition(" ")[0] == "0"


def test_accepting_a_checkpoint_that_was_cut_removes_the_rest_of_it(store, types_here):
    """`gc --accept-lost` deletes half a checkpoint."""
    os.truncate(checkpoints(store)[0], 10)
    types_here("gc", store.file, "--accept-lost")
    assert [path.exists() for path in checkpoints(store)] == [False, True]


@pytest.mark.parametrize("how", ["exchanged", "a byte turned", "deleted"])
def test_mlflow_is_given_no_checkpoint_that_is_not_the_results(store, types_here, how, stored_mlflow, undrawn):
    """`track` names the file and exits 1, and the run has no checkpoint. Once the file is restored, the next `track` uploads it."""
    one, other = checkpoints(store)
    safe = one.with_suffix(".safe")
    shutil.copy(one, safe)
    HARMS[how](one, other)
    code, _, err = types_here("track", store.file)
    assert code == 1
    assert str(one) in err
    assert (str(other) in err) == (how == "exchanged")
    client = mlflow.MlflowClient(default_uri(store.ledger.storage))

    def uploaded() -> dict[str, bool]:
        runs = client.search_runs([client.get_experiment_by_name("own").experiment_id], "tags.kind = 'trial'")
        return {
            run.data.tags["trial_id"]: "checkpoint.pt" in {a.path for a in client.list_artifacts(run.info.run_id)} for run in runs
        }

    assert uploaded() == {store.trials[0].id: False, store.trials[1].id: how != "exchanged"}
    if how == "exchanged":
        exchange(one, other)
    else:
        safe.replace(one)
    assert types_here("track", store.file)[0] == 0
    assert uploaded() == {trial.id: True for trial in store.trials}


def test_exchanged_pictures_come_neither_into_a_report_nor_into_mlflow(store, types_here, tmp_path, undrawn):
    """Report and MLflow name an exchanged picture; both have the pictures if these are unchanged."""
    result = store.ledger.result(store.trials[0])
    run_files.put(tmp_path / "into", store.ledger, result)
    assert (tmp_path / "into" / "samples" / "unconditional.png").exists()
    assert types_here("report", store.file)[0] == 0
    exchange(*(path.parent / "samples" / "unconditional.png" for path in checkpoints(store)))
    with pytest.raises(DamagedError, check=naming(checkpoints(store)[0].parent / "samples" / "unconditional.png")):
        run_files.put(tmp_path / "again", store.ledger, result)
    assert not (tmp_path / "again").exists()
    code, _, err = types_here("report", store.file)
    assert (code, errors_in(err)) == (2, 1)
    assert "unconditional.png" in err


def test_a_checkpoint_of_another_trial_is_not_gone_on_from(store):
    """Whether it has the name of the newest, the earlier or a stack's next checkpoint, it is refused, and nothing is moved."""
    one, other = store.others
    dataset = loading.load(one.config.data_key, store.home / "data")
    mine, foreign = (Path(str(store.ledger.checkpoint(trial))) for trial in (one, other))
    own = mine.read_bytes()
    for place in (mine, previous_checkpoint(mine), mine.with_suffix(".next")):
        shutil.copy(foreign, place)
        if place == previous_checkpoint(mine):
            mine.unlink()
        files = {path.name: path.read_bytes() for path in mine.parent.glob("checkpoint.*")}
        if place.suffix != ".next":
            with pytest.raises(CheckpointError, check=naming(place, "trial", repr(other.id))):
                resumed(one.config, one.seed, dataset, CPU, mine, one.id)
        with pytest.raises(CheckpointError, check=naming(place, "trial", repr(other.id))):
            next(train_stack([Member(one.config, one.seed, mine, one.id)], dataset, CPU))
        assert {path.name: path.read_bytes() for path in mine.parent.glob("checkpoint.*")} == files
        place.unlink(missing_ok=True)
        mine.write_bytes(own)
    assert progress_in(mine, one.config, one.seed, one.id).epochs == 1


@pytest.mark.parametrize(("field", "value"), [("seed", 99), ("trial", "0" * 16), ("config", {"beta": 9.0})])
def test_a_checkpoint_is_of_one_trial_seed_and_configuration(store, field, value):
    """Each of the three is compared separately; the message has both values."""
    trial, path = store.others[0], Path(str(store.ledger.checkpoint(store.others[0])))
    state = torch.load(path, weights_only=True)
    state[field] = state[field] | value if field == "config" else value
    torch.save(state, path)
    expected = {"config": ("beta", 9.0, 1.0), "seed": ("seed", 99, trial.seed), "trial": ("trial", repr(value), repr(trial.id))}
    with pytest.raises(CheckpointError) as caught:
        history_in(path, trial.config, trial.seed, trial.id)
    assert names(str(caught.value), path)
    assert names_in_order(str(caught.value), *expected[field])


def test_a_checkpoint_written_before_a_field_was_there_is_gone_on_from(store):
    """Such a checkpoint lacks the field and the trial's id. A missing field counts as its default."""
    trial, path = store.others[0], Path(str(store.ledger.checkpoint(store.others[0])))
    state = torch.load(path, weights_only=True)
    del state["trial"], state["config"]["importance_samples"]
    torch.save(state, path)
    assert len(history_in(path, trial.config, trial.seed, trial.id)) == 1


def test_one_damaged_trial_is_trained_again_and_ends_as_it_was(store, types_here):
    """If a result names another checkpoint than the existing one, the thorough plan sets that trial aside, and no other."""
    first, second = (store.ledger.result(trial) for trial in store.trials)
    (store.ledger.folder(store.trials[0]) / "result.json").unlink()
    assert store.ledger.record(replace(first, checkpoint=second.checkpoint))
    thorough_plan = plan.make(store.trials, store.ledger, thorough=True)
    assert (set(thorough_plan.damaged), thorough_plan.done) == ({store.trials[0]}, (store.trials[1],))
    aside = store.ledger.set_aside(store.trials[0])
    assert json.loads((aside / "result.json").read_text())["record"]["trial"] == store.trials[0].id
    assert plan.make(store.trials, store.ledger, thorough=True).fresh == (store.trials[0],)


def test_deleting_as_gc_does_is_checked_by_mlflow_too(store, tmp_path):
    """A checkpoint that was deleted and recorded as such is not uploaded, and is no error."""
    delete_as_gc_does(store.ledger, store.trials[0])
    run_files.put(tmp_path / "into", store.ledger, store.ledger.result(store.trials[0]))
    assert not (tmp_path / "into" / "checkpoint.pt").exists()
    assert (tmp_path / "into" / "evaluation.csv").exists()


@pytest.mark.parametrize("how", ["exchanged", "a byte turned"])
def test_a_classifier_of_another_modality_judges_nothing(store, how):
    """Two modalities have the same shape, so that `torch.load` accepts exchanged files.

    If files are exchanged or a byte is changed, the error names the file.
    """
    dataset, folder = loading.load(store.trials[0].config.data_key, store.home / "data"), store.home / "runs" / "classifiers"
    assert set(trained_classifiers(dataset, folder, CPU).networks) == {"a", "b"}
    (one,), (other,) = folder.glob("*/a.pt"), folder.glob("*/b.pt")
    HARMS[how](one, other)
    with pytest.raises(ClassifierError, check=naming(one)):
        trained_classifiers(dataset, folder, CPU)
