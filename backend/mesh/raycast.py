"""Pictures of the finished mesh, by ray casting.

Previews, the judge and every figure about a mesh look at it through this renderer and nothing else.

Letters: B views, H x W pixels, n rays that hit, V vertices, F triangles, T x U texels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from embreex.mesh_construction import TriangleMesh as EmbreeTriangles
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, Float32, Int
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.shading import Lights
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.triangles import corners_of, crossed, unit

SUPERSAMPLING = 2
"""Rays per pixel and axis."""

CREASE_DEGREES = 45.0
"""Faces that meet at a wider angle keep an edge between them; flatter ones are shaded as one smooth surface."""


@dataclass(frozen=True)
class MeshRendering:
    """What B views of a mesh look like, anti-aliased, everything premultiplied by opacity.

    opacity: share of each pixel that the mesh covers. depth: distance along the ray. normals: unit
    vectors in world space.
    """

    colour: Float[Tensor, "B 3 H W"]
    opacity: Float[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]
    normals: Float[Tensor, "B 3 H W"]


@dataclass(frozen=True)
class Hits:
    """Where n rays first meet a mesh. ray: which ray; weights: barycentric, of the triangle's three corners."""

    ray: Int[Tensor, " n"]
    triangle: Int[Tensor, " n"]
    weights: Float[Tensor, "n 3"]
    distance: Float[Tensor, " n"]

    def interpolated(self, corners: Float[Tensor, "F 3 k"]) -> Float[Tensor, "n k"]:
        """Values at the hits of what is given at triangle corners."""
        return (self.weights[:, :, None] * corners[self.triangle]).sum(1)

    def part(self, which: Int[Tensor, " m"]) -> "Hits":
        """Some of them."""
        return Hits(self.ray[which], self.triangle[which], self.weights[which], self.distance[which])


class RayCaster:
    """A mesh prepared for ray queries."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._scene = EmbreeScene()
        EmbreeTriangles(scene=self._scene, vertices=mesh.vertices, indices=mesh.triangles)

    def first_hits(self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Hits:
        """The nearest triangle along each ray, from either side. `directions` are unit vectors."""
        found = self._scene.run(origins.numpy(), directions.numpy(), output=1)
        ray = np.flatnonzero(found["primID"] >= 0)
        second, third = (torch.from_numpy(found[name][ray]) for name in ("u", "v"))
        return Hits(
            ray=torch.from_numpy(ray),
            triangle=torch.from_numpy(found["primID"][ray].astype(np.int64)),
            weights=torch.stack([1 - second - third, second, third], dim=-1),
            distance=torch.from_numpy(found["tfar"][ray]),
        )


def render(
    asset: Asset,
    cameras: Cameras,
    size: int,
    lights: Lights | None = None,
    plain: Float[Tensor, "B 3"] | None = None,
    supersampling: int = SUPERSAMPLING,
) -> MeshRendering:
    """Render size x size pixels per camera, on the CPU.

    lights: None shows the base colour as it is. plain: one colour per view in place of the texture.
    """
    caster = RayCaster(asset.mesh)
    uvs, normals = torch.from_numpy(asset.uvs), torch.from_numpy(asset.normals)
    texture = torch.tensor(asset.texture).permute(2, 0, 1).float() / 255
    fine = size * supersampling
    stack = torch.empty(len(cameras.azimuth), 8, size, size)
    # One view at a time: the rays of a whole turntable would not fit.
    for view, camera in enumerate(one_by_one(cameras)):
        origin, directions = camera.rays(fine, fine)
        hits = caster.first_hits(origin.expand(fine * fine, 3).contiguous(), directions.reshape(-1, 3))
        normal = torch.nn.functional.normalize(hits.interpolated(normals), dim=-1)
        colour = sampled(texture, hits.interpolated(uvs)) if plain is None else plain[view].expand(len(normal), 3)
        if lights is not None:
            light = Lights(lights.direction[view, None], lights.ambient[view, None])
            colour = colour * light.shade(normal[None])[0, :, None]
        values = torch.cat([colour, torch.ones(len(normal), 1), hits.distance[:, None], normal], dim=-1)
        pixels = torch.zeros(8, fine * fine).index_copy_(1, hits.ray, values.T).reshape(8, fine, fine)
        stack[view] = torch.nn.functional.avg_pool2d(pixels, supersampling)
    return MeshRendering(stack[:, :3], stack[:, 3], stack[:, 4], stack[:, 5:])


def one_by_one(cameras: Cameras) -> Iterator[Cameras]:
    """Each camera of the batch as a batch of one."""
    for columns in zip(*cameras.columns, strict=True):
        yield Cameras(*(column[None] for column in columns))


def sampled(texture: Float[Tensor, "c T U"], uvs: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """Bilinear lookup: texel (row i, column j) has its centre at u = (j + 1/2) / U, v = 1 - (i + 1/2) / T."""
    grid = torch.stack([2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]], dim=-1)
    found = torch.nn.functional.grid_sample(
        texture[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


def corner_normals(mesh: TriangleMesh) -> Float32[np.ndarray, "F 3 3"]:
    """Unit normals at triangle corners, smooth but for creases.

    A corner's normal is the mean of the face normals around its vertex that lie within CREASE_DEGREES
    of its own face's, weighted by area. Vertices need not be welded: it goes by positions.
    """
    scaled = crossed(corners_of(mesh))
    normal = unit(scaled)

    vertex = welded(mesh).triangles.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)
    first = np.cumsum(count) - count
    # Every corner is paired with every face around its vertex.
    partners = count[vertex]
    corner = np.repeat(np.arange(len(vertex)), partners)
    nth = np.arange(len(corner)) - np.repeat(np.cumsum(partners) - partners, partners)
    face, other = corner // 3, order[first[vertex[corner]] + nth] // 3
    alike = (normal[face] * normal[other]).sum(-1) >= np.cos(np.radians(CREASE_DEGREES))
    sums = np.stack([np.bincount(corner, alike * scaled[other, axis], len(vertex)) for axis in range(3)], axis=-1)
    return unit(sums).reshape(-1, 3, 3).astype(np.float32)


def welded(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh with one vertex for each place, as before its seams were split."""
    vertices, place = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return TriangleMesh(vertices, place.reshape(-1)[mesh.triangles].astype(np.int32))
