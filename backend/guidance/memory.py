"""How much memory a step takes, and how many of its views are to be taken at once.

Estimated before the first step, not tried: on Windows the driver may move what does not fit to main memory without a
word, and steps then take minutes. The numbers are of Stable Diffusion's VAE in half precision, counted by what autograd
keeps of 512 x 512 to 1024 x 1024 pixels, and of the UNet of 1.5 on 64 x 64 latents, estimated from its layers' sizes.

Letters: B views, K conditionings.
"""

from dataclasses import dataclass

from backend.engine.fields import SIZES
from backend.engine.names import FieldName
from backend.engine.rendering import POINTS_KEPT

GIB = 2**30

_ENCODER_BYTES = 1.4875 * GIB / 512**2 / 128 / 2
"""What the VAE's encoder keeps for its gradient: per pixel, channel of its first block and byte of a number."""

_ATTENTION_BYTES = 2.0
"""What its one attention keeps besides: per pair of latents and byte of a number."""

_BY_BLOCKS = 0.57
"""The share of that which the encoder keeps at most if the work of each of its blocks is done again when needed."""

NETWORK_BYTES = 1.2 * GIB / 16 / 64**2 / 320 / 2
"""What one prediction takes while it is made: per pixel, channel of the UNet's first block and byte of a number."""

SAMPLE_BYTES: dict[FieldName, float] = {"voxel": 100, "hashgrid": 1000, "sdf": 100}
"""What rendering keeps for its gradient, per pixel and sample that its ray may have, normals included."""

BARE_BYTES = 100
"""That of a sample beyond `POINTS_KEPT`, where the field's own work is done again."""

_GRID_BYTES = 4 * 4 * sum(size**3 for size in SIZES)

TRAINING_BYTES: dict[FieldName, float] = {"voxel": 15 * _GRID_BYTES, "hashgrid": 146e6, "sdf": 15 * _GRID_BYTES}
"""What a field's gradient and Adam's two means take; and, of a grid, what summing and smoothing it keep: a dozen."""

USABLE = 0.9
"""The share of the free memory that is planned with: allocators leave gaps, and kernels want room."""


def encoder_bytes(pixels: int, latents: int, channels: int, itemsize: int) -> float:
    """What a VAE's encoder keeps of a picture of so many pixels and latents. channels: of its first block."""
    return itemsize * (_ENCODER_BYTES * pixels * channels + _ATTENTION_BYTES * latents**2)


@dataclass(frozen=True)
class Needs:
    """Bytes that a step takes besides weights. fixed: however many views it has.

    Of each view, field: what rendering it keeps; encoder: what encoding it keeps; network: what its predictions take.
    """

    fixed: float
    field: float
    encoder: float
    network: float

    def of(self, at_once: int, joint: int) -> float:
        """The most that is needed at a time, `at_once` views taken together and `joint` never parted.

        One view alone is encoded block by block; see `DiffusionGuidance.lean`.
        """
        rendered = -(-at_once // joint) * joint
        encoder = self.encoder * (_BY_BLOCKS if at_once == 1 else 1)
        return self.fixed + rendered * self.field + at_once * (encoder + self.network)

    def views_at_once(self, free: float, views: int, joint: int) -> int | None:
        """How many of the views fit into `free` bytes at a time, in groups of nearly one size; None: all.

        1 where not even one of them fits: the estimate may be too high.
        """
        groups = sorted({-(-views // count) for count in range(1, views + 1)}, reverse=True)
        fitting = next((size for size in groups if self.of(size, joint) <= USABLE * free), 1)
        return None if fitting == views else fitting


def needs(field: FieldName, pixels: int, spacing: float, encoder: float, network: float) -> Needs:
    """Of a step with views of pixels x pixels and samples every `spacing` metres of two."""
    samples = pixels**2 * 2 / spacing
    rendered = BARE_BYTES * samples + (SAMPLE_BYTES[field] - BARE_BYTES) * min(samples, POINTS_KEPT)
    return Needs(TRAINING_BYTES[field], rendered, encoder, network)
