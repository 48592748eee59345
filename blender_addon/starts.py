"""What the artist chose to begin from, made ready to be sent: gathered here, packed in a thread."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy

from . import gathering
from .gathering import NotGathered
from .shared.errors import Invalid
from .shared.inputs import MESH, PICTURE, Start
from .shared.limits import NAME_CHARACTERS

NOTHING = "nothing"


@dataclass(frozen=True)
class Prepared:
    """An input: what a request says of it, and its bytes."""

    start: Start
    content: bytes


def meshes_of(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects that have a mesh, the active one first."""
    active = context.view_layer.objects.active
    found = [one for one in context.view_layer.objects.selected if one.type == "MESH"]
    return sorted(found, key=lambda one: one != active)


def hindrance(context: bpy.types.Context) -> str:
    """What keeps from beginning so, in one sentence; "" if nothing does. Looks at no mesh: panels ask for it."""
    settings = context.scene.dreamtime
    if settings.start == PICTURE:
        return "" if settings.picture else "Choose the picture to begin from"
    if settings.start == MESH:
        chosen = meshes_of(context)
        if not chosen:
            return "Select the object to begin from"
        if other := next((one for one in chosen if one.mode != "OBJECT"), None):
            return f"{other.name} is being worked on: go to Object mode first"
        linked = next((one for one in chosen if settings.paint_only and one.data.library), None)
        if linked:
            return f"{linked.name} is linked from another file: make it local first"
    return ""


def gathered(context: bpy.types.Context) -> Iterator[Callable[[], Prepared]]:
    """For each input of the settings, what makes it ready; that may be called in a thread. Raises NotGathered."""
    settings = context.scene.dreamtime
    if settings.start == PICTURE:
        yield _picture(settings.picture)
    elif settings.start == MESH:
        for found in meshes_of(context):
            yield _mesh(context, found, settings)


def _picture(image: bpy.types.Image) -> Callable[[], Prepared]:
    pixels, name = gathering.pixels_of(image), image.name
    return lambda: _prepared(PICTURE, name, pixels.packed())


def _mesh(
    context: bpy.types.Context, found: bpy.types.Object, settings: bpy.types.PropertyGroup
) -> Callable[[], Prepared]:
    where = settings.where if settings.paint_only else gathering.EVERYWHERE
    shape, name = gathering.shape_of(found, context.evaluated_depsgraph_get(), where), found.name
    if settings.paint_only and (shape.uvs is None or settings.new_uvs):
        if shape.loops is None:
            raise NotGathered(f"{name} has no UV map for the faces that its modifiers make: apply them, or unwrap it")
        shape = shape.on(gathering.unwrapped(context, found))

    def packed() -> Prepared:
        try:
            return _prepared(MESH, name, shape.packed())
        except ValueError as error:
            raise Invalid(f"{name} cannot be sent ({error})", "mend the mesh, or choose another") from error

    return packed


def _prepared(sort: str, name: str, content: bytes) -> Prepared:
    return Prepared(Start(sort, hashlib.sha256(content).hexdigest(), name[:NAME_CHARACTERS]), content)
