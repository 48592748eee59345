import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from backend.errors import UserError
from backend.mesh.raycast import RayCaster
from backend.prior.objects import Surface, read, to_display, to_linear


def encoded(linear: float) -> float:
    """sRGB's encoding, once more."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def decoded(display: float) -> float:
    return display / 12.92 if display <= 0.04045 else ((display + 0.055) / 1.055) ** 2.4


def wall(material: PBRMaterial, uvs: tuple[float, float] = (0, 1)) -> trimesh.Trimesh:
    """A square of side 2 that faces glTF's front (+z), its texture upright, u and v over the range `uvs`."""
    corners = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], dtype=float)
    low, high = uvs
    uv = low + (high - low) * (corners[:, :2] + 1) / 2
    return trimesh.Trimesh(corners, [(0, 1, 2), (0, 2, 3)], process=False, visual=TextureVisuals(uv, material=material))


def saved(folder: Path, *meshes: trimesh.Trimesh) -> Path:
    path = folder / "thing.glb"
    path.write_bytes(trimesh.Scene(list(meshes)).export(file_type="glb"))
    return path


def seen(surface: Surface, *places: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a viewer in front sees at places (right, up), in shares of the wall's half side."""
    half = 0.5**0.5  # the wall's corners are on the unit sphere
    origins = torch.tensor([(half * right, -3.0, half * up) for right, up in places])
    hits = RayCaster(surface.mesh).first_hits(origins, torch.tensor([[0.0, 1.0, 0.0]]).repeat(len(places), 1))
    assert len(hits.ray) == len(places)
    return surface.albedo(hits)


def colour(surface: Surface, *places: tuple[float, float]) -> list[list[float]]:
    return seen(surface, *(places or [(0.3, 0.2)]))[0].tolist()


def picture(rows: list[list[tuple[int, ...]]], enlarged: int = 1) -> Image.Image:
    pixels = np.array(rows, dtype=np.uint8)
    return Image.fromarray(pixels.repeat(enlarged, 0).repeat(enlarged, 1))


def test_encoding_and_decoding_are_srgbs() -> None:
    linear = torch.tensor([0.0, 0.002, 0.0031308, 0.18, 0.5, 1.0])
    display = torch.tensor([0.0, 0.02584, 0.04045, 0.461356, 0.735357, 1.0])
    torch.testing.assert_close(to_display(linear), display, atol=1e-5, rtol=0)
    torch.testing.assert_close(to_linear(display), linear, atol=1e-5, rtol=0)


def test_encoding_has_finite_gradients_at_black() -> None:
    black = torch.zeros(3, requires_grad=True)
    to_display(black).sum().backward()
    assert black.grad is not None
    torch.testing.assert_close(black.grad, torch.full((3,), 12.92))


def test_a_factor_is_linear(tmp_path: Path) -> None:
    surface = read(saved(tmp_path, wall(PBRMaterial(baseColorFactor=[51, 153, 255, 255]))))
    assert colour(surface)[0] == pytest.approx([encoded(0.2), encoded(0.6), 1.0], abs=1e-5)


def test_a_texture_is_srgb_and_multiplied_in_linear_light(tmp_path: Path) -> None:
    material = PBRMaterial(baseColorTexture=picture([[(200, 100, 0)]]), baseColorFactor=[51, 255, 255, 255])
    surface = read(saved(tmp_path, wall(material)))
    expected = [encoded(0.2 * decoded(200 / 255)), 100 / 255, 0.0]
    assert colour(surface)[0] == pytest.approx(expected, abs=1e-5)


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def test_a_texture_is_the_right_way_up(tmp_path: Path) -> None:
    texture = picture([[RED, GREEN], [BLUE, WHITE]])
    surface = read(saved(tmp_path, wall(PBRMaterial(baseColorTexture=texture))))
    found = colour(surface, (-0.7, 0.7), (0.7, 0.7), (-0.7, -0.7), (0.7, -0.7))
    assert found == [pytest.approx([c / 255 for c in corner], abs=1e-5) for corner in (RED, GREEN, BLUE, WHITE)]


def test_a_texture_is_repeated_beyond_its_edges(tmp_path: Path) -> None:
    texture = picture([[RED, GREEN], [BLUE, WHITE]], enlarged=8)
    surface = read(saved(tmp_path, wall(PBRMaterial(baseColorTexture=texture), uvs=(-1, 2))))
    turns = (-2 / 3, 0.0, 2 / 3)
    places = [(turn + 1 / 6, other - 1 / 6) for turn in turns for other in turns]  # the lower right of each copy
    assert colour(surface, *places) == [pytest.approx([1, 1, 1], abs=1e-5)] * 9


def test_vertex_colours_without_a_material_are_linear(tmp_path: Path) -> None:
    mesh = trimesh.creation.box((2, 2, 2))
    mesh.visual.vertex_colors = np.tile([51, 153, 0, 255], (8, 1))
    assert colour(read(saved(tmp_path, mesh)))[0] == pytest.approx([encoded(0.2), encoded(0.6), 0], abs=1e-5)


@pytest.mark.parametrize(("kind", "number", "most"), [("<f4", 5126, 1), ("<u2", 5123, 65535), ("u1", 5121, 255)])
def test_vertex_colours_of_any_type_multiply_the_factor(kind: str, number: int, most: int, tmp_path: Path) -> None:
    corners = np.array([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], dtype="<f4")
    colours = np.round(np.full((3, 4), 0.6) * most, 3 if most == 1 else 0).astype(kind)
    chunks = [corners.tobytes(), colours.tobytes()]
    data = b"".join(chunks)
    accessor = {"count": 3, "byteOffset": 0}
    tree: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.2, 1, 1, 1]}}],
        "accessors": [
            {**accessor, "bufferView": 0, "componentType": 5126, "type": "VEC3"},
            {**accessor, "bufferView": 1, "componentType": number, "type": "VEC4", "normalized": most > 1},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(chunks[0])},
            {"buffer": 0, "byteOffset": len(chunks[0]), "byteLength": len(chunks[1])},
        ],
        "buffers": [
            {"byteLength": len(data), "uri": f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"}
        ],
    }
    path = tmp_path / "thing.gltf"
    path.write_text(json.dumps(tree))
    found = colour(read(path), (0.0, -0.3))[0]
    assert found == pytest.approx([encoded(0.12), encoded(0.6), encoded(0.6)], abs=1e-4)


HOLE = [[(255, 0, 0, 255), (0, 255, 0, 80)]]
LEFT, RIGHT = (-0.7, 0.0), (0.7, 0.0)


@pytest.mark.parametrize(
    ("mode", "cutoff", "right_is_there"),
    [
        ("MASK", None, False),
        ("MASK", 0.25, True),
        ("MASK", 0.0, True),
        ("OPAQUE", None, True),
        ("BLEND", None, True),
    ],
)
def test_only_cut_out_alpha_makes_holes(mode: str, cutoff: float | None, right_is_there: bool, tmp_path: Path) -> None:
    material = PBRMaterial(baseColorTexture=picture(HOLE, enlarged=4), alphaMode=mode, alphaCutoff=cutoff)
    _, there = seen(read(saved(tmp_path, wall(material))), LEFT, RIGHT)
    assert there.tolist() == [True, right_is_there]


def test_colours_under_an_alpha_that_does_not_count_survive_being_made_smaller(tmp_path: Path) -> None:
    clear = picture([[(255, 0, 0, 0)]], enlarged=512)
    surface = read(saved(tmp_path, wall(PBRMaterial(baseColorTexture=clear, alphaMode="OPAQUE"))))
    assert surface.textures[0].texels.shape == (4, 256, 256)
    assert colour(surface)[0] == pytest.approx([1, 0, 0], abs=1e-5)


def test_each_part_keeps_its_own_texture(tmp_path: Path) -> None:
    red, blue = (PBRMaterial(baseColorTexture=picture([[pixel]])) for pixel in (RED, BLUE))
    plain = PBRMaterial(baseColorFactor=[0, 255, 0, 255])
    left, middle, right = (wall(material) for material in (red, plain, blue))
    left.apply_translation((-2, 0, 0))
    right.apply_translation((2, 0, 0))
    surface = read(saved(tmp_path, left, middle, right))
    third = 1 / 10**0.5 / 0.5**0.5  # of the row's 6 x 2
    found = colour(surface, (-2 * third, 0.1), (0.0, 0.1), (2 * third, 0.1))
    assert found == [pytest.approx(expected, abs=1e-5) for expected in ([1, 0, 0], [0, 1, 0], [0, 0, 1])]


def test_the_front_is_towards_minus_y_and_up_is_z(tmp_path: Path) -> None:
    body = trimesh.creation.box((1, 1, 1))
    arms = {"front": (0, 0, 3), "up": (0, 2, 0), "right": (1, 0, 0)}
    parts = [body]
    for place in arms.values():
        part = trimesh.creation.box((0.1, 0.1, 0.1))
        part.apply_translation(place)
        parts.append(part)
    vertices = read(saved(tmp_path, *parts)).mesh.vertices
    low, high = vertices.min(0), vertices.max(0)
    # From the body's far side to the arm: 1.55 to the right, 3.55 to the front, 2.55 up.
    assert (high - low) / (high - low)[0] == pytest.approx([1, 3.55 / 1.55, 2.55 / 1.55], rel=1e-5)
    front_arm = vertices[vertices[:, 1] == low[1]]
    assert front_arm[:, 2].max() < high[2] / 2  # the arm that reaches farthest to -y is not the one on top
    assert vertices[:, 1].mean() > 0  # the body is at the other end


def test_parts_are_where_the_scene_puts_them(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    ball = trimesh.creation.box((1, 1, 1))
    scene.add_geometry(ball, geom_name="box", node_name="first")
    moved = trimesh.transformations.translation_matrix((0, 4, 0)) @ np.diag([2.0, 1.0, 1.0, 1.0])
    scene.graph.update("second", matrix=moved, geometry="box")
    path = tmp_path / "thing.glb"
    path.write_bytes(scene.export(file_type="glb"))
    vertices = read(path).mesh.vertices
    assert len(vertices) == 2 * 12 * 3
    upper = vertices[vertices[:, 2] > 0]
    lower = vertices[vertices[:, 2] < 0]
    assert np.ptp(upper[:, 0]) == pytest.approx(2 * np.ptp(lower[:, 0]))
    assert np.ptp(vertices[:, 2]) == pytest.approx(5 * np.ptp(lower[:, 2]), rel=1e-5)


def test_an_object_is_centred_and_reaches_the_unit_sphere(tmp_path: Path) -> None:
    mesh = trimesh.creation.cone(3, 10)
    mesh.apply_translation((100, -50, 7))
    vertices = read(saved(tmp_path, mesh)).mesh.vertices
    assert np.linalg.norm(vertices, axis=-1).max() == pytest.approx(1, abs=1e-5)
    assert vertices.min(0) + vertices.max(0) == pytest.approx(np.zeros(3), abs=1e-5)


def test_what_cannot_be_read_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    whole = saved(tmp_path, trimesh.creation.box()).read_bytes()
    for data in (b"", b"no glTF", whole[: len(whole) // 2]):
        path = tmp_path / "broken.glb"
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"broken\.glb .*export") as raised:
            read(path)
        assert "\n" not in str(raised.value)


def test_a_file_without_triangles_is_refused(tmp_path: Path) -> None:
    points = tmp_path / "points.glb"
    points.write_bytes(trimesh.Scene([trimesh.PointCloud(np.eye(3))]).export(file_type="glb"))
    with pytest.raises(UserError, match="holds no triangles"):
        read(points)


def test_vertices_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    mesh = wall(PBRMaterial(baseColorFactor=[255, 0, 0, 255]))
    mesh.vertices[0, 0] = np.nan
    with pytest.raises(UserError, match="NaN"):
        read(saved(tmp_path, mesh))
