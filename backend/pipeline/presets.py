"""Draft, Standard and High: how much work goes into an object, by the kind of model and device.

What an artist sees of it; how the optimisation is tuned besides is `tuning`'s business. Nothing here
imports torch: the server offers presets, too.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from backend.engine.names import FieldName, ScheduleName

PresetName = Literal["draft", "standard", "high"]
PRESETS: tuple[PresetName, ...] = get_args(PresetName)


@dataclass(frozen=True)
class Preset:
    """What a preset's name stands for. resolution, faces, texture: see `MeshSettings`.

    paint_cfg: of colours that are painted on a mesh. views: of a step. perp_neg: whether a large model is told views
    apart by Perp-Neg, too (see `guided.perp_neg`). paint: whether the colours of the finished mesh are made once more;
    off until it is measured to help.
    """

    steps: int
    cfg: float
    paint_cfg: float
    field: FieldName
    resolution: int
    faces: int
    texture: int
    schedule: ScheduleName = "time_prior"
    views: int = 4
    perp_neg: bool = True
    paint: bool = False


_SMALL_STEPS = {"draft": 120, "standard": 300, "high": 800}
_SMALL_CFG = 8.0
_SMALL_PAINT_CFG = 4.0
"""Of 8, 4 and 2, on eight meshes with their own descriptions (Draft, seed 0): all eight come nearer to their true
colours with 4 than with 8, in the mean by 0.85 CIEDE2000 of 11.3. Seven come nearer still with 2, but what is to have
several colours has them less apart: a roof is as brown as its walls.
"""
_LARGE_STEPS = {"draft": 1_000, "standard": 5_000, "high": 10_000}
_LATENT_CFG = 100.0
_PIXEL_CFG = 20.0
"""As threestudio has it for DeepFloyd IF."""
_MULTI_VIEW_STEPS = {"draft": 1_500, "standard": 5_000, "high": 10_000}
_MULTI_VIEW_CFG = 50.0

_RESOLUTION = {"draft": 128, "standard": 256, "high": 256}
_FACES = {"draft": 5_000, "standard": 20_000, "high": 50_000}
_TEXTURE = {"draft": 512, "standard": 1024, "high": 2048}


def preset(name: str, small: bool, device: str, latent: bool = True, multi_view: bool = False) -> Preset:
    """The preset `name` on a `device` of the kind "cpu", "cuda" or "mps".

    small: for a model like the built-in one, which was taught a vocabulary of its own, not for a large one. latent:
    whether a large one diffuses latents. multi_view: whether it draws rigs of views (see `folders.is_multi_view`).
    """
    cfg = _SMALL_CFG if small else _LATENT_CFG if latent else _PIXEL_CFG
    chosen = Preset(
        steps=(_SMALL_STEPS if small else _LARGE_STEPS)[name],
        cfg=cfg,
        paint_cfg=_SMALL_PAINT_CFG if small else cfg,
        # In plain torch the hash grid takes gigabytes for the views of a step, and more for those of a finished mesh.
        field="voxel" if small or device != "cuda" else "hashgrid",
        resolution=_RESOLUTION[name],
        faces=_FACES[name],
        texture=_TEXTURE[name],
    )
    if multi_view:
        return replace(
            chosen, steps=_MULTI_VIEW_STEPS[name], cfg=_MULTI_VIEW_CFG, paint_cfg=_MULTI_VIEW_CFG, schedule="window"
        )
    if name == "draft" and not small:  # with Stable Diffusion 1.5 8 PFLOP; by four views and Perp-Neg it would be 22
        return replace(chosen, views=2, perp_neg=False)
    return chosen
