"""Training one model: a loop over epochs that can be cut anywhere and goes on from its checkpoint as if it had not been.

All chance comes from generators derived from the trial's seed (initialisation, order of examples, noise and component choice), so a run
is bit-equal when it is repeated on the same machine with the same number of threads.
"""

import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mopoe_core.config import TrainingConfig
from mopoe_core.data.types import Dataset, Split
from mopoe_core.files import write_whole
from mopoe_core.model import MultimodalVAE
from mopoe_core.names import Epoch
from mopoe_core.objective import draw
from mopoe_core.streams import generator, seed_of

FORMAT = 1
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


def new_model(config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device) -> MultimodalVAE:
    """A model with the initialisation that `seed` determines; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "initialisation"))
        model = MultimodalVAE(config, dataset.modalities)
    return model.to_device(device)


def train(
    config: TrainingConfig,
    seed: int,
    dataset: Dataset,
    device: torch.device,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train to `config.epochs`, going on from `checkpoint` if it is there and writing it after every epoch.

    `on_epoch` is told of each epoch, first of those that the checkpoint remembers.
    """
    run = _Run(config, seed, dataset, device)
    state = _readable(checkpoint)
    if state is not None and (state["config"], state["seed"]) != (config.model_dump(), seed):
        raise ValueError(f"{checkpoint} is that of another configuration or seed; each needs a file of its own")
    if state is not None:
        run.restore(state)
    for epoch in run.history:
        on_epoch(epoch)
    while len(run.history) < config.epochs and run.diverged_at_step is None:
        run.epoch()
        state = run.state()
        write_whole(checkpoint, lambda temporary, state=state: torch.save(state, temporary))  # type: ignore[misc]
        on_epoch(run.history[-1])
    return Trained(
        run.model.eval(), tuple(run.history), run.diverged_at_step, sum(e.values["train/seconds"] for e in run.history)
    )


def _readable(checkpoint: Path) -> dict[str, Any] | None:
    """What the checkpoint holds; None if there is none, or if the machine went down before its bytes were all on disk.

    Starting over then costs time; going on from part of a state would cost the result.
    """
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise  # it may be whole: nothing is to be trained over it
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return state if state.get("format") == FORMAT else None


def load(checkpoint: Path, dataset: Dataset, device: torch.device | None = None) -> MultimodalVAE:
    """The model that a checkpoint holds, in evaluation mode."""
    device = device or torch.device("cpu")
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    model = new_model(TrainingConfig.model_validate(state["config"]), state["seed"], dataset, device)
    model.load_state_dict(state["model"])
    return model.eval()


class _Run:
    """A model in training, with everything that a checkpoint must hold."""

    def __init__(self, config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.split = dataset.train.take(config.train_examples, SELECTION_SEED).to(device)
        self.model = new_model(config, seed, dataset, device).train()
        self.optimiser = torch.optim.Adam(self.model.parameters(), config.learning_rate, fused=True)
        self.order = generator(device, seed, "order")
        self.noise = generator(device, seed, "noise")
        self.present_NM = hidden_at_random(self.split, config.missing, seed)
        self.history: list[Epoch] = []
        self.diverged_at_step: int | None = None

    def epoch(self) -> None:
        """One pass over the training examples. The host waits for the device once, at the end."""
        started = time.perf_counter()
        steps, batch = self.config.steps_per_epoch, self.config.batch_size
        order = torch.randperm(len(self.split), generator=self.order, device=self.device)
        sums = torch.zeros(3 + len(self.split.modalities), device=self.device, dtype=torch.float64)
        first_bad = torch.full((), steps + 1, device=self.device)
        for step in range(1, steps + 1):
            terms = self._step(order[(step - 1) * batch : step * batch])
            sums += terms
            first_bad = torch.where(torch.isfinite(terms[0]), first_bad, first_bad.clamp(max=step))
        total, kl, private_kl, *parts = (sums / steps).tolist()
        # The last step's loss is taken before its update: weights that it broke show only here.
        sound = torch.stack([torch.isfinite(p).all() for p in self.model.parameters()]).all()
        bad = min(int(first_bad), steps + int(sound))
        if bad <= steps:
            self.diverged_at_step = len(self.history) * steps + bad
        values = {"train/loss": total, "train/kl": kl}
        values |= {f"train/reconstruction/{m.name}": part for m, part in zip(self.split.modalities, parts, strict=True)}
        if self.config.private_dim:
            values["train/private_kl"] = private_kl
        values["train/seconds"] = time.perf_counter() - started
        self.history.append(Epoch(len(self.history) + 1, int(time.time() * 1000), values))

    def _step(self, rows_B: Tensor) -> Tensor:
        """One optimiser step; returns loss, KL, private KL and each modality's reconstruction, still on the device."""
        x = self.split.batch(rows_B)
        draws = draw(self.model.objective.spec, len(rows_B), self.config.latent_dim, self.noise, self.config.private_dim)
        loss = self.model.loss(x, draws, None if self.present_NM is None else self.present_NM[rows_B])
        self.optimiser.zero_grad()
        loss.total.backward()
        self.optimiser.step()
        return torch.cat([torch.stack([loss.total, loss.kl, loss.private_kl]).detach(), loss.reconstruction_M.detach()])

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on: tensors and plain values only, so that loading executes nothing."""
        return {
            "format": FORMAT,
            "config": self.config.model_dump(),
            "seed": self.seed,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "order": self.order.get_state(),
            "noise": self.noise.get_state(),
            "history": [asdict(epoch) for epoch in self.history],
            "diverged_at_step": self.diverged_at_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.set_state(state["order"])
        self.noise.set_state(state["noise"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.diverged_at_step = state["diverged_at_step"]


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
