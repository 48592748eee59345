"""python -m backend."""

import os
import sys

# Threads that spin while they wait starve each other where other programs, such as Blender, use the cores too; those
# that sleep at once are slow to wake. Guidance calls on two cores, quiet and with two busy programs beside it: 48 and
# 183 ms with this count, 91 and 112 ms with none, 56 ms and up to 630 ms with OpenMP's own. Has to be said before
# torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from backend.cli import main

sys.exit(main())
