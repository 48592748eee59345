"""A line that was revoked, or mistyped: said in words."""

import sys

import bpy
from desk import book, module, until

revoked, good = sys.argv[1:]
try:
    bpy.ops.dreamtime.pair(line=revoked[:-4])
except RuntimeError as error:
    assert "copy" in str(error).lower() or "line" in str(error).lower(), error
assert bpy.ops.dreamtime.pair(line=revoked) == {"FINISHED"}
until(lambda: book().trouble is not None and "does not know" in book().trouble.sentence)
assert "dreamtime pair NAME" in module("session.wording").status(book())[1]
assert bpy.ops.dreamtime.pair(line=good) == {"FINISHED"}
until(lambda: book().welcome is not None)
kept = module("runtime").current().folder / "remote.pairing"
assert kept.stat().st_mode & 0o777 == 0o600
bpy.ops.dreamtime.unpair()
until(lambda: book().trouble is not None and "no remote backend" in book().trouble.sentence)
assert not kept.exists()
print("keys are told apart")
