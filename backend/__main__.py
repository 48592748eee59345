"""python -m backend."""

import os
import sys

from backend.openmp import SPINS

os.environ.setdefault(*SPINS)

from backend.cli import main

sys.exit(main())
