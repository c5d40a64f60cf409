"""`audit`: when two trainings of a trial count as equal, and the command on a store of really trained trials."""

import math
from dataclasses import replace

import pytest
import torch
import yaml

from mopoe_core.errors import UserError
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.file_facts import Digest
from orchestrator.analysis.reproducibility import TOLERANCE, WEIGHTS_TOLERANCE, compare, distance
from orchestrator.driver.audit import choose
from orchestrator.execution.foreground import Foreground
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, metric, result
from tests.support.naming import line_naming, names, names_in_order, naming

RECORDED = result(cell(), 0, {COHERENCE: 0.5, LIKELIHOOD: -1900.0})


def again(loss=10.0, metrics=RECORDED.metrics, **changes):
    """Returns the trial as if trained again, with another loss or other metrics."""
    history = (Epoch(1, 5, {"train/loss": loss, "train/seconds": 99.0}),)
    return replace(RECORDED, history=history, metrics=metrics, **changes)


def threads(count):
    """A provenance with this number of threads."""
    return RECORDED.provenance | {"threads": count}


def test_the_same_numbers_and_weights_are_bit_equal_whatever_the_time_took():
    """Durations and timestamps do not count, NaN equals NaN, and the verdict says if a checkpoint is gone."""
    verdict = compare(RECORDED, again(), 0.0)
    assert (verdict.holds, verdict.explanation) == (True, "bit-equal in 1 epochs, 2 metrics and all weights")
    assert compare(again(math.nan), again(math.nan), 0.0).holds
    verdict = compare(RECORDED, again(), None)
    assert verdict.holds
    assert names(verdict.explanation, "checkpoint", "weights")
    assert verdict.explanation != compare(RECORDED, again(), 0.0).explanation


def test_the_last_digit_counts_where_nothing_excuses_it():
    """With the same machine, threads and versions, one bit of a loss counts, and so do weights.

    The verdict has the epoch and both values.
    """
    verdict = compare(RECORDED, again(math.nextafter(10.0, 11.0)), 0.0)
    assert not verdict.holds
    assert names_in_order(verdict.explanation, "epoch 1", "train/loss", "10.0", "10.000000000000002", "1.8e-16")
    assert not any(names(verdict.explanation, excuse) for excuse in ("threads", "processor", "torch", "commit"))
    verdict = compare(RECORDED, again(), 1e-9)
    assert not verdict.holds
    assert names(verdict.explanation, "weights", "1e-09")
    assert not names(verdict.explanation, "train/loss")


def test_another_order_of_additions_excuses_what_is_within_tolerance():
    """With another number of threads, differences up to the tolerance are allowed. The verdict says how large, where and why."""
    within = again(10.0 * (1 + TOLERANCE / 2), provenance=threads(4))
    verdict = compare(replace(RECORDED, provenance=threads(1)), within, 0.1)
    assert verdict.holds
    assert verdict.explanation == (
        "within tolerance (largest relative difference 0.0005 in epoch 1, train/loss, weights 0.1 apart), which is 0.001, and 1 for "
        "weights, because threads was 1 and is 4"
    )
    far = again(10.0 * (1 + TOLERANCE * 2), provenance=threads(4))
    verdict = compare(replace(RECORDED, provenance=threads(1)), far, 0.1)
    assert not verdict.holds
    assert names(verdict.explanation, "epoch 1", "train/loss", "threads")
    for apart, holds in ((WEIGHTS_TOLERANCE, True), (WEIGHTS_TOLERANCE * 1.01, False), (1.4, False), (math.inf, False)):
        verdict = compare(replace(RECORDED, provenance=threads(1)), again(provenance=threads(4)), apart)
        assert verdict.holds == holds
        assert holds or names(verdict.explanation, "weights", f"{apart:.2g}", 1, "threads")


def test_a_stack_and_a_metrics_own_error_are_excuses_and_a_commit_is_none():
    """If the trial was trained in a stack, a share may move by its Monte-Carlo error. Other code is named, but allows no difference."""
    moved = (metric(COHERENCE, 0.508), RECORDED.metrics[1])
    stacked = replace(RECORDED, provenance=RECORDED.provenance | {"stack": {"trials": 4}})
    alone = again(metrics=moved, provenance=RECORDED.provenance | {"stack": {"trials": 1}})
    verdict = compare(stacked, alone, 0.0)
    assert verdict.holds
    assert names_in_order(verdict.explanation, "stack", 4, 1)
    verdict = compare(RECORDED, again(metrics=moved, provenance=RECORDED.provenance | {"commit": "def"}), 0.0)
    assert not verdict.holds
    assert names_in_order(verdict.explanation, "commit", "abc", "def")


def test_a_number_that_only_one_of_them_has_parts():
    """A metric is no longer reported, or the trial now diverges."""
    fewer = compare(RECORDED, again(metrics=RECORDED.metrics[:1]), 0.0)
    assert not fewer.holds
    assert names(fewer.explanation, "log_likelihood/joint")
    assert not names(fewer.explanation, COHERENCE)
    ended = compare(RECORDED, again(status="diverged", diverged_at_step=3), 0.0)
    assert not ended.holds
    assert names_in_order(ended.explanation, "completed", "diverged", 3)


def test_the_distance_of_two_models_is_that_of_their_worst_tensor():
    """It is relative to the tensor's size, infinite if the tensors do not correspond, and zero for the same model."""
    a = {"w": torch.tensor([3.0, 4.0]), "b": torch.zeros(1)}
    assert distance(a, a) == 0
    assert distance(a, a | {"w": torch.tensor([3.0, 4.5])}) == pytest.approx(0.1)
    assert distance(a, {"w": a["w"]}) == math.inf


def test_a_sample_is_of_completed_trials_and_repeats_with_its_seed():
    """The same seed gives the same sample. A sample of more trials than have completed is refused in a line with their number."""
    results = [*grid_results([cell(), cell(beta=2.0)], 5), result(cell(beta=3.0), 0, {}, "diverged")]
    assert choose(results, 4, 7) == choose(results, 4, 7)
    assert {r.status for r in choose(results, 10, 0)} == {"completed"}
    for count in (0, 11):
        with pytest.raises(UserError, check=naming("--sample", count, 1, 10)):
            choose(results, count, 0)
    with pytest.raises(UserError, check=naming("completed")):
        choose([], 1, 0)


@pytest.fixture
def store(own_home):
    """A sweep of two really trained trials: its file, ledger and trials."""
    base = {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 2}
    raw = {"name": "own", "base": base, "seeds": 2}
    (own_home / "own.yaml").write_text(yaml.safe_dump(raw))
    every = parse(raw).trials
    for trial in every:
        Foreground(own_home / "runs", "data", "").train(trial, 1, 0.0)
    return own_home / "own.yaml", Ledger(own_home / "runs"), every


def test_trials_that_are_trained_again_are_bit_equal_and_a_forged_one_parts(store, types_here):
    """Real trials give exit 0 and the sample's seed. A changed result or checkpoint gives exit 1 and the first number that differs.
    The ledger does not change.
    """
    path, ledger, (first, second) = store
    before = {p: p.read_bytes() for p in ledger.storage.rglob("*.json")}
    code, out, err = types_here("audit", path, "--sample", 2)
    assert (code, err) == (0, "")
    assert line_naming(out, 2, "--seed")
    verdicts = [line for line in out.splitlines() if "bit-equal" in line]
    assert [names(line, "2 epochs", "32 metrics", "weights") for line in verdicts] == [True, True]
    assert {p: p.read_bytes() for p in ledger.storage.rglob("*.json")} == before
    recorded = ledger.result(first)
    better = replace(recorded.metrics[0], value=recorded.metrics[0].value + 0.01)
    (ledger.folder(first) / "result.json").unlink()
    assert ledger.record(replace(recorded, metrics=(better, *recorded.metrics[1:])))
    state = torch.load(ledger.checkpoint(second), weights_only=True)
    next(iter(state["model"].values())).mul_(1.001)
    torch.save(state, ledger.checkpoint(second))
    changed = replace(ledger.result(second), checkpoint=Digest.of_file(ledger.checkpoint(second)))
    (ledger.folder(second) / "result.json").unlink()
    assert ledger.record(changed)
    code, out, _ = types_here("audit", path, "--sample", 2, "--seed", 1)
    assert code == 1
    assert names_in_order(line_naming(out, first.id), "coherence/joint", repr(better.value), repr(recorded.metrics[0].value))
    assert names(line_naming(out, second.id), "weights", 0.001)


def test_a_trial_that_no_longer_trains_parts_and_the_others_are_still_seen(store, types_here, monkeypatch):
    """Its error is in the line of that trial."""
    real = Foreground.train

    def some(self, trial, *rest, **more):
        if trial.seed == 0:
            raise ValueError("no\nmore")
        return real(self, trial, *rest, **more)

    monkeypatch.setattr(Foreground, "train", some)
    code, out, _ = types_here("audit", store[0], "--sample", 2)
    assert code == 1
    assert names(line_naming(out, store[2][0].id), "ValueError: no more")
    assert "bit-equal" in line_naming(out, store[2][1].id)
