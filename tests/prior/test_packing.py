import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from click.testing import CliRunner
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from backend.engine.cameras import ring
from backend.errors import UserError
from backend.prior import catalogue, objects, packing, pool
from backend.prior.layers import cast
from backend.prior.objects import Surface, to_display


def quarters(*colours: tuple[int, int, int, int]) -> Image.Image:
    return Image.fromarray(np.array(colours, dtype=np.uint8).reshape(2, 2, 4)).resize((8, 8), Image.Resampling.NEAREST)


def plate(material: PBRMaterial) -> trimesh.Trimesh:
    """A square that stands upright; its texture is repeated, and begins nowhere near the origin."""
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    uvs = corners[:, :2] * 3 + 7.25
    return trimesh.Trimesh(
        corners, [[0, 1, 2], [0, 2, 3]], visual=TextureVisuals(uvs, material=material), process=False
    )


def folder(at: Path) -> Path:
    at.mkdir()
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 4), dtype=np.uint8)
    ball.export(at / "beach-ball.glb")
    painting = quarters((255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 255, 255))
    plate(PBRMaterial(baseColorTexture=painting)).export(at / "painting.glb")
    grating = quarters((90, 90, 90, 255), (90, 90, 90, 0), (90, 90, 90, 0), (90, 90, 90, 255))
    plate(PBRMaterial(baseColorTexture=grating, alphaMode="MASK", alphaCutoff=0.35)).export(at / "grating.glb")
    trimesh.creation.box().export(at / "crate.glb")
    return at


@pytest.fixture(scope="module")
def objects_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("packing") / "objects")


@pytest.fixture(scope="module")
def packed_file(objects_folder: Path) -> Path:
    file = objects_folder.parent / "all.objects"
    packing.write(objects_folder, file)
    return file


def test_an_object_looks_the_same_out_of_a_packed_file(objects_folder: Path, packed_file: Path) -> None:
    cameras = ring(3, 20.0)
    for entry, packed in packing.read(packed_file):
        original = cast(objects.read(objects_folder / entry.file), cameras, 64)
        views = cast(packed.surface(), cameras, 64)
        assert original.coverage.mean() > 0.02
        assert (views.coverage - original.coverage).abs().mean() < 0.002, entry.file
        assert (views.albedo - original.albedo).abs().mean() < 0.002, entry.file
        assert (views.normals - original.normals).abs().mean() < 0.004, entry.file


def test_words_come_back_as_they_were(objects_folder: Path, packed_file: Path) -> None:
    assert tuple(entry for entry, _ in packing.read(packed_file)) == catalogue.read(objects_folder)


def test_colours_come_back_to_a_step_of_eight_bits(objects_folder: Path, packed_file: Path) -> None:
    (ball,) = (packed for entry, packed in packing.read(packed_file) if entry.noun == "beach ball")
    before = to_display(objects.read(objects_folder / "beach-ball.glb").colours)
    assert (to_display(ball.surface().colours) - before).abs().max() < 1 / 255


def test_a_cut_off_is_kept_and_glass_stays_opaque(packed_file: Path) -> None:
    surfaces = {entry.noun: packed.surface() for entry, packed in packing.read(packed_file)}
    (grating,), (painting,) = surfaces["grating"].textures, surfaces["painting"].textures
    assert grating.cutoff == 0.35
    assert set(grating.texels[3].unique().tolist()) == {0.0, 1.0}
    assert painting.cutoff == 0
    assert bool((painting.texels[3] == 1).all())


def test_a_palette_is_kept_exactly(objects_folder: Path, packed_file: Path) -> None:
    (painting,) = (packed.surface() for entry, packed in packing.read(packed_file) if entry.noun == "painting")
    before = objects.read(objects_folder / "painting.glb")
    assert torch.equal(painting.textures[0].texels, before.textures[0].texels)


def test_objects_with_one_texture_share_it_in_the_file(tmp_path: Path) -> None:
    material = PBRMaterial(baseColorTexture=quarters(*[(10, 20, 30, 255)] * 4))
    for name in ("a", "b"):
        plate(material).export(tmp_path / f"{name}.glb")
    packing.write(tmp_path, tmp_path / "all.objects")
    first, second = (packed for _, packed in packing.read(tmp_path / "all.objects"))
    assert first.textures == second.textures
    assert (tmp_path / "all.objects").read_bytes().count(b".webp") == 2  # in the zip's list and before the picture


def test_triangles_too_small_for_the_grid_are_left_out(tmp_path: Path) -> None:
    corners = np.array([[-1, 0, 0], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5001], [0.5, 0.6, 0.5]])
    trimesh.Trimesh(corners, [[0, 1, 2], [3, 4, 5]], process=False).export(tmp_path / "speck.glb")
    packing.write(tmp_path, tmp_path / "all.objects")
    ((_, packed),) = packing.read(tmp_path / "all.objects")
    assert len(packed.triangles) == 1


def test_any_triangles_come_back_corner_by_corner() -> None:
    random = np.random.default_rng(1)
    corners = random.integers(0, 50, 300)
    _, first, vertex = np.unique(corners, return_index=True, return_inverse=True)
    in_order = np.argsort(np.argsort(first))[vertex]
    assert np.array_equal(packing._indices(packing._differences(in_order)), in_order)


def test_packed_objects_are_sources_of_pictures_like_those_of_a_folder(objects_folder: Path, packed_file: Path) -> None:
    of_folder, of_file = (pool.sources(place, with_solids=False) for place in (objects_folder, packed_file))
    assert [source.entry for source in of_file] == [source.entry for source in of_folder]
    assert isinstance(pickle.loads(pickle.dumps(of_file[0])).surface(), Surface)  # noqa: S301  what workers get


def test_the_command_packs_a_folder_and_says_how_large_it_is(objects_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.objects"
    result = CliRunner().invoke(packing.main, ["--objects", str(objects_folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"wrote {out}, 0.0 MiB" in result.output
    assert len(packing.read(out)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no zip",
        lambda content: content[: len(content) // 2],
        lambda content: content[:200] + bytes(50) + content[250:],  # in what is compressed
        lambda content: content.replace(b"objects.json", b"subjects.json"),
    ],
)
def test_a_file_that_is_damaged_or_something_else_is_refused_with_the_remedy(
    packed_file: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "x.objects").write_bytes(damage(packed_file.read_bytes()))
    with pytest.raises(UserError, match="pack the folder of objects again"):
        packing.read(tmp_path / "x.objects")


def test_a_folder_without_objects_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "x.objects"
    result = CliRunner().invoke(packing.main, ["--objects", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 1
    assert "holds no objects" in result.output
    assert not out.exists()
