"""Every operator's poll, and what the panel offers, with a backend that answers."""

from dataclasses import replace

import bpy
from desk import book, connected, generate, module, until

until(connected)
settings = bpy.context.scene.dreamtime
for name in dir(bpy.ops.dreamtime):
    getattr(bpy.ops.dreamtime, name).poll()
assert not bpy.ops.dreamtime.generate.poll()
unknown = generate("a unicorn")
until(lambda: book().entries[unknown].state == "refused")
assert not bpy.ops.dreamtime.generate.poll()
assert bpy.ops.dreamtime.use_object(name="mug") == {"FINISHED"}
assert settings.prompt == "a mug"
assert bpy.ops.dreamtime.generate.poll()
assert (settings.model, settings.preset, settings.schedule) == ("builtin", "standard", "preset")

offered = book().welcome
other = replace(offered.offer, models=(replace(offered.offer.models[0], name="other"),))
book().welcome = replace(offered, offer=other)
assert settings.model == ""
assert not bpy.ops.dreamtime.generate.poll(), "the model that was chosen is not there"
book().welcome = offered
assert bpy.ops.dreamtime.generate.poll()

settings.latent_field = True
assert not settings.takes_latents, "the built-in model has none"
assert not settings.request().latent_field
latent = replace(offered.offer, models=(replace(offered.offer.models[0], latent=True),))
book().welcome = replace(offered, offer=latent)
assert settings.request().latent_field
settings.start = "picture"
assert not settings.request().latent_field, "a latent field begins from nothing"
settings.start = "nothing"
job_of_latents = settings.request()
settings.latent_field = False
settings.take(job_of_latents)
assert settings.latent_field
book().welcome = offered

job = generate("a red mug steps=100000 pace=0.02", seed=7, lock_seed=True, shading="flat")
until(lambda: book().entries[job].live is not None)
assert (book().entries[job].request.seed, book().entries[job].request.shading) == (7, "flat")
bpy.ops.dreamtime.cancel(job=job)
until(lambda: book().entries[job].state == "cancelled")
settings.shading = "smooth"
assert bpy.ops.dreamtime.copy_settings(job=job) == {"FINISHED"}
assert (settings.seed, settings.lock_seed, settings.shading) == (7, True, "flat")
bpy.ops.dreamtime.generate_again(job=job)
(again,) = set(book().entries) - {job, unknown}
assert book().entries[again].request == book().entries[job].request
until(lambda: book().entries[again].state != "sending")
bpy.ops.dreamtime.cancel(job=again)
until(lambda: book().entries[again].state == "cancelled")
assert bpy.ops.dreamtime.delete(job=job) == {"FINISHED"}
assert job not in book().entries

failed = generate("a red mug steps=1 fail=out_of_memory", lock_seed=False)
assert settings.seed == book().entries[failed].request.seed != 7, "an unlocked seed is drawn anew, and shown"
until(lambda: book().entries[failed].state == "failed")
assert "smaller preset" in book().entries[failed].trouble[1]
assert module("session.wording").outcome(book().entries[failed]) == "Failed"
print("polls are right")
