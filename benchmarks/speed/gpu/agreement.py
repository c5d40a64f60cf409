"""Whether the device does what a CPU does: the step, stacks, graphs, the evaluation, and going on from a checkpoint."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.speed.gpu.cases import Case, random_data, tested_on, untrained_classifiers
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.models.draws import Draws
from mopoe_core.networks import precision
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack

CPU = torch.device("cpu")
STEPS = 5
TOLERANCES = {"fp32": (1e-4, 1e-3), "tf32": (1e-2, 5e-2), "bf16": (3e-2, 2e-1)}
"""Of the loss, and of the gradient's norm: how far the device may be from a CPU in float32."""
ERRORS = 6.0
"""A metric may differ by so many of its own Monte-Carlo errors: devices draw other random numbers from one seed."""
TESTED = 200


@dataclass(frozen=True)
class Check:
    """One comparison."""

    name: str
    difference: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.difference <= self.tolerance


def checks(
    case: Case, policies: tuple[str, ...], device: torch.device, is_rehearsal: bool
) -> Iterator[tuple[str, Callable[[], list[Check]]]]:
    """Names of checks, and what makes each."""
    config = case.config("fp32", is_rehearsal)
    dataset = random_data(config)
    for policy in policies:
        settings = case.config(policy, is_rehearsal)
        yield f"first step, {policy}", lambda settings=settings: first_step(settings, dataset, device)  # type: ignore[misc]
    yield "stack", lambda: [stack_of_two(config, dataset, device)]
    yield "graph", lambda: [graph(config, dataset, device)]
    yield "resume", lambda: [resume(config, dataset, device)]
    small = replace(case, networks="small").config("fp32", is_rehearsal)
    yield "evaluation", lambda: [evaluation(small, tested_on(dataset, TESTED), device)]


def first_step(config: TrainingConfig, dataset: Dataset, device: torch.device) -> list[Check]:
    """Loss and gradient of the first batch, with the weights and random numbers of the CPU, which computes in float32.

    In evaluation mode: dropout draws on the device, and no two devices draw alike.
    """
    exact = config.model_copy(update={"precision": "fp32"})
    wanted, found = Run(exact, 0, dataset, CPU), Run(config, 0, dataset, device)
    rows, draws = torch.arange(config.batch_size), wanted.draws()
    losses = [_gradients(wanted, rows, draws), _gradients(found, rows.to(device), _moved(draws, device))]
    gradients = [
        torch.cat([p.grad.flatten().cpu() for p in run.model.parameters() if p.grad is not None]) for run in (wanted, found)
    ]
    loss, gradient = TOLERANCES[config.precision]
    far = float((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    return [
        Check(f"loss of the first step, {config.precision}", abs(losses[1] / losses[0] - 1), loss, "of the CPU's in fp32"),
        Check(f"gradient of the first step, {config.precision}", far, gradient, "of the norm of the CPU's in fp32"),
    ]


def _gradients(run: Run, rows: Tensor, draws: Draws) -> float:
    loss = run.model.eval().loss(run.split.batch(rows), draws).total
    with precision.in_backward(run.config.precision, run.device):
        torch.autograd.backward(loss)
    return float(loss.detach())


def _moved(draws: Draws, device: torch.device) -> Draws:
    return Draws(*(None if value is None else value.to(device) for value in vars(draws).values()))  # type: ignore[arg-type]


def stack_of_two(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """The losses of some steps, stacked and alone."""
    alone, stacked = (
        [Run(config, seed, dataset, device) for seed in range(2)],
        Stack([Run(config, seed, dataset, device) for seed in range(2)]),
    )
    rows = torch.arange(config.batch_size, device=device)
    far = 0.0
    for _ in range(STEPS):
        wanted, found = torch.stack([_with_layers(run, rows) for run in alone])[:, 0], stacked.step(rows.expand(2, -1))[:, 0]
        far = max(far, float((found / wanted - 1).abs().max()))
    return Check(f"losses of {STEPS} steps of a stack of two", far, 1e-3, "of those alone")


def _with_layers(run: Run, rows: Tensor) -> Tensor:
    """A step as in an epoch, where dropout draws from the trial's own stream."""
    with run.layers.entered():
        return run.step(rows)


def graph(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """The weights after some steps, with and without a CUDA graph."""
    plain, graphed = (Run(config, 0, dataset, device) for _ in range(2))
    rows = torch.arange(config.batch_size, device=device)
    for _ in range(STEPS):
        with plain.layers.entered():
            plain.ungraphed_step(rows)
        graphed.step(rows)
    return Check(f"weights after {STEPS} steps under a graph", _apart(plain, graphed), 0.0, "at most, from those without")


def resume(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """The weights after two epochs, and after one, a checkpoint and another one."""
    whole, first, second = (Run(config, 0, dataset, device) for _ in range(3))
    for run in (whole, whole, first):
        run.epoch()
    second.restore(copy.deepcopy(first.state()))
    second.epoch()
    return Check("weights after going on from a checkpoint", _apart(whole, second), 0.0, "at most, from those never cut")


def _apart(one: Run, other: Run) -> float:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


def evaluation(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """Every metric of one model on the device and on a CPU, in their Monte-Carlo errors."""
    tables = []
    for place in (CPU, device):
        model = Run(config, 0, dataset, place).trained().model
        tables.append(evaluate(model, 0, dataset, untrained_classifiers(dataset, place), place))
    far = [
        abs(one.value - other.value) / (math.hypot(one.mc_error, other.mc_error) + 1e-3 * abs(one.value) + 1e-9)
        for one, other in zip(*tables, strict=True)
    ]
    return Check(f"{len(far)} metrics of the evaluation", max(far), ERRORS, "Monte-Carlo errors from the CPU's")
