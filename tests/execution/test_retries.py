"""Which errors are tried again: those of the machine, but not those that the same code raises each time."""

import errno

import pytest
import torch
from torch import nn

from mopoe_core.errors import CheckpointError, DataError
from orchestrator.execution import in_process
from orchestrator.execution.events import Observer
from orchestrator.execution.executor import Work
from orchestrator.execution.queue import job_queue
from orchestrator.execution.queue.job import jobs
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.retries import fails_again
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse

TWO = torch.zeros(2, 3)


def raised_by(function):
    """Returns the error that a function raises, with its traceback."""
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


class Flat(nn.Module):
    """A decoder that reshapes its input to a shape of another size."""

    def forward(self, x):
        """Raises."""
        return x.reshape(5, 7)


MISMATCHES = {
    "product": lambda: nn.Linear(4, 2)(TWO),
    "sum": lambda: TWO + torch.zeros(2, 4),
    "reshape": lambda: Flat()(TWO),
    "view": lambda: TWO.view(7),
    "concatenation": lambda: torch.cat([TWO, torch.zeros(3, 4)]),
    "stack": lambda: torch.stack([TWO, torch.zeros(3, 4)]),
    "convolution's channels": lambda: nn.Conv2d(3, 4, 3)(torch.zeros(2, 1, 8, 8)),
    "convolution's axes": lambda: nn.Conv2d(3, 4, 3)(TWO),
    "convolution's size": lambda: nn.Conv2d(1, 4, 9)(torch.zeros(2, 1, 3, 3)),
    "transposed convolution": lambda: nn.ConvTranspose2d(3, 4, 3)(torch.zeros(2, 1, 8, 8)),
    "batch norm": lambda: nn.BatchNorm1d(5)(TWO),
    "layer norm": lambda: nn.LayerNorm(5)(TWO),
    "expansion": lambda: TWO.expand(4, 3),
    "batched product": lambda: torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 5, 6)),
    "weights": lambda: nn.Linear(3, 2).load_state_dict(nn.Linear(3, 4).state_dict()),
    "type": lambda: nn.Linear(3, 2)(TWO.double()),
    "axis": lambda: TWO.sum(4),
    "unpacking": lambda: (lambda mu, logvar: None)(*torch.zeros(3, 2)),
    "attribute": lambda: TWO.no_such_name,
    "key": lambda: {}["mu"],
    "not implemented": lambda: nn.Module()(TWO),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_the_same_code_raises_each_time_is_not_tried_again(name):
    """These are errors of shapes, raised by torch itself, and errors of types, names and keys."""
    assert fails_again(raised_by(MISMATCHES[name]))


OF_THE_MACHINE = {
    "memory of a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "memory": MemoryError(),
    "memory of torch": RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
    "memory, told with shapes": RuntimeError("CUDA out of memory for a size mismatch"),
    "CUDA": RuntimeError("CUDA error: device-side assert triggered"),
    "cuBLAS": RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    "unknown": RuntimeError("it did not go"),
    "disk": OSError(errno.EIO, "Input/output error"),
    "network": ConnectionResetError(),
    "time": TimeoutError(),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(1),
    "data": DataError("a file is gone"),
    "checkpoint, a ValueError": CheckpointError("damaged"),
    "text of a damaged file, a ValueError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    "module on this node": ModuleNotFoundError("no module"),
}


@pytest.mark.parametrize("name", OF_THE_MACHINE)
def test_what_may_come_from_the_machine_is_tried_again(name):
    """Unknown types of errors are tried again, too, and errors of files that derive from ValueError."""
    assert not fails_again(OF_THE_MACHINE[name])


def test_what_stands_behind_an_error_counts():
    """A ValueError is tried again if a lost disk caused it, but not if it replaced that error on purpose (`from None`)."""

    def because():
        try:
            raise OSError(errno.EIO, "no")
        except OSError as error:
            raise ValueError("not read") from error

    def instead():
        try:
            raise OSError(errno.ENOENT, "no")
        except OSError:
            raise ValueError("not offered") from None

    assert not fails_again(raised_by(because))
    assert fails_again(raised_by(instead))


def test_an_error_that_passed_through_storage_is_tried_again(tmp_path, monkeypatch):
    """This holds for any type of error: a library for remote files raises a ValueError if a connection is closed."""

    class Closed:
        def glob(self, pattern):
            raise ValueError("I/O operation on closed file")

        def __truediv__(self, name):
            return self

    monkeypatch.setattr("mopoe_core.storage.folders.LocalPath", lambda folder: folder)
    assert not fails_again(raised_by(Layout(Closed()).results))


def planned(seeds):
    """Returns trials of one cell."""
    return parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "seeds": seeds}).trials


def test_the_queue_gives_up_at_once_what_would_fail_again():
    """With two retries left, the trial fails after one attempt. If it is a canary, that stops the sweep, and no job waits."""
    (trial,) = planned(1)
    queue = Queue(jobs([(trial,)], {}), Resources(retries=2), pause=lambda tries: 0.0)
    queue.next("a")
    queue.job_failed("a", "shape", fails_again=True)
    assert queue.failed == {trial.id: "shape"}
    assert queue.stopped
    assert queue.is_over


@pytest.mark.parametrize("whole", [True, False], ids=["the stack broke", "one trial raised"])
def test_a_stack_that_would_fail_again_is_tried_trial_by_trial_and_no_further(whole):
    """A trial that always fails does not fail the others: each failed trial gets one attempt alone, and the stack not three."""
    first, second = planned(2)
    queue = Queue(jobs([(first, second)], {}), Resources(retries=2), pause=lambda tries: 0.0)
    queue.next("a")
    queue.rehearsal_passed("a")
    if whole:
        queue.job_failed("a", "shape", fails_again=True)
    else:
        queue.trial_ended("a", second.id)
        queue.trial_raised("a", first.id, fails_again=True)
        queue.job_finished("a", "shape")
    alone = []
    while (job := queue.next(f"b{len(alone)}")) is not None:
        alone.append(job.ids)
        if job.ids == (first.id,):
            queue.job_failed(f"b{len(alone) - 1}", "shape", fails_again=True)
        else:
            queue.trial_ended(f"b{len(alone) - 1}", second.id)
            queue.job_finished(f"b{len(alone) - 1}")
    assert sorted(alone) == sorted([(first.id,), (second.id,)] if whole else [(first.id,)])
    assert queue.failed == {first.id: "shape"}


@pytest.mark.parametrize(
    ("error", "attempts"), [(ValueError("shape"), 1), (OSError(errno.EIO, "disk"), 3)], ids=["code", "machine"]
)
def test_a_trial_is_tried_again_only_where_that_may_help(own_home, monkeypatch, error, attempts):
    """With two retries there is one attempt if the error would come again, and three if it may not."""

    def broken(*arguments):
        raise error

    monkeypatch.setattr("orchestrator.execution.attempt.attempt.train_stack", broken)
    monkeypatch.setattr("orchestrator.execution.attempt.attempt.rehearse", lambda *arguments: None)
    monkeypatch.setattr(job_queue, "FIRST_PAUSE", 0.0)
    (trial,) = parse({"name": "own", "base": {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2}}).trials
    ledger = Ledger(own_home / "runs")
    outcome = in_process.run(Work([trial], [trial], ledger, Resources(retries=2), "commit", "", {}), Observer())
    assert list(outcome.errors) == [trial.id]
    assert ledger.state(trial).attempts == attempts
