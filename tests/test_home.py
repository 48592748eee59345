"""Where things are kept."""

from pathlib import Path

import pytest

from backend import home


def test_one_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    assert home.data_folder() == tmp_path
    assert home.keys_folder() == tmp_path / "keys"


def test_without_it_there_are_the_users_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(home.VARIABLE, raising=False)
    assert home.data_folder().name == "dreamtime"
    assert home.keys_folder().parts[-2:] == ("dreamtime", "keys")
