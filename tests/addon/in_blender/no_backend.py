"""Without a backend: the panel says so, Generate is greyed and explains itself, and quitting is quick."""

import time

import bpy
from desk import book, module, until

until(lambda: book().trouble is not None)
text, remedy = module("session.wording").status(book())
assert text == "No backend runs on this machine", text
assert "Start" in remedy
assert not bpy.ops.dreamtime.generate.poll()
bpy.context.scene.dreamtime.prompt = "a red mug"
assert not bpy.ops.dreamtime.generate.poll()
began = time.monotonic()
module("runtime").current().stop()
print(f"stopped in {time.monotonic() - began:.2f} s")
assert time.monotonic() - began < 1.0
