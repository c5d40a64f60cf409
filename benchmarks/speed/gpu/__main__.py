"""Runs all measurements, the most important first, and writes the page after each section."""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.speed.gpu import agreement, clock, measurements
from benchmarks.speed.gpu.cases import CASES, Case
from benchmarks.speed.gpu.clock import Budget
from benchmarks.speed.gpu.measurements import StepTime
from benchmarks.speed.gpu.page import Measured, write
from benchmarks.speed.gpu.projection import projections
from mopoe_core.errors import PrecisionError
from mopoe_core.networks import precision
from orchestrator.execution.attempt import device as devices

BUDGET = 450.0
"""Eight minutes for the whole program, less half a minute for its imports."""
POLICIES = ("fp32", "tf32", "bf16")
REHEARSED_SIZES = (2,)

Result = TypeVar("Result")


class Benchmark:
    """One run of all measurements."""

    def __init__(self, device: torch.device, budget: Budget, into: Path) -> None:
        self.device, self.budget, self.into = device, budget, into
        self.is_rehearsal = device.type == "cpu"
        self.measured = Measured(machine(device), self.is_rehearsal)
        self.policies = tuple(policy for policy in POLICIES if available(policy, device))
        self.cases = CASES if not self.is_rehearsal else tuple(case for case in CASES if case.networks == "small")
        self.sizes = REHEARSED_SIZES if self.is_rehearsal else measurements.SIZES

    def run(self) -> None:
        """Measures every section: first one kind of networks in all precisions, then the other kinds.

        Of these, the checks come before the times. Only the checks of the evaluation come last, because a CPU takes long for them.
        """
        self.limits()
        self.rounding()
        self.agreement(self.cases[0])
        for policy in self.policies:
            self.times(self.cases[0], policy)
        for policy in self.policies:
            self.evaluation(self.cases[0], policy)
        for case in self.cases[1:]:
            self.agreement(case, lambda name: name != agreement.EVALUATION)
            for policy in self.policies:
                self.times(case, policy)
            self.evaluation(case, "fp32")
        for case in self.cases[1:]:
            self.agreement(case, lambda name: name == agreement.EVALUATION)

    def limits(self) -> None:
        """Measures the card's peak rates of arithmetic and of copies."""
        size, numbers = (256, 2**20) if self.is_rehearsal else (8192, 2**28)
        for policy in self.policies:
            peak = self._measure(f"peak of products, {policy}", partial(clock.peak_flops, policy, self.device, size))
            if peak is not None:
                self.measured.peak_flops[policy] = peak
        self.measured.peak_bytes = self._measure("peak of copies", lambda: clock.peak_bytes(self.device, numbers))
        self._write()

    def rounding(self) -> None:
        """Checks that each precision is in use where it is asked for."""
        for policy in self.policies:
            self.measured.checks += (
                self._measure(f"check of rounding, {policy}", partial(agreement.rounding, policy, self.device)) or []
            )
        self._write()

    def agreement(self, case: Case, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Makes the checks with wanted names, that the device computes what a CPU computes."""
        for name, check in agreement.checks(case, self.policies, self.device, self.is_rehearsal):
            if wanted(name):
                self.measured.checks += self._measure(f"check of {case.name}: {name}", check) or []
        self._write()

    def times(self, case: Case, policy: str) -> None:
        """Measures the steps of one trial and of stacks."""
        if case.name not in self.measured.flops:
            batch = case.config("fp32", self.is_rehearsal).batch_size
            flops = self._measure(f"operations of {case.name}", lambda: measurements.flops_a_step(case, batch))
            if flops is not None:
                self.measured.flops[case.name] = flops
        name = f"step of {case.name}, {policy}"
        self.measured.steps += self._measure(name, lambda: measurements.alone(case, policy, self.device, self.is_rehearsal)) or []
        row: StepTime | None = None
        for size in self.sizes:
            if row is not None and not measurements.may_fit(row, size, measurements.memory(self.device)):
                self.measured.steps.append(measurements.too_large(case, policy, size))
                continue
            work = partial(measurements.stacked, case, policy, size, self.device, self.is_rehearsal)
            row = self._measure(f"{name}, stack of {size}", work)
            if row is not None:
                self.measured.steps.append(row)
        self._write()

    def evaluation(self, case: Case, policy: str) -> None:
        """Measures the evaluation of one model."""
        name = f"evaluation of {case.name}, {policy}"
        row = self._measure(name, lambda: measurements.evaluated(case, policy, self.device, self.is_rehearsal))
        if row is not None:
            self.measured.evaluations.append(row)
        self._write()

    def _measure(self, name: str, work: Callable[[], Result]) -> Result | None:
        """Returns the result of the work; None, with a line on the page, if there was no time for it or an error."""
        print(f"{self.budget.used:5.0f} s  {name}", file=sys.stderr, flush=True)
        try:
            return self.budget.measure(name, work)
        except Exception as error:  # of any kind, because no error of one measurement may cost the others
            first_line = (str(error).splitlines() or [""])[0]
            self.measured.failed.append(": ".join(part for part in (name, type(error).__name__, first_line) if part))
            return None

    def _write(self) -> None:
        self.measured.seconds, self.measured.left_out = self.budget.used, self.budget.left_out
        self.measured.projections = [] if self.is_rehearsal else projections(self.measured.steps, self.measured.evaluations)
        write(self.measured, self.into)


def available(policy: str, device: torch.device) -> bool:
    """Returns whether a device can compute in a precision."""
    try:
        precision.check_available(policy, device)
    except PrecisionError:
        return False
    return True


def machine(device: torch.device) -> dict[str, str]:
    """Returns the names of the card and its driver, the versions, and the date."""
    is_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if is_gpu else "a CPU (rehearsal)",
        "driver": _driver() if is_gpu else "none",
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "Python": platform.python_version(),
        "on": date.today().isoformat(),
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu", description="Measures training and evaluation on a GPU."
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu rehearses the program and makes no claim")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds that the whole run may take")
    parser.add_argument("--into", type=Path, default=Path("docs"), help="folder of performance_gpu.md and performance_gpu.json")
    arguments = parser.parse_args()
    budget = Budget(arguments.budget)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: --device: no CUDA device is available here; run it on a machine that has one, or rehearse with --device cpu",
            file=sys.stderr,
        )
        raise SystemExit(2)
    if arguments.device == "cpu" and arguments.into == Path("docs"):
        print("error: --into: a rehearsal must not replace the page in docs; name another folder", file=sys.stderr)
        raise SystemExit(2)
    device = devices.use(torch.get_num_threads(), float(arguments.device == "cuda"))  # as a worker of a sweep
    Benchmark(device, budget, arguments.into).run()
    print(f"{arguments.into / 'performance_gpu.md'}, {arguments.into / 'performance_gpu.json'}")


if __name__ == "__main__":
    main()
