from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner, Result
from zmq.utils import z85

from backend.cli import main
from backend.commands.pairing import clients, pair, revoke
from backend.errors import UserError
from backend.service.addresses import for_others
from backend.service.keys import KeyRing
from shared.pairing import Pairing


@pytest.fixture(autouse=True)
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return KeyRing(tmp_path / "home" / "keys")


def paired(*arguments: str) -> Result:
    return CliRunner().invoke(pair, arguments)


def test_pair_prints_one_line_that_lets_the_artist_in(ring: KeyRing) -> None:
    found = paired("Anas laptop", "--host", "studio-3.lan", "--port", "7400")
    assert found.exit_code == 0, found.output
    assert found.stdout.count("\n") == 1
    pairing = Pairing.parse(found.stdout)
    assert (pairing.host, pairing.port) == ("studio-3.lan", 7400)
    assert pairing.server_key == z85.decode(ring.server[0])
    assert ring.admits(zmq.curve_public(z85.encode(pairing.secret)).decode())


def test_what_to_do_with_it_is_said_beside_the_line() -> None:
    found = paired("ana", "--host", "studio")
    assert found.stdout.strip() not in found.stderr
    assert "lets ana use the backend at studio port 7391: paste it" in found.stderr
    assert "shown only this once and holds a secret" in found.stderr


def test_the_address_is_found_if_none_is_given() -> None:
    assert Pairing.parse(paired("ana").stdout).host == for_others()


def test_brackets_around_an_address_do_not_matter() -> None:
    assert Pairing.parse(paired("ana", "--host", "[fe80::1]").stdout).host == "fe80::1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ana", "--host", "0.0.0.0"), "is no address that others can reach; give this machine's own with --host"),  # noqa: S104
        (("ana", "--host", "[::]"), "is no address that others can reach"),
        (("ana", "--host", "a b"), "is no address of a machine"),
        (("ana", "--port", "0"), "0 is no port; give one from 1 to 65535"),
        (("../ana",), "is no name"),
        (("local",), "machine's own user"),
    ],
)
def test_mistakes_let_nobody_in(arguments: tuple[str, ...], says: str, ring: KeyRing) -> None:
    found = paired(*arguments)
    assert isinstance(found.exception, UserError)
    assert says in str(found.exception)
    assert found.output == ""
    assert ring.clients() == []


def test_a_name_is_paired_once() -> None:
    assert paired("ana", "--host", "studio").exit_code == 0
    assert "dreamtime revoke makes room" in str(paired("Ana", "--host", "studio").exception)


def test_clients_are_listed_and_revoked(ring: KeyRing) -> None:
    assert "nobody is paired; dreamtime pair NAME" in CliRunner().invoke(clients).output
    paired("bob", "--host", "studio")
    paired("Ana K.", "--host", "studio")
    ana, bob = ring.clients()
    assert ring.admits(ana.public)
    ring.seen(ana.public)
    heading, *rows = CliRunner().invoke(clients).output.splitlines()
    assert heading.split("  ")[0] == "name"
    assert [row.split("  ")[0].strip() for row in rows] == ["Ana K.", "bob"]
    assert ana.fingerprint in rows[0]
    assert "never" not in rows[0]
    assert rows[1].endswith("never")
    assert f"{bob.created.astimezone():%Y-%m-%d %H:%M}" in rows[1]
    assert "revoked ana k." in CliRunner().invoke(revoke, ["ana k."]).output
    assert [client.name for client in ring.clients()] == ["bob"]
    unknown = CliRunner().invoke(revoke, ["zoe"])
    assert isinstance(unknown.exception, UserError)
    assert "there are: bob" in str(unknown.exception)


def test_they_are_commands_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "ana", "--host", "studio"]) == 0
    assert Pairing.parse(capsys.readouterr().out).host == "studio"
    assert main(["clients"]) == 0
    assert "ana" in capsys.readouterr().out
    assert main(["revoke", "ana"]) == 0
    assert main(["revoke", "ana"]) == 2
    assert capsys.readouterr().err == "error: no client is called 'ana'; there are: none was paired\n"
