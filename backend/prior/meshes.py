"""Exact meshes of the prior's objects: the ground truth that results are measured against."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backend.mesh.asset import TriangleMesh
from backend.mesh.marching import marching_cubes
from backend.prior.shapes import Shape

_PROJECTIONS = 6


def exact_mesh(shape: Shape, variation: Float[Tensor, " v"], resolution: int = 128) -> TriangleMesh:
    """The surface of `shape`: marching cubes over [-1, 1]^3, then every vertex moved onto the zero set.

    `resolution` samples per axis decide which details exist (parts thinner than a cell may go
    missing); the vertices lie on the true surface up to creases.
    """
    axis = torch.linspace(-1.02, 1.02, resolution)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    # One slab at a time: some objects need a dozen temporaries per point.
    distance = torch.cat([shape.distance(slab, variation.expand(*slab.shape[:-1], -1)) for slab in grid.split(8)])
    vertices, triangles = marching_cubes(distance.numpy().astype(np.float64))
    spacing = (axis[1] - axis[0]).item()
    points = torch.from_numpy(vertices).float() * spacing + axis[0]
    # Marching takes large values for the inside; distances are large outside.
    outwards = triangles[:, ::-1].astype(np.int32)
    return TriangleMesh(onto_surface(shape, points, variation).numpy(), outwards)


def onto_surface(shape: Shape, points: Float[Tensor, "V 3"], variation: Float[Tensor, " v"]) -> Float[Tensor, "V 3"]:
    """Points near the surface moved onto it, by steps along the distance's gradient."""
    u = variation.expand(len(points), -1)
    for _ in range(_PROJECTIONS):
        points = points - shape.distance(points, u)[:, None] * normals(shape, points, u)
    return points


def normals(shape: Shape, p: Float[Tensor, "V 3"], u: Float[Tensor, "V v"]) -> Float[Tensor, "V 3"]:
    """Outward unit normals: the distance's gradient by differences over a small tetrahedron."""
    corners = p.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    gradient = sum(corner * shape.distance(p + 2e-3 * corner, u)[:, None] for corner in corners)
    return torch.nn.functional.normalize(gradient, dim=-1)
