"""The step as one CUDA graph: to the bit the step that it was recorded from.

A CPU has no graphs. Most tests use a recorder that takes the recorded step at each launch, and so have everything but CUDA itself: the
buffer, the steps before the recording and what is restored, the recording anew, the way on without a graph.
"""

import contextlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.networks.networks import Encoder
from mopoe_core.training import run, stack
from mopoe_core.training.graphed_step import SWITCH, WARM_UPS, CudaRecorder, GraphedStep, StepState, recorder_for
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from tests.support.toys import TOYS, random_dataset

CPU, GPU = torch.device("cpu"), torch.device("cuda")
DATASET = random_dataset(TOYS[:3])
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="SKIPPED, NOT PASSED: bit-equality of CUDA graphs needs a GPU, and none is here"
)


class Recorder:
    """Takes the recorded step at each launch."""

    def __init__(self, error: RuntimeError | None = None) -> None:
        self.error, self.recordings, self.waits = error, 0, 0

    def warm_up(self, step: Callable[[], Tensor]) -> None:
        """As a GPU's."""
        for _ in range(WARM_UPS):
            step()

    def record(self, step: Callable[[], Tensor], generators: Sequence[torch.Generator]) -> Callable[[], Tensor]:
        """Returns the step."""
        self.recordings += 1
        if self.error:
            raise self.error
        return step

    def wait(self) -> None:
        """Counts."""
        self.waits += 1


def recording(monkeypatch, error: RuntimeError | None = None) -> Recorder:
    """The recorder of every run and stack that is made from here on."""
    one = Recorder(error)
    for module in (run, stack):
        monkeypatch.setattr(module, "recorder_for", lambda device, is_static=True: one)
    return one


@pytest.fixture
def layered(monkeypatch) -> None:
    """Networks with batch norm and dropout, which have buffers and draw from the global generator."""

    def networks(modality, kind, latent):
        elements = modality.elements
        trunk = nn.Sequential(nn.Flatten(), nn.Linear(elements, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        decoder = nn.Sequential(nn.Linear(latent, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, elements))
        return Encoder(trunk, 8, latent), nn.Sequential(*decoder, nn.Unflatten(1, modality.shape))

    monkeypatch.setattr("mopoe_core.models.model.networks", networks)


def config(**changes) -> TrainingConfig:
    """Fifteen steps an epoch."""
    fields = {"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 4, "epochs": 3, "batch_size": 32}
    return TrainingConfig.model_validate({**fields, "train_examples": 500, "model": "mopoe", **changes})


SETTINGS = (config(), config(model="mvae", learning_rate=3e-4), config(model="mmvae", beta=3.0), config(kl="sum"))


def runs(device: torch.device = CPU, settings: Sequence[TrainingConfig] = SETTINGS) -> list[Run]:
    """One of each setting."""
    return [Run(each, seed, DATASET, device) for seed, each in enumerate(settings)]


def everything(one: Run) -> list[Tensor]:
    """Weights, buffers, Adam's state, where each stream stands, and the history without times."""
    state = one.state()
    adam = [value for kept in state["optimiser"]["state"].values() for value in kept.values()]
    history = [v for epoch in state["history"] for name, v in epoch["values"].items() if name != "train/seconds"]
    return [*state["model"].values(), *adam, *(state[name] for name in ("order", "noise", "layers")), torch.tensor(history)]


def same(one: Run, other: Run) -> bool:
    """Whether two runs stand at the same bits."""
    pairs = zip(everything(one), everything(other), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def trained_stack(members: list[Run], epochs: int = 2) -> list[Run]:
    """The runs after some epochs as one stack."""
    stacked = Stack(members)
    for _ in range(epochs):
        stacked.epoch()
    stacked.release()
    return members


def trained_alone(one: Run, epochs: int = 2) -> Run:
    """The run after some epochs."""
    for _ in range(epochs):
        one.epoch()
    return one


@pytest.mark.usefixtures("layered")
def test_a_graph_changes_no_bit_alone_or_in_a_stack(monkeypatch):
    """After two epochs of four runs alone and as a stack with two learning rates, all that a checkpoint holds is as without graphs: what
    the steps before the recording change in weights, running statistics, Adam and the streams is restored.
    """
    plain = [trained_alone(one) for one in runs()], trained_stack(runs())
    recorder = recording(monkeypatch)
    graphed = [trained_alone(one) for one in runs()], trained_stack(runs())
    assert recorder.recordings == len(SETTINGS) + 1
    assert all(map(same, graphed[0], plain[0]))
    assert all(map(same, graphed[1], plain[1]))


def test_the_steps_before_a_recording_leave_no_trace(monkeypatch):
    """When the step is recorded for the first time, weights and streams are the new run's, and Adam's state is there and zero."""
    recorder, one, seen = recording(monkeypatch), runs()[0], []
    before = everything(runs()[0])
    recorder.record = lambda step, generators: seen.append([t.clone() for t in everything(one)]) or step
    one.step(torch.arange(32))
    weights, adam, rest = len(one.model.state_dict()), 3 * len(list(one.model.parameters())), 4
    assert len(seen[0]) == weights + adam + rest
    assert all(torch.equal(*pair) for pair in zip(seen[0][:weights], before, strict=False))
    assert not any(t.any() for t in seen[0][weights : weights + adam])
    assert all(torch.equal(*pair) for pair in zip(seen[0][-rest:], before[-rest:], strict=True))


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.usefixtures("layered")
def test_the_steps_before_a_recording_update_nothing(monkeypatch, stacked, epochs):
    """Neither a new run nor one in training, alone or in a stack with two learning rates, has other weights or another state of Adam
    after any of these steps; the running statistics move. No gradient is left when the recording begins.
    """
    members = [trained_alone(one, epochs) for one in runs()]
    one = Stack(members) if stacked else members[0]
    recorder, seen, gradients = Recorder(), [], []
    one.graphed = GraphedStep(recorder)
    state = one._step_state()

    def trained() -> list[Tensor]:
        weights = [t for t in state.tensors if t.requires_grad]
        adam = [v for p in state.optimiser.state.values() for v in p.values()]
        return [t.detach().clone() for t in (*weights, *adam)]

    def buffers() -> list[Tensor]:
        return [t.clone() for t in state.tensors if not t.requires_grad]

    def warm_up(step):
        for _ in range(WARM_UPS):
            step()
            seen.append((trained(), buffers()))

    def record(step, generators):
        gradients.extend(p.grad for group in state.optimiser.param_groups for p in group["params"])
        gradients.extend(t.grad for t in state.tensors)
        return step

    monkeypatch.setattr(recorder, "warm_up", warm_up)
    monkeypatch.setattr(recorder, "record", record)
    before, buffers_before = trained(), buffers()
    one.step(torch.arange(32).expand(len(members), -1) if stacked else torch.arange(32))
    for weights_and_adam, moved in seen:
        assert all(torch.equal(*pair) for pair in zip(weights_and_adam, before, strict=False))
        assert not any(new.any() for new in weights_and_adam[len(before) :])
        assert not all(torch.equal(*pair) for pair in zip(moved, buffers_before, strict=True))
    assert gradients
    assert all(gradient is None for gradient in gradients)
    assert not hasattr(state.optimiser, "found_inf")
    after = zip(trained(), before, strict=False)
    assert not all(torch.equal(*pair) for pair in after)  # the step itself has updated them


def test_a_weight_that_is_not_trained_is_restored(monkeypatch):
    """A network of a user's own may move such a weight itself, as an average of what it has seen."""
    average = nn.Parameter(torch.zeros(1), requires_grad=False)
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(1))], fused=True)
    graphed = GraphedStep(Recorder())
    graphed(lambda rows: average.add_(1).clone(), torch.arange(2), lambda: StepState([average], optimiser, []))
    assert float(average) == 1


def test_terms_of_an_earlier_step_stay_what_they_were(monkeypatch):
    """A launch overwrites its own output, and not what a caller has."""
    recording(monkeypatch)
    output = torch.zeros(2)
    graphed = GraphedStep(Recorder())
    state = StepState([], torch.optim.Adam([nn.Parameter(torch.zeros(1))], fused=True), [])
    terms = [graphed(lambda rows: output.copy_(rows), torch.full((2,), value), lambda: state) for value in (1.0, 2.0)]
    assert [float(t[0]) for t in terms] == [1.0, 2.0]


def test_rows_of_another_shape_are_taken_without_the_graph(monkeypatch):
    """The buffer has one shape; a step on other rows has the terms that it has without a graph."""
    plain = runs()[0]
    recording(monkeypatch)
    graphed = runs()[0]
    for rows in (torch.arange(32), torch.arange(32)[:, None].expand(-1, 1).flatten(), torch.arange(32)):
        assert torch.equal(graphed.step(rows), plain.step(rows))
    with pytest.raises(RuntimeError):  # the noise is drawn for 32 examples, and this is the ungraphed step's own refusal
        graphed.step(torch.arange(7))
    assert torch.equal(graphed.graphed._rows, torch.arange(32))


def test_what_moves_memory_is_recorded_anew(monkeypatch):
    """A restored checkpoint, a stack around the run and the release from it: each next step is another recording, with the same bits."""
    plain = runs()
    trained_stack([trained_alone(one, 1) for one in plain], 1)
    for one in plain:
        one.restore(one.state())
        trained_alone(one, 1)
    recorder = recording(monkeypatch)
    graphed = runs()
    for one in graphed:
        trained_alone(one, 1)
    trained_stack(graphed, 1)
    assert recorder.recordings == 4 + 1
    for one in graphed:
        one.restore(one.state())
        trained_alone(one, 1)
    assert recorder.recordings == 4 + 1 + 4
    assert all(map(same, graphed, plain))
    waits = recorder.waits
    graphed[0].trained()
    assert recorder.waits == waits + 1
    assert graphed[0].graphed._launch is None


def test_a_step_that_cannot_be_recorded_is_taken_without(monkeypatch, capsys):
    """It is tried once, said in one line, and changes no bit."""
    plain = trained_alone(runs()[0])
    recorder = recording(monkeypatch, RuntimeError("operation not permitted\nwhen stream is capturing"))
    graphed = trained_alone(runs()[0])
    assert recorder.recordings == 1
    assert same(graphed, plain)
    (line,) = capsys.readouterr().err.splitlines()
    assert "operation not permitted" in line


class Cuda:
    """As much of `torch.cuda` as a recording uses. As in torch, an error at the end of a recording leaves its stream current, and the
    allocator, unless torch is `new`, with a recording in progress.
    """

    def __init__(self, new: bool) -> None:
        self.new, self.stream, self.recording_into = new, "main", None
        self.generator = torch.Generator()

    def replace(self, monkeypatch) -> None:
        """Puts this in the place of torch's."""
        module = "mopoe_core.training.graphed_step"
        for name in ("stream", "graph", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(reset=self._reset, register_generator_state=id))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.stream)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 7))
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self._end, raising=False)
        monkeypatch.setattr(f"{module}._side_stream", lambda device: "side")
        monkeypatch.setattr(f"{module}._restored_after_an_error", lambda generators: contextlib.nullcontext())
        monkeypatch.setattr(f"{module}.default_generator", lambda device: self.generator)

    @contextlib.contextmanager
    def _stream(self, stream):
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextlib.contextmanager
    def _graph(self, graph, pool=(0, 1), stream=None):
        self.stream, self.recording_into = stream, pool
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def _empty_cache(self) -> None:
        if self.recording_into is not None:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    def _reset(self) -> None:
        if self.new:
            self.recording_into = None

    def _end(self, device: int, pool: tuple[int, int]) -> None:
        assert not self.new, "torch would end the process: it ends the recording itself, a second time"
        assert (device, pool) == (0, self.recording_into)
        self.recording_into = None


@pytest.mark.parametrize("new", [False, True])
def test_a_recording_that_fails_leaves_stream_and_allocator_as_they_were(monkeypatch, new):
    """The next step is on the stream of the steps before, and unused memory can be freed, with older and newer versions of torch."""
    cuda = Cuda(new)
    cuda.replace(monkeypatch)
    with pytest.raises(RuntimeError, match="previous error during capture"):
        CudaRecorder(GPU).record(lambda: torch.zeros(1), [])
    assert cuda.stream == "main"
    cuda._empty_cache()


def test_memory_that_runs_out_for_the_graph_alone_is_no_reason_to_halve(monkeypatch, capsys):
    """CUDA needs memory for the finished graph. Where it has none, steps without a graph have the same bits."""
    plain = trained_alone(runs()[0], 1)
    recording(monkeypatch, torch.AcceleratorError("CUDA error: out of memory"))
    graphed = trained_alone(runs()[0], 1)
    assert same(graphed, plain)
    assert "CUDA error: out of memory" in capsys.readouterr().err


def test_memory_that_runs_out_halves_the_stack_and_is_no_reason_to_go_on(monkeypatch):
    """The error is passed on, with the run as it was before the step."""
    recording(monkeypatch, torch.OutOfMemoryError("no room"))
    one = runs()[0]
    with pytest.raises(torch.OutOfMemoryError):
        one.step(torch.arange(32))
    assert all(torch.equal(*pair) for pair in zip(one.model.parameters(), runs()[0].model.parameters(), strict=True))


def test_a_checkpoint_of_a_graphed_run_is_that_of_an_ungraphed_one(monkeypatch):
    """Adam's settings too: a trial that was begun on a GPU goes on anywhere."""
    plain = trained_alone(runs()[0], 1).state()["optimiser"]["param_groups"]
    recording(monkeypatch)
    assert trained_alone(runs()[0], 1).state()["optimiser"]["param_groups"] == plain


def test_only_a_gpu_records_and_only_if_it_may(monkeypatch):
    """Not a CPU, not where shapes depend on the data, and not where the user has switched graphs off."""
    monkeypatch.delenv(SWITCH, raising=False)
    assert recorder_for(GPU) is not None
    assert recorder_for(CPU) is None
    assert recorder_for(GPU, is_static=False) is None
    monkeypatch.setenv(SWITCH, "off")
    assert recorder_for(GPU) is None


@pytest.mark.usefixtures("layered")
def test_hidden_modalities_and_batch_norm_are_not_recorded(monkeypatch):
    """A batch norm sees the examples that have its modality: how many there are differs from step to step."""
    asked = []
    monkeypatch.setattr(run, "recorder_for", lambda device, is_static=True: asked.append(is_static))
    for missing in (0.0, 0.3):
        Run(config(missing=missing), 0, DATASET, CPU)
    assert asked == [True, False]


@needs_gpu
@pytest.mark.usefixtures("layered")
def test_on_a_gpu_a_graph_changes_no_bit(monkeypatch):
    """The first test with real CUDA graphs, and each step was indeed recorded."""
    monkeypatch.setenv(SWITCH, "off")
    plain = [trained_alone(one) for one in runs(GPU)], trained_stack(runs(GPU))
    monkeypatch.delenv(SWITCH)
    alone, members = runs(GPU), runs(GPU)
    for one in alone:
        trained_alone(one)
        assert one.graphed._launch is not None
    stacked = Stack(members)
    stacked.epoch()
    assert stacked.graphed._launch is not None
    stacked.epoch()
    stacked.release()
    assert all(map(same, alone, plain[0]))
    assert all(map(same, members, plain[1]))


@needs_gpu
def test_on_a_gpu_a_step_that_waits_goes_on_without_a_graph(capsys):
    """Its generators draw on as if nothing had been tried."""
    one, plain = runs(GPU)[0], runs(GPU)[0]

    def waiting(rows):
        terms = one.ungraphed_step(rows)
        terms.cpu()
        return terms

    rows = torch.arange(32, device=GPU)
    for _ in range(3):
        assert torch.equal(one.graphed(waiting, rows, one._step_state), plain.ungraphed_step(rows))
    assert len(capsys.readouterr().err.splitlines()) == 1
