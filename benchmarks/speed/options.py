"""What else could make a training step faster, each against the step as it is: `python -m benchmarks.speed.options`.

    channels first/...      without the order of weights that `mopoe_core.networks.networks` gives to convolutions
    bf16 autocast/...       forward in bfloat16, where torch thinks it safe
    torch.compile/...       the loss compiled by inductor, with the time that compiling took
    1 process x 2 threads/  against 2 processes of 1 thread: time a step of both cores together

On a GPU, where there is one, also all but the threads. `benchmarks.speed.gpu` measures CUDA graphs.

MoPoE with the paper's settings, batches of 256. Ratios are time over the default's, core time on a CPU, in rounds that take turns.
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
"""By dataset and networks."""
SECONDS_A_ROUND = 3.0
"""Of the comparison of threads, which goes by the clock."""

Batch = Mapping[str, Tensor]
LossOf = Callable[[Batch, Draws], Tensor]
Step = Callable[[], None]


@dataclass(frozen=True)
class Option:
    """What one option is worth."""

    name: str
    ratio: float | None
    """Time over the default's, the median over the rounds; None where the option cannot be had."""
    low: float | None
    """Lower quartile of the rounds' ratios."""
    high: float | None
    """Upper quartile."""
    n: int
    """Rounds."""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """What is trained, and where."""

    dataset: Dataset
    networks: str
    device: torch.device = CPU

    @property
    def name(self) -> str:
        """As it stands behind an option."""
        return f"{self.dataset.name}/{self.networks}" + ("" if self.device == CPU else f"/{self.device.type}")

    @property
    def steps(self) -> int:
        """Steps of a round."""
        return STEPS_A_ROUND[self.dataset.name, self.networks]

    def run(self) -> Run:
        """A run of its own, always from the same weights and with the same chance."""
        return Run(config(self.dataset.name, self.networks), 0, self.dataset, self.device)

    def clock(self) -> float:
        """Seconds: of core time, or on the clock where a GPU works."""
        if self.device == CPU:
            return core_seconds()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def config(dataset: str, networks: str) -> TrainingConfig:
    """The paper's MoPoE on embedded data."""
    return TrainingConfig.model_validate({"dataset": dataset, "networks": networks, "model": "mopoe"})


def plain_loss(run: Run) -> LossOf:
    """The loss as it is."""
    return lambda x, draws: run.model.loss(x, draws).total


def bf16_loss(run: Run) -> LossOf:
    """The loss under autocast."""

    def loss(x: Batch, draws: Draws) -> Tensor:
        with torch.autocast(run.device.type, torch.bfloat16):
            return run.model.loss(x, draws).total

    return loss


def compiled_loss(run: Run) -> LossOf:
    """The loss compiled; what is compiled takes tensors alone."""

    @torch.compile
    def compiled(x: Batch, position_B: Tensor | None, noise: Tensor, private_noise_MBP: Tensor) -> Tensor:
        return run.model.loss(x, Draws(position_B, noise, private_noise_MBP)).total

    def loss(x: Batch, draws: Draws) -> Tensor:
        total: Tensor = compiled(x, draws.position_B, draws.noise, draws.private_noise_MBP)
        return total

    return loss


def step_of(run: Run, loss: LossOf) -> Step:
    """A step as `Run.step` takes it, with a loss of one's own, on the same examples each time."""
    rows_B = torch.arange(run.config.batch_size, device=run.device)

    def step() -> None:
        total = loss(run.split.batch(rows_B), run.draws())
        run.optimiser.zero_grad()
        torch.autograd.backward(total)
        run.optimiser.step()

    return step


def compared(name: str, case: Case, option: Step, rounds: int, note: str = "") -> Option:
    """Rounds of the default and of the option, turn about; one round warms both up."""
    run = case.run()
    default, ratios = step_of(run, plain_loss(run)), []
    for _ in range(rounds + 1):
        ours_s, theirs_s = (_timed(step, case) for step in (default, option))
        ratios.append(theirs_s / ours_s)
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
    """Without channels last."""
    run = case.run()
    name = "channels first"
    if not any(isinstance(layer, nn.Conv2d) for layer in run.model.modules()):
        return Option(f"{name}/{case.name}", None, None, None, 0, "no convolutions")
    for parameter in run.model.parameters():
        parameter.data = parameter.data.contiguous()
    return compared(name, case, step_of(run, plain_loss(run)), rounds)


def bf16(case: Case, rounds: int) -> Option:
    """Autocast, with how far the loss and its gradient move from the same weights with the same chance."""
    run, other = case.run(), case.run()
    ours, theirs = _first_loss(run, plain_loss(run)), _first_loss(other, bf16_loss(other))
    far = max(_distance(p, q) for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True))
    note = f"moves the loss by {abs(theirs / ours - 1):.1e} of it, a parameter's gradient by up to {far:.1e} of its norm"
    return compared("bf16 autocast", case, step_of(other, bf16_loss(other)), rounds, note)


def _first_loss(run: Run, loss: LossOf) -> float:
    total = loss(run.split.batch(torch.arange(run.config.batch_size, device=run.device)), run.draws())
    torch.autograd.backward(total)
    return total.item()


def _distance(one: nn.Parameter, other: nn.Parameter) -> float:
    """Of the gradients, relative to the first's norm."""
    assert one.grad is not None
    assert other.grad is not None
    return float((one.grad - other.grad).norm() / one.grad.norm())


def compiled(case: Case, rounds: int) -> Option:
    """torch.compile; where there is no compiler for it, the row says so."""
    run, name = case.run(), "torch.compile"
    torch.compiler.reset()
    torch.compiler.config.force_disable_caches = True  # the time to compile is not that of a second run
    step = step_of(run, compiled_loss(run))
    started = time.perf_counter()
    try:
        step()
    except Exception as error:  # whatever dynamo, inductor or the compiler could not do
        return Option(f"{name}/{case.name}", None, None, None, 0, f"cannot: {type(error).__name__}: {error}".splitlines()[0])
    return compared(name, case, step, rounds, f"its first step took {time.perf_counter() - started:.0f} s")


class Workers:
    """Processes that take steps side by side when they are told to."""

    def __init__(self, case: Case, data: Path, processes: int, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        pairs = [spawn.Pipe() for _ in range(processes)]
        self._pipes = [ours for ours, _ in pairs]
        about = (case.dataset.name, case.networks, data, threads)
        self._processes = [spawn.Process(target=_work, args=(theirs, *about), daemon=True) for _, theirs in pairs]
        for process in self._processes:
            process.start()
        self._answers()

    def _answers(self) -> list[float]:
        return [pipe.recv() for pipe in self._pipes]

    def rate(self, seconds: float) -> float:
        """Steps a second of all of them together."""
        for pipe in self._pipes:
            pipe.send(seconds)
        return sum(self._answers())

    def end(self) -> None:
        """Let them go."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join()


def _work(pipe: Connection, dataset: str, networks: str, data: Path, threads: int) -> None:
    """Steps for as long as is asked, answered with steps a second; a first answer when a step has been taken."""
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
    """Two workers of one thread each, the default, against one of two."""
    two, one = Workers(case, data, 2, 1), Workers(case, data, 1, 2)
    rates = [(two.rate(SECONDS_A_ROUND), one.rate(SECONDS_A_ROUND)) for _ in range(rounds + 1)][1:]
    for workers in (two, one):
        workers.end()
    of_two, of_one = (median(each) for each in zip(*rates, strict=True))
    note = f"2 processes x 1 thread {of_two:.2f} steps/s, 1 x 2 {of_one:.2f}; by the clock"
    return _row(f"1 process x 2 threads/{case.name}", [default / option for default, option in rates], note)


def rows(data: Path, rounds: int = 7) -> Iterator[Option]:
    """Every option on every case, as it comes; `data` is the folder of datasets, `rounds` at least 2."""
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
    """Print the rows, a JSON object a line."""
    parser = argparse.ArgumentParser(description="What else could make a training step faster.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison, at least 2")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    asked = parser.parse_args()
    as_in_a_worker()
    for found in rows(asked.data, asked.rounds):
        print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
