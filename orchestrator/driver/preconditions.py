"""What a sweep needs before anything starts. `plan` and `sweep` check it alike; nothing is started, and nothing is left behind.

The checks take well under a second, so that a sweep which cannot run says so before Ray starts and before anybody is asked anything.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.availability import check_available
from mopoe_core.data.cards import is_own
from mopoe_core.errors import UserError
from mopoe_core.storage.folders import nearest_there
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.retries import is_full
from orchestrator.analysis.comparable_groups import check_search
from orchestrator.errors import SpecError
from orchestrator.execution.plan import Plan
from orchestrator.execution.ray_tune import node_slots, ray_address
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import check as storage_check
from orchestrator.ledger.storage import identity
from orchestrator.spec.search_space import Space, tried_values
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import check_folder, default_uri


def check(spec: SweepSpec, plan: Plan, storage: AnyPath) -> None:
    """Raises UserError with a line for each thing that the sweep needs and that is not there."""
    checks: list[Callable[[], None]] = [partial(check_storage, storage)]
    if plan.to_run or spec.search:
        checks += [partial(_check_machine, spec), partial(_check_precision, spec, plan)]
        checks += [*_data_checks(spec, plan), *_network_checks(spec, plan)]
    errors = [error for run in checks if (error := _error_of(run)) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserError("\n".join(map(str, errors)))


def check_results(spec: SweepSpec, plan: Plan, ledger: Ledger) -> None:
    """Raises LedgerError where a search has results that may not be compared. `sweep` checks it when nobody else can add any."""
    if spec.search:
        known = ledger.each(ledger.result, plan.done)
        check_search(spec, [result for result in known if result is not None])


def check_storage(storage: AnyPath) -> None:
    """Raises UserError where storage cannot be written or relied on, and where MLflow's database has no folder.

    A folder that is not there yet is made by the sweep; until then the nearest one above it is tried.
    """
    _try_storage(storage)
    identity.current(storage)  # a damaged record is refused
    check_folder(default_uri(storage), storage)


def make_storage(storage: AnyPath) -> None:
    """Make the folder of the storage. Raises UserError where that cannot be."""
    if not isinstance(storage, RemotePath):
        with _storage_errors(storage):
            storage.mkdir(parents=True, exist_ok=True)


def _error_of(run: Callable[[], None]) -> UserError | None:
    try:
        run()
    except UserError as error:
        return error
    return None


def _try_storage(storage: AnyPath) -> None:
    place = storage if isinstance(storage, RemotePath) else nearest_there(storage)
    with _storage_errors(storage):
        problem = storage_check.what_is_wrong(place)
    if problem:
        raise UserError(f"storage: {storage} cannot be relied on: {problem}; name another folder")


@contextmanager
def _storage_errors(storage: AnyPath) -> Iterator[None]:
    """Raises UserError in place of an OSError, but for that of a full disk."""
    try:
        yield
    except OSError as error:
        if isinstance(storage, RemotePath):
            raise UserError(f"storage: {error}; name a bucket that exists and that you may write to") from None
        if is_full(error):
            raise
        raise UserError(f"storage: {storage} cannot be written: {error.strerror}; name another folder") from None


def _check_machine(spec: SweepSpec) -> None:
    """Raises UserError where this machine lacks what a trial asks for. A cluster is asked when it is there: its nodes come and go."""
    ray_address.check_address()
    if "RAY_ADDRESS" not in os.environ:
        try:
            node_slots.gpus(spec.resources, [node_slots.this_machine()])
        except SpecError as error:
            raise spec.pointed(error) from None


def _check_precision(spec: SweepSpec, plan: Plan) -> None:
    """Raises SpecError where trials ask for a precision that only a GPU has, and the sweep asks for none."""
    if not spec.resources.gpu and any(config.precision == "tf32" for config in _configs(spec, plan)):
        raise SpecError("precision: 'tf32' needs a GPU, and resources.gpu is 0; ask for one, or write fp32 or bf16")


def _data_checks(spec: SweepSpec, plan: Plan) -> Iterator[Callable[[], None]]:
    """Returns a check for each dataset that is to be trained on; none on a cluster, where data lie on the nodes that train."""
    if "RAY_ADDRESS" in os.environ:
        return
    folder = Path(spec.resources.data_folder)
    for key in dict.fromkeys(config.data_key for config in _configs(spec, plan)):
        yield partial(check_available, key, folder)


def _network_checks(spec: SweepSpec, plan: Plan) -> Iterator[Callable[[], None]]:
    """Returns a check of the user's own networks for each of the user's datasets, with every number of latent dimensions that no trial of
    the sweep has been tried with. What failed in training before is tried again, and does not keep the rest from going on.
    """
    if not any(map(is_own, spec.own_datasets)):
        return
    tried = {_network_key(trial.config) for trial in spec.trials if trial.id not in plan.untried}
    latents: dict[str, list[int]] = defaultdict(list)
    for dataset, latent in dict.fromkeys(_planned_networks(spec, plan)):
        if is_own(dataset) and (dataset, latent) not in tried:
            latents[dataset].append(latent)
    for dataset, counts in latents.items():
        yield partial(_check_networks, dataset, counts)


def _check_networks(dataset: str, latents: Iterable[int]) -> None:
    from mopoe_core.data.own import user_data  # numpy, and torch where the dataset has networks of its own

    user_data.check_networks(dataset, sorted(latents))


def _planned_networks(spec: SweepSpec, plan: Plan) -> Iterator[tuple[str, int]]:
    """Returns datasets and numbers of latent dimensions that are to be trained with. Of a range that is searched, its ends."""
    yield from (_network_key(trial.config) for trial in plan.to_run if trial.id in plan.untried)
    if spec.search:
        space, first = Space(spec.search), next(_corners(spec))
        for shared in tried_values(space, "latent_dim", first, spec.search.sampler == "grid"):
            for private in tried_values(space, "private_dim", first, spec.search.sampler == "grid"):
                yield first.dataset, shared + private


def _network_key(config: TrainingConfig) -> tuple[str, int]:
    return config.dataset, config.latent_dim + config.private_dim


def _configs(spec: SweepSpec, plan: Plan) -> Iterator[TrainingConfig]:
    """Returns configurations that are to be trained; of a search one, because all have the same data."""
    yield from islice(_corners(spec), 1)
    yield from (trial.config for trial in plan.to_run)


def _corners(spec: SweepSpec) -> Iterator[TrainingConfig]:
    """Returns configurations at the corners of a search's space; none for any other sweep."""
    for fields in Space(spec.search).corners() if spec.search else ():
        yield TrainingConfig.model_validate(spec.base | fields)
