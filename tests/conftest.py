"""Fixtures that every room's tests share."""

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness with a fixed seed."""
    return torch.Generator().manual_seed(0)
