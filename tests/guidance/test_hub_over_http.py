"""The command `models` and the hub's own client, against a hub here that speaks HTTP as the real one does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "owner/tiny"
USER_ERROR = 2


class Hub(ThreadingHTTPServer):
    """Offers one folder under ID. sent: the files that were fetched. most: after so many of them it breaks down."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.sent: list[str] = []
        self.most = 1000

    def description(self) -> dict[str, Any]:
        siblings = [{"rfilename": name, "size": size} for name, size in self._sizes()]
        return {"id": ID, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}}

    def tree(self) -> list[dict[str, Any]]:
        return [{"type": "file", "path": name, "size": size, "oid": COMMIT} for name, size in self._sizes()]

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), path.stat().st_size


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        resolve = f"/{ID}/resolve/{COMMIT}/"
        if path in (f"/api/models/{ID}", f"/api/models/{ID}/revision/{COMMIT}"):
            self._send(json.dumps(self.server.description()).encode(), "application/json", body)
        elif path == f"/api/models/{ID}/tree/{COMMIT}":
            self._send(json.dumps(self.server.tree()).encode(), "application/json", body)
        elif path.startswith(resolve) and (file := self.server.folder / path.removeprefix(resolve)).is_file():
            if body and len(self.server.sent) >= self.server.most:
                self.send_error(404)
                return
            self._send(file.read_bytes(), "application/octet-stream", body)
            if body:
                self.server.sent.append(path.removeprefix(resolve))
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, data: bytes, kind: str, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    with Hub(folders["sd1"]) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()


def models(hub: Hub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dreamtime models` as a program: the hub's client reads its settings when it is imported."""
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(home / "hf"),
        "DREAMTIME_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "backend", "models", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=600
    )


def test_a_model_is_looked_at_added_and_listed(hub: Hub, tmp_path: Path) -> None:
    looked = models(hub, tmp_path, "look", "--", ID)
    assert looked.returncode == 0, looked.stderr
    told = json.loads(looked.stdout)
    assert (told["name"], told["licence"], told["revision"]) == (ID, "mit", COMMIT)
    assert hub.sent == []

    added = models(hub, tmp_path, "add", "--yes", "--", ID)
    assert added.returncode == 0, added.stderr
    assert f"added {ID}" in added.stdout
    assert "unet/diffusion_pytorch_model.safetensors" in hub.sent
    assert not any(name.startswith(("vae/decoder", "safety_checker")) for name in hub.sent)
    assert ID in models(hub, tmp_path, "list").stdout


def test_an_interrupted_download_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.most = 3
    broken = models(hub, tmp_path, "add", "--yes", "--", ID)
    assert broken.returncode == USER_ERROR
    assert broken.stderr.splitlines()[-1].startswith("error: the hub answered 404"), broken.stderr
    assert ID not in models(hub, tmp_path, "list").stdout
    first, hub.sent, hub.most = set(hub.sent), [], 1000
    assert models(hub, tmp_path, "add", "--yes", "--", ID).returncode == 0
    assert first - set(hub.sent), "what was there is not fetched again"


def test_a_name_that_the_hub_does_not_know(hub: Hub, tmp_path: Path) -> None:
    failed = models(hub, tmp_path, "look", "--", "owner/unknown")
    assert failed.returncode == USER_ERROR
    assert "owner/unknown" in failed.stderr
    assert "Traceback" not in failed.stderr
