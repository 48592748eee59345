"""Blender was closed in the middle of a job: it is there again, and its result comes."""

import sys

from desk import book, connected, module, until

job = sys.argv[1]
assert book().entries[job].state == "asking", "remembered before the backend was asked"
until(connected)
until(lambda: book().entries[job].fetched)
entry = book().entries[job]
assert (entry.state, entry.attempt, entry.imported) == ("done", 1, False)
assert module("session.wording").outcome(entry) == "Ready to import"

pictures = module("pictures")
pictures.unregister()
pictures.register()  # as in a Blender that was just opened
assert pictures.icon(entry) == 0
assert job not in pictures._loaded(), "drawing waits for no file"
until(lambda: job in pictures._loaded())
assert min(pictures._loaded()[job].image_size) > 0
print("picked up")
