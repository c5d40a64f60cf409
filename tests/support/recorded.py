"""A storage with two trials that were really trained as a stack, and every kind of record that a sweep and a search leave."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mopoe_core.data.own import user_data
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from orchestrator.execution import stack_sizes
from orchestrator.execution.attempt import attempt, preparation
from orchestrator.execution.events import EpochsEnded, Event
from orchestrator.execution.queue.job import EarlyStopping, Job, WorkerContext
from orchestrator.execution.stack_sizes import Measured
from orchestrator.ledger import sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals
from orchestrator.ledger.training_progress import ProgressWriter
from orchestrator.spec.search_block import Early
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

RAW: dict[str, Any] = {
    "name": "own",
    "base": {"dataset": "mine.py:made", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 2},
    "seeds": 2,
}
"""Two trials."""
OTHERS = RAW | {"name": "others", "seeds": [2, 3]}
"""Two that are begun and have not ended."""


@dataclass(frozen=True)
class Store:
    """The storage, in a folder of its own with dataset and sweep files."""

    home: Path

    @property
    def file(self) -> Path:
        """The sweep's."""
        return self.home / "own.yaml"

    @property
    def others_file(self) -> Path:
        """The file of the sweep whose trials have not ended."""
        return self.home / "others.yaml"

    @property
    def ledger(self) -> Ledger:
        """Of the storage."""
        return Ledger(self.home / "runs")

    @property
    def spec(self) -> SweepSpec:
        """The sweep."""
        return parse(RAW)

    @property
    def trials(self) -> list[Trial]:
        """Two that have completed, as one stack."""
        return self.spec.trials

    @property
    def others(self) -> list[Trial]:
        """Two that have failed and been cancelled, each with a checkpoint of one epoch."""
        return parse(OTHERS).trials

    def copy(self, into: Path) -> "Store":
        """The same in another folder."""
        shutil.copytree(self.home, into, dirs_exist_ok=True)
        return Store(into)


def errors_in(printed: str) -> int:
    """How many lines of standard error are errors; the dataset here is odd enough for a warning, which `plan` and `sweep` print first."""
    assert all(line.startswith(("error: ", "warning: ")) for line in printed.splitlines())
    return sum(line.startswith("error: ") for line in printed.splitlines())


def make(home: Path) -> Store:
    """Train and record all of it in an empty folder."""
    here = Path.cwd()
    made = (Path(__file__).parent / "own_data.py").read_text()
    (home / "mine.py").write_text(made.replace(", encoder=Touchy", ""))  # which does not stack
    os.chdir(home)
    try:
        user_data.search_from(home)
        (home / "own.yaml").write_text(yaml.safe_dump(RAW))
        (home / "others.yaml").write_text(yaml.safe_dump(OTHERS))
        store = Store(home)
        _train(store)
        _note(store)
        _search(store.ledger.storage, store.trials[0])
        return store
    finally:
        user_data.search_from(Path())
        os.chdir(here)


def _train(store: Store) -> None:
    storage, config = store.home / "runs", store.trials[0].config
    early = EarlyStopping(Early(rule="halving", at=[0.5]), storage / "stopped")
    context = WorkerContext(storage, "data", str(store.home), 1, 0.0, "commit", driver="", early_stopping=early)
    for modality in config.modalities:
        preparation.train_classifier(config.data_key, modality, context, config.data_hash)
    attempt.run(Job([(trial.config.model_dump(), trial.seed) for trial in store.trials], False), context, lambda event: None)

    def cut(event: Event) -> None:
        if isinstance(event, EpochsEnded):
            raise KeyboardInterrupt

    for trial in store.others:
        try:
            attempt.run(Job([(trial.config.model_dump(), trial.seed)], False), context, cut)
        except KeyboardInterrupt:
            continue


def _note(store: Store) -> None:
    ledger, (failed, cancelled) = store.ledger, store.others
    ledger.fail(failed, "ValueError: no")
    ledger.cancel(cancelled, 1)
    for trial in store.others:
        ProgressWriter([trial], ledger)._write(trial, Epoch(1, 1000, {"train/seconds": 1.0}))
    for spec in (store.spec, parse(OTHERS)):
        sweep_records.write(spec, ledger.storage)
    stack_sizes.write(ledger.storage, failed.config, Measured(2, {"2": 1.5}, 4, "slower", "a machine"))


def _search(storage: AnyPath, trial: Trial) -> None:
    kept = Proposals(storage, "hunt")
    for number in range(2):
        kept.add(Proposal(number, f"{trial.cell.id[:-1]}{number}", {}, {}, {}, {}))
        kept.stop(f"{trial.cell.id[:-1]}{number}", 1 + number, "why")
        kept.give_seeds(f"{trial.cell.id[:-1]}{number}", 3 + number)


def exchange(a: Path, b: Path) -> None:
    """Give each of two files or folders the other's name."""
    between = a.with_name(f"{a.name}.between")
    a.rename(between)
    b.rename(a)
    between.rename(b)


def delete_as_gc_does(ledger: Ledger, trial: Trial) -> None:
    """Note that a checkpoint is deleted, and delete it."""
    result = ledger.result(trial)
    assert result is not None
    artifact_check.note_deleted(ledger.folder(trial), trial.id, result.checkpoint, "a test")
    ledger.checkpoint(trial).unlink()


def claims(store: Store, trial: Trial) -> Lease:
    """A lease that holds a trial, to be entered."""
    lease = Lease(store.ledger.storage)
    lease.__enter__()
    assert lease.claim(store.ledger.folder(trial)) is None
    return lease
