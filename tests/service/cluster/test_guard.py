"""Who is let into a cluster, and what is said to who is not."""

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

from backend.service.cluster import guard


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back, too
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(guard, "installed", lambda: True)


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install '.[ray]'" in (guard.lack("ws1:6379") or "")


def test_a_token_is_found_where_ray_looks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not guard.has_token()
    assert "ray get-auth-token --generate" in (guard.lack("ws1:6379") or "")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch(0o600)
    (tmp_path / ".ray" / "auth_token").write_text("\n")
    assert not guard.has_token()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert guard.has_token()
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    assert "chmod 600" in (guard.lack("ws1:6379") or "")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert not guard.has_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert guard.has_token()


@pytest.mark.parametrize(
    ("met", "expected"), [("refused", None), ("open", "lets in whoever asks"), ("away", "no cluster answers at ws1:1")]
)
def test_a_cluster_that_lets_strangers_in_is_not_joined(
    met: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setattr(guard, "knock", lambda address: met)
    found = guard.lack("ws1:1")
    assert found == expected if expected is None else expected in (found or "")


def test_a_cluster_of_this_machine_alone_gets_a_token_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    tokens = set()
    for _ in range(2):
        assert guard.lack(guard.LOCAL) is None
        tokens.add(os.environ["RAY_AUTH_TOKEN"])
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(tokens) == 2
    assert all(len(token) == 64 for token in tokens)


@pytest.mark.parametrize("address", ["ws1", "ws1:", ":6379x", "127.0.0.1:99999", "", "[::1"])
def test_addresses_that_are_none_are_away(address: str) -> None:
    assert guard.knock(address) == "away"


def test_a_port_where_nobody_listens_is_away() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert guard.knock(f"127.0.0.1:{port}") == "away"


def test_the_one_who_knocks_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Done:
        stdout = "refused\n"

    def run(command: Any, env: dict[str, str], **options: Any) -> Done:
        given.update(env)
        return Done()

    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setattr(guard.subprocess, "run", run)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert guard.knock(f"127.0.0.1:{server.getsockname()[1]}") == "refused"
    assert given["RAY_AUTH_MODE"] == "disabled"
    assert "secret" not in given.values()
