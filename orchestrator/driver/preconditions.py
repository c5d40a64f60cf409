"""Checks what a sweep needs, for `plan` and `sweep`. The checks start nothing and leave nothing behind.

They take well under a second. So a sweep that cannot run fails before Ray starts, and before the user is asked a question.
"""

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
from mopoe_core.storage.folders import nearest_existing
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.retries import is_full
from orchestrator.analysis.comparable_groups import check_search
from orchestrator.errors import SpecError
from orchestrator.execution import cluster, node_slots, ray_address
from orchestrator.execution.plan import Plan
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import check as storage_check
from orchestrator.ledger.storage import identity
from orchestrator.spec.search_space import MOST_CHECKED, Space, tried_values
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import check_address, default_uri


def check(spec: SweepSpec, plan: Plan, storage: AnyPath) -> None:
    """Raise UserError with one line for each unmet need of the sweep."""
    checks: list[Callable[[], None]] = [partial(check_storage, storage)]
    if plan.to_run or spec.search:
        checks += [partial(_check_machine, spec), partial(_check_precision, spec, plan), partial(_check_likelihood, spec, plan)]
        checks += [*_data_checks(spec, plan), *_network_checks(spec, plan)]
    errors = [error for run in checks if (error := _error_of(run)) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserError("\n".join(map(str, errors)))


def check_results(spec: SweepSpec, plan: Plan, ledger: Ledger) -> None:
    """Raise LedgerError if a search has results that may not be compared. `sweep` calls it once no other driver can add results."""
    if spec.search:
        check_search(spec, ledger.results_of(plan.done))


def check_storage(storage: AnyPath) -> None:
    """Raise UserError if storage cannot be written or relied on, or if MLflow has no store at its address.

    If the storage folder does not exist yet, its nearest existing parent is tested; the sweep makes the folder.
    """
    _test_storage(storage)
    identity.current(storage)  # raises if storage.json is damaged
    check_address(default_uri(storage), storage)


def make_storage(storage: AnyPath) -> None:
    """Make the folder of the storage. Raises UserError if that fails."""
    if not isinstance(storage, RemotePath):
        with _storage_errors(storage):
            storage.mkdir(parents=True, exist_ok=True)


def _error_of(run: Callable[[], None]) -> UserError | None:
    try:
        run()
    except UserError as error:
        return error
    return None


def _test_storage(storage: AnyPath) -> None:
    existing = storage if isinstance(storage, RemotePath) else nearest_existing(storage)
    with _storage_errors(storage):
        problem = storage_check.broken_guarantee(existing)
    if problem:
        raise UserError(f"storage: {storage} cannot be relied on: {problem}; name another folder")


@contextmanager
def _storage_errors(storage: AnyPath) -> Iterator[None]:
    """Raise a UserError in place of an OSError, except if the disk is full."""
    try:
        yield
    except OSError as error:
        if isinstance(storage, RemotePath):
            raise UserError(f"storage: {error}; name a bucket that exists and that you may write to") from None
        if is_full(error):
            raise
        raise UserError(f"storage: {storage} cannot be written: {error.strerror}; name another folder") from None


def _check_machine(spec: SweepSpec) -> None:
    """Raise UserError if this machine lacks what a trial needs. A cluster is not checked here, because its nodes come and go."""
    ray_address.check_address()
    if not cluster.is_named():
        try:
            node_slots.gpus(spec.resources, [node_slots.this_machine()])
        except SpecError as error:
            raise spec.pointed(error) from None


def _check_precision(spec: SweepSpec, plan: Plan) -> None:
    """Raise SpecError if trials need a precision that only GPUs have, and the sweep asks for no GPU."""
    if not spec.resources.gpu and any(config.precision == "tf32" for config in _configs(spec, plan)):
        raise SpecError("precision: 'tf32' needs a GPU, and resources.gpu is 0; ask for one, or write fp32 or bf16")


def _check_likelihood(spec: SweepSpec, plan: Plan) -> None:
    """Raise SpecError if a trial that was never tried sets a likelihood that no modality of the user's own dataset takes.

    Results of such trials stay readable: before 0.2.0 they were allowed.
    """
    default = TrainingConfig.model_fields["likelihood"].default
    for config in _untried(spec, plan):
        if config.likelihood != default and not config.card.takes_likelihood:
            raise SpecError(
                f"likelihood: {config.likelihood!r} has no effect on {config.dataset}, whose modalities have each their own; "
                "leave it out, or set `likelihood` in `OwnModality`"
            )


def _data_checks(spec: SweepSpec, plan: Plan) -> Iterator[Callable[[], None]]:
    """Yields a check for each dataset that is to be trained on; none on a cluster, where the nodes have the data."""
    if cluster.is_named():
        return
    folder = Path(spec.resources.data_folder)
    for key in dict.fromkeys(config.data_key for config in _configs(spec, plan)):
        yield partial(check_available, key, folder)


def _network_checks(spec: SweepSpec, plan: Plan) -> Iterator[Callable[[], None]]:
    """Yields a check of the networks of each of the user's own datasets, for the latent dimensions that no trial has been tried with.

    Networks that failed in an earlier attempt are not checked: their trials are tried again, and must not stop the rest of the sweep.
    """
    if not any(map(is_own, spec.own_datasets)):
        return
    tried = {_network_key(trial.config) for trial in spec.trials if trial.id not in plan.untried}
    untried_dims: dict[str, list[int]] = defaultdict(list)
    for dataset, latent_dim in dict.fromkeys(_planned_networks(spec, plan)):
        if is_own(dataset) and (dataset, latent_dim) not in tried:
            untried_dims[dataset].append(latent_dim)
    for dataset, latent_dims in untried_dims.items():
        yield partial(_check_networks, dataset, latent_dims, _smallest_batch(spec, plan, dataset))


def _check_networks(dataset: str, latent_dims: Iterable[int], smallest_batch: int) -> None:
    from mopoe_core.data.own import user_data  # imports numpy, and torch if the dataset defines networks

    user_data.check_networks(dataset, sorted(latent_dims), smallest_batch)


def _smallest_batch(spec: SweepSpec, plan: Plan, dataset: str) -> int:
    """Returns the fewest examples that a batch of this dataset will have."""
    return min(config.batch_size for config in _untried(spec, plan) if config.dataset == dataset)


def _planned_networks(spec: SweepSpec, plan: Plan) -> Iterator[tuple[str, int]]:
    """Yields each dataset and number of latent dimensions to be trained. If a search varies the number, yields the ends of its range."""
    yield from (_network_key(trial.config) for trial in plan.to_run if trial.id in plan.untried)
    if spec.search:
        space, first = Space(spec.search), next(_corners(spec))
        for shared_dim in tried_values(space, "latent_dim", first, spec.search.sampler == "grid"):
            for private_dim in tried_values(space, "private_dim", first, spec.search.sampler == "grid"):
                yield first.dataset, shared_dim + private_dim


def _network_key(config: TrainingConfig) -> tuple[str, int]:
    return config.dataset, config.latent_dim + config.private_dim


def _configs(spec: SweepSpec, plan: Plan) -> Iterator[TrainingConfig]:
    """Yields the configurations to be trained; one for a search's space, because all cells of a search have the same data."""
    yield from islice(_corners(spec), 1)
    yield from (trial.config for trial in plan.to_run)


def _untried(spec: SweepSpec, plan: Plan) -> Iterator[TrainingConfig]:
    """Yields the configurations that no attempt was made with, and those at the corners of a search's space."""
    yield from (trial.config for trial in plan.to_run if trial.id in plan.untried)
    yield from _corners(spec)


def _corners(spec: SweepSpec) -> Iterator[TrainingConfig]:
    """Yields the configurations at the first `MOST_CHECKED` corners of a search's space; none for any other sweep."""
    for fields in islice(Space(spec.search).corners(), MOST_CHECKED) if spec.search else ():
        yield TrainingConfig.model_validate(spec.base | fields)
