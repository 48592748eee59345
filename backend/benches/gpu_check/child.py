"""The process that measures: python -m backend.benches.gpu_check.child --folder FOLDER [--dry] PART ...

Each line on its standard output is what it has found. It ends itself after a part that failed: a GPU whose kernels went
wrong spoils all that comes after, in this process.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("parts", nargs="+")
    chosen = parser.parse_args(arguments)
    news = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print

    def tell(**said: Any) -> None:
        print(json.dumps(said), file=news, flush=True)

    tell(begun=chosen.parts[0])
    # What it lacks, it lacks in its first part.
    from backend import machine
    from backend.benches.gpu_check.parts import MEASURES, Check
    from shared.records import to_json

    tell(machine=machine.described())
    for name in chosen.parts:
        tell(begun=name)
        if not chosen.dry and machine.gpu() is None:
            tell(failed="there is no CUDA device")
            continue
        begun = time.perf_counter()
        try:
            for measured in MEASURES[name](Check(chosen.dry, chosen.folder)):
                tell(measured=to_json(measured))
        except Exception as error:  # whatever it is, the other parts have to be measured
            logger.exception("%s", name)
            line = str(error).strip().partition("\n")[0]
            tell(failed=f"{type(error).__name__}: {line}" if line else type(error).__name__)
            sys.exit(1)
        tell(done=time.perf_counter() - begun)


if __name__ == "__main__":
    main()
