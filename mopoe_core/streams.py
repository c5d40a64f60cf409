"""Random streams: one generator for each use, all derived from the trial's seed, none shared and none global."""

import hashlib

import torch


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that any change of the parts changes altogether; the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator on `device` for the stream that the parts name, such as (seed, "noise")."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))
