"""Where the add-on looks for the lines that reach a backend."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Module = Callable[[str], Any]


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable names a home, and the system does not know the user."""
    for name in ("HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "DREAMTIME_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_the_addons_own_backend(module: Module, tmp_path: Path) -> None:
    pairings = module("session.pairings")
    with pytest.raises(pairings.NotRunning):
        pairings.local(tmp_path)
    pairing = module("shared.pairing").Pairing("127.0.0.1", 7391, bytes(32), bytes(32))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "local.pairing").write_text(f"{pairing}\n")
    assert pairings.local(tmp_path) == [pairing]
