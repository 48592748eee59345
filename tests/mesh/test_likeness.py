"""An artist's picture on a mesh: where its camera sees the surface, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.engine.cameras import Cameras, ring
from backend.engine.reference import Reference
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.likeness import likened
from backend.mesh.raycast import corner_normals
from backend.mesh.unwrap import unwrap

FRONT = ring(1, 0)
PIXELS, TEXELS = 128, 256
GREY = 128


def boxes(*boxes: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Asset:
    """A grey mesh of boxes, each given by its middle and half its sides."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    halves = np.array([half for a, b, c, d in sides for half in ((a, b, c), (a, c, d))])
    vertices = np.concatenate([corners * half + middle for middle, half in boxes]).astype(np.float32)
    triangles = np.concatenate([halves + 8 * number for number in range(len(boxes))]).astype(np.int32)
    mesh = TriangleMesh(vertices, triangles)
    texture = np.full((TEXELS, TEXELS, 3), GREY, np.uint8)
    return Asset(mesh, unwrap(mesh, TEXELS).uvs, texture, corner_normals(mesh))


BOX = boxes(((0, 0, 0), (0.4, 0.4, 0.4)))


def picture(asset: Asset) -> Reference:
    """Of the asset, in waves of red and blue from side to side."""
    opacity = raycast.render(asset, FRONT, PIXELS).opacity[0]
    red = (0.5 + 0.5 * torch.sin(torch.arange(PIXELS) / 3)).expand(PIXELS, PIXELS)
    return Reference(FRONT, opacity, torch.stack([red, 0 * red, 1 - red]) * opacity)


def seen(asset: Asset, camera: Cameras) -> torch.Tensor:
    shown = raycast.render(asset, camera, PIXELS)
    return (shown.colour / shown.opacity[:, None].clamp(min=1e-3))[0][:, shown.opacity[0] > 0.99]


def test_the_front_is_as_in_the_picture_and_the_rest_as_it_was() -> None:
    reference = picture(BOX)
    made = replace(BOX, texture=likened(BOX, reference))
    shown = raycast.render(made, FRONT, PIXELS)
    error = (shown.colour[0] - reference.colour).square().mean(0)[reference.opacity > 0.5].mean()
    assert -10 * torch.log10(error) > 25
    for camera in list(raycast.one_by_one(ring(4, 0)))[1:]:
        beside = seen(made, camera)
        torch.testing.assert_close(beside, torch.full_like(beside, GREY / 255), atol=1e-4, rtol=0)


def test_what_stands_behind_something_keeps_its_colours() -> None:
    asset = boxes(((0, -0.4, 0), (0.3, 0.1, 0.3)), ((0, 0.4, 0), (0.3, 0.1, 0.3)))
    made = replace(asset, texture=likened(asset, picture(asset)))
    alone = slice(12, 24)
    hidden = Asset(
        TriangleMesh(made.mesh.vertices, made.mesh.triangles[alone]), made.uvs[alone], made.texture, made.normals[alone]
    )
    ahead = seen(hidden, FRONT)
    torch.testing.assert_close(ahead, torch.full_like(ahead, GREY / 255), atol=1e-4, rtol=0)


def test_a_sketch_has_no_colours_to_give() -> None:
    reference = replace(picture(BOX), colour=None)
    assert np.array_equal(likened(BOX, reference), BOX.texture)


@pytest.mark.parametrize("half", [0.4, 0.02])
def test_what_is_behind_the_object_in_the_picture_does_not_reach_it(half: float) -> None:
    """At the edge of what was cut out, pixels are mixed with the background; a thin thing has hardly any others."""
    asset = boxes(((0, 0, 0), (half, 0.2, 0.4)))
    opacity = (raycast.render(asset, FRONT, 512).opacity[0] > 0.01).float()
    inside = torch.nn.functional.max_pool2d(1 - opacity[None], 3, stride=1, padding=1)[0] == 0
    colour = torch.where(inside, torch.tensor([1.0, 0.0, 0.0])[:, None, None], torch.ones(3, 1, 1)) * opacity
    made = replace(asset, texture=likened(asset, Reference(FRONT, opacity, colour)))
    assert seen(made, FRONT).mean(1)[1:].max() < 0.05


def test_what_the_picture_does_not_show_keeps_its_colours() -> None:
    """Half of the box: the other half lies far beside what the picture shows of the object."""
    whole = picture(BOX)
    left = (torch.arange(PIXELS) < PIXELS // 2).float()
    reference = replace(whole, opacity=whole.opacity * left, colour=whole.colour * left)  # type: ignore[operator]
    made = raycast.render(replace(BOX, texture=likened(BOX, reference)), FRONT, PIXELS)
    far = (torch.arange(PIXELS) > PIXELS * 0.55) & (made.opacity[0] > 0.99)
    kept = made.colour[0][:, far]
    torch.testing.assert_close(kept, torch.full_like(kept, GREY / 255), atol=1e-4, rtol=0)
