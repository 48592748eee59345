"""What a model may be told of how a picture is taken.

Letters: B views, d channels of a picture, D those of what a network is shown.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.shading import Lights
from backend.guidance.folders import CAMERA_NUMBERS, VIEW_FEATURES

FEATURES = VIEW_FEATURES
"""Numbers that tell of one view."""


@dataclass(frozen=True)
class Views:
    """How B pictures are taken. lights: with their directions in the cameras' frames (right, up, backward).

    joint: how many consecutive ones show one object and are to see each other, where the model was taught so.
    """

    cameras: Cameras
    lights: Lights
    joint: int = 1

    @classmethod
    def unlit(cls, cameras: Cameras) -> "Views":
        """Pictures in plain colours."""
        toward = torch.tensor([[0.0, 0.0, 1.0]], device=cameras.azimuth.device)
        return cls(cameras, Lights(toward.expand(len(cameras.azimuth), -1), torch.ones_like(cameras.azimuth)))

    def told(self, numbers: int | None) -> Float[Tensor, "B n"]:
        """What a model is told of each view that takes so many numbers: MVDream 16, the built-in one and rivals 12."""
        return self.camera_matrices if numbers == CAMERA_NUMBERS else self.features

    @property
    def camera_matrices(self) -> Float[Tensor, "B 16"]:
        """From camera to world, row by row, as MVDream was taught (arXiv 2308.16512, section 3.1): at distance 1.

        Axes of the camera: right, up, backward; of the world: z up, and things mostly face +x, not -y as here.
        """
        cameras = replace(self.cameras, azimuth=self.cameras.azimuth + math.pi / 2)
        matrices = torch.stack([*cameras.right_and_up, cameras.backward, cameras.backward], dim=2)
        zeros, one = matrices.new_zeros(len(matrices), 3), matrices.new_ones(len(matrices), 1)
        return torch.cat([matrices.flatten(1), zeros, one], dim=1)

    @property
    def features(self) -> Float[Tensor, "B 12"]:
        """Numbers of about unit size: for the built-in model's "projection" class embedding."""
        azimuth, elevation = self.cameras.azimuth, self.cameras.elevation
        directed = 3 * (1 - self.lights.ambient)[:, None] * self.lights.direction
        columns = [
            torch.sin(azimuth),
            torch.cos(azimuth),
            torch.sin(2 * azimuth),
            torch.cos(2 * azimuth),
            torch.sin(elevation),
            torch.cos(elevation),
            10 * (self.cameras.fov - 0.7),  # 30 to 50 degrees are 0.52 to 0.87
            20 * (self.cameras.margin - 1.12),
            2 * self.lights.ambient - 1,
            *directed.unbind(1),
        ]
        return torch.stack(columns, dim=1)


def shown(pictures: Float[Tensor, "B d h w"], told: Tensor | None, channels: int) -> Float[Tensor, "B D h w"]:
    """Noisy pictures as a network that takes so many channels wants them: with `places` or as they are."""
    if told is None or pictures.shape[1] == channels:
        return pictures
    return torch.cat([pictures, places(told, *pictures.shape[-2:]).to(pictures)], dim=1)


def places(told: Float[Tensor, "B 12"], height: int, width: int) -> Float[Tensor, "B 6 h w"]:
    """Where pixels lie, by what is told of their pictures (`Views.features`); zeros where that is zeros.

    Three channels say where in the world, on the plane through the object's middle that faces the camera and in halves
    of the picture; three say where the camera stands. A network that has numbers for the whole picture alone hardly
    learns on which side an object has its front: that needs products of angle and place, which are made for it here.
    """
    sin, cos, sin_up, cos_up = (told[:, column, None] for column in (0, 1, 4, 5))
    right = torch.cat([cos, sin, torch.zeros_like(sin)], dim=1)
    backward = torch.cat([cos_up * sin, -cos_up * cos, sin_up], dim=1)
    up = torch.linalg.cross(backward, right)
    across = (torch.arange(width, device=told.device) + 0.5) * 2 / width - 1
    upwards = 1 - (torch.arange(height, device=told.device) + 0.5) * 2 / height
    plane = right[:, :, None, None] * across + up[:, :, None, None] * upwards[:, None]
    return torch.cat([plane, backward[:, :, None, None].expand_as(plane)], dim=1)
