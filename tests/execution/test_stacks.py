"""Which trials make a stack, and the stored measurements of how fast stacks are."""

import pytest

from orchestrator.errors import SpecError
from orchestrator.execution.stack_sizes import Measured, read, write
from orchestrator.execution.stacks import form
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse


def planned(**changes):
    """Returns trials of two models, two betas and three seeds."""
    base = {"dataset": "mnist_svhn_text", "networks": "small"}
    return parse({"name": "t", "base": base, "grid": {"model": ["mopoe", "mvae"], "beta": [1, 2]}, "seeds": 3, **changes}).trials


def sizes(trials, size):
    """Returns the same largest stack for each shape."""
    return {trial.config.shape: size for trial in trials}


@pytest.mark.parametrize(("size", "slots"), [(1, 2), (2, 1), (3, 2), (4, 2), (5, 3), (12, 1), (12, 8), (100, 4)])
def test_every_trial_is_in_one_stack_of_bounded_and_even_size(size, slots, tmp_path):
    """Stacks are a partition of the trials, at most `size` long, of even length, and their number is a multiple of the workers."""
    trials = planned()
    stacks = form(trials, trials, sizes(trials, size), slots, Ledger(tmp_path))
    assert sorted(trial.id for stack in stacks for trial in stack) == sorted(trial.id for trial in trials)
    lengths = [len(stack) for stack in stacks]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert size == 1 or len(stacks) % slots == 0 or max(lengths) == 1


def test_trials_of_one_model_are_stacked_together(tmp_path):
    """With six trials of each model and stacks of six, no stack has two models."""
    trials = planned()
    stacks = form(trials, trials, sizes(trials, 6), 2, Ledger(tmp_path))
    assert [{trial.config.model for trial in stack} for stack in stacks] == [{"mopoe"}, {"mvae"}]


def test_other_shapes_are_never_stacked(tmp_path):
    """No stack has trials of two latent dimensions; other models and learning rates have the same shape."""
    trials = [*planned(), *planned(base={"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 5})]
    for stack in form(trials, trials, sizes(trials, 100), 1, Ledger(tmp_path)):
        assert len({trial.config.shape for trial in stack}) == 1
    assert (
        len({trial.config.shape for trial in planned(grid={"model": ["mvae", "mopoe", "mmvm"], "learning_rate": [1e-3, 1e-4]})})
        == 1
    )


def test_a_stack_that_was_begun_is_formed_again(tmp_path):
    """The rest of a begun stack stays together, and the other trials are stacked without it."""
    trials, ledger = planned(), Ledger(tmp_path)
    begun = (trials[0], trials[4], trials[11])
    ledger.note_stack(begun)
    left = [trial for trial in trials if trial is not trials[4]]
    stacks = form(left, trials, sizes(trials, 5), 2, ledger)
    assert (trials[0], trials[11]) in stacks
    assert sum(len(stack) for stack in stacks) == 11
    assert all(len(stack) == 1 for stack in form(left, trials, {}, 2, ledger))


def test_stacks_do_not_depend_on_when_the_sweep_was_cut(tmp_path):
    """After some trials have ended, the others are in the same stacks as before."""
    trials = planned()
    whole = form(trials, trials, sizes(trials, 4), 2, Ledger(tmp_path))
    for ended in range(1, len(trials)):
        left = trials[ended:]
        assert form(left, trials, sizes(trials, 4), 2, Ledger(tmp_path)) == [
            rest for stack in whole if (rest := tuple(trial for trial in stack if trial in left))
        ]


def test_what_was_measured_is_kept_by_shape_and_machine(tmp_path):
    """A measurement counts for the same shape with other epochs and beta, but not for another shape, model or machine."""
    config = planned()[0].config
    measured = Measured(8, {"2": 1.5, "8": 3.0}, 9, "most", "this one")
    write(tmp_path, config, measured)
    assert read(tmp_path, config, "this one") == measured
    assert read(tmp_path, config, "that one") is None
    for changes, expected in (({"epochs": 3, "beta": 9}, measured), ({"latent_dim": 3}, None), ({"model": "mmvae"}, None)):
        other = type(config).model_validate(config.model_dump() | changes)
        assert read(tmp_path, other, "this one") == expected
    next((tmp_path / "stacks").glob("*.json")).write_text("half a fi")
    assert read(tmp_path, config, "this one") is None


def test_a_measurement_answers_up_to_what_it_asked(tmp_path):
    """A measurement that ended at the largest size asked for does not answer for larger ones; one that ended as slower does."""
    assert Measured(8, {}, 9, "most", "").answers(9)
    assert not Measured(8, {}, 9, "most", "").answers(16)
    assert Measured(4, {}, 9, "slower", "").answers(16)


@pytest.mark.parametrize("value", [0, -1, 2.5, "all", True, 10_000])
def test_a_stack_of_nothing_is_refused(value):
    """`stack` is a whole number from 1, or `auto`; the error for any other value names the field."""
    with pytest.raises(SpecError, match=r"resources\.stack"):
        planned(resources={"stack": value})
    assert planned(resources={"stack": "auto"})
