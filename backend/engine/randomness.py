"""Randomness: every draw comes from a generator that belongs to (seed, stage, step, purpose).

No draw depends on those before it, so a resumed run needs no generator state, and a new draw added
to a step changes none of the others.
"""

import hashlib

import torch


def stage_seed(seed: int, stage: str) -> int:
    """The seed of one stage of the job with `seed`. "shape" has the job's own: once it was all there is to a job."""
    return seed if stage == "shape" else _hashed(f"{seed}/{stage}")


def generator(seed: int, step: int, purpose: str, device: torch.device | None = None) -> torch.Generator:
    """A generator for one purpose within one step of the stage with `seed`, on `device` (CPU if None)."""
    return torch.Generator(device or "cpu").manual_seed(_hashed(f"{seed}/{step}/{purpose}"))


def _hashed(text: str) -> int:
    """A number of 64 bits that any other text has by chance alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
