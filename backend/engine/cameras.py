"""Cameras: where the object is seen from, and through which rays.

World: right-handed, z up, the object inside the unit sphere. A camera at azimuth 0 stands on -y and
looks at +y (the front view); growing azimuth walks counter-clockwise seen from above, so 90 degrees
is +x, the object's left-hand side in Blender's "right view".

Letters: B cameras, H x W pixels.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

RIG_JITTER = 0.4
"""How far apart, at most, two cameras of a rig may be from their even places, as a share of the turn between them."""


@dataclass(frozen=True)
class Cameras:
    """A batch of B pinhole cameras that look at the origin.

    azimuth, elevation: (B,) radians. fov: (B,) full vertical angle in radians. distance: (B,) from
    the origin.
    """

    azimuth: Float[Tensor, " B"]
    elevation: Float[Tensor, " B"]
    fov: Float[Tensor, " B"]
    distance: Float[Tensor, " B"]

    @property
    def backward(self) -> Float[Tensor, "B 3"]:
        """Unit vectors from the origin towards the cameras."""
        horizontal = torch.cos(self.elevation)
        return torch.stack(
            [
                horizontal * torch.sin(self.azimuth),
                -horizontal * torch.cos(self.azimuth),
                torch.sin(self.elevation),
            ],
            dim=-1,
        )

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Azimuth, elevation, field of view and distance."""
        return self.azimuth, self.elevation, self.fov, self.distance

    def tiled(self, times: int) -> "Cameras":
        """The whole batch `times` times over."""
        return Cameras(*(column.repeat(times) for column in self.columns))

    def part(self, which: slice) -> "Cameras":
        """Some of them."""
        return Cameras(*(column[which] for column in self.columns))

    def closer(self, frame: float) -> "Cameras":
        """From the same places the middle of the same pictures, `frame` of their height."""
        return replace(self, fov=2 * torch.atan(frame * torch.tan(self.fov / 2)))

    def to(self, device: torch.device) -> "Cameras":
        """The same cameras, with their numbers on `device`."""
        return Cameras(*(column.to(device) for column in self.columns))

    @property
    def position(self) -> Float[Tensor, "B 3"]:
        """Camera centres in world space."""
        return self.backward * self.distance[:, None]

    @property
    def margin(self) -> Float[Tensor, " B"]:
        """How many times as high as the unit sphere the frame is; see `framing`."""
        return torch.tan(self.fov / 2) * torch.sqrt(self.distance.square() - 1)

    @property
    def right_and_up(self) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
        """Unit vectors along the image's columns (to the right) and rows (upwards)."""
        zero = torch.zeros_like(self.azimuth)
        right = torch.stack([torch.cos(self.azimuth), torch.sin(self.azimuth), zero], dim=-1)
        return right, torch.linalg.cross(self.backward, right)

    def seen(self, directions: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        """Directions in the world, one per camera, in the cameras' own frames: right, up, backward."""
        axes = torch.stack([*self.right_and_up, self.backward], dim=1)
        return torch.einsum("bij,bj->bi", axes, directions)

    def rays(self, height: int, width: int) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B H W 3"]]:
        """Origins (one per camera) and unit directions through the pixel centres.

        Row 0 is the top of the image. Pixels are square; `fov` spans the height.
        """
        right, up = self.right_and_up
        scale = torch.tan(self.fov / 2)[:, None, None, None]
        device = self.azimuth.device
        rows = (1 - 2 * (torch.arange(height, device=device) + 0.5) / height)[None, :, None, None]
        columns = (2 * (torch.arange(width, device=device) + 0.5) / width - 1)[None, None, :, None] * (width / height)
        across = scale * (columns * right[:, None, None] + rows * up[:, None, None])
        return self.position, torch.nn.functional.normalize(across - self.backward[:, None, None], dim=-1)


@dataclass(frozen=True)
class CameraDistribution:
    """The cameras that training images are taken from, and that the engine optimises under.

    Elevation and azimuth are uniform in angle. The distance follows from the field of view so that
    the unit sphere fills 1/margin of the frame: it always fits, whatever is drawn. stratified: of the
    cameras that are drawn together there is one in each equal part of the turn.
    """

    elevation_degrees: tuple[float, float] = (-10.0, 60.0)
    fov_degrees: tuple[float, float] = (30.0, 50.0)
    margin: tuple[float, float] = (1.04, 1.2)
    stratified: bool = False

    def __post_init__(self) -> None:
        if min(self.margin) < 1:
            raise ValueError(f"margin {self.margin} would cut the unit sphere off; use at least 1")

    def sample(self, count: int, generator: torch.Generator) -> Cameras:
        """Draw `count` cameras on the generator's device."""

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)

        azimuth = uniform(-math.pi, math.pi)
        if self.stratified:
            parts = 2 * torch.arange(count, device=azimuth.device) - count + 1
            azimuth = (azimuth + math.pi * parts) / count
        return framing(
            azimuth=azimuth,
            elevation=uniform(*map(math.radians, self.elevation_degrees)),
            fov=uniform(*map(math.radians, self.fov_degrees)),
            margin=uniform(*self.margin),
        )

    def rigs(self, count: int, views: int, generator: torch.Generator) -> Cameras:
        """Draw `count` rigs one after another: each goes around the object in `views` nearly equal turns."""
        drawn = self.sample(count * views, generator)
        turn = 2 * math.pi / views
        within = turn * torch.arange(views, device=generator.device).repeat(count)
        first = drawn.azimuth.unflatten(0, (count, views))[:, :1].expand(-1, views).flatten()
        jitter = torch.rand(count * views, generator=generator, device=generator.device) - 0.5
        azimuth = first + within + RIG_JITTER * turn * jitter
        return replace(drawn, azimuth=(azimuth + math.pi) % (2 * math.pi) - math.pi)


@dataclass(frozen=True)
class EvenRigs:
    """Cameras in rigs that differ in azimuth alone, by exactly equal turns: as MVDream was taught (arXiv 2308.16512).

    Elevation, field of view and half_frame are uniform. half_frame: half the frame's height at the origin, in metres.
    In MVDream's pictures it is 0.8 to 1 times half the longest side of the object; with sides of up to 1.5 metres most
    objects fit into the unit sphere.
    """

    elevation_degrees: tuple[float, float] = (0.0, 30.0)
    fov_degrees: tuple[float, float] = (15.0, 60.0)
    half_frame: tuple[float, float] = (0.6, 0.75)

    def __post_init__(self) -> None:
        nearest = self.half_frame[0] / math.tan(math.radians(self.fov_degrees[1]) / 2)
        if nearest <= 1:
            raise ValueError(f"from {nearest:.2f} metres a camera would stand inside the unit sphere")

    def sample(self, count: int, generator: torch.Generator) -> Cameras:
        """Draw `count` cameras, each by itself, on the generator's device."""
        return self.rigs(count, 1, generator)

    def rigs(self, count: int, views: int, generator: torch.Generator) -> Cameras:
        """Draw `count` rigs of `views` one after another."""

        def uniform(low: float, high: float) -> Tensor:
            drawn = torch.rand(count, generator=generator, device=generator.device)
            return (low + (high - low) * drawn).repeat_interleave(views)

        turn = 2 * math.pi / views
        azimuth = uniform(-math.pi, math.pi) + turn * torch.arange(views, device=generator.device).repeat(count)
        elevation = uniform(*map(math.radians, self.elevation_degrees))
        fov = uniform(*map(math.radians, self.fov_degrees))
        distance = uniform(*self.half_frame) / torch.tan(fov / 2)
        return Cameras((azimuth + math.pi) % (2 * math.pi) - math.pi, elevation, fov, distance)


def framing(
    azimuth: Float[Tensor, " B"], elevation: Float[Tensor, " B"], fov: Float[Tensor, " B"], margin: Float[Tensor, " B"]
) -> Cameras:
    """Cameras at the distance from which the unit sphere fills 1/margin of the frame's height."""
    return Cameras(azimuth, elevation, fov, torch.sqrt(1 + (margin / torch.tan(fov / 2)) ** 2))


def ring(count: int, elevation_degrees: float, fov_degrees: float = 40.0, margin: float = 1.08) -> Cameras:
    """`count` cameras evenly around the object, the first one in front: fixed views for judging and previews."""
    full = torch.ones(count)
    return framing(
        azimuth=2 * math.pi * torch.arange(count) / count,
        elevation=full * math.radians(elevation_degrees),
        fov=full * math.radians(fov_degrees),
        margin=full * margin,
    )
