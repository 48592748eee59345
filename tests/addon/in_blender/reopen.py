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
print("picked up")
