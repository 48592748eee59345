"""Measure the add-on: an import, the pump while previews stream, and the end with a dead backend: ../bench.py."""

import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path

import bpy
from desk import book, connected, generate, module, until

folder, backend = Path(sys.argv[1]), int(sys.argv[2])
importer, pump = module("importer"), module("pump")
JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"
figures = {}


def imported() -> float:
    began = time.perf_counter()
    found = importer.import_job(bpy.context, folder, "a bench", JOB, 1.0)
    seconds = time.perf_counter() - began
    figures["faces"] = len(found.data.polygons)
    return seconds


imported()
figures["import"] = statistics.median(imported() for _ in range(5))

until(connected)
job = generate("a red mug", preset="standard")
until(lambda: book().entries[job].live is not None)
ticks, arrived = [], False
while not book().entries[job].imported:
    began = time.perf_counter()
    pump.tick()
    seconds = time.perf_counter() - began
    if book().entries[job].imported:
        figures["tick with the import"] = seconds
    else:
        ticks.append(seconds)
    time.sleep(0.1)
figures["ticks"], figures["previews"] = len(ticks), book().entries[job].previews
figures["tick median"] = statistics.median(ticks)
figures["tick p99"] = statistics.quantiles(ticks, n=100)[98]
figures["tick longest"] = max(ticks)

os.kill(backend, signal.SIGSTOP)
time.sleep(0.3)
began = time.perf_counter()
bpy.ops.preferences.addon_disable(module=module("runtime").ADDON)
figures["end with a dead backend"] = time.perf_counter() - began
os.kill(backend, signal.SIGCONT)
print("figures", json.dumps(figures))
