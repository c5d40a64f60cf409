"""Compares options that might make a training step faster with the default step: `python -m benchmarks.speed.options`.

    channels first/...      without the channels-last weights that `mopoe_core.networks.networks` gives to convolutions
    bf16 autocast/...       forward pass under torch's autocast to bfloat16
    torch.compile/...       loss compiled by inductor, with the time of compilation
    1 process x 2 threads/  against 2 processes of 1 thread, by the steps that both cores take together

If there is a GPU, all options but the last are measured there too. `benchmarks.speed.gpu` measures CUDA graphs.

MoPoE with the paper's settings, batches of 256. A ratio is the option's time over the default's in alternating rounds, in core time on a
CPU.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import Tensor, nn

from benchmarks.arguments import add_data
from benchmarks.speed.measure import as_in_a_worker, core_seconds
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.models.draws import Draws
from mopoe_core.training.run import Run

CPU = torch.device("cpu")
STEPS_A_ROUND = {
    ("mnist_svhn_text", "small"): 12,
    ("mnist_svhn_text", "paper"): 3,
    ("polymnist", "small"): 3,
    ("polymnist", "paper"): 1,
}
"""Steps of a round, by dataset and networks."""
SECONDS_A_ROUND = 3.0
"""Seconds of a round in the comparison of threads, in wall time."""

Batch = Mapping[str, Tensor]
LossOf = Callable[[Batch, Draws], Tensor]
Step = Callable[[], None]


@dataclass(frozen=True)
class Option:
    """The measured effect of one option."""

    name: str
    ratio: float | None
    """Time over the default's time, median over the rounds; None if the option is not available."""
    low: float | None
    """Lower quartile of the rounds' ratios."""
    high: float | None
    """Upper quartile of the rounds' ratios."""
    n: int
    """Number of rounds."""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A dataset, a kind of networks and a device."""

    dataset: Dataset
    networks: str
    device: torch.device = CPU

    @property
    def name(self) -> str:
        """The part of a row's name after the option."""
        return f"{self.dataset.name}/{self.networks}" + ("" if self.device == CPU else f"/{self.device.type}")

    @property
    def steps(self) -> int:
        """Steps of a round."""
        return STEPS_A_ROUND[self.dataset.name, self.networks]

    def run(self) -> Run:
        """Returns a new run, always from the same weights and with the same random numbers."""
        return Run(config(self.dataset.name, self.networks), 0, self.dataset, self.device)

    def clock(self) -> float:
        """Returns the core time in seconds, or the wall time on a GPU."""
        if self.device == CPU:
            return core_seconds()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def config(dataset: str, networks: str) -> TrainingConfig:
    """Returns the configuration of the paper's MoPoE on embedded data."""
    return TrainingConfig.model_validate({"dataset": dataset, "networks": networks, "model": "mopoe"})


def plain_loss(run: Run) -> LossOf:
    """Returns the default loss."""
    return lambda x, draws: run.model.loss(x, draws).total


def bf16_loss(run: Run) -> LossOf:
    """Returns the loss under autocast."""

    def loss(x: Batch, draws: Draws) -> Tensor:
        with torch.autocast(run.device.type, torch.bfloat16):
            return run.model.loss(x, draws).total

    return loss


def compiled_loss(run: Run) -> LossOf:
    """Returns the compiled loss. The compiled function takes only tensors."""

    @torch.compile
    def compiled(x: Batch, position_B: Tensor | None, noise: Tensor, private_noise_MBP: Tensor) -> Tensor:
        return run.model.loss(x, Draws(position_B, noise, private_noise_MBP)).total

    def loss(x: Batch, draws: Draws) -> Tensor:
        total: Tensor = compiled(x, draws.position_B, draws.noise, draws.private_noise_MBP)
        return total

    return loss


def step_of(run: Run, loss: LossOf) -> Step:
    """Returns a step like that of `Run.step`, with another loss and always on the same examples."""
    rows_B = torch.arange(run.config.batch_size, device=run.device)

    def step() -> None:
        total = loss(run.split.batch(rows_B), run.draws())
        run.optimiser.zero_grad()
        torch.autograd.backward(total)
        run.optimiser.step()

    return step


def compared(name: str, case: Case, option: Step, rounds: int, note: str = "") -> Option:
    """Compares an option's step with the default step in alternating rounds; an extra round warms up."""
    run = case.run()
    default, ratios = step_of(run, plain_loss(run)), []
    for _ in range(rounds + 1):
        default_s = _timed(default, case)
        option_s = _timed(option, case)
        ratios.append(option_s / default_s)
    return _row(f"{name}/{case.name}", ratios[1:], note)


def _timed(step: Step, case: Case) -> float:
    started = case.clock()
    for _ in range(case.steps):
        step()
    return case.clock() - started


def _row(name: str, ratios: list[float], note: str) -> Option:
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Option(name, middle, low, high, len(ratios), note)


def channels_first(case: Case, rounds: int) -> Option:
    """Measures weights that are not channels-last."""
    run = case.run()
    name = "channels first"
    if not any(isinstance(layer, nn.Conv2d) for layer in run.model.modules()):
        return Option(f"{name}/{case.name}", None, None, None, 0, "no convolutions")
    for parameter in run.model.parameters():
        parameter.data = parameter.data.contiguous()
    return compared(name, case, step_of(run, plain_loss(run)), rounds)


def bf16(case: Case, rounds: int) -> Option:
    """Measures autocast. The note says how far the loss and its gradient move, from the same weights and random numbers."""
    exact, rounded = case.run(), case.run()
    exact_loss = _first_loss(exact, plain_loss(exact))
    rounded_loss = _first_loss(rounded, bf16_loss(rounded))
    pairs = zip(exact.model.parameters(), rounded.model.parameters(), strict=True)
    gradient_change = max(_relative_gradient_distance(p, q) for p, q in pairs)
    note = (
        f"moves the loss by {abs(rounded_loss / exact_loss - 1):.1e} of it, "
        f"a parameter's gradient by up to {gradient_change:.1e} of its norm"
    )
    return compared("bf16 autocast", case, step_of(rounded, bf16_loss(rounded)), rounds, note)


def _first_loss(run: Run, loss: LossOf) -> float:
    total = loss(run.split.batch(torch.arange(run.config.batch_size, device=run.device)), run.draws())
    torch.autograd.backward(total)
    return total.item()


def _relative_gradient_distance(exact: nn.Parameter, rounded: nn.Parameter) -> float:
    """Returns the distance of two gradients, relative to the first one's norm."""
    assert exact.grad is not None
    assert rounded.grad is not None
    return float((exact.grad - rounded.grad).norm() / exact.grad.norm())


def compiled(case: Case, rounds: int) -> Option:
    """Measures torch.compile; the note has the error if it fails."""
    run, name = case.run(), "torch.compile"
    torch.compiler.reset()
    torch.compiler.config.force_disable_caches = True  # a cached compilation would take less time
    step = step_of(run, compiled_loss(run))
    started = time.perf_counter()
    try:
        step()
    except Exception as error:  # dynamo, inductor and the compiler raise many types
        return Option(f"{name}/{case.name}", None, None, None, 0, f"cannot: {type(error).__name__}: {error}".splitlines()[0])
    return compared(name, case, step, rounds, f"its first step took {time.perf_counter() - started:.0f} s")


class Workers:
    """Processes that take steps in parallel on request."""

    def __init__(self, case: Case, data: Path, processes: int, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        pairs = [spawn.Pipe() for _ in range(processes)]
        self._pipes = [parent_end for parent_end, _ in pairs]
        settings = (case.dataset.name, case.networks, data, threads)
        self._processes = [spawn.Process(target=_work, args=(child_end, *settings), daemon=True) for _, child_end in pairs]
        for process in self._processes:
            process.start()
        self._answers()

    def _answers(self) -> list[float]:
        return [pipe.recv() for pipe in self._pipes]

    def rate(self, seconds: float) -> float:
        """Returns the steps per second of all processes together."""
        for pipe in self._pipes:
            pipe.send(seconds)
        return sum(self._answers())

    def end(self) -> None:
        """Ends the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join()


def _work(pipe: Connection, dataset: str, networks: str, data: Path, threads: int) -> None:
    """Answers each request for seconds of steps with the steps per second, and sends a first answer after a first step."""
    torch.set_num_threads(threads)
    run = Case(load(config(dataset, networks).data_key, data), networks).run()
    step = step_of(run, plain_loss(run))
    step()
    pipe.send(0.0)
    while (seconds := pipe.recv()) is not None:
        pipe.send(_rate(step, seconds))


def _rate(step: Step, seconds: float) -> float:
    started, steps = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        step()
        steps += 1
    return steps / (time.perf_counter() - started)


def threads(case: Case, rounds: int, data: Path) -> Option:
    """Compares one process of two threads with the default, two processes of one thread; an extra round warms up."""
    two_processes, one_process = Workers(case, data, 2, 1), Workers(case, data, 1, 2)
    rates = [(two_processes.rate(SECONDS_A_ROUND), one_process.rate(SECONDS_A_ROUND)) for _ in range(rounds + 1)][1:]
    for workers in (two_processes, one_process):
        workers.end()
    default_rate, option_rate = (median(side) for side in zip(*rates, strict=True))
    note = f"2 processes x 1 thread {default_rate:.2f} steps/s, 1 x 2 {option_rate:.2f}; by the clock"
    return _row(f"1 process x 2 threads/{case.name}", [default / option for default, option in rates], note)


def rows(data: Path, rounds: int = 7) -> Iterator[Option]:
    """Yields every option for every case; `data` is the folder of datasets, `rounds` is at least 2."""
    for name in ("mnist_svhn_text", "polymnist"):
        dataset = load(config(name, "small").data_key, data)
        for networks in ("small", "paper"):
            case = Case(dataset, networks)
            yield from (option(case, rounds) for option in (channels_first, bf16, compiled))
            yield threads(case, rounds, data)
            if torch.cuda.is_available():
                case = Case(dataset, networks, torch.device("cuda"))
                yield from (option(case, rounds) for option in (channels_first, bf16, compiled))


def main() -> None:
    """Prints the rows, one JSON object on each line."""
    parser = argparse.ArgumentParser(description="Compares options that might make a training step faster with the default step.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison, at least 2")
    add_data(parser)
    arguments = parser.parse_args()
    as_in_a_worker()
    for option in rows(arguments.data, arguments.rounds):
        print(json.dumps(asdict(option)), flush=True)


if __name__ == "__main__":
    main()
