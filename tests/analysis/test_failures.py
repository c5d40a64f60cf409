"""`failures`: what is one cause, what its trials share, and what is said of it."""

import traceback

import pytest
import yaml

from mopoe_core.spelling import choose
from orchestrator.execution.ray_tune.callback import DIED
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import labels
from tests.support.builders import COHERENCE, result
from tests.support.naming import line_naming, names, names_in_order

HEAD = "Traceback (most recent call last):\n"
LIBRARY = '  File "/usr/lib/python3.11/site-packages/torch/nn/functional.py", line 5, in linear\n    raise it\n'
LOSS = '  File "/cluster/code/mopoe_core/loss.py", line 12, in terms\n    linear()\n    ~~~~~~^^\n'
WORKER = '  File "/cluster/code/orchestrator/worker.py", line 3, in run\n    terms()\n'


def cause(text, dataset):
    """The cause that the text of an earlier version's record tells of."""
    return Failure.parsed(text, dataset).cause


def test_a_cause_is_the_exception_and_the_innermost_frame_of_ours():
    """Frames of libraries below it do not count, nor does where on a machine the code lies."""
    assert cause(f"{HEAD}{WORKER}{LOSS}{LIBRARY}RuntimeError: of two: sizes\nand more", "polymnist") == (
        "RuntimeError at mopoe_core/loss.py:12 in terms"
    )
    assert cause(f"{HEAD}{LIBRARY}torch.OutOfMemoryError: CUDA out of memory", "polymnist") == "OutOfMemoryError"
    assert cause(f"{HEAD}{WORKER}KeyboardInterrupt\n", "polymnist") == "KeyboardInterrupt at orchestrator/worker.py:3 in run"


def test_of_a_chain_of_exceptions_the_last_counts():
    """What was raised while another was handled is the cause, and frames that a message quotes are not frames."""
    link = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
    quoted = '  File "/cluster/code/mopoe_core/model.py", line 1, in quoted'
    chain = f"{HEAD}{LOSS}KeyError: 'a'{link}{HEAD}{WORKER}mopoe_core.errors.DataError: gone\n{quoted}"
    assert cause(chain, "polymnist") == "DataError at orchestrator/worker.py:3 in run"


@pytest.mark.parametrize("dataset", ["my/data.py:made", "./my/data.py:made", "../my/data.py:made", "my.data:made"])
def test_a_frame_in_the_file_of_the_users_dataset_counts(dataset):
    """Named as a file, from wherever, or as a module; files of that name elsewhere do not count."""
    mine = '  File "/home/me/my/data.py", line 7, in forward\n    raise it\n'
    other = '  File "/usr/lib/other/data.py", line 8, in forward\n    raise it\n'
    assert cause(f"{HEAD}{LOSS}{mine}{other}ValueError: no", dataset) == "ValueError at my/data.py:7 in forward"


def test_what_left_no_traceback_is_its_own_last_line():
    """A killed worker's trials are one group, whatever they are; an empty note is said to be one."""
    assert cause(DIED, "polymnist") == DIED
    assert cause("", "polymnist") not in ("", DIED)


@pytest.fixture
def swept(tmp_path):
    """A sweep of thirty trials, of which each of latent_dim 5 raised, one was killed and two diverged; its file, ledger and trials."""
    raw = {
        "name": "t",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
        "grid": {"beta": [1, 2], "latent_dim": [4, 5, 6]},
        "seeds": 5,
        "storage": str(tmp_path / "runs"),
    }
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(raw))
    ledger, every = Ledger(tmp_path / "runs"), parse(raw).trials
    for trial in every:
        number = ledger.begin(trial)
        if trial.config.latent_dim == 5:
            try:
                choose("field", "b", ["a"])
            except ValueError as raised:
                error = "".join(traceback.format_exception(raised))
            ledger.end_attempt(trial, number, "failed", error)
            ledger.fail(trial, error)
        elif trial == every[0]:
            ledger.fail(trial, DIED)
        else:
            diverged = trial.config.latent_dim == 6 and trial.config.beta == 2 and trial.seed < 2
            ledger.record(result(trial.cell, trial.seed, {COHERENCE: 0.5}, "diverged" if diverged else "completed"))
    return path, ledger, every


def test_failed_trials_are_grouped_with_what_they_share_and_a_command(swept, types_here):
    """Largest group first, a few trials named and the rest counted, one traceback whole, the value that tells them from the others, and
    the killed and the diverged apart.
    """
    path, ledger, every = swept
    code, out, err = types_here("failures", path)
    assert (code, err) == (0, "")
    raised, killed, diverged = out.split("\n\n1. ")[1].split("\n\n2. ")[0], *out.split("\n\n2. ")[1].split("\n\n3. ")
    assert names_in_order(out.splitlines()[0], "t", "11 failed", "2 diverged", 30)
    assert raised.startswith("ValueError at mopoe_core/spelling.py:")
    assert names(raised.splitlines()[0], "choose", 10)
    assert line_naming(raised, "more", 5)
    assert line_naming(raised, "latent_dim=5", "(0)", 20)
    assert raised.count("Traceback (most recent call last):") == 1
    assert line_naming(raised, "ValueError", "field", "'b'")
    first = next(trial for trial in every if trial.config.latent_dim == 5)
    assert f"mopoe rerun {path} --trial {first.id} --here" in raised
    assert killed.startswith(f"{DIED}: ")
    assert names(killed.splitlines()[0].removeprefix(DIED), 1)
    assert "Traceback" not in killed + diverged
    assert line_naming(diverged, labels([t.cell for t in every])[every[-1].cell.id], "seed=1", "step 7")
    assert "it has " in killed
    assert "they share " in diverged


def test_the_command_names_scale_and_storage_as_they_were_given(swept, types_here):
    """Typed with --storage, it has --storage."""
    path, ledger, _ = swept
    _, out, _ = types_here("failures", path, "--storage", ledger.storage)
    assert f"rerun {path} --storage {ledger.storage} --trial " in out


def test_where_nothing_failed_that_is_said_and_nothing_is_made(swept, types_here, tmp_path):
    """An empty storage is not even created."""
    path, _, _ = swept
    code, out, _ = types_here("failures", path, "--storage", tmp_path / "none")
    assert (code, out) == (0, "t: nothing failed, of 30 trials\n")  # in full
    assert not (tmp_path / "none").exists()
