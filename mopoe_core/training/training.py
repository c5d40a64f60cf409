"""Training one model: a loop over epochs that can be cut anywhere and goes on from its checkpoint as if it had not been.

All chance comes from streams derived from the trial's seed (initialisation, order of examples, noise and component choice, dropout), so
a run is bit-equal when it is repeated on the same machine with the same number of threads. `mopoe_core.training.stacked_training`
trains many at once.
"""

import io
import pickle
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset, Split
from mopoe_core.errors import CheckpointError
from mopoe_core.metric_names import Epoch
from mopoe_core.models.draws import Draws, draw
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.random_streams import GlobalStream, generator, seed_of
from mopoe_core.storage.files import AnyPath, Digest, keep, move, write_bytes

FORMAT = 2
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


def train(
    config: TrainingConfig,
    seed: int,
    dataset: Dataset,
    device: torch.device,
    checkpoint: AnyPath,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    trial: str = "",
) -> Trained:
    """Train to `config.epochs`, going on from `checkpoint` if it is there and writing it after every epoch.

    `on_epoch` is told of each epoch, first of those that the checkpoint remembers. `trial` is the id that the checkpoint names as its
    trial's. Raises CheckpointError where the checkpoint is that of another trial.
    """
    run = resumed(config, seed, dataset, device, checkpoint, trial)
    for epoch in run.history:
        on_epoch(epoch)
    while not run.ended:
        run.epoch()
        run.save(checkpoint)
        on_epoch(run.history[-1])
    return run.trained()


def resumed(
    config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device, checkpoint: AnyPath, trial: str = ""
) -> "Run":
    """A run where its checkpoint left it, or at its beginning. Raises CheckpointError where the checkpoint is that of another trial."""
    run, found, place = Run(config, seed, dataset, device, trial), opened(checkpoint), checkpoint
    if found is None:
        found, place = opened(before(checkpoint)), before(checkpoint)
    if found is None:
        return run
    state, digest = found
    check_owner(state, config, seed, trial, place)
    if place != checkpoint:
        move(place, checkpoint)  # else the damaged one would next be kept as the one before
    run.restore(state)
    run.checkpoint = digest if run.ended else None
    return run


def check_owner(state: dict[str, Any], config: TrainingConfig, seed: int, trial: str, checkpoint: AnyPath) -> None:
    """Raise CheckpointError where a checkpoint is that of another trial. One of an earlier version does not name its trial's id."""
    stored = dict(state.get("config", {}))
    said = {"trial": state.get("trial", ""), "seed": state.get("seed"), "config": _completed(stored, config)}
    wanted: dict[str, Any] = {"trial": trial, "seed": seed, "config": config.model_dump()}
    for name, value in wanted.items():
        if said[name] != value and not (name == "trial" and "" in (said[name], value)):
            found = (
                _first_difference(said["config"], wanted["config"])
                if name == "config"
                else f"{name} {said[name]!r}, not {value!r}"
            )
            raise CheckpointError(
                f"{checkpoint}: is the checkpoint of another trial, with {found}; move it to where it belongs, or give each trial a "
                "file of its own (`sweep --retrain-damaged` moves it out of the way)"
            )


def _completed(stored: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
    """A checkpoint's configuration; of one that was written before a field was there, with that field's default."""
    if stored.keys() >= config.model_dump().keys() or stored.get("dataset") != config.dataset:
        return stored  # of another dataset nothing is completed: to do so would run the code that the checkpoint names
    try:
        return TrainingConfig.model_validate(stored).model_dump()
    except ValueError:
        return stored


def _first_difference(was: dict[str, Any], now: dict[str, Any]) -> str:
    """The first field in which two configurations differ."""
    name = next(field for field in {**was, **now} if field not in was or field not in now or was[field] != now[field])
    return f"{name} {was.get(name)!r}, not {now.get(name)!r}"


def before(checkpoint: AnyPath) -> AnyPath:
    """Where the checkpoint of the epoch before is kept."""
    return checkpoint.with_suffix(".before")


def readable(checkpoint: AnyPath) -> dict[str, Any] | None:
    """What the checkpoint holds; None if there is none that can be used. See `opened`."""
    found = opened(checkpoint)
    return None if found is None else found[0]


def opened(checkpoint: AnyPath) -> tuple[dict[str, Any], Digest] | None:
    """What the checkpoint holds, with the digest of its bytes; None if there is none, or if the machine went down before its bytes
    were all on disk. Raises OSError where it cannot be read: it may be whole, and nothing is to be trained over it.

    Starting over then costs time; going on from part of a state would cost the result. `torch.load` does not notice a changed byte; the
    checksums that `torch.save` writes into the archive tell.
    """
    try:
        raw = checkpoint.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise CheckpointError(f"{checkpoint}: is a folder, and a checkpoint belongs there; move it away") from None
    try:
        content = io.BytesIO(raw)
        with zipfile.ZipFile(content) as archive:
            if archive.testzip() is not None:
                return None
        content.seek(0)
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None
    return (state, Digest.of(raw)) if isinstance(state, dict) and state.get("format") == FORMAT else None


@dataclass(frozen=True)
class Held:
    """What a checkpoint says of itself."""

    epochs: int
    diverged: bool


def held(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> Held | None:
    """What a trial's checkpoint holds; None where there is none that can be used. Raises CheckpointError where it is another trial's."""
    state = readable(checkpoint)
    if state is None:
        return None
    check_owner(state, config, seed, trial, checkpoint)
    return Held(len(state["history"]), state["diverged_at_step"] is not None)


def history_in(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> tuple[Epoch, ...]:
    """The epochs that a trial's checkpoint holds; none where there is none that can be used. Raises CheckpointError where it is another
    trial's.
    """
    state = readable(checkpoint)
    if state is None:
        return ()
    check_owner(state, config, seed, trial, checkpoint)
    return tuple(Epoch(**epoch) for epoch in state["history"])


def weights_in(checkpoint: AnyPath) -> dict[str, Tensor] | None:
    """The weights and buffers that a checkpoint holds, by name; None where there is none that can be used."""
    state = readable(checkpoint)
    return None if state is None else dict(state["model"])


def load(checkpoint: AnyPath, dataset: Dataset, device: torch.device | None = None) -> MultimodalVAE:
    """The model that a checkpoint holds, in evaluation mode. Raises CheckpointError where it is of another dataset of the user's own."""
    device = device or torch.device("cpu")
    state = torch.load(io.BytesIO(checkpoint.read_bytes()), map_location=device, weights_only=True)
    named = state["config"]["dataset"]
    if is_own(named) and named != dataset.name:
        raise CheckpointError(
            f"{checkpoint}: is of dataset {named}, and not of {dataset.name}; give the dataset that it was trained on"
        )
    model = new_model(TrainingConfig.model_validate(state["config"]), state["seed"], dataset, device)
    model.load_state_dict(state["model"])
    return model.eval()


def _of_own(config: TrainingConfig) -> dict[str, Any]:
    """What a checkpoint says of a dataset of the user's own, so that a model can be loaded without its code: the card, and the
    modalities whose networks are the user's.
    """
    return {"card": asdict(config.card), "networks": user_data.with_networks(config.dataset)}


class Run:
    """A model in training, with everything that a checkpoint must hold."""

    def __init__(self, config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device, trial: str = "") -> None:
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
        self.history: list[Epoch] = []
        self.diverged_at_step: int | None = None
        self.checkpoint: Digest | None = None
        """Of the checkpoint after the last epoch, once that is written or read."""

    @property
    def ended(self) -> bool:
        """Whether there is no further epoch to train."""
        return len(self.history) >= self.config.epochs or self.diverged_at_step is not None

    def trained(self) -> Trained:
        """What has come of it."""
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
        """One optimiser step; returns `Loss.terms`, still on the device."""
        x = self.split.batch(rows_B)
        loss = self.model.loss(x, self.draws(), None if self.present_NM is None else self.present_NM[rows_B])
        self.optimiser.zero_grad()
        loss.total.backward()
        self.optimiser.step()
        return loss.terms()

    def save(self, checkpoint: AnyPath) -> None:
        """Write the checkpoint, whole or not at all; the one before stays beside it."""
        keep(checkpoint, before(checkpoint))
        self.write(checkpoint)

    def write(self, path: AnyPath) -> None:
        """Write the state, whole or not at all."""
        content = io.BytesIO()  # to a file, `torch.save` turns "no space left" into an error that does not say so
        torch.save(self.state(), content)
        self.checkpoint = Digest.of(content.getbuffer()) if self.ended else None
        write_bytes(path, content.getbuffer())

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
