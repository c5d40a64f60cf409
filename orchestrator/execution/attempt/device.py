"""The device that trials are trained on, set so that two runs of one trial do the same."""

import os

import torch

from mopoe_core.networks import precision
from orchestrator.execution import provenance


def use(threads: int, gpu: float) -> torch.device:
    """Returns the device to use; what could differ between two runs of one trial is set the same."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        precision.use_float32()
        # Else determinism fills each new tensor, a kernel more, though nothing reads what was not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def machine(threads: int, device: torch.device) -> str:
    """Returns what the best size of a stack depends on beside the stack's shape, in words."""
    return f"{hardware(device)}, {threads} threads, torch {torch.__version__}"


def hardware(device: torch.device) -> str:
    """Returns the name of the GPU or CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.processor()
