"""What the artist sets: per scene what to make, per Blender what to show."""

import zlib

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from . import coarse_view, gathering, runtime, starts
from .shared.durations import duration
from .shared.inputs import MESH, PICTURE
from .shared.jobs import Generation
from .shared.limits import PROMPT_CHARACTERS, SEEDS, VARIATIONS

_Item = tuple[str, str, str, int]

_USUAL = frozenset({"builtin", "standard", "preset"})
"""What is chosen where nothing was."""

_SHADINGS = (
    ("auto", "Auto", "Smooth, with sharp edges where the surface has creases"),
    ("smooth", "Smooth", "Smooth everywhere"),
    ("flat", "Flat", "Every face by itself: a faceted look"),
)

_STARTS = (
    (starts.NOTHING, "Nothing", "From the prompt alone"),
    (MESH, "Selected Mesh", "From the selected object: new colours for it, or another shape that keeps to it"),
    (PICTURE, "Picture", "From a picture of its front, or a sketch"),
)

_WHERE = (
    (gathering.EVERYWHERE, "All", "The whole object"),
    (gathering.SLOT, "Material Slot", "Those with the material of the active slot"),
    (gathering.SELECTED, "Selected", "Those that are selected in Edit mode"),
)

_kept: dict[tuple[tuple[str, str, str], ...], list[_Item]] = {}
"""Blender goes on reading the strings of items that a function returned, but does not keep them: somebody has to."""


def _items(*choices: tuple[str, str, str]) -> list[_Item]:
    return _kept.setdefault(choices, [(key, label, about, _number(key)) for key, label, about in choices])


def _number(key: str) -> int:
    """What Blender stores: of its own for each name, so that it means the same when the backend offers more or less.

    Buttons hold it as a float, which is exact up to 24 bits.
    """
    return 0 if key in _USUAL else zlib.crc32(key.encode()) >> 8


def _models(self: "DREAMTIME_PG_settings", context: bpy.types.Context | None) -> list[_Item]:
    welcome = runtime.current().book.welcome
    models = welcome.offer.models if welcome else ()
    choices = [(model.name, _model_label(model.name), f"Licence: {model.licence}") for model in models]
    return _items(*(choices or [("builtin", "Built-in", "The small model that comes with DreamTime")]))


def _model_label(name: str) -> str:
    return "Built-in" if name == "builtin" else name.rpartition("/")[2]


def _presets(self: "DREAMTIME_PG_settings", context: bpy.types.Context | None) -> list[_Item]:
    model = runtime.current().book.model(self.model)
    if model is None:
        return _items(*((name, name.capitalize(), "") for name in ("draft", "standard", "high")))
    choices = []
    for preset in model.presets:
        took = f", about {duration(preset.seconds)}" if preset.seconds else ""
        about = f"{preset.steps} steps, {preset.faces} faces, {preset.texture} px texture{took}"
        choices.append((preset.name, preset.name.capitalize(), about))
    return _items(*choices)


def _schedules(self: "DREAMTIME_PG_settings", context: bpy.types.Context | None) -> list[_Item]:
    welcome = runtime.current().book.welcome
    names = [schedule.name for schedule in welcome.offer.schedules] if welcome else []
    return _items(("preset", "As the preset has it", ""), *((name, name, "") for name in names))


def _fields(self: "DREAMTIME_PG_settings", context: bpy.types.Context | None) -> list[_Item]:
    welcome = runtime.current().book.welcome
    names = welcome.offer.fields if welcome else ()
    return _items(("preset", "As the preset has it", ""), *((name, name, "") for name in names))


def _suggested(self: "DREAMTIME_PG_settings", context: bpy.types.Context, text: str) -> tuple[str, ...]:
    completion = runtime.current().book.completion(self.model)
    return completion.prompts(text) if completion else ()


class DREAMTIME_PG_settings(bpy.types.PropertyGroup):
    """What to make."""

    prompt: StringProperty(
        name="Prompt",
        description="What to make, in a few words",
        maxlen=PROMPT_CHARACTERS,
        options={"TEXTEDIT_UPDATE"},
        search=_suggested,
        search_options={"SUGGESTION"},
    )
    negative: StringProperty(name="Negative", description="What to keep away from", maxlen=PROMPT_CHARACTERS)
    model: EnumProperty(name="Model", description="The diffusion model that shapes the object", items=_models)
    preset: EnumProperty(name="Preset", description="How much work goes into the object", items=_presets)
    seed: IntProperty(name="Seed", description="Another seed makes another object", min=0, max=SEEDS - 1)
    lock_seed: BoolProperty(name="Lock Seed", description="Keep the seed instead of drawing a new one each time")
    variations: IntProperty(
        name="Variations",
        description="How many objects to make, with seeds of their own",
        min=1,
        max=VARIATIONS,
        default=1,
    )
    size: FloatProperty(
        # Not a length of Blender's, which would be shown in the scene's unit and counted in it twice.
        name="Size in m",
        description="The largest extent of the object in metres, whatever the scene's unit",
        min=0.001,
        soft_max=10.0,
        default=1.0,
    )
    steps: IntProperty(name="Steps", description="Length of the optimisation; 0 is the preset's", min=0, max=1_000_000)
    cfg: FloatProperty(
        name="Guidance", description="How strictly to follow the prompt; 0 is the preset's", min=0, max=1000
    )
    faces: IntProperty(
        name="Faces",
        description="At most this many triangles: 500 to 2,000 make a prop for games. 0 is the preset's",
        min=0,
        max=1_000_000,
    )
    texture: IntProperty(name="Texture", description="Pixels per side; 0 is the preset's", min=0, max=8192)
    shading: EnumProperty(
        name="Shading",
        description="How the surface is shaded. You can change it on the object afterwards, as on any other",
        items=_SHADINGS,
    )
    schedule: EnumProperty(
        name="Schedule", description="From coarse to fine: at which noise level each step looks", items=_schedules
    )
    start: EnumProperty(name="Start From", description="What the object is made from, beside the prompt", items=_STARTS)
    paint_only: BoolProperty(
        name="Colours Only",
        description="Make new colours for the selected object, on a new UV map if its own has no room; leave all else",
        default=True,
    )
    strength: FloatProperty(
        name="Strength",
        description="How far the result may leave the selected object",
        min=0.01,
        max=1.0,
        default=0.5,
        subtype="FACTOR",
    )
    where: EnumProperty(name="Faces", description="Which faces get new colours", items=_WHERE)
    new_uvs: BoolProperty(
        name="New UV Map", description="Lay the picture out on a new UV map, for objects whose faces overlap on theirs"
    )
    picture: PointerProperty(name="Picture", description="The object as it looks from the front", type=bpy.types.Image)
    sketch: BoolProperty(name="Sketch", description="Of the picture only the outline counts; the prompt gives the rest")
    field: EnumProperty(name="Field", description="What holds the object while it takes shape", items=_fields)
    latent_field: BoolProperty(
        name="Latent Field",
        description="Shape in the model's own compressed pictures: faster, and for cards with little memory",
    )

    def request(self) -> Generation:
        """What these settings ask for, but for the very bytes that it begins from."""
        mesh, picture = self.start == MESH, self.start == PICTURE
        return Generation(
            prompt=self.prompt,
            negative=self.negative,
            model=self.model,
            preset=self.preset,
            seed=self.seed,
            steps=self.steps or None,
            schedule=_chosen(self.schedule),
            field=_chosen(self.field),
            latent_field=self.takes_latents and self.latent_field,
            cfg=self.cfg or None,
            faces=self.faces or None,
            texture=self.texture or None,
            shading=self.shading,
            paint_only=mesh and self.paint_only,
            strength=round(self.strength, 3) if mesh and not self.paint_only else None,
            sketch=picture and self.sketch,
        )

    @property
    def takes_latents(self) -> bool:
        """Whether the field may hold latents: with a model that has them, for an object from the prompt alone."""
        model = runtime.current().book.model(self.model)
        return model is not None and model.latent and self.start == starts.NOTHING

    def take(self, request: Generation) -> None:
        """Set everything as it was asked for then."""
        self.prompt, self.negative, self.seed = request.prompt, request.negative, request.seed
        self.steps, self.cfg = request.steps or 0, request.cfg or 0.0
        self.faces, self.texture = request.faces or 0, request.texture or 0
        self.latent_field = request.latent_field
        self.start = request.start.sort if request.start else starts.NOTHING
        self.paint_only, self.sketch = request.paint_only or request.start is None, request.sketch
        self.strength = request.strength or self.strength
        if request.start and request.start.sort == PICTURE:
            self.picture = bpy.data.images.get(request.start.name)
        chosen = {"model": request.model, "preset": request.preset}
        chosen |= {"schedule": request.schedule or "preset", "field": request.field or "preset"}
        chosen |= {"shading": request.shading}
        for name, value in chosen.items():
            if any(value == item[0] for item in _CHOICES[name](self, None)):
                setattr(self, name, value)


def _chosen(name: str) -> str | None:
    """None if it is left to the preset, or if the backend does not have what was chosen: then Blender says ""."""
    return name if name not in {"", "preset"} else None


_CHOICES = {
    "model": _models,
    "preset": _presets,
    "schedule": _schedules,
    "field": _fields,
    "shading": lambda self, context: _SHADINGS,
}


def _sculpt_changed(self: "DREAMTIME_PG_view", context: bpy.types.Context) -> None:
    if not self.sculpt:
        coarse_view.remove_all()


class DREAMTIME_PG_view(bpy.types.PropertyGroup):
    """What the panel shows; not kept in files."""

    sculpt: BoolProperty(
        name="Sculpt in Viewport",
        description="Show the rough shape in the viewport while it is made",
        default=True,
        update=_sculpt_changed,
    )
    page: IntProperty(name="Page", description="Which jobs the list shows", min=0)


CLASSES = (DREAMTIME_PG_settings, DREAMTIME_PG_view)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.dreamtime = PointerProperty(type=DREAMTIME_PG_settings)
    bpy.types.WindowManager.dreamtime = PointerProperty(type=DREAMTIME_PG_view)


def unregister() -> None:
    del bpy.types.WindowManager.dreamtime
    del bpy.types.Scene.dreamtime
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    _kept.clear()
