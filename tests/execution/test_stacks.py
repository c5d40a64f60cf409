"""Which trials make a stack, and what storage remembers of how fast stacks are."""

import pytest

from orchestrator.execution.stack_sizes import Measured, remember, remembered
from orchestrator.execution.stacks import form
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_spec import SpecError, parse, trials


def planned(**changes):
    """Trials of two models, two betas and three seeds."""
    base = {"dataset": "mnist_svhn_text", "networks": "small"}
    return trials(parse({"name": "t", "base": base, "grid": {"model": ["mopoe", "mvae"], "beta": [1, 2]}, "seeds": 3, **changes}))


def sizes(every, size):
    """The same largest stack for every shape."""
    return {trial.config.shape: size for trial in every}


@pytest.mark.parametrize(("size", "slots"), [(1, 2), (2, 1), (3, 2), (4, 2), (5, 3), (12, 1), (12, 8), (100, 4)])
def test_every_trial_is_in_one_stack_of_bounded_and_even_size(size, slots, tmp_path):
    """Whatever the size and the number of workers, stacks are a partition, at most `size`, even, and a multiple of the workers."""
    every = planned()
    stacks = form(every, every, sizes(every, size), slots, Ledger(tmp_path))
    assert sorted(trial.id for stack in stacks for trial in stack) == sorted(trial.id for trial in every)
    lengths = [len(stack) for stack in stacks]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert size == 1 or len(stacks) % slots == 0 or max(lengths) == 1


def test_trials_of_one_model_are_stacked_together(tmp_path):
    """Six trials a model in stacks of six: no stack has two models."""
    every = planned()
    stacks = form(every, every, sizes(every, 6), 2, Ledger(tmp_path))
    assert [{trial.config.model for trial in stack} for stack in stacks] == [{"mopoe"}, {"mvae"}]


def test_other_shapes_are_never_stacked(tmp_path):
    """Trials of another latent dimension, batch or dataset are in stacks of their own."""
    every = [*planned(), *planned(base={"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 5})]
    for stack in form(every, every, sizes(every, 100), 1, Ledger(tmp_path)):
        assert len({trial.config.shape for trial in stack}) == 1
    assert (
        len({trial.config.shape for trial in planned(grid={"model": ["mvae", "mopoe", "mmvm"], "learning_rate": [1e-3, 1e-4]})})
        == 1
    )


def test_a_stack_that_was_begun_is_formed_again(tmp_path):
    """What is left of a stack goes on together, whatever the other trials are stacked into."""
    every, ledger = planned(), Ledger(tmp_path)
    begun = (every[0], every[4], every[11])
    ledger.note_stack(begun)
    left = [trial for trial in every if trial is not every[4]]
    stacks = form(left, every, sizes(every, 5), 2, ledger)
    assert (every[0], every[11]) in stacks
    assert sum(len(stack) for stack in stacks) == 11
    assert all(len(stack) == 1 for stack in form(left, every, {}, 2, ledger))


def test_stacks_do_not_depend_on_when_the_sweep_was_cut(tmp_path):
    """With some trials ended, the others are in the stacks that they were in while none had."""
    every = planned()
    whole = form(every, every, sizes(every, 4), 2, Ledger(tmp_path))
    for ended in range(1, len(every)):
        left = every[ended:]
        assert form(left, every, sizes(every, 4), 2, Ledger(tmp_path)) == [
            kept for stack in whole if (kept := tuple(trial for trial in stack if trial in left))
        ]


def test_what_was_measured_is_kept_by_shape_and_machine(tmp_path):
    """It is found again for the same shape whatever the number of epochs, and not for another shape, model or machine."""
    config = planned()[0].config
    kept = Measured(8, {"2": 1.5, "8": 3.0}, 9, "most", "this one")
    remember(tmp_path, config, kept)
    assert remembered(tmp_path, config, "this one") == kept
    assert remembered(tmp_path, config, "that one") is None
    for changes, found in (({"epochs": 3, "beta": 9}, kept), ({"latent_dim": 3}, None), ({"model": "mmvae"}, None)):
        other = type(config).model_validate(config.model_dump() | changes)
        assert remembered(tmp_path, other, "this one") == found
    next((tmp_path / "stacks").glob("*.json")).write_text("half a fi")
    assert remembered(tmp_path, config, "this one") is None


def test_a_measurement_answers_up_to_what_it_asked(tmp_path):
    """One that stopped at the largest size asked for says nothing of larger ones; one that got slower does."""
    assert Measured(8, {}, 9, "most", "").answers(9)
    assert not Measured(8, {}, 9, "most", "").answers(16)
    assert Measured(4, {}, 9, "slower", "").answers(16)


@pytest.mark.parametrize("value", [0, -1, 2.5, "all", True, 10_000])
def test_a_stack_of_nothing_is_refused(value):
    """`stack` is a whole number from 1, or `auto`; anything else is a mistake that names the field."""
    with pytest.raises(SpecError, match=r"resources\.stack"):
        planned(resources={"stack": value})
    assert planned(resources={"stack": "auto"})
