"""Draft, Standard and High: how much work goes into an object, by the kind of model and device."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from backend.engine.regularisers import Ramp
from backend.engine.settings import Regularisation, Settings, Shading
from backend.guidance.prompts import ViewMode
from backend.mesh.asset import MeshSettings

PresetName = Literal["draft", "standard", "high"]
PRESETS: tuple[PresetName, ...] = get_args(PresetName)

FieldName = Literal["voxel", "hashgrid"]
FIELDS: tuple[FieldName, ...] = get_args(FieldName)

_LEARNING_RATES: dict[FieldName, float] = {"voxel": 0.2, "hashgrid": 0.01}


@dataclass(frozen=True)
class Preset:
    """What a preset's name stands for."""

    field: FieldName
    optimisation: Settings
    mesh: MeshSettings
    view_mode: ViewMode = "interpolated"
    perp_neg: bool = False


_SMALL_STEPS = {"draft": 60, "standard": 180, "high": 500}
# Measured on the built-in model. F-score of the mesh against the exact shapes, six objects, 120 steps: 0.65 with
# entropy alone (the donut's hole fills with background grey), 0.72 with opacity 0.1, 0.69 with 0.3; lit views add
# nothing to it. dB between mesh and field, robot, boat, sphere and donut, 180 steps: entropy 5 24.7 to 30.4, 10 26.2 to
# 29.2, 20 26.7 to 29.6, at the same F-score; cfg 4 and 7.5 are recognised alike, and so are weights one and sds.
_SMALL = Settings(
    spacing=2 / 32,
    regularisation=Regularisation(opacity=Ramp(0.1, 0.1), entropy=Ramp(0.0, 20.0, begin=0.5)),
)

_LARGE_STEPS = {"draft": 1_500, "standard": 5_000, "high": 10_000}
# The common ground of the published SDS programs on Stable Diffusion; nothing here was measured yet.
_LARGE = Settings(
    cfg=100.0,
    views=4,
    spacing=2 / 128,
    occupancy_every=16,
    shading=Shading(lambertian=0.5, textureless=0.2),
    regularisation=Regularisation(
        opacity=Ramp(0.0, 1e-3), entropy=Ramp(0.0, 1e-2, begin=0.2, finish=0.5), orientation=Ramp(1e-3, 1e-2)
    ),
)

_MESHES = {
    "draft": MeshSettings(resolution=128, faces=5_000, texture=512),
    "standard": MeshSettings(resolution=256, faces=20_000, texture=1024),
    "high": MeshSettings(resolution=256, faces=50_000, texture=2048),
}


def preset(name: str, small: bool, device: torch.device, field: str | None = None) -> Preset:
    """The preset `name` on `device`, with `field` instead of the usual one if it is given.

    small: for a model like the built-in one, which was taught a vocabulary of its own, not for a large one.
    """
    usual: FieldName = "voxel" if small or device.type != "cuda" else "hashgrid"
    chosen = next(known for known in FIELDS if known == (field or usual))
    settings, steps = (_SMALL, _SMALL_STEPS) if small else (_LARGE, _LARGE_STEPS)
    return Preset(
        field=chosen,
        optimisation=replace(settings, steps=steps[name], learning_rate=_LEARNING_RATES[chosen]),
        mesh=_MESHES[name],
        # The built-in model does not tell front from back, and was taught whole words, not mixtures of them.
        view_mode="nearest" if small else "interpolated",
        perp_neg=not small,
    )
