"""The hash grid of `hashgrid` on tiny-cuda-nn's kernels: the fast twin on NVIDIA GPUs.

Only the encoding is tiny-cuda-nn's, in single precision: its networks compute in half precision and
cannot be differentiated twice, which normals in a loss need. Initial parameters, their names and their
order are the plain twin's, so the state of either loads into the other.
"""

import importlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.engine.fields import Blob
from backend.engine.hashgrid import HashGridConfig, HashGridField, initial_table


def missing() -> str | None:
    """What keeps tiny-cuda-nn from being used on this machine, in a few words; None if nothing does."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    try:
        importlib.import_module("tinycudann")
    except Exception as error:  # beside ImportError its import raises OSError or NameError if built for another GPU
        return f"tinycudann cannot be imported: {error}"
    return None


class TcnnEncoding(nn.Module):
    """`hashgrid.HashEncoding` on CUDA. params: as there, entries by features, flat, level after level."""

    def __init__(self, config: HashGridConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.features = config.features
        settings = {
            "otype": "HashGrid",
            "n_levels": config.levels,
            "n_features_per_level": config.features,
            "log2_hashmap_size": config.log2_table,
            "base_resolution": config.base,
            "per_level_scale": config.growth,
            "interpolation": "Linear",
        }
        native = importlib.import_module("tinycudann").Encoding(3, settings, dtype=torch.float32)
        # Its forward alone is kept: as a submodule it would give its parameter a second name.
        self.encode = native.forward
        self.params: nn.Parameter = native.params
        with torch.no_grad():
            self.params.copy_(initial_table(config, generator))

    def forward(self, unit: Float[Tensor, "n 3"], shown: int) -> Float[Tensor, "n k"]:
        """Features of points of the unit cube on the `shown` coarsest levels. Twice differentiable."""
        width = shown * self.features
        # Its backward pass leaves the gradient uninitialised where there are no points.
        return self.encode(unit)[:, :width] if len(unit) else self.params.new_zeros(0, width)


def tcnn_hash_grid_field(
    generator: torch.Generator, channels: int = 3, config: HashGridConfig | None = None, blob: Blob | None = None
) -> HashGridField:
    """A hash-grid field on tiny-cuda-nn. Raises what importing it raises: ask `missing()` first."""
    config = config or HashGridConfig()
    return HashGridField(generator, channels, config, blob, TcnnEncoding(config, generator))
