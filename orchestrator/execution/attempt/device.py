"""The device that trials are trained on, configured so that two runs of one trial give the same results."""

import os

import torch

from mopoe_core.networks import precision
from orchestrator.execution import provenance


def use(threads: int, gpu: float) -> torch.device:
    """Returns the device to use, and sets torch's options so that two runs of one trial give the same results.

    `threads` is for the CPU; `gpu` is how many GPUs a worker has, 0 for training on the CPU.
    """
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        precision.use_float32()
        # With determinism, torch fills each new tensor: one kernel more, although no code reads memory before it is written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def machine(threads: int, device: torch.device) -> str:
    """Returns a text for the hardware, threads and torch version, on which the best stack size depends beside the stack's shape."""
    return f"{hardware(device)}, {threads} threads, torch {torch.__version__}"


def hardware(device: torch.device) -> str:
    """Returns the name of the GPU or CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.processor()
