"""A post, and a hall of machines for posts; see pretending.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.home import VARIABLE
from backend.service.cluster.post import Post
from tests.service.cluster.pretending import FAKE, LONG, Hall


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "node"))
    return tmp_path / "node"


@pytest.fixture
def post(home: Path) -> Iterator[Post]:
    post = Post("cpu", FAKE, LONG)
    yield post
    post.close()


@pytest.fixture
def hall(home: Path) -> Iterator[Hall]:
    hall = Hall()
    yield hall
    for wire in hall.wires:
        wire.post.close()
