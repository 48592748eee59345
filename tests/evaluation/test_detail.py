"""Fine detail of pictures whose spectrum is known, and of a true object beside itself."""

import json
import math
from pathlib import Path

import pytest
import torch
import trimesh

from backend.evaluation import measures
from backend.evaluation.detail import BLURRED, fine_detail, sharpness
from backend.evaluation.references import References
from backend.guidance import library
from backend.pipeline.given import as_asset, read
from backend.prior import catalogue, judge

SIZE = 64


def waves(pixels: float) -> torch.Tensor:
    """One picture of a grey wave that is so many pixels long, 0.1 above and below the middle."""
    x = torch.arange(SIZE) * (2 * math.pi / pixels)
    return (0.5 + 0.1 * torch.cos(x)).expand(1, 3, SIZE, SIZE)


@pytest.mark.parametrize(("pixels", "variance"), [(4, 0.005), (8, 0.005), (16, 0.0), (64, 0.0)])
def test_the_variance_of_short_waves_counts_alone(pixels: int, variance: float) -> None:
    for picture in (waves(pixels), waves(pixels).mT):
        assert fine_detail(picture) == pytest.approx(variance, abs=1e-6)
    assert fine_detail(torch.cat([waves(pixels), waves(64)])) == pytest.approx(variance / 2, abs=1e-6)


def test_sharpness_counts_doublings_down_to_what_is_blurred() -> None:
    assert [sharpness(shown, 0.25) for shown in (0.25, 0.125, 1.0)] == [0, -1, 2]
    assert sharpness(1e-9, 0.25) == sharpness(0.0, 0.25) == BLURRED


def test_a_true_object_is_as_sharp_as_itself_and_blurred_it_is_less(tmp_path: Path) -> None:
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    box.unmerge_vertices()  # sides with normals and colours of their own
    box.visual.vertex_colors = [[40 + 60 * (corner // 3 % 4), 30, 90, 255] for corner in range(len(box.vertices))]
    (tmp_path / "box.glb").write_bytes(trimesh.Scene([box]).export(file_type="glb"))
    (tmp_path / catalogue.FILE).write_text(json.dumps({"file": "box.glb", "noun": "cube"}))
    given = read(tmp_path / "box.glb")
    asset, _ = as_asset(given, 256)
    pictures = measures.mesh_pictures(given.placement.inwards(asset))
    net = judge.load(library.builtin().folder)

    def measured(pictures: measures.Pictures) -> float:
        asked, references = net.lexicon.knows("a cube"), References.of(tmp_path)
        return measures.of_mesh(net, pictures, asset.mesh, asked, references)["sharpness"]

    assert measured(pictures) == pytest.approx(0.0, abs=0.3)
    soft = torch.nn.functional.avg_pool2d(pictures.textured, 5, stride=1, padding=2, count_include_pad=False)
    assert measured(measures.Pictures(soft, pictures.grey, pictures.unlit, pictures.covered)) < -1
