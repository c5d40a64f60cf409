"""Checks that the device computes what a CPU computes: steps, stacks, graphs, the evaluation, and training from a checkpoint."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.gpu.cases import Case, random_data, tested_on, untrained_classifiers
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.models.draws import Draws
from mopoe_core.networks import precision
from mopoe_core.training.graphed_step import GraphedStep
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack

CPU = torch.device("cpu")
STEPS = 5
TOLERANCES = {"fp32": (1e-4, 1e-3), "tf32": (1e-2, 5e-2), "bf16": (3e-2, 2e-1)}
"""The largest relative differences of the loss and of the gradient from a CPU in float32, by precision."""
ROUNDING = {"fp32": (0.0, 1e-5), "tf32": (5e-5, 2e-3), "bf16": (5e-4, 2e-2)}
"""The smallest and the largest relative error of a product of random numbers, by precision. Rounding both factors to TF32's 10 bits gives
some 3e-4, and to bfloat16's 7 bits eight times that. A smaller error says that a precision is not in use."""
ERRORS = 6.0
"""The largest difference of a metric in Monte-Carlo errors. Metrics differ because devices draw other random numbers from one seed."""
TESTED = 200
CHECKED_BATCH = 32
"""Examples of the batch whose loss and gradient are compared with the CPU's, which takes seconds for a whole batch of large networks."""
EVALUATION = "evaluation"
"""The name of the check of the evaluation."""


@dataclass(frozen=True)
class Check:
    """One comparison."""

    name: str
    difference: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance. NaN does not pass."""
        return self.difference <= self.tolerance


def checks(
    case: Case, policies: tuple[str, ...], device: torch.device, is_rehearsal: bool
) -> Iterator[tuple[str, Callable[[], list[Check]]]]:
    """Yields the name of each measurement, and the function that returns its checks."""
    config = case.config("fp32", is_rehearsal)
    dataset = random_data(config)
    yield "first step", partial(first_steps, config, policies, dataset, device)
    yield "stack", lambda: [stack_of_two(config, dataset, device)]
    yield "graph", lambda: [graph(config, dataset, device)]
    yield "resume", lambda: [resume(config, dataset, device)]
    small = replace(case, networks="small").config("fp32", is_rehearsal)
    yield EVALUATION, lambda: [evaluation(small, tested_on(dataset, TESTED), device)]


def rounding(policy: str, device: torch.device) -> list[Check]:
    """Checks that the device rounds the factors of a matrix product and of a convolution as the precision says, by the error against
    float64. The other checks only say that errors are not too large, and would pass with TF32 switched off.
    """
    rng = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    pairs: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = {
        "matrix product": (torch.mm, numbers(512, 512), numbers(512, 512)),
        "convolution": (torch.conv2d, numbers(8, 64, 16, 16), numbers(64, 64, 3, 3)),
    }
    return [_rounding_check(name, policy, device, operation, left, right) for name, (operation, left, right) in pairs.items()]


def _rounding_check(
    name: str, policy: str, device: torch.device, operation: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor
) -> Check:
    low, high = ROUNDING[policy]
    exact = operation(left.double(), right.double())
    with precision.in_forward(policy, device):
        found = operation(left.to(device), right.to(device)).double().cpu()
    error = float((found - exact).norm() / exact.norm())
    return Check(
        f"rounding of a {name}, {policy}",
        error if error >= low else math.inf,
        high,
        f"relative error of {error:.1e}, at least {low:g}",
    )


def first_steps(config: TrainingConfig, policies: Sequence[str], dataset: Dataset, device: torch.device) -> list[Check]:
    """Checks loss and gradient of a first, small batch in each precision against the CPU's in float32, from the same weights and random
    numbers.

    The model is in evaluation mode, because dropout draws on the device, and no two devices draw the same numbers.
    """
    config = config.model_copy(update={"batch_size": min(CHECKED_BATCH, config.batch_size), "precision": "fp32"})
    cpu_run = Run(config, 0, dataset, CPU)
    rows, draws = torch.arange(config.batch_size), cpu_run.draws()
    cpu_loss, cpu_gradient = _loss_and_gradient(cpu_run, rows, draws)
    found = []
    for policy in policies:
        run = Run(config.model_copy(update={"precision": policy}), 0, dataset, device)
        loss, gradient = _loss_and_gradient(run, rows.to(device), _moved(draws, device))
        loss_tolerance, gradient_tolerance = TOLERANCES[policy]
        step = f"of the first step, {policy}"
        gradient_difference = float((gradient - cpu_gradient).norm() / cpu_gradient.norm())
        found += [
            Check(f"loss {step}", abs(loss / cpu_loss - 1), loss_tolerance, "of the CPU's in fp32"),
            Check(f"gradient {step}", gradient_difference, gradient_tolerance, "of the norm of the CPU's in fp32"),
        ]
    return found


def _loss_and_gradient(run: Run, rows: Tensor, draws: Draws) -> tuple[float, Tensor]:
    """Returns the loss of a batch, and all gradients as one vector on the CPU."""
    loss = run.model.eval().loss(run.split.batch(rows), draws).total
    with precision.in_backward(run.config.precision, run.device):
        torch.autograd.backward(loss)
    gradients = [p.grad.flatten().cpu() for p in run.model.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(gradients)


def _moved(draws: Draws, device: torch.device) -> Draws:
    return Draws(*(None if value is None else value.to(device) for value in vars(draws).values()))  # type: ignore[arg-type]


def stack_of_two(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """Checks the losses of some steps of a stack against those of its trials alone."""
    runs = [Run(config, seed, dataset, device) for seed in range(2)]
    stack = Stack([Run(config, seed, dataset, device) for seed in range(2)])
    rows = torch.arange(config.batch_size, device=device)
    differences = []
    for _ in range(STEPS):
        solo_losses = torch.stack([_step_as_in_epoch(run, rows) for run in runs])[:, 0]
        stacked_losses = stack.step(rows.expand(2, -1))[:, 0]
        differences.append(float((stacked_losses / solo_losses - 1).abs().max()))
    _check_graphed(stack.graphed, device)
    return Check(f"losses of {STEPS} steps of a stack of two", largest(differences), 1e-3, "of those alone")


def _step_as_in_epoch(run: Run, rows: Tensor) -> Tensor:
    """Takes a step in which dropout draws from the trial's own random stream, as in an epoch."""
    with run.layers.entered():
        return run.step(rows)


def graph(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """Checks the weights after some steps with a CUDA graph against those without."""
    plain, graphed = (Run(config, 0, dataset, device) for _ in range(2))
    rows = torch.arange(config.batch_size, device=device)
    for _ in range(STEPS):
        with plain.layers.entered():
            plain.ungraphed_step(rows)
        graphed.step(rows)
    _check_graphed(graphed.graphed, device)
    return Check(
        f"weights after {STEPS} steps under a graph", _largest_difference(plain, graphed), 0.0, "at most, from those without"
    )


def resume(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """Checks the weights after two epochs with a restart in between against those of two epochs without."""
    uninterrupted, first, second = (Run(config, 0, dataset, device) for _ in range(3))
    for run in (uninterrupted, uninterrupted, first):
        run.epoch()
    second.restore(copy.deepcopy(first.state()))
    second.epoch()
    _check_graphed(second.graphed, device)
    difference = _largest_difference(uninterrupted, second)
    return Check("weights after going on from a checkpoint", difference, 0.0, "at most, from those never cut")


def _largest_difference(left: Run, right: Run) -> float:
    """Returns the largest absolute difference between the weights of two runs."""
    pairs = zip(left.model.parameters(), right.model.parameters(), strict=True)
    return largest([float((p - q).detach().abs().max()) for p, q in pairs])


def largest(differences: Sequence[float]) -> float:
    """Returns the largest difference; infinity if one is no number, which Python's `max` may pass over."""
    return max(math.inf if math.isnan(difference) else difference for difference in differences)


def _check_graphed(step: GraphedStep, device: torch.device) -> None:
    """Raises RuntimeError if a GPU took the steps without a graph: the check would compare ungraphed steps with each other."""
    if device.type == "cuda" and not step.possible:
        raise RuntimeError("the steps were taken without a CUDA graph; see the line about the recording")


def evaluation(config: TrainingConfig, dataset: Dataset, device: torch.device) -> Check:
    """Checks every metric of one model on the device against the CPU's, in Monte-Carlo errors."""
    tables = []
    for target in (CPU, device):
        model = Run(config, 0, dataset, target).trained().model
        tables.append(evaluate(model, 0, dataset, untrained_classifiers(dataset, target), target))
    differences = []
    for on_cpu, on_device in zip(*tables, strict=True):
        error = math.hypot(on_cpu.mc_error, on_device.mc_error) + 1e-3 * abs(on_cpu.value) + 1e-9
        differences.append(abs(on_cpu.value - on_device.value) / error)
    return Check(
        f"{len(differences)} metrics of the evaluation", largest(differences), ERRORS, "Monte-Carlo errors from the CPU's"
    )
