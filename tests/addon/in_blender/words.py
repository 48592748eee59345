"""The prompt is completed with the words of the chosen model; an unknown object is answered with the nearest ones."""

from dataclasses import replace

import bpy
from desk import book, connected, generate, module, until

settings = bpy.context.scene.dreamtime
prompt = module("properties").DREAMTIME_PG_settings.__annotations__["prompt"].keywords
assert prompt["search_options"] == {"SUGGESTION"}, "any other text can be typed"


def suggested(text: str) -> tuple[str, ...]:
    """As Blender asks for it with each key."""
    return tuple(prompt["search"](settings, bpy.context, text))


assert suggested("a red m") == (), "nobody answers yet"
until(connected)
until(lambda: book().completion("builtin") is not None)
assert suggested("a red m")[:3] == ("a red mug", "a red mushroom", "a red mailbox")
assert "a striped " in {found[:10] for found in suggested("a striped ")}
assert suggested("a gryphon") == ()
assert len(suggested("")) == 20

offered = book().welcome
large = replace(offered.offer.models[0], words=None)
book().welcome = replace(offered, offer=replace(offered.offer, models=(large,)))
assert suggested("a red m") == (), "a large model knows more than can be listed"
book().welcome = replace(offered, offer=replace(offered.offer, models=(replace(large, name="other"),)))
assert suggested("a red m") == (), "the model that was chosen is not there"
book().welcome = offered

job = generate("a striped red unicorn", lock_seed=True)
until(lambda: book().entries[job].state == "refused")
assert not bpy.ops.dreamtime.generate.poll(), "it would be refused again"
nearest = book().nearest(settings.prompt, settings.model)
assert "horse" in nearest
bpy.ops.dreamtime.use_object(name="horse")
assert settings.prompt == "a striped red horse"
assert bpy.ops.dreamtime.generate.poll()
settings.prompt = "a unicorn and a cone"
assert bpy.ops.dreamtime.generate.poll()

book().away()
assert suggested("a red m") == ()
print("words are offered")
