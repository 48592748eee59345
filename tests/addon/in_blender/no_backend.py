"""Without a backend: the panel says so, Generate is greyed and explains itself, and quitting ends its thread."""

import bpy
from desk import book, module, until

until(lambda: book().trouble is not None)
text, remedy = module("session.wording").status(book())
assert text == "No backend runs on this machine", text
assert "Start" in remedy
assert not bpy.ops.dreamtime.generate.poll()
bpy.context.scene.dreamtime.prompt = "a red mug"
assert not bpy.ops.dreamtime.generate.poll()
module("session.link").JOIN_SECONDS = 240.0
link = module("runtime").current()._link
module("runtime").current().stop()
assert not link._thread.is_alive()
print("stopped")
