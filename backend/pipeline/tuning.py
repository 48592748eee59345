"""How an optimisation is tuned, by the kind of model and field: what a preset leaves open."""

from dataclasses import dataclass, replace

from backend.engine.cameras import CameraDistribution, EvenRigs
from backend.engine.names import FieldName
from backend.engine.regularisers import Ramp
from backend.engine.settings import Detail, Regularisation, Settings, Shading
from backend.guidance.prompts import ViewMode
from backend.pipeline.presets import Preset

_LEARNING_RATES: dict[FieldName, float] = {"voxel": 0.2, "hashgrid": 0.01, "sdf": 0.2}

_NATIVE_TO_FOUR_TIMES = Detail(size=Ramp(1.0, 4.0))

# For a model like the built-in one. Compared while its predecessors were taught, by eye and by their judges: cfg 4
# leaves a chair empty, 8 and 10 do not; joint views put fewer wrong nouns before the right one; without a limited depth
# chairs have no legs, and opacity that is asked for before the end takes them away again; entropy before it makes
# meshes of another shape than their fields. A rival hardly learns in so few steps at 1e-4; 3e-3 and 1e-2 add little.
# Without bending flat sides have dents; from the first step on, or ten times as strong, it melts legs. As it is, on
# twelve prompts that did not choose it (Draft, seed 0), normals 0.06 m apart turn by 0.5 degrees less (0.3 to 0.8) of
# 10.4; F-score (-0.007; -0.028 to 0.007) and confidence (+0.009; -0.023 to 0.048) stay. Patches clean dark colours,
# but views of six prompts were named less often (-0.15; -0.31 to -0.02): none, until more is measured.
SMALL = Settings(
    weight="one",
    final_rate=0.3,
    spacing=2 / 32,
    rival_rate=1e-3,
    rig=True,
    joint_views=4,
    occupancy_threshold=0.01,
    depth=Ramp(3.0, 9.0, begin=0.75),
    regularisation=Regularisation(
        opacity=Ramp(0.0, 0.1, begin=0.75), entropy=Ramp(0.0, 20.0, begin=0.8), bending=Ramp(0.0, 0.2, begin=0.5)
    ),
)

# Most of what the built-in model was taught has one colour a part, but it paints spots that nothing asked for. Of 1,
# 2 and 5, on eight meshes with their own descriptions (Draft, seed 0), 2 brings six nearer to their true colours than
# none does, in the mean from 10.5 to 9.8 CIEDE2000; 5 is no nearer, and a fire truck pales. By less guidance in what
# is coarse, or none along what there is (APG, arXiv 2410.02416), four came hardly nearer.
_EVEN_PAINT = Ramp(0.0, 2.0, begin=0.5)

_GROWING = Ramp(0.0, 0.1)

# A tenth, as in VolSDF, of what weighs the mean over pixels: of a sum over some thousand of them. Not measured.
_EIKONAL = Ramp(100.0, 100.0)

# The common ground of the published SDS programs on Stable Diffusion; nothing here was measured yet. Elevations are
# those of threestudio and stable-dreamfusion: photographs are seldom taken from higher up. Fields of view are those of
# photographs, from a telephone's to a portrait lens; those programs have 40 to 70 and 10 to 30 degrees. To rehearse
# without a download: a copy of the built-in model's folder without its lexicon.json counts as a large model, for
# dreamtime generate PROMPT --guidance COPY --steps 1000 --cfg 8 --field voxel.
_LARGE = Settings(
    views=4,
    spacing=2 / 128,
    occupancy_every=16,
    occupancy_resolution=64,
    cameras=CameraDistribution(elevation_degrees=(-10.0, 45.0), fov_degrees=(20.0, 60.0), stratified=True),
    shading=Shading(lambertian=0.5, textureless=0.2),
    regularisation=Regularisation(
        opacity=Ramp(0.0, 1e-3), entropy=Ramp(0.0, 1e-2, begin=0.2, finish=0.5), orientation=Ramp(1e-3, 1e-2)
    ),
)

# MVDream's own (bytedance/MVDream-threestudio, configs/mvdream-sd21.yaml), but for the backgrounds, half of which are
# learnt there, and for the gentle regularisers; nothing here was measured yet.
_MULTI_VIEW = replace(
    _LARGE,
    rule="x0",
    weight="one",
    views=4,
    rig=True,
    joint_views=4,
    shading=Shading(),
    regularisation=replace(_LARGE.regularisation, orientation=Ramp()),
    cameras=EvenRigs(),
)


@dataclass(frozen=True)
class Tuning:
    """The optimisation in full, and how its prompts are put. colours: that of colours which are painted on a mesh."""

    optimisation: Settings
    colours: Settings
    view_mode: ViewMode
    perp_neg: bool


def tuned(chosen: Preset, small: bool, takes_views: bool = False, multi_view: bool = False) -> Tuning:
    """What goes with `chosen` for a `small` model (see `preset`) or a large one.

    takes_views: for one that is told how each picture is taken (see `folders.takes_views`), and needs no words for it.
    multi_view: for MVDream and its like (see `folders.is_multi_view`), which need none either.
    """
    optimisation = replace(
        _ground(small, multi_view),
        steps=chosen.steps,
        schedule=chosen.schedule,
        cfg=chosen.cfg,
        views=chosen.views,
        learning_rate=_LEARNING_RATES[chosen.field],
    )
    if takes_views and not small:
        # What it says of the noisiest pictures is faint: full opacity from the first step on leaves nothing to shape.
        optimisation = replace(optimisation, regularisation=replace(optimisation.regularisation, opacity=_GROWING))
    if chosen.field == "sdf":
        optimisation = replace(optimisation, regularisation=replace(optimisation.regularisation, eikonal=_EIKONAL))
    if small or takes_views or multi_view:  # it was taught rigs, and is told of views otherwise than by words
        optimisation = replace(optimisation, rig=True)
        return Tuning(optimisation, _painting(optimisation, chosen, small), view_mode="off", perp_neg=False)
    return Tuning(
        optimisation, _painting(optimisation, chosen, small), view_mode="interpolated", perp_neg=chosen.perp_neg
    )


def _painting(shape: Settings, chosen: Preset, small: bool) -> Settings:
    """How colours are painted on a mesh, where its shape would be optimised as `shape` says."""
    return replace(
        shape,
        cfg=chosen.paint_cfg,
        learning_rate=_LEARNING_RATES["hashgrid"],
        regularisation=Regularisation(patches=_EVEN_PAINT if small else Ramp()),
        depth=None,
        detail=_NATIVE_TO_FOUR_TIMES,
    )


def _ground(small: bool, multi_view: bool) -> Settings:
    """What a kind of model has in common."""
    if multi_view:
        return _MULTI_VIEW
    return SMALL if small else _LARGE
