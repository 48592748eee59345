"""A training so small that a test has time for it."""

import torch

from backend.prior.network import Architecture
from backend.prior.training import Training

CPU = torch.device("cpu")
SMALL = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)
TINY = Training(images=1000, size=32, small=16, batch=8, warm_up=16, pictures=8, architecture=SMALL)
WORDS = ["a", "mug", "red"]
