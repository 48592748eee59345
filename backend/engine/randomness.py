"""Randomness: every draw comes from a generator that belongs to (seed, step, purpose).

No draw depends on those before it, so a resumed run needs no generator state, and a new draw added
to a step changes none of the others.
"""

import hashlib

import torch


def generator(seed: int, step: int, purpose: str, device: torch.device | None = None) -> torch.Generator:
    """A generator for one purpose within one step of the job with `seed`, on `device` (CPU if None)."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest, "little", signed=True))
