"""The mesh stage as a whole: a field becomes a textured mesh."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

import torch

from backend.engine.fields import Field
from backend.engine.reference import Reference
from backend.mesh import surface
from backend.mesh.asset import BRIGHTEST, DARKEST, Asset, MeshSettings
from backend.mesh.bake import bake
from backend.mesh.clean import clean
from backend.mesh.creases import shaded
from backend.mesh.likeness import likened
from backend.mesh.unwrap import unwrap

MeshStage = Literal["surface", "cleaning", "unwrapping", "baking"]


def build(
    field: Field,
    settings: MeshSettings,
    device: torch.device,
    stage: Callable[[MeshStage], AbstractContextManager[None]],
    reference: Reference | None = None,
) -> tuple[Asset, list[str]]:
    """The textured mesh of `field`, and notes for the artist: what did not go as planned.

    The field renders display colours on `device`; `stage` is entered for each part. reference: a picture whose
    silhouette and colours it keeps to.
    Raises UserError if there is no object in the field.
    """
    with stage("surface"):
        level = settings.level or surface.find_level(field, device, reference)
        density = surface.sample_density(field, settings.resolution, level, device)
        mesh = surface.extract(density, level)
    with stage("cleaning"):
        mesh = clean(mesh, settings.faces)
    with stage("unwrapping"):
        layout = unwrap(mesh, settings.texture)
    with stage("baking"):
        texture = bake(field, mesh, layout.uvs, settings.texture, device).clip(DARKEST, BRIGHTEST)
        asset = Asset(mesh, layout.uvs, texture, shaded(mesh, settings.shading))
        if reference is not None:
            asset = replace(asset, texture=likened(asset, reference))
    return asset, [layout.note] if layout.note else []
