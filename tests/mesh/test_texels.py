import numpy as np
import torch

from backend.mesh.texels import dilated, rasterised


def test_texels_are_those_whose_centre_brute_force_finds_in_a_triangle(generator: torch.Generator) -> None:
    size = 40
    # One triangle in each cell of a 4 x 4 grid, so that none overlap.
    corners = torch.rand(16, 3, 2, generator=generator, dtype=torch.float64).numpy()
    uvs = ((corners + np.stack(np.divmod(np.arange(16), 4), axis=-1)[:, None]) / 4).astype(np.float32)
    texels = rasterised(uvs, size)
    place = texels.row * size + texels.column
    assert (np.diff(place) > 0).all()

    row, column = np.divmod(np.arange(size**2), size)
    centres = np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size, np.ones(size**2)])
    systems = np.concatenate([uvs.astype(np.float64).swapaxes(1, 2), np.ones((16, 1, 3))], axis=1)
    weights = np.linalg.inv(systems) @ centres
    triangle, covered = np.nonzero(weights.min(axis=1) >= 0)
    assert len(covered) > 100
    at = np.searchsorted(place, covered)
    np.testing.assert_array_equal(place[at], covered)
    np.testing.assert_array_equal(texels.triangle[at], triangle)
    np.testing.assert_allclose(texels.weights[at], weights[triangle, :, covered], atol=1e-4)
    # Beyond those, each triangle may own the texel under its centroid.
    for extra in np.setdiff1d(np.arange(len(place)), at):
        centroid = uvs[texels.triangle[extra]].mean(0) * size
        assert (texels.row[extra], texels.column[extra]) == (int(size - centroid[1]), int(centroid[0]))


def test_weights_give_back_the_texture_coordinates_of_texel_centres() -> None:
    uvs = np.array([[[0.1, 0.1], [0.9, 0.2], [0.3, 0.8]]], np.float32)
    texels = rasterised(uvs, 32)
    centres = torch.from_numpy(np.stack([(texels.column + 0.5) / 32, 1 - (texels.row + 0.5) / 32], axis=-1)).float()
    inside = torch.from_numpy(texels.weights).min(dim=1).values > 0
    assert inside.sum() > 200
    torch.testing.assert_close(texels.interpolated(uvs)[inside], centres[inside], atol=1e-5, rtol=0)


def test_a_square_of_two_triangles_is_covered_once_and_whole() -> None:
    uvs = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
    texels = rasterised(uvs, 16)
    assert len(texels.row) == 256
    # Row 0 is at the top, and the first triangle at the lower right.
    assert set(texels.triangle[texels.row + texels.column > 15].tolist()) == {0}
    assert set(texels.triangle[texels.row + texels.column < 15].tolist()) == {1}


def test_triangles_between_texel_centres_still_get_a_texel() -> None:
    sliver = np.array([[[0.30, 0.55], [0.31, 0.55], [0.30, 0.56]]], np.float32)
    point = np.full((1, 3, 2), 0.8, np.float32)
    texels = rasterised(np.concatenate([sliver, point]), 8)
    assert list(zip(texels.row.tolist(), texels.column.tolist(), strict=True)) == [(1, 6), (3, 2)]
    assert texels.triangle.tolist() == [1, 0]
    np.testing.assert_allclose(texels.weights.sum(1), 1, atol=1e-6)
    assert texels.weights.min() >= 0


def test_triangles_at_the_rim_and_beyond_stay_within_the_texture() -> None:
    texels = rasterised(np.array([[[-0.5, -0.5], [2.5, -0.5], [-0.5, 2.5]]], np.float32), 8)
    assert len(texels.row) == 64


def test_painting_fills_unused_texels_from_the_nearest_used_one() -> None:
    uvs = np.array([[[0, 0], [0.25, 0], [0, 0.25]], [[1, 1], [0.75, 1], [1, 0.75]]], np.float32)
    texels = rasterised(uvs, 16)
    colours = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.2, 1.0]])[torch.from_numpy(texels.triangle)]
    texture = texels.painted(colours, 16)
    row, column = np.indices((16, 16))
    lower_left = row - column > 0
    assert (texture[lower_left] == [255, 128, 0]).all()
    assert (texture[row - column < 0] == [0, 51, 255]).all()


def test_dilation_keeps_used_texels() -> None:
    texture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    used = np.zeros((4, 4), bool)
    used[1, 1] = used[3, 3] = True
    filled = dilated(texture, used)
    assert (filled[:2, :2] == texture[1, 1]).all()
    assert (filled[3, 2:] == texture[3, 3]).all()
