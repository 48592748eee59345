"""Pictures of objects before they are lit and coloured: ray cast once, lit and coloured anew for every batch.

Letters: B views, H x W pixels, F triangles.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.shading import Lights, over
from backend.mesh.raycast import SUPERSAMPLING, RayCaster, corner_normals, one_by_one
from backend.prior.objects import Surface

_LAYERS_OF_CUT_OUTS = 8
"""How many cut-out surfaces a ray may pass through, one behind the other."""


@dataclass(frozen=True)
class Layers:
    """What B views of a thing hold, anti-aliased.

    albedo: display colours times coverage. normals: unit vectors on the side that is seen, in the camera's frame
    (right, up, backward), times coverage.
    """

    albedo: Float[Tensor, "B 3 H W"]
    coverage: Float[Tensor, "B H W"]
    normals: Float[Tensor, "B 3 H W"]

    @classmethod
    def unpacked(cls, stack: UInt8[Tensor, "B 7 H W"]) -> "Layers":
        """Layers as `packed` has kept them."""
        values = stack.float() / 255
        coverage = values[:, 3]
        return cls(values[:, :3], coverage, 2 * values[:, 4:] - coverage[:, None])

    def packed(self) -> UInt8[Tensor, "B 7 H W"]:
        """One byte a value: albedo, coverage, normals from their range -1..1."""
        normals = (self.normals + self.coverage[:, None]) / 2
        stack = torch.cat([self.albedo, self.coverage[:, None], normals], dim=1)
        return (stack.clamp(0, 1) * 255).round().to(torch.uint8)

    def smaller(self) -> "Layers":
        """Half as many pixels per axis."""
        stack = torch.cat([self.albedo, self.coverage[:, None], self.normals], dim=1)
        small = torch.nn.functional.avg_pool2d(stack, 2)
        return Layers(small[:, :3], small[:, 3], small[:, 4:])

    def lit(self, lights: Lights, background: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 H W"]:
        """Images in [0, 1]: `lights` have their directions in the cameras' frames."""
        normals = self.normals / self.coverage.clamp(min=1 / 255)[:, None]
        brightness = lights.shade(normals.permute(0, 2, 3, 1)).clamp(max=1)  # one byte a normal is not quite unit
        return over(self.albedo * brightness[:, None], self.coverage, background)


def cast(surface: Surface, cameras: Cameras, size: int) -> Layers:
    """Views of `surface`, size x size pixels. Surfaces are seen from either side."""
    caster, normals = RayCaster(surface.mesh), torch.from_numpy(corner_normals(surface.mesh))
    corners = torch.from_numpy(surface.mesh.vertices[surface.mesh.triangles])
    flat = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    right, up = cameras.right_and_up
    frames = torch.stack([right, up, cameras.backward], dim=1)
    fine = size * SUPERSAMPLING
    stack = torch.zeros(len(cameras.azimuth), 7, fine * fine)
    for view, camera in enumerate(one_by_one(cameras)):
        origin, directions = camera.rays(fine, fine)
        origins, directions = origin.expand(fine * fine, 3).contiguous(), directions.reshape(-1, 3).contiguous()
        ray = torch.arange(fine * fine)
        for _ in range(_LAYERS_OF_CUT_OUTS):
            hits = caster.first_hits(origins, directions)
            albedo, there = surface.albedo(hits)
            normal = torch.nn.functional.normalize(hits.interpolated(normals), dim=-1)
            # The face tells which side is seen: at an outline, smooth normals lean over it.
            away = (flat[hits.triangle] * directions[hits.ray]).sum(-1, keepdim=True) > 0
            normal = torch.where(away, -normal, normal) @ frames[view].T
            values = torch.cat([albedo, torch.ones(len(albedo), 1), normal], dim=-1)
            stack[view, :, ray[hits.ray[there]]] = values[there].T
            passed = hits.ray[~there]
            if not len(passed):
                break
            origins = origins[passed] + (hits.distance[~there, None] + 1e-4) * directions[passed]
            directions, ray = directions[passed], ray[passed]
    pixels = torch.nn.functional.avg_pool2d(stack.reshape(-1, 7, fine, fine), SUPERSAMPLING)
    return Layers(pixels[:, :3], pixels[:, 3], pixels[:, 4:])
