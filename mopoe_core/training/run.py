"""One model in training: its steps, its epochs and the state in its checkpoints.

All random numbers come from streams derived from the trial's seed (initialisation, order of examples, noise and component choice,
dropout). So a run that is repeated on the same machine with the same number of threads is bit-equal.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset, Split
from mopoe_core.metric_names import Epoch
from mopoe_core.models.draws import Draws, draw
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.networks import precision
from mopoe_core.random_streams import GlobalStream, generator, seed_of
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import link_as, write_bytes
from mopoe_core.training.checkpoint import FORMAT, packed, previous_checkpoint
from mopoe_core.training.graphed_step import GraphedStep, StepState, recorder_for

SELECTION_SEED = 0
"""The seed that selects the examples of `train_examples`. It is the same for every trial."""


@dataclass(frozen=True)
class Trained:
    """A model after its last epoch, or after the epoch in which it diverged."""

    model: MultimodalVAE
    history: tuple[Epoch, ...]
    diverged_at_step: int | None
    """The first optimiser step, counted from 1, whose loss was not finite, or after which some weights were not."""
    seconds: float
    """Training time, over the epochs of this attempt and earlier ones."""
    checkpoint: Digest | None = None
    """Digest of the checkpoint with exactly this model; None if none was written or read."""


def new_model(config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device) -> MultimodalVAE:
    """A model whose initialisation is determined by `seed`. The states of the global generators do not change."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(seed, "initialisation"))  # `torch.manual_seed` would seed those of GPUs too
        model = MultimodalVAE(config, dataset.modalities)
    return model.to_device(device)


class Run:
    """A model in training, with everything that its checkpoints need."""

    def __init__(self, config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device, trial: str = "") -> None:
        precision.check_available(config.precision, device)
        self.config, self.seed, self.device, self.trial = config, seed, device, trial
        self.split = dataset.train.take(config.train_examples, SELECTION_SEED).to(device)
        self.model = new_model(config, seed, dataset, device).train()
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.order = generator(device, seed, "order")
        self.noise = generator(device, seed, "noise")
        self.layers = GlobalStream(device, seed, "layers")
        """The random numbers that the networks themselves draw, for dropout."""
        self.present_NM = observed_mask(self.split, config.missing, seed)
        self.graphed = GraphedStep(recorder_for(device, is_static=self.present_NM is None or not self.model.mixes_examples))
        self.history: list[Epoch] = []
        self.diverged_at_step: int | None = None
        self.checkpoint: Digest | None = None
        """Digest of the checkpoint after the last epoch; None until it is written or read."""

    @property
    def ended(self) -> bool:
        """Whether there is no further epoch to train."""
        return len(self.history) >= self.config.epochs or self.diverged_at_step is not None

    def trained(self) -> Trained:
        """The result of the training. The graphed step's memory is freed for the evaluation."""
        self.graphed.forget()
        seconds = sum(epoch.values["train/seconds"] for epoch in self.history)
        return Trained(self.model.eval(), tuple(self.history), self.diverged_at_step, seconds, self.checkpoint)

    def epoch(self) -> None:
        """Make one pass over the training examples. The host waits for the device once, at the end."""
        started = time.perf_counter()
        tally, order = Tally(self.config, self.device), self.shuffled()
        with self.layers.entered():
            for rows_B in order.split(self.config.batch_size)[: self.config.steps_per_epoch]:
                tally.add(self.step(rows_B))
        self.close_epoch(
            tally.sums.tolist(), int(tally.first_bad), bool(self.weights_are_finite()), time.perf_counter() - started
        )

    def weights_are_finite(self) -> Tensor:
        """Whether all weights are finite. Only this detects an update of the last step that broke them: each step's loss is computed
        before its update.
        """
        return torch.stack([torch.isfinite(p).all() for p in self.model.parameters()]).all()

    def shuffled(self) -> Tensor:
        """The order of the examples in the next epoch: (N,)."""
        return torch.randperm(len(self.split), generator=self.order, device=self.device)

    def draws(self) -> Draws:
        """The random numbers of the next step."""
        config = self.config
        return draw(self.model.objective.spec, config.batch_size, config.latent_dim, self.noise, config.private_dim)

    def close_epoch(self, sums: list[float], first_bad: int, is_finite: bool, seconds: float) -> None:
        """Add an epoch to the history. `sums` are the sums of `Loss.terms` over its steps, `first_bad` is its first step with a loss that
        is not finite (the number of steps plus 1 if there is none), and `is_finite` says whether all weights are finite after it.
        """
        steps = self.config.steps_per_epoch
        total, kl, private_kl, *reconstructions = (term / steps for term in sums)
        bad_step = min(first_bad, steps + int(is_finite))
        if bad_step <= steps:
            self.diverged_at_step = len(self.history) * steps + bad_step
        values = {"train/loss": total, "train/kl": kl}
        for modality, reconstruction in zip(self.split.modalities, reconstructions, strict=True):
            values[f"train/reconstruction/{modality.name}"] = reconstruction
        if self.config.private_dim:
            values["train/private_kl"] = private_kl
        values["train/seconds"] = seconds
        self.history.append(Epoch(len(self.history) + 1, int(time.time() * 1000), values))

    def step(self, rows_B: Tensor) -> Tensor:
        """Take one optimiser step, on a GPU as one CUDA graph. Returns `Loss.terms`, still on the device."""
        if not self.graphed.possible:
            return self.ungraphed_step(rows_B)
        return self.graphed(self._step_with_layers, rows_B, self._step_state)

    def _step_with_layers(self, rows_B: Tensor) -> Tensor:
        with self.layers.entered():  # a graph draws from the generator that it was recorded with
            return self.ungraphed_step(rows_B)

    def _step_state(self) -> StepState:
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return StepState(tensors, self.optimiser, [self.noise, self.layers.generator])

    def ungraphed_step(self, rows_B: Tensor) -> Tensor:
        """`step` without a CUDA graph."""
        x = self.split.batch(rows_B)
        present_BM = None if self.present_NM is None else self.present_NM[rows_B]
        loss = self.model.loss(x, self.draws(), present_BM)
        self.optimiser.zero_grad()
        with precision.in_backward(self.config.precision, self.device):
            loss.total.backward()
        self.optimiser.step()
        return loss.terms()

    def save(self, checkpoint: AnyPath) -> None:
        """Write the checkpoint, whole or not at all. The previous checkpoint stays beside it."""
        link_as(checkpoint, previous_checkpoint(checkpoint))
        self.write(checkpoint)

    def write(self, path: AnyPath) -> None:
        """Write the state, whole or not at all."""
        content = packed(self.state())
        self.checkpoint = Digest.of(content) if self.ended else None
        write_bytes(path, content)

    def state(self) -> dict[str, Any]:
        """Everything that is needed to resume training. It has tensors and plain values only, so that loading it runs no code."""
        return {
            "format": FORMAT,
            "trial": self.trial,
            "config": self.config.model_dump(),
            "modalities": [asdict(modality) for modality in self.model.modalities],
            **({"own": _own_dataset(self.config)} if is_own(self.config.dataset) else {}),
            "seed": self.seed,
            "model": _without_views(self.model.state_dict()),
            "optimiser": _without_views(self.optimiser.state_dict()),
            "order": self.order.get_state(),
            "noise": self.noise.get_state(),
            "layers": self.layers.state,
            "history": [asdict(epoch) for epoch in self.history],
            "diverged_at_step": self.diverged_at_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to the point at which `state` was taken."""
        self.graphed.forget()
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.set_state(state["order"])
        self.noise.set_state(state["noise"])
        self.layers.state = state["layers"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.diverged_at_step = state["diverged_at_step"]


class Tally:
    """Sums over an epoch's steps, on the device: of one run, or, with a leading axis of trials, of a stack."""

    def __init__(self, config: TrainingConfig, device: torch.device, *trials: int) -> None:
        self.sums = torch.zeros(*trials, 3 + config.M, device=device, dtype=torch.float64)
        self.first_bad = torch.full(trials, config.steps_per_epoch + 1, device=device)
        self._step = 0

    def add(self, terms: Tensor) -> None:
        """Add a step's `Loss.terms`."""
        self._step += 1
        self.sums += terms
        self.first_bad = torch.where(torch.isfinite(terms[..., 0]), self.first_bad, self.first_bad.clamp(max=self._step))


def _own_dataset(config: TrainingConfig) -> dict[str, Any]:
    """The facts about a user's own dataset that allow loading a model without the dataset's code: the card, and the modalities that have
    networks of the user's own.
    """
    return {"card": asdict(config.card), "networks": user_data.with_networks(config.dataset)}


def _without_views(tree: Any) -> Any:
    """The state, with copies of tensors that are views of larger ones: `torch.save` would write the larger tensor."""
    if isinstance(tree, Tensor):
        return tree.clone() if tree.untyped_storage().nbytes() > tree.nbytes else tree
    if isinstance(tree, dict):
        return {key: _without_views(value) for key, value in tree.items()}
    return [_without_views(value) for value in tree] if isinstance(tree, list) else tree


def observed_mask(split: Split, share: float, seed: int) -> Tensor | None:
    """A mask (N, M) that is true where a modality is observed; None if nothing is hidden. Every example has at least one modality."""
    if share == 0:
        return None
    rng = generator(torch.device("cpu"), seed, "missing")
    examples, modalities = len(split), len(split.modalities)
    present_NM = torch.rand((examples, modalities), generator=rng) >= share
    modality_N = torch.randint(modalities, (examples,), generator=rng)
    all_hidden_N = ~present_NM.any(1)
    present_NM[all_hidden_N, modality_N[all_hidden_N]] = True
    return present_NM.to(split.labels.device)
