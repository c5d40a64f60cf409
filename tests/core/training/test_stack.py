"""Stacks: many trials as one batched model, each with the numbers it would have alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text
from mopoe_core.data.polymnist import polymnist
from mopoe_core.data.types import Dataset, Split
from mopoe_core.family.registry import MODELS
from mopoe_core.metric_names import Epoch
from mopoe_core.networks import stacked_layers
from mopoe_core.networks.networks import Encoder
from mopoe_core.networks.residual import Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d
from mopoe_core.networks.stacked_layers import NotStackable, joined
from mopoe_core.networks.stacking import check_network, stack
from mopoe_core.random_streams import GlobalStream
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.training import stacked_training
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from mopoe_core.training.stacked_training import Member, is_out_of_memory, train_stack
from mopoe_core.training.training import train
from tests.support.toys import TOYS, in_float64, random_dataset

CPU = torch.device("cpu")
FAMILY = (
    {"model": "mvae", "beta": 0.5},
    {"model": "mvae", "prior_expert": "none", "missing": 0.3},
    {"model": "mmvae", "kl": "sum", "learning_rate": 3e-4},
    {"model": "mmvae", "kl": "mixture", "weight_decay": 0.01},
    {"model": "mopoe", "kl": "sum", "estimator": "categorical"},
    {"model": "mopoe", "kl": "mixture", "reconstruction_weights": "equal"},
    {"model": "mopoe", "kl": "sum", "prior_expert": "full", "missing": 0.3, "beta": 10.0},
    {"model": "eq5"},
    {"model": "mvtcae", "alpha": 0.3},
    {"model": "mmjsd"},
    {"model": "mmvm"},
    {"model": "crmvae", "missing": 0.3},
)
FAMILY += tuple({"model": name} for name in MODELS if name not in {settings["model"] for settings in FAMILY})
"""Every model, every estimator and every number that a stack's trials may differ in."""


def config(**changes) -> TrainingConfig:
    """Three hundred steps of 32 examples."""
    fields = {"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 4, "epochs": 20, "batch_size": 32}
    return TrainingConfig.model_validate({**fields, "train_examples": 500, "model": "mopoe", "kl": "sum", **changes})


@pytest.fixture(scope="module")
def toys() -> Dataset:
    """Three small modalities."""
    return random_dataset(TOYS[:3])


class InFloat64(Split):
    """A split whose batches are float64."""

    def batch(self, index_B):
        """As the split's own."""
        return {name: x.double() for name, x in super().batch(index_B).items()}


def run_in_float64(settings: TrainingConfig, seed: int, dataset: Dataset) -> Run:
    """A run that computes in float64 throughout."""
    run = Run(settings, seed, dataset, CPU)
    in_float64(run.model)
    run.split = InFloat64(**vars(run.split))
    return run


def weights(model: nn.Module) -> torch.Tensor:
    """All parameters and buffers as one vector."""
    return torch.cat([t.detach().flatten().double() for t in (*model.parameters(), *model.buffers())])


def values(epochs) -> list[dict[str, float]]:
    """A history without times."""
    return [{k: v for k, v in epoch.values.items() if k != "train/seconds"} for epoch in epochs]


def without_biases(run: Run) -> torch.Tensor:
    """Weights and running variances."""
    kept = [t for name, t in run.model.state_dict().items() if not name.endswith(("bias", "running_mean"))]
    return torch.cat([t.detach().flatten().double() for t in kept])


def check_equal_to_solo(settings: list[TrainingConfig], dataset: Dataset, of=lambda run: weights(run.model)) -> None:
    """In float64, every run of a stack ends with the weights and history that it has alone, to 1e-9."""
    close = 1e-9
    alone = [run_in_float64(each, seed, dataset) for seed, each in enumerate(settings)]
    together = [run_in_float64(each, seed, dataset) for seed, each in enumerate(settings)]
    stacked = Stack(together)
    for _ in range(settings[0].epochs):
        stacked.epoch()
        for run in alone:
            run.epoch()
    stacked.release()
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(of(one), of(other), rtol=close, atol=close)
        for mine, theirs in zip(values(one.history), values(other.history), strict=True):
            assert mine == pytest.approx(theirs, rel=close)


def test_every_model_has_the_numbers_it_has_alone(toys):
    """A stack of every model, estimator and weighting equals the solo runs to 1e-9 in float64 after 300 steps."""
    check_equal_to_solo([config(**changes) for changes in FAMILY], toys)


@pytest.mark.parametrize("name", MODELS)
def test_trials_of_one_model_that_hide_modalities_have_the_numbers_they_have_alone(toys, name):
    """Each trial hides other modalities. CRMVAE has four components, as many as there are trials, so mixed-up axes change the numbers."""
    check_equal_to_solo([config(model=name, missing=0.3, epochs=1)] * 4, toys)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["mnist_svhn_text", "polymnist"])
def test_the_paper_networks_have_the_numbers_they_have_alone(name, epochs):
    """Convolutions in one and two dimensions, and transposed ones: a hundred steps an epoch in float64 end where solo runs do."""
    modalities = {"mnist_svhn_text": mnist_svhn_text.MODALITIES, "polymnist": polymnist.modalities(2)}[name]
    common = {"dataset": name, "networks": "paper", "batch_size": 5, "train_examples": 500, "epochs": epochs}
    common |= {"modality_count": 2} if name == "polymnist" else {}
    check_equal_to_solo([config(**common, model=model) for model in ("mopoe", "mvae")], random_dataset(modalities))


def test_a_stack_leaves_a_networks_layout_as_it_was():
    """Weights that lie channels last do so in the stack and afterwards, and so does Adam's state: a trial that is evaluated after a
    restart computes in the order of one that was never stacked."""
    modalities = polymnist.modalities(2)
    settings = config(dataset="polymnist", networks="paper", modality_count=2, batch_size=5)
    runs = [Run(settings, seed, random_dataset(modalities), CPU) for seed in range(2)]
    before = [p.stride() for p in runs[0].model.parameters()]
    stacked = Stack(runs)
    stacked.step(torch.arange(5).expand(2, -1))
    stacked.release()
    for run in runs:
        assert [p.stride() for p in run.model.parameters()] == before
        assert [run.optimiser.state[p]["exp_avg"].stride() for p in run.model.parameters()] == before
    assert any(p.ndim == 4 and not p.is_contiguous() for p in runs[0].model.parameters())


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(
    ("made", "size"),
    [
        (lambda: nn.Conv1d(4, 6, 3, 2, 1), (9,)),
        (lambda: nn.Conv2d(4, 6, 4, 2, 1, bias=False), (8, 8)),
        (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (9, 7)),
        (lambda: nn.ConvTranspose1d(4, 3, 4, 2, 1), (5,)),
        (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (5, 4)),
        (lambda: nn.Linear(7, 5, bias=False), (7,)),
    ],
    ids=["conv1d", "conv2d", "grouped", "transposed1d", "transposed2d", "linear"],
)
def test_a_stacked_layer_is_its_layers(made, size, one_by_one, monkeypatch):
    """Outputs and gradients of five stacked layers are those of each alone, both as a GPU and as a CPU does convolutions."""
    monkeypatch.setattr(stacked_layers, "one_by_one", lambda device: one_by_one)
    layers = [made().double() for _ in range(5)]
    x = torch.randn(5, 3, 4, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    expected = torch.stack([layer(part) for layer, part in zip(layers, x, strict=True)])
    wanted = torch.autograd.grad(expected.sin().sum(), [x, *(p for layer in layers for p in layer.parameters())])
    stacked = stack(layers, [])
    found = stacked(x)
    gradients = torch.autograd.grad(found.sin().sum(), [x, *stacked.parameters()])
    assert torch.allclose(found, expected, rtol=1e-12)
    assert torch.allclose(gradients[0], wanted[0], rtol=1e-10, atol=1e-12)
    alone = torch.cat([g.flatten() for g in wanted[1:]])
    together = torch.cat([g[t].flatten() for t in range(5) for g in gradients[1:]])
    assert torch.allclose(alone, together, rtol=1e-10, atol=1e-12)


def residual_networks(modality, kind, latent):
    """CelebA's kinds of block, narrow: batch norms and dropout in one and two dimensions."""
    if modality.kind == "text":
        length, symbols = modality.shape
        trunk = nn.Sequential(nn.Conv1d(length, 6, 1), Residual1d(6, 8, 1), nn.Flatten())
        decoder = nn.Sequential(
            nn.Linear(latent, 6), nn.Unflatten(1, (6, 1)), ResidualTranspose1d(6, 5, 1, 0), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(20, length * symbols), nn.Unflatten(1, modality.shape),
        )  # fmt: skip
        return Encoder(trunk, 8 * (symbols // 2), latent), decoder
    channels, height, width = modality.shape
    trunk = nn.Sequential(nn.Conv2d(channels, 4, 3, 1, 2, bias=False), Residual2d(4, 6, 1), nn.Flatten())
    features = 6 * ((height + 2) // 2) * ((width + 2) // 2)
    decoder = nn.Sequential(
        nn.Linear(latent, 6), nn.Unflatten(1, (6, 1, 1)), ResidualTranspose2d(6, 4, 1, 0), nn.Flatten(), nn.BatchNorm1d(64),
        nn.Linear(64, modality.elements), nn.Unflatten(1, modality.shape),
    )  # fmt: skip
    return Encoder(trunk, features, latent), decoder


def test_batch_norm_and_dropout_are_each_trials_own(toys, monkeypatch):
    """Networks of residual blocks with batch norm and dropout stack: losses, weights and variances equal the solo runs'.

    Not the biases: one in front of a batch norm has no gradient but rounding, which Adam scales up to some 1e-8 of weight.
    """
    monkeypatch.setattr("mopoe_core.models.model.networks", residual_networks)
    check_equal_to_solo([config(model=model) for model in ("mopoe", "mvae", "mopoe")], toys, without_biases)


def test_dropout_is_part_of_what_repeats_and_resumes(toys, monkeypatch, tmp_path):
    """With dropout in the networks, a run repeats to the bit whatever the global generator did, and so does one that was cut."""
    monkeypatch.setattr("mopoe_core.models.model.networks", residual_networks)
    settings = config(epochs=3)
    whole = train(settings, 0, toys, CPU, tmp_path / "whole.pt")
    before = torch.get_rng_state()
    cut_at(1, lambda told: train(settings, 0, toys, CPU, tmp_path / "cut.pt", lambda epoch: told({0: epoch})))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(11)
    assert torch.equal(weights(train(settings, 0, toys, CPU, tmp_path / "cut.pt").model), weights(whole.model))


def permuted(run: Run, chance: torch.Generator) -> None:
    """Train a run for an epoch with the examples of each batch, and their noise, in another order: sums in another order."""
    batch = run.config.batch_size
    own_draws, own_step, order = run.draws, run.step, torch.arange(batch)

    def draws():
        drawn = own_draws()
        private = drawn.private_noise_MBP[:, order]
        return replace(drawn, position_B=drawn.position_B[order], noise=drawn.noise[order], private_noise_MBP=private)

    def step(rows_B):
        order[:] = torch.randperm(batch, generator=chance)
        return own_step(rows_B[order])

    run.draws, run.step = draws, step
    run.epoch()
    run.draws, run.step = own_draws, own_step


def test_in_float32_a_stack_is_as_near_as_another_order_of_additions(toys):
    """After 30 steps in float32 the weights differ from the solo run's no more than those of solo runs that add up in other orders."""
    settings = config(batch_size=250, epochs=15)
    solo, stacked = Run(settings, 0, toys, CPU), [Run(settings, seed, toys, CPU) for seed in range(5)]
    others = [Run(settings, 0, toys, CPU) for _ in range(5)]
    batched = Stack(stacked)
    for _ in range(settings.epochs):
        solo.epoch()
        batched.epoch()
        for place, run in enumerate(others):
            permuted(run, torch.Generator().manual_seed(place))
    spread = max(float((weights(run.model) - weights(solo.model)).abs().max()) for run in others)
    assert spread > 0
    assert float((weights(stacked[0].model) - weights(solo.model)).abs().max()) <= spread


class Cut(Exception):
    """What stops a training in a test."""


def cut_at(epoch: int, start) -> None:
    """Start a training and stop it when some trial has told of this epoch."""

    def told(epochs: dict[int, Epoch]) -> None:
        if any(each.epoch == epoch for each in epochs.values()):
            raise Cut

    with pytest.raises(Cut):
        start(told)


def members(folder: Path, *changes: dict, **common) -> list[Member]:
    """Trials with the seeds 0, 1, ... and checkpoints in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    return [Member(config(**common, **change), seed, folder / f"{seed}.pt") for seed, change in enumerate(changes)]


def trained(few: list[Member], toys: Dataset, *listeners) -> list:
    """Train a stack to its end; what came of each member, in their order."""
    found = dict(train_stack(few, toys, CPU, *listeners))
    return [found[place] for place in range(len(few))]


THREE = ({"beta": 1.0}, {"model": "mvae"}, {"beta": 5.0})


def test_a_stack_that_was_cut_goes_on_as_it_was_formed(toys, tmp_path):
    """Stopped after the second of four epochs, the same stack ends bit-equal to one that was never cut, and tells every epoch once."""
    whole = trained(members(tmp_path / "whole", *THREE, epochs=4), toys)
    cut = members(tmp_path / "cut", *THREE, epochs=4)
    cut_at(2, lambda told: trained(cut, toys, told))
    told: list[tuple[int, int]] = []
    resumed = trained(cut, toys, lambda epochs: told.extend((place, each.epoch) for place, each in epochs.items()))
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(weights(one.model), weights(other.model))
        assert values(one.history) == values(other.history)
    assert sorted(told) == [(place, epoch) for place in range(3) for epoch in range(1, 5)]


def cut_short(folder: Path, names: tuple[str, ...]) -> None:
    """Take the end of these files away, as a loss of power may."""
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:-500])


class Killed(BaseException):
    """What stops the writing of checkpoints in a test."""


@pytest.mark.parametrize("call", range(9))
@pytest.mark.parametrize("epochs_before", [0, 1])
def test_a_stack_that_is_cut_between_checkpoints_ends_bit_equal(toys, tmp_path, monkeypatch, epochs_before, call):
    """Killed at any of the nine steps in which an epoch's three checkpoints are saved (three are written, each written file is moved
    beside the old one, and each then takes its place), the stack goes on to the same bits and leaves no file over. This holds for the
    first epoch, before which no trial has a checkpoint, and for the second."""
    whole = trained(members(tmp_path / "whole", *THREE, epochs=3), toys)
    cut = members(tmp_path / "cut", *THREE, epochs=3)
    if epochs_before:
        cut_at(epochs_before, lambda told: trained(cut, toys, told))
    steps: list[str] = []

    def killing(name, do):
        def at(self, *arguments):
            steps.append(name)
            if len(steps) > call:
                raise Killed
            return do(self, *arguments)

        return at

    with monkeypatch.context() as patch:
        for kind in (Path, LocalPath):
            patch.setattr(kind, "replace", killing("move", kind.replace))
        patch.setattr(stacked_training.Run, "save", killing("write", stacked_training.Run.save))
        with pytest.raises(Killed):
            trained(cut, toys)
    for one, other in zip(whole, trained(cut, toys), strict=True):
        assert torch.equal(weights(one.model), weights(other.model))
        assert values(one.history) == values(other.history)
    assert not list((tmp_path / "cut").glob("*.next"))


def test_a_trial_that_is_behind_catches_up(toys, tmp_path):
    """A trial that lacks an epoch which the others have trains it first, and all end where they would have."""
    whole = trained(members(tmp_path / "whole", *THREE, epochs=3), toys)
    cut = members(tmp_path / "cut", *THREE, epochs=3)
    cut_at(1, lambda told: trained(cut, toys, told))
    early = cut[1].checkpoint.read_bytes()
    cut_at(2, lambda told: trained(cut, toys, told))
    cut[1].checkpoint.write_bytes(early)
    for one, other in zip(whole, trained(cut, toys), strict=True):
        assert torch.allclose(weights(one.model), weights(other.model), rtol=1e-5, atol=1e-6)
        assert len(other.history) == 3


@pytest.mark.parametrize("lost", [("0.pt",), ("1.pt", "2.pt"), ("0.pt", "1.pt", "2.pt")])
def test_a_stack_that_loses_its_newest_checkpoints_goes_back_together(toys, tmp_path, lost):
    """Cut after its third epoch, some files cut short: the whole stack takes up the second, and ends bit-equal to one left in peace."""
    peace, cut = members(tmp_path / "a", *THREE, epochs=4), members(tmp_path / "b", *THREE, epochs=4)
    whole = trained(peace, toys)
    cut_at(3, lambda told: trained(cut, toys, told))
    cut_short(tmp_path / "b", lost)
    told: list[dict[int, Epoch]] = []
    again = trained(cut, toys, told.append)
    assert [sorted(epochs) for epochs in told] == [[0], [0], [1], [1], [2], [2], [0, 1, 2], [0, 1, 2]]
    for one, other in zip(whole, again, strict=True):
        assert torch.equal(weights(one.model), weights(other.model))


@pytest.mark.parametrize("lost", [("0.pt",), ("1.pt", "2.pt"), ("0.pt", "1.pt", "2.pt")])
def test_a_stack_that_loses_a_first_checkpoint_starts_again_together(toys, tmp_path, lost):
    """Cut after its first epoch, some files cut short: there is no epoch before, so all start again, and end bit-equal."""
    peace, cut = members(tmp_path / "a", *THREE, epochs=2), members(tmp_path / "b", *THREE, epochs=2)
    whole = trained(peace, toys)
    cut_at(1, lambda told: trained(cut, toys, told))
    cut_short(tmp_path / "b", lost)
    for one, other in zip(whole, trained(cut, toys), strict=True):
        assert torch.equal(weights(one.model), weights(other.model))


def test_a_checkpoint_of_a_stack_is_that_of_a_run_alone(toys, tmp_path):
    """A trial begun in a stack goes on alone from its checkpoint, which is no larger than a solo run's."""
    few, solo = members(tmp_path / "a", *THREE, epochs=2), members(tmp_path / "b", *THREE, epochs=2)
    cut_at(1, lambda told: trained(few, toys, told))
    cut_at(1, lambda told: train(solo[0].config, 0, toys, CPU, solo[0].checkpoint, lambda epoch: told({0: epoch})))
    assert few[0].checkpoint.stat().st_size == pytest.approx(solo[0].checkpoint.stat().st_size, rel=0.1)
    alone = train(few[0].config, 0, toys, CPU, few[0].checkpoint)
    never_stacked = train(solo[0].config, 0, toys, CPU, solo[0].checkpoint)
    assert torch.allclose(weights(alone.model), weights(never_stacked.model), rtol=1e-5, atol=1e-6)


def test_a_diverged_trial_leaves_and_the_rest_go_on(toys, tmp_path):
    """A learning rate of 1e18 diverges at the step it has alone; the others end finite, with every epoch, where they do without it."""
    bad = {"learning_rate": 1e18}
    few = members(tmp_path / "a", {"beta": 1.0}, bad, {"beta": 2.0}, epochs=3)
    assert [place for place, _ in train_stack(few, toys, CPU)] == [1, 0, 2]
    found = trained(few, toys)
    alone = train(config(**bad, epochs=3), 1, toys, CPU, tmp_path / "alone.pt")
    assert found[1].diverged_at_step == alone.diverged_at_step is not None
    assert len(found[1].history) == 1
    for place, beta in ((0, 1.0), (2, 2.0)):
        solo = train(config(beta=beta, epochs=3), place, toys, CPU, tmp_path / f"{place}.pt")
        assert len(found[place].history) == 3
        assert torch.allclose(weights(found[place].model), weights(solo.model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no room"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported at some other call"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
    ids=["torch", "host", "cuda", "cublas", "cudnn", "cudnn9"],
)
def test_every_library_may_say_that_memory_has_run_out(error):
    """Torch, the host, and on a GPU CUDA and its libraries, each in its own words; another error is none of these."""
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_out_of_memory_halves_the_stack(toys, tmp_path, monkeypatch):
    """With memory for two trials, five are trained as stacks of two and one, told 5 and 3; each ends where it would have."""

    class Small(Stack):
        def __init__(self, runs):
            if len(runs) > 2:
                raise torch.OutOfMemoryError(f"no room for {len(runs)}")
            super().__init__(runs)

    plain = trained(members(tmp_path / "a", *[{}] * 5, epochs=2), toys)
    monkeypatch.setattr(stacked_training, "Stack", Small)
    told: list[int] = []
    halved = trained(members(tmp_path / "b", *[{}] * 5, epochs=2), toys, lambda epochs: None, told.append)
    assert told == [5, 3]
    for one, other in zip(plain, halved, strict=True):
        assert torch.allclose(weights(one.model), weights(other.model), rtol=1e-5, atol=1e-6)


def test_the_trials_of_a_stack_share_one_copy_of_the_training_data(toys, tmp_path, monkeypatch):
    """On a GPU, moving data that are there already copies nothing. Here a device is played that copies what was not moved yet."""
    moved: list[Split] = []

    def to(split, device):
        if not any(split.items is known.items for known in moved):
            items = {name: values.clone() for name, values in split.items.items()}
            moved.append(replace(split, items=items))
            return moved[-1]
        return split

    monkeypatch.setattr(Split, "to", to)
    trained(members(tmp_path, *[{}] * 3, epochs=1), toys)
    assert len(moved) == 1


def test_what_does_not_stack_is_named(toys, tmp_path, monkeypatch):
    """A network with a layer norm is refused by the layer's name, and is unharmed; another number of epochs is refused too."""
    with pytest.raises(NotStackable, match="LayerNorm"):
        check_network(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)))
    with pytest.raises(ValueError, match="differ"):
        trained([*members(tmp_path, {}), Member(config(epochs=2), 1, tmp_path / "1.pt")], toys)


def test_a_layer_used_twice_in_a_network_does_not_stack():
    """Its two names would get two copies, which train apart. The same holds for a batch norm without weights, and not for ReLUs."""
    twice, norm, rectified = nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.ReLU()
    for layer, name in ((twice, "2.weight"), (norm, "2.running_mean")):
        with pytest.raises(NotStackable, match=name):
            check_network(nn.Sequential(layer, rectified, layer, rectified))
    check_network(nn.Sequential(nn.Linear(3, 3), rectified, nn.Linear(3, 3), rectified))


@pytest.mark.parametrize("normed", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_a_network_whose_weights_are_computed_does_not_stack(normed):
    """A stack holds a layer's own weights only."""
    with pytest.raises(NotStackable):
        check_network(nn.Sequential(normed(nn.Linear(3, 3))))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout(0.5), (6, 4, 3, 3)),
        (nn.Dropout(0.5), (6, 4)),
        (nn.Dropout2d(0.5), (6, 4, 3, 3)),
        (nn.Dropout2d(0.5), (6, 4, 5)),
        (nn.Dropout2d(0.5), (6, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
@pytest.mark.parametrize("order", ["contiguous", "channels last", "transposed"])
@pytest.mark.filterwarnings("ignore:dropout2d:UserWarning")
def test_dropout_drops_in_a_stack_what_it_drops_alone(layer, shape, order):
    """Whatever the axes and the order of the memory are: torch draws in that order."""
    x = torch.rand(shape)
    if order == "transposed":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    if order == "channels last" and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    alone = []
    for stream in _two_streams():
        with stream.entered():
            alone.append(layer(x))
    together = stack([layer, layer], _two_streams())(joined([x, x], x))
    assert torch.equal(together, torch.stack(alone))


def _two_streams():
    """Two streams at their beginning."""
    return [GlobalStream(CPU, seed, "dropout") for seed in (0, 1)]
