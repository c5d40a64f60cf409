"""One model in training: its steps, its epochs and the state that a checkpoint holds.

All chance comes from streams derived from the trial's seed (initialisation, order of examples, noise and component choice, dropout), so
a run is bit-equal when it is repeated on the same machine with the same number of threads.
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
from mopoe_core.storage.whole_files import keep, write_bytes
from mopoe_core.training.checkpoint import FORMAT, before, packed
from mopoe_core.training.graphed_step import GraphedStep, StepState, recorder_for

SELECTION_SEED = 0  # which examples `train_examples` keeps: the same for every trial


@dataclass(frozen=True)
class Trained:
    """A model after its last epoch, or where it diverged."""

    model: MultimodalVAE
    history: tuple[Epoch, ...]
    diverged_at_step: int | None
    """Optimiser step, from 1, of the first loss that was not finite, or that left weights that are not."""
    seconds: float
    """In the epochs of this and earlier attempts."""
    checkpoint: Digest | None = None
    """Of the checkpoint that holds exactly this model; None where none was written or read."""


def new_model(config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device) -> MultimodalVAE:
    """A model with the initialisation that `seed` determines; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "initialisation"))
        model = MultimodalVAE(config, dataset.modalities)
    return model.to_device(device)


class Run:
    """A model in training, with everything that a checkpoint must hold."""

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
        """What the networks themselves draw: dropout."""
        self.present_NM = hidden_at_random(self.split, config.missing, seed)
        self.graphed = GraphedStep(recorder_for(device, is_static=self.present_NM is None or not self.model.mixes_examples))
        self.history: list[Epoch] = []
        self.diverged_at_step: int | None = None
        self.checkpoint: Digest | None = None
        """Of the checkpoint after the last epoch, once that is written or read."""

    @property
    def ended(self) -> bool:
        """Whether there is no further epoch to train."""
        return len(self.history) >= self.config.epochs or self.diverged_at_step is not None

    def trained(self) -> Trained:
        """What has come of it. The memory of a graphed step is free for the evaluation."""
        self.graphed.forget()
        seconds = sum(epoch.values["train/seconds"] for epoch in self.history)
        return Trained(self.model.eval(), tuple(self.history), self.diverged_at_step, seconds, self.checkpoint)

    def epoch(self) -> None:
        """One pass over the training examples. The host waits for the device once, at the end."""
        started = time.perf_counter()
        tally, order = Tally(self.config, self.device), self.shuffled()
        with self.layers.entered():
            for rows_B in order.split(self.config.batch_size)[: self.config.steps_per_epoch]:
                tally.add(self.step(rows_B))
        self.close_epoch(tally.sums.tolist(), int(tally.first_bad), bool(self.sound()), time.perf_counter() - started)

    def sound(self) -> Tensor:
        """Whether all weights are finite. The last step's loss is taken before its update: weights that it broke show only here."""
        return torch.stack([torch.isfinite(p).all() for p in self.model.parameters()]).all()

    def shuffled(self) -> Tensor:
        """The order of the examples in the epoch that begins: (N,)."""
        return torch.randperm(len(self.split), generator=self.order, device=self.device)

    def draws(self) -> Draws:
        """The chance of the step that begins."""
        config = self.config
        return draw(self.model.objective.spec, config.batch_size, config.latent_dim, self.noise, config.private_dim)

    def close_epoch(self, sums: list[float], first_bad: int, sound: bool, seconds: float) -> None:
        """Note an epoch: the sums over its steps of `Loss.terms`, its first step with a loss that is not finite (one past the last for
        none), and whether all weights are finite after it.
        """
        steps = self.config.steps_per_epoch
        total, kl, private_kl, *parts = (term / steps for term in sums)
        bad = min(first_bad, steps + int(sound))
        if bad <= steps:
            self.diverged_at_step = len(self.history) * steps + bad
        values = {"train/loss": total, "train/kl": kl}
        values |= {f"train/reconstruction/{m.name}": part for m, part in zip(self.split.modalities, parts, strict=True)}
        if self.config.private_dim:
            values["train/private_kl"] = private_kl
        values["train/seconds"] = seconds
        self.history.append(Epoch(len(self.history) + 1, int(time.time() * 1000), values))

    def step(self, rows_B: Tensor) -> Tensor:
        """One optimiser step; returns `Loss.terms`, still on the device. On a GPU it is one CUDA graph."""
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
        """`step`, kernel by kernel."""
        x = self.split.batch(rows_B)
        loss = self.model.loss(x, self.draws(), None if self.present_NM is None else self.present_NM[rows_B])
        self.optimiser.zero_grad()
        with precision.in_backward(self.config.precision, self.device):
            loss.total.backward()
        self.optimiser.step()
        return loss.terms()

    def save(self, checkpoint: AnyPath) -> None:
        """Write the checkpoint, whole or not at all; the one before stays beside it."""
        keep(checkpoint, before(checkpoint))
        self.write(checkpoint)

    def write(self, path: AnyPath) -> None:
        """Write the state, whole or not at all."""
        content = packed(self.state())
        self.checkpoint = Digest.of(content) if self.ended else None
        write_bytes(path, content)

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on: tensors and plain values only, so that loading executes nothing."""
        return {
            "format": FORMAT,
            "trial": self.trial,
            "config": self.config.model_dump(),
            "modalities": [asdict(modality) for modality in self.model.modalities],
            **({"own": _of_own(self.config)} if is_own(self.config.dataset) else {}),
            "seed": self.seed,
            "model": _owned(self.model.state_dict()),
            "optimiser": _owned(self.optimiser.state_dict()),
            "order": self.order.get_state(),
            "noise": self.noise.get_state(),
            "layers": self.layers.state,
            "history": [asdict(epoch) for epoch in self.history],
            "diverged_at_step": self.diverged_at_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was taken."""
        self.graphed.forget()
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.set_state(state["order"])
        self.noise.set_state(state["noise"])
        self.layers.state = state["layers"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.diverged_at_step = state["diverged_at_step"]


class Tally:
    """What an epoch adds up on the device, of one run or, with a leading axis, of a stack."""

    def __init__(self, config: TrainingConfig, device: torch.device, *trials: int) -> None:
        self.sums = torch.zeros(*trials, 3 + config.M, device=device, dtype=torch.float64)
        self.first_bad = torch.full(trials, config.steps_per_epoch + 1, device=device)
        self._step = 0

    def add(self, terms: Tensor) -> None:
        """Add a step's `Loss.terms`."""
        self._step += 1
        self.sums += terms
        self.first_bad = torch.where(torch.isfinite(terms[..., 0]), self.first_bad, self.first_bad.clamp(max=self._step))


def _of_own(config: TrainingConfig) -> dict[str, Any]:
    """What a checkpoint says of a dataset of the user's own, so that a model can be loaded without its code: the card, and the
    modalities whose networks are the user's.
    """
    return {"card": asdict(config.card), "networks": user_data.with_networks(config.dataset)}


def _owned(tree: Any) -> Any:
    """A state with no tensor that is part of a larger one: `torch.save` would write the whole of it."""
    if isinstance(tree, Tensor):
        return tree.clone() if tree.untyped_storage().nbytes() > tree.nbytes else tree
    if isinstance(tree, dict):
        return {key: _owned(part) for key, part in tree.items()}
    return [_owned(part) for part in tree] if isinstance(tree, list) else tree


def hidden_at_random(split: Split, share: float, seed: int) -> Tensor | None:
    """(N, M), true where a modality is observed; None if nothing is hidden. Every example keeps at least one modality."""
    if share == 0:
        return None
    chance = generator(torch.device("cpu"), seed, "missing")
    shape = (len(split), len(split.modalities))
    present = torch.rand(shape, generator=chance) >= share
    kept = torch.randint(shape[1], (shape[0],), generator=chance)
    alone = ~present.any(1)
    present[alone, kept[alone]] = True
    return present.to(split.labels.device)
