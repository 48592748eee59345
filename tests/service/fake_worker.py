"""A worker with an engine that computes nothing and does as the prompt says: what faults are injected into.

The prompt is words, some of them options: "a red mug steps=20 pace=0.01 crash=7". Results are exactly determined
by the request; steps are `steps` of the request, or of the prompt, or 10.

    pace=S      seconds a step takes (0)
    size=N      bytes of mesh.glb (2000)
    keep=N      a checkpoint every N steps (1)
    preview=1   a picture and a coarse mesh with every step
    crash=K     SIGKILL itself after step K, once in a folder;  crashes=K: every time, before that step is kept
    exit=K      exit with code 7 after step K, once in a folder
    fail=CODE   fail after the last step with that code;  spent=1: and end the process
    bug=K       an error of the program's own after step K
    hang=K      do nothing any more after step K
    hold=K      stay at step K until there is a file `go` beside the one that FAKE_EXECUTIONS names
    block=S     after the last step wait S seconds for another process, in a stretch that may be broken off
    deaf=1      go on when cancelled
    stubborn=1  ignore SIGTERM
    note=WORD   tell the artist WORD in the report
    glb=own     mesh.glb is the mesh that was sent, in red; glb=others: with other texture coordinates
    noise=1     print to the standard output with every step

A completed execution is a line in `executions.log` in the task's folder, and in the file that FAKE_EXECUTIONS names.
FAKE_START=die: die while starting. FAKE_START=hang: never be ready.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from array import array
from pathlib import Path
from typing import Any

from backend.files import write_whole
from backend.service.executor import Result
from backend.service.worker import Cancelled, Listener, Standing, TaskError, main
from shared import coarse

CHECKPOINT = "checkpoint.json"
LOG = "executions.log"
NAMES = ("mesh.glb", "preview.png", "turntable.gif", "report.json")


class FakeEngine:
    """See the top of the file."""

    def warm_up(self, device: str) -> dict[str, Any]:
        start = os.environ.get("FAKE_START")
        if start == "die":
            raise SystemExit("no luck today")
        while start == "hang":
            time.sleep(0.05)
        return {"device": f"fake {device}", "seconds_per_step": 0.0}

    def carry_out(
        self, request: dict[str, Any], folder: Path, device: str, listen: Listener, given: Path | None = None
    ) -> tuple[tuple[Result, ...], dict[str, Any]]:
        options = dict(word.split("=", 1) for word in request["prompt"].split() if "=" in word)
        out = folder / "out"
        out.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        start = request.get("start")
        if start and (given is None or hashlib.sha256(given.read_bytes()).hexdigest() != start["sha256"]):
            raise TaskError("bad_request", "it does not begin from what the request names")
        if not finished(out, digest):
            run(options, request, folder, digest, listen)
            listen(Standing("writing"))
            write_results(out, options, digest, given)
            record(folder, digest)
        report = json.loads((out / "report.json").read_text())
        return tuple(result(out / name) for name in NAMES), report


def run(options: dict[str, str], request: dict[str, Any], folder: Path, digest: str, listen: Listener) -> None:
    """Go through the steps, from the checkpoint on."""
    steps = int(options.get("steps") or request.get("steps") or 10)
    if "stubborn" in options:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pictures = {"preview": PNG, "coarse": COARSE} if "preview" in options else {}
    listen(Standing("loading"))
    for step in range(kept(folder, digest) + 1, steps + 1):
        time.sleep(float(options.get("pace", 0)))
        with contextlib.suppress(Cancelled if "deaf" in options else ()):
            listen(Standing("optimising", step, steps, max(20, 1000 - step), float(steps - step), **pictures))
        if "noise" in options:
            os.write(1, b"noise\n" * 100)
        misbehave(options, step, folder)
        if step % int(options.get("keep", 1)) == 0:
            write_whole(folder / CHECKPOINT, json.dumps({"step": step, "digest": digest}).encode())
    if "block" in options:
        listen(Standing("unwrapping", interruptible=True))
        subprocess.run([sys.executable, "-c", f"import time; time.sleep({options['block']})"], check=True)
    if "fail" in options:
        raise TaskError(options["fail"], f"it failed with {options['fail']}", spent="spent" in options)


def misbehave(options: dict[str, str], step: int, folder: Path) -> None:
    """Do what the options say of this step."""
    here = {name for name in ("crash", "crashes", "exit", "bug", "hang", "hold") if options.get(name) == str(step)}
    if "crashes" in here or ("crash" in here and once(folder / "crashed")):
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in here and once(folder / "exited"):
        os._exit(7)
    if "bug" in here:
        raise KeyError("bug")
    while "hang" in here or ("hold" in here and not Path(os.environ["FAKE_EXECUTIONS"]).with_name("go").exists()):
        time.sleep(0.01)


def once(mark: Path) -> bool:
    """Whether this is the first time; notes that it was."""
    first = not mark.exists()
    mark.touch()
    return first


def kept(folder: Path, digest: str) -> int:
    """The step of the folder's checkpoint, or 0."""
    try:
        checkpoint = json.loads((folder / CHECKPOINT).read_text())
    except FileNotFoundError:
        return 0
    return checkpoint["step"] if checkpoint["digest"] == digest else 0


def finished(out: Path, digest: str) -> bool:
    """Whether the results of this very request are there. The report comes last."""
    try:
        return json.loads((out / "report.json").read_text())["digest"] == digest
    except FileNotFoundError:
        return False


def write_results(out: Path, options: dict[str, str], digest: str, given: Path | None) -> None:
    """Files that depend on the request alone."""
    mesh = random.Random(digest).randbytes(int(options.get("size", 2000)))
    if "glb" in options and given:
        mesh = painted_red(given, out, others=options["glb"] == "others")
    notes = [options["note"]] if "note" in options else []
    report = {"digest": digest, "mesh": hashlib.sha256(mesh).hexdigest(), "notes": notes}
    contents = (mesh, PNG, b"GIF89a" + digest.encode(), json.dumps(report).encode())
    for name, content in zip(NAMES, contents, strict=True):
        write_whole(out / name, content)


def painted_red(given: Path, out: Path, others: bool) -> bytes:
    """The mesh that was sent as a GLB with a red texture."""
    import numpy as np

    from backend.mesh.asset import Asset, TriangleMesh
    from backend.mesh.glb import write_glb
    from shared import meshes

    sent = meshes.unpack(given.read_bytes())
    triangles = np.reshape(sent.triangles, (-1, 3)).astype(np.int32)
    uvs = np.reshape(sent.uvs, (-1, 3, 2)).astype(np.float32)
    if others:
        uvs = 0.5 * uvs
    mesh = TriangleMesh(np.reshape(sent.vertices, (-1, 3)).astype(np.float32), triangles)
    normals = np.tile(np.float32([0, 0, 1]), (len(triangles), 3, 1))
    texture = np.tile(np.uint8([200, 30, 30]), (16, 16, 1))
    write_glb(Asset(mesh, uvs, texture, normals), out / "red.glb", "Red", {"preset": "draft"})
    return (out / "red.glb").read_bytes()


def record(folder: Path, digest: str) -> None:
    """Add a line per completed execution, in one write."""
    line = json.dumps({"folder": str(folder), "digest": digest, "pid": os.getpid()}).encode() + b"\n"
    everywhere = os.environ.get("FAKE_EXECUTIONS")
    for path in (folder / LOG, *([Path(everywhere)] if everywhere else [])):
        with path.open("ab", buffering=0) as log:
            log.write(line)


def result(path: Path) -> Result:
    content = path.read_bytes()
    return Result(path.name, path, hashlib.sha256(content).hexdigest(), len(content))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(8 * (b"\0" + 8 * b"\xc0\x20\x20")))
    + chunk(b"IEND", b"")
)
"""Red, 8 x 8."""

COARSE = coarse.pack(
    memoryview(array("f", [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1])),
    memoryview(array("I", [0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3])),
    memoryview(array("B", [200, 30, 30] * 4)),
)
"""A tetrahedron."""

if __name__ == "__main__":
    main(FakeEngine)
