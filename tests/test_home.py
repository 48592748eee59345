"""Where things are kept."""

from pathlib import Path

import pytest

from backend import home
from backend.cli import main
from backend.errors import UserError


def test_one_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    assert home.data_folder() == tmp_path
    assert home.keys_folder() == tmp_path / "keys"


def test_without_it_there_are_the_users_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(home.VARIABLE, raising=False)
    assert home.data_folder().name == "dreamtime"
    assert home.keys_folder().parts[-2:] == ("dreamtime", "keys")


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable names a home, and the system does not know the user, as in many containers."""
    monkeypatch.chdir(tmp_path)
    for name in (home.VARIABLE, "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "command",
    [
        ("cancel", "abc"),
        ("clients",),
        ("delete", "abc"),
        ("fetch", "abc"),
        ("follow", "abc"),
        ("generate", "a mug", "--guidance", "mine"),
        ("jobs",),
        ("models", "add", "owner/name"),
        ("models", "list"),
        ("models", "look", "owner/name"),
        ("models", "remove", "mine"),
        ("pair", "ana", "--host", "192.0.2.1"),
        ("revoke", "ana"),
        ("serve", "--port", "0"),
        ("submit", "a mug"),
    ],
)
def test_whoever_has_no_home_is_told_to_choose_one(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command]) == 2
    assert capsys.readouterr().err == "error: this user has no home folder; set DREAMTIME_HOME to a folder you own\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("homeless")
def test_doctor_says_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    assert "set DREAMTIME_HOME to a folder you own" in capsys.readouterr().out


def test_a_platformdirs_that_leaves_the_tilde_makes_no_folder_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(home.VARIABLE, raising=False)
    monkeypatch.setattr(home, "user_data_path", lambda name: Path("~/.local/share", name))
    with pytest.raises(UserError, match="set DREAMTIME_HOME"):
        home.data_folder()


@pytest.mark.parametrize(
    "command",
    [
        ("models", "add", "~nosuchuser/model"),
        ("models", "look", "~nosuchuser/model"),
        ("generate", "a mug", "--guidance", "~nosuchuser/model"),
    ],
)
def test_the_home_of_nobody_is_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    assert main([*command]) == 2
    assert "~nosuchuser/model begins in a home folder that is not there" in capsys.readouterr().err


def test_the_variable_may_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home.VARIABLE, "~/dreams")
    assert home.data_folder() == Path.home() / "dreams"
    monkeypatch.setenv(home.VARIABLE, "~nosuchuser/dreams")
    with pytest.raises(UserError, match="write the whole path"):
        home.data_folder()
