"""Objects to learn from: GLB files, as triangles with an albedo.

Files are glTF: y up, front towards +z. Here, as everywhere else: z up, front towards -y, inside the unit sphere.
Factors and vertex colours are linear, textures sRGB; an albedo is a display colour. Glass is opaque, cut-out alpha is
cut out.

Letters: F triangles, T x U texels, n points on the surface.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from torch import Tensor
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from backend.errors import UserError
from backend.mesh.asset import TriangleMesh
from backend.mesh.glb import z_up
from backend.mesh.raycast import Hits, sampled

_LARGEST_TEXTURE = 256


@dataclass(frozen=True)
class Texture:
    """Linear colours and alpha. cutoff: points of less alpha are not there; 0 keeps all."""

    texels: Float[Tensor, "4 T U"]
    cutoff: float


@dataclass(frozen=True)
class Surface:
    """Triangles that share no corners. colours: linear. texture: an index into `textures` for each, or -1."""

    mesh: TriangleMesh
    colours: Float[Tensor, "F 3 3"]
    uvs: Float[Tensor, "F 3 2"]
    texture: Int[Tensor, " F"]
    textures: tuple[Texture, ...]

    def albedo(self, hits: Hits) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, " n"]]:
        """Display colours at points of the surface, and whether it is there at all."""
        linear = hits.interpolated(self.colours)
        there = torch.ones(len(linear), dtype=torch.bool)
        uvs, which = hits.interpolated(self.uvs) % 1, self.texture[hits.triangle]
        for index, texture in enumerate(self.textures):
            points = (which == index).nonzero()[:, 0]
            texels = sampled(texture.texels, uvs[points])
            linear[points] *= texels[:, :3]
            there[points] = texels[:, 3] >= texture.cutoff
        return to_display(linear), there


Part = tuple[trimesh.Trimesh, np.ndarray]
"""Some of the triangles of a file, and the 4 x 4 matrix that puts them into its world."""


def read(path: Path) -> Surface:
    """The object in a GLB file, moved and scaled into the unit sphere. Raises UserError if there is none to read."""
    parts = placed(path)
    return coloured(parts, _upright(corners_of(parts)), _LARGEST_TEXTURE)


def placed(path: Path) -> list[Part]:
    """All triangles of a file, as they stand in it. Raises UserError if there are none, or none to read."""
    try:
        scene = trimesh.load_scene(path, process=False)
    except Exception as error:  # trimesh raises what its parsers raise
        raise UserError(f"{path} cannot be read ({error}); export it as GLB again") from error
    # Not scene.dump(): trimesh's copies of textured meshes have lost their vertex colours.
    found = [
        (scene.geometry[name], matrix) for matrix, name in (scene.graph[node] for node in scene.graph.nodes_geometry)
    ]
    parts = [(part, matrix) for part, matrix in found if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    if not parts:
        raise UserError(f"{path} holds no triangles; export the mesh itself")
    if not np.isfinite(corners_of(parts)).all():
        raise UserError(f"{path} has vertices that are nowhere (NaN); mend the mesh and export it again")
    return parts


def corners_of(parts: list[Part]) -> np.ndarray:
    """The corners (F, 3, 3) of all triangles, in the file's world."""
    return np.concatenate([trimesh.transform_points(part.vertices, matrix)[part.faces] for part, matrix in parts])


def coloured(parts: list[Part], corners: np.ndarray, largest: int) -> Surface:
    """The triangles of `parts` with their colours, moved to `corners`; textures of at most `largest` texels a side."""
    textures: list[Texture] = []
    which = []
    for part, _ in parts:
        texture = _texture(part, largest)
        which.append(torch.full((len(part.faces),), len(textures) if texture else -1))
        textures += [texture] if texture else []
    return Surface(
        mesh=TriangleMesh(corners.reshape(-1, 3), np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)),
        colours=torch.cat([_colours(part) for part, _ in parts]),
        uvs=torch.cat([_uvs(part) for part, _ in parts]),
        texture=torch.cat(which),
        textures=tuple(textures),
    )


def _upright(corners: np.ndarray) -> np.ndarray:
    """Corners (F, 3, 3) of glTF's world in ours, centred, the farthest one on the unit sphere."""
    turned = z_up(corners).reshape(-1, 3)
    centred = turned - (turned.min(0) + turned.max(0)) / 2
    largest = np.linalg.norm(centred, axis=-1).max()
    return (centred / max(largest, 1e-9)).reshape(corners.shape).astype(np.float32)


def textured(part: trimesh.Trimesh) -> tuple[TextureVisuals, PBRMaterial] | None:
    """What `part` has of a texture, if that is of the kind that GLB files have."""
    visual = part.visual
    if isinstance(visual, TextureVisuals) and isinstance(visual.material, PBRMaterial):
        return visual, visual.material
    return None


def _colours(part: trimesh.Trimesh) -> Tensor:
    """Linear factors at corners: the material's, which trimesh keeps in eight bits, times the vertices' own."""
    factor, own = np.full(3, 255, dtype=np.uint8), None
    if found := textured(part):
        visual, material = found
        factor = factor if material.baseColorFactor is None else material.baseColorFactor[:3]
        own = visual.vertex_attributes.get("color")
    elif isinstance(part.visual, ColorVisuals) and part.visual.kind == "vertex":
        own = part.visual.vertex_colors
    vertices = np.ones((len(part.vertices), 3)) if own is None else _shares(np.asarray(own)[:, :3])
    return torch.from_numpy((_shares(factor) * vertices)[part.faces]).float()


def _shares(values: np.ndarray) -> np.ndarray:
    """glTF's normalised integers as values in [0, 1]; floats are that already."""
    return values / np.iinfo(values.dtype).max if values.dtype.kind == "u" else values


def _uvs(part: trimesh.Trimesh) -> Tensor:
    found = textured(part)
    if found is None or found[0].uv is None:
        return torch.zeros(len(part.faces), 3, 2)
    return torch.from_numpy(np.asarray(found[0].uv)[part.faces]).float()


def _texture(part: trimesh.Trimesh, largest: int) -> Texture | None:
    found = textured(part)
    if found is None or found[0].uv is None or found[1].baseColorTexture is None:
        return None
    material = found[1]
    cut_out = material.alphaMode == "MASK"
    # Made smaller, a pixel of no alpha turns black: only where it is cut out, nobody sees it.
    picture = material.baseColorTexture.convert("RGBA" if cut_out else "RGB")
    picture.thumbnail((largest, largest))
    texels = torch.from_numpy(np.array(picture.convert("RGBA"))).permute(2, 0, 1).float() / 255
    cutoff = 0.5 if material.alphaCutoff is None else material.alphaCutoff
    return Texture(torch.cat([to_linear(texels[:3]), texels[3:]]), cutoff if cut_out else 0.0)


def to_linear(display: Tensor) -> Tensor:
    """sRGB's decoding (IEC 61966-2-1) of values in [0, 1]."""
    return torch.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def to_display(linear: Tensor) -> Tensor:
    """sRGB's encoding of values in [0, 1]."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
