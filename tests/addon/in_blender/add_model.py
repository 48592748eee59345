"""Add a model from the panel, and make something with it: ../test_add_model.py has the hub."""

import sys

import bpy
from desk import book, connected, generate, module, until

python, root, checkpoint = sys.argv[1:]
runtime, operators = module("runtime"), module("operators.models")
current = runtime.current()
environment = current.local.environment
answers, said = [], set()


def stage() -> str:
    return str(current.local_status.stage)


def looked(name: str) -> object:
    """What comes of Add Model, which asks whether to go on then; without a window, nobody can be asked."""
    answers.clear()
    assert bpy.ops.dreamtime.model_look(name=name) == {"FINISHED"}
    until(lambda: len(answers) == 1)
    return answers[0]


assert not bpy.ops.dreamtime.model_look.poll(), "there is no backend yet that could take a model"
environment.python.parent.mkdir(parents=True)
environment.python.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{python}" "$@"\n')
environment.python.chmod(0o700)
marks = module("local_backend.environment")
marks.mark(environment.path, marks.Marker(runtime.version(), "cpu", "3.12"))
bpy.context.preferences.system.use_online_access = True
until(lambda: stage() == "stopped")
bpy.ops.dreamtime.backend_start()
until(connected)
assert book().model("owner/tiny") is None

operators._offered = lambda outcome, path="": answers.append(outcome)
assert "the hub has no model owner/unknown" in looked("owner/unknown").sentence
offer = looked(" owner/tiny ")
assert (offer.name, offer.licence) == ("owner/tiny", "mit")
assert bpy.ops.dreamtime.model_add(name=offer.name, offer=str(offer)) == {"FINISHED"}
assert not bpy.ops.dreamtime.model_look.poll(), "one at a time"
until(lambda: said.add(current.adding_says) or current.adding is None)
assert any(words.endswith("files are here") for words in said), said
until(lambda: book().model("owner/tiny") is not None)

job = generate("a corgi", model="owner/tiny", preset="draft", steps=2)
until(lambda: book().entries[job].imported or book().entries[job].trouble is not None, seconds=120.0)
assert book().entries[job].trouble is None, book().entries[job].trouble
assert bpy.data.objects["Corgi"]["dreamtime_model"] == "owner/tiny"

bpy.context.preferences.system.use_online_access = False
answers.clear()
assert bpy.ops.dreamtime.model_file(filepath=checkpoint) == {"FINISHED"}
until(lambda: len(answers) == 1)
assert answers[0].name == "dreamshaper_8", answers[0]
assert bpy.ops.dreamtime.model_add(name=checkpoint, offer=str(answers[0])) == {"FINISHED"}
assert not bpy.ops.dreamtime.model_file.poll(), "one at a time"
assert current.adding_says == "Adding the model"
until(lambda: current.adding is None)
until(lambda: book().model("dreamshaper_8") is not None)
bpy.ops.dreamtime.backend_stop()
until(lambda: stage() == "stopped")
print("added and used")
