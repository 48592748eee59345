"""A small folder of objects, and the pictures that a training takes of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trimesh
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from backend.prior import pool
from backend.prior.pool import PictureSource


@dataclass(frozen=True)
class Taken:
    """Two rigs of 32 x 32 pixels of each object."""

    objects: Path
    sources: list[PictureSource]
    pictures: Path


@pytest.fixture(scope="session")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    objects = tmp_path_factory.mktemp("objects")
    shapes = {
        "01-red-box.glb": (trimesh.creation.box((1, 2, 1)), (204, 10, 10)),
        "02-Ball.glb": (trimesh.creation.icosphere(2), (20, 20, 180)),
        "03-post.glb": (trimesh.creation.cylinder(0.2, 2), (120, 120, 120)),
    }
    for name, (mesh, colour) in shapes.items():
        mesh.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[*colour, 255]))
        (objects / name).write_bytes(trimesh.Scene([mesh]).export(file_type="glb"))
    pictures = tmp_path_factory.mktemp("run") / "pictures"
    box, ball, post = pool.sources(objects, with_solids=False)
    told = replace(post.entry, synonyms=("pole",), phrases=("a plain gray post",), has_front=True, pattern="spotted")
    sources = [box, ball, replace(post, entry=told)]
    pool.make(pictures, sources, rigs=2, size=32, seed=0)
    return Taken(objects, sources, pictures)
