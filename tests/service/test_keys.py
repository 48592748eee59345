import itertools
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from backend.errors import UserError
from backend.service.keys import LOCAL, KeyRing
from shared.pairing import Pairing

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys"


@pytest.fixture
def ring(folder: Path) -> KeyRing:
    return KeyRing(folder)


def owner(secret: bytes) -> str:
    return zmq.curve_public(z85.encode(secret)).decode()


def elsewhere(folder: Path, code: str) -> str:
    """Run code with a ring of the same folder in another process."""
    ring = f"from pathlib import Path; from backend.service.keys import KeyRing; ring = KeyRing(Path({str(folder)!r}))"
    program = f"{ring}\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def a_second_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the clock forward by a second, at which it stands still."""

    def passes() -> None:
        now = time.monotonic() + 1.0
        monkeypatch.setattr("time.monotonic", lambda: now)

    return passes


def record(folder: Path) -> Path:
    (only,) = folder.glob("client-*.json")
    return only


def test_nothing_is_made_before_it_is_needed(ring: KeyRing, folder: Path) -> None:
    assert ring.clients() == []
    assert ring.read_local() is None
    assert not ring.admits("x" * 40)
    assert not folder.exists()


def test_the_servers_keys_are_made_once_and_kept(ring: KeyRing, folder: Path) -> None:
    public, secret = ring.server
    assert zmq.curve_public(secret) == public
    assert KeyRing(folder).server == (public, secret)


def test_two_processes_that_make_the_servers_keys_at_once_agree(folder: Path) -> None:
    rings = [KeyRing(folder) for _ in range(8)]
    found = []
    start = threading.Barrier(len(rings))

    def ask(ring: KeyRing) -> None:
        start.wait()
        found.append(ring.server)

    threads = [threading.Thread(target=ask, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(rings)
    assert set(found) == {KeyRing(folder).server}


@posix
def test_folder_and_files_are_closed_to_others(ring: KeyRing, folder: Path) -> None:
    before = os.umask(0)
    try:
        ring.pair("ana")
        ring.local("127.0.0.1", 7391)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_files_that_others_can_open_are_refused(ring: KeyRing, folder: Path, mode: int) -> None:
    ana = owner(ring.pair("ana"))
    ring.local("127.0.0.1", 7391)
    assert ring.server
    for path in folder.iterdir():
        path.chmod(mode)
    again = KeyRing(folder)
    for use in (lambda: again.server, again.clients, again.read_local, lambda: again.local("127.0.0.1", 7391)):
        with pytest.raises(UserError, match=r"others can open .*; run: chmod 600 "):
            use()
    assert not again.admits(ana)


@posix
@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_can_enter_admits_nobody(
    ring: KeyRing, folder: Path, mode: int, a_second_passes: Callable[[], None]
) -> None:
    ana = owner(ring.pair("ana"))
    assert ring.admits(ana)
    folder.chmod(mode)
    a_second_passes()
    assert not ring.admits(ana)
    for use in (ring.clients, lambda: ring.pair("bob"), lambda: KeyRing(folder).server):
        with pytest.raises(UserError, match=r"run: chmod 700 "):
            use()
    folder.chmod(0o700)
    a_second_passes()
    assert ring.admits(ana)


def test_a_pair_is_known_by_its_public_key_and_the_secret_is_kept_nowhere(ring: KeyRing, folder: Path) -> None:
    before = datetime.now(UTC)
    secret = ring.pair("Anas laptop")
    assert len(secret) == 32
    (client,) = ring.clients()
    assert client.name == "Anas laptop"
    assert client.public == owner(secret)
    assert len(client.fingerprint) == 19
    assert before <= client.created <= datetime.now(UTC)
    assert client.last_seen is None
    content = record(folder).read_bytes()
    assert set(json.loads(content)) == {"name", "public", "created"}
    for form in (secret, z85.encode(secret), secret.hex().encode()):
        assert form not in content


@pytest.mark.parametrize("name", ["a", "A-1._ x", "Zo\u00eb", "\u8cc7\u6599", "9" * 60, "con", "nul.json", "_"])
def test_names_that_can_be_used(ring: KeyRing, name: str) -> None:
    ring.pair(name)
    assert [client.name for client in ring.clients()] == [name]
    ring.revoke(name)
    assert ring.clients() == []


@pytest.mark.parametrize(
    "name",
    ["", " ", "a ", " a", "a" * 61, "../a", "a/b", "a\\b", ".a", "-a", "a\nb", "a\0", "a\u202eb", "local", "LOCAL"],
)
def test_names_that_are_refused(ring: KeyRing, folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"is no name|machine's own user"):
        ring.pair(name)
    assert not folder.exists()


def test_a_name_is_taken_in_whatever_case_and_spelling(ring: KeyRing) -> None:
    first = ring.pair("Zo\u00eb")
    for name in ("Zo\u00eb", "ZO\u00cb", "Zoe\u0308"):
        with pytest.raises(UserError, match=r"there is a client .* already; dreamtime revoke"):
            ring.pair(name)
    assert [client.public for client in ring.clients()] == [owner(first)]
    ring.revoke("Zoe\u0308")


def test_of_many_who_pair_one_name_at_once_one_succeeds(folder: Path) -> None:
    outcomes: list[bytes | None] = []
    start = threading.Barrier(8)

    def pair() -> None:
        ring = KeyRing(folder)
        start.wait()
        try:
            outcomes.append(ring.pair("ana"))
        except UserError:
            outcomes.append(None)

    threads = [threading.Thread(target=pair) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (secret,) = (outcome for outcome in outcomes if outcome)
    assert [client.public for client in KeyRing(folder).clients()] == [owner(secret)]
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_revoking_takes_effect_at_once_in_this_process(ring: KeyRing) -> None:
    ana, bob = owner(ring.pair("ana")), owner(ring.pair("bob"))
    assert ring.admits(ana)
    assert ring.admits(bob)
    ring.revoke("Ana")
    assert not ring.admits(ana)
    assert ring.admits(bob)
    assert not ring.admits("")


def test_an_unknown_name_is_refused_with_the_names_there_are(ring: KeyRing) -> None:
    with pytest.raises(UserError, match="there are: none was paired"):
        ring.revoke("ana")
    ring.pair("bob")
    ring.pair("Ana")
    with pytest.raises(UserError, match="no client is called 'an'; there are: Ana, bob"):
        ring.revoke("an")


def test_what_another_process_does_counts_within_a_second(
    ring: KeyRing, folder: Path, a_second_passes: Callable[[], None]
) -> None:
    ana = owner(ring.pair("ana"))
    assert ring.admits(ana)
    elsewhere(folder, "ring.revoke('ana'); ring.pair('bob')")
    (bob,) = (client.public for client in KeyRing(folder).clients())
    a_second_passes()
    assert not ring.admits(ana)
    assert ring.admits(bob)


@posix
def test_a_file_that_vanishes_while_the_folder_is_looked_at_hinders_nobody(ring: KeyRing, folder: Path) -> None:
    ana = owner(ring.pair("ana"))
    (folder / "client-0.json.x.partial").symlink_to("gone")  # listed, and not there, as what has just been renamed
    assert KeyRing(folder).admits(ana)


def test_a_name_that_is_paired_anew_between_two_looks_admits_the_new_key_only(ring: KeyRing, folder: Path) -> None:
    other = KeyRing(folder)
    for _ in range(20):
        old = owner(other.pair("ana"))
        ring._look()
        assert ring.admits(old)
        other.revoke("ana")
        new = owner(other.pair("ana"))
        ring._look()
        assert not ring.admits(old)
        assert ring.admits(new)
        other.revoke("ana")


def test_asking_looks_at_the_disk_a_few_times_a_second_at_most(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = [owner(ring.pair(f"artist {number}")) for number in range(20)]
    look, looks = ring._look, []
    monkeypatch.setattr(ring, "_look", lambda: looks.append(look()))
    began, milliseconds = time.monotonic(), itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: began + next(milliseconds) / 1000)
    assert all(ring.admits(owners[number % 20]) for number in range(1000))
    assert len(looks) == 4


def test_a_folder_that_is_gone_or_no_folder_admits_nobody(
    ring: KeyRing, folder: Path, a_second_passes: Callable[[], None]
) -> None:
    ana = owner(ring.pair("ana"))
    assert ring.admits(ana)
    folder.rename(folder.with_name("moved"))
    a_second_passes()
    assert not ring.admits(ana)
    folder.write_text("")
    ring._look_after = 0.0
    assert not ring.admits(ana)
    with pytest.raises(UserError, match="cannot write"):
        ring.pair("bob")


def test_a_folder_that_cannot_be_read_admits_nobody(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch, a_second_passes: Callable[[], None]
) -> None:
    ana = owner(ring.pair("ana"))
    assert ring.admits(ana)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refuse)
        a_second_passes()
        assert not ring.admits(ana)
    a_second_passes()
    assert ring.admits(ana)


DATE = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "\u00ff",
        json.dumps({"name": 1, "public": 2, "created": 3}),
        json.dumps({"name": 1, "public": "x" * 40, "created": DATE}),
        json.dumps({"name": "x", "public": "short", "created": DATE}),
        json.dumps({"name": "x", "public": ["x"] * 40, "created": DATE}),
        json.dumps({"name": "x", "public": "x" * 40, "created": "2026-01-01"}),
    ],
)
def test_a_damaged_record_admits_nobody_and_hinders_no_other(
    ring: KeyRing, folder: Path, content: str, a_second_passes: Callable[[], None]
) -> None:
    ana = owner(ring.pair("ana"))
    path = record(folder)
    bob = owner(ring.pair("bob"))
    assert ring.admits(ana)
    path.write_text(content, encoding="latin-1")
    a_second_passes()
    assert not ring.admits(ana)
    assert not ring.admits("x" * 40)
    assert ring.admits(bob)
    with pytest.raises(UserError, match=r"is damaged .*; delete it and pair again"):
        ring.clients()
    ring.revoke("ana")
    assert [client.name for client in ring.clients()] == ["bob"]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"public": "a", "secret": "b"}', b'{"public": 1, "secret": 2}']
)
def test_damaged_server_keys_are_refused(ring: KeyRing, folder: Path, content: bytes) -> None:
    ring.pair("ana")
    path = folder / "server.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match=r"is damaged .*; restore it, or delete it and pair everybody anew"):
        assert ring.server


def test_server_keys_that_do_not_belong_together_are_refused(ring: KeyRing, folder: Path) -> None:
    assert ring.server
    path = folder / "server.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "public": zmq.curve_keypair()[0].decode()}))
    with pytest.raises(UserError, match="do not belong together"):
        assert KeyRing(folder).server


def test_last_seen_is_written_at_most_once_a_minute(
    ring: KeyRing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = owner(ring.pair("ana"))
    writes = []
    touch = os.utime
    monkeypatch.setattr("os.utime", lambda *arguments: (writes.append(arguments), touch(*arguments)))
    assert ring.admits(ana)
    for _ in range(100):
        ring.seen(ana)
        ring.seen("stranger")
    assert len(writes) == 1
    (client,) = KeyRing(folder).clients()
    assert client.last_seen is not None
    assert datetime.now(UTC) - client.last_seen < timedelta(seconds=5)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 60)
    ring.seen(ana)
    assert len(writes) == 2
    assert ring.admits(ana)


def test_seeing_a_client_whose_record_is_gone_is_no_trouble(ring: KeyRing, folder: Path) -> None:
    ana = owner(ring.pair("ana"))
    assert ring.admits(ana)
    record(folder).unlink()
    ring.seen(ana)
    assert list(folder.iterdir()) == []


def test_the_local_users_key_is_kept_and_admitted(ring: KeyRing, folder: Path) -> None:
    first = ring.local("127.0.0.1", 7391)
    assert first.server_key == z85.decode(ring.server[0])
    assert ring.admits(owner(first.secret))
    again = KeyRing(folder)
    assert again.read_local() == first
    moved = again.local("127.0.0.1", 7400)
    assert moved == Pairing("127.0.0.1", 7400, first.server_key, first.secret)
    assert ring.read_local() == moved
    (client,) = again.clients()
    assert (client.name, client.public, client.last_seen) == (LOCAL, owner(first.secret), None)


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("*", "127.0.0.1"), ("::", "::1"), ("localhost", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")],  # noqa: S104
)
def test_the_local_user_is_told_an_address_that_can_be_reached(ring: KeyRing, host: str, reached: str) -> None:
    assert ring.local(host, 7391).host == reached


def test_the_local_user_can_be_revoked_and_gets_another_key(ring: KeyRing, folder: Path) -> None:
    first = ring.local("127.0.0.1", 7391)
    ring.revoke(LOCAL)
    assert ring.read_local() is None
    assert not ring.admits(owner(first.secret))
    second = ring.local("127.0.0.1", 7391)
    assert second.secret != first.secret
    assert ring.admits(owner(second.secret))


@pytest.mark.parametrize("lost", ["record", "line", "line's content"])
def test_half_of_a_local_pairing_is_made_anew(ring: KeyRing, folder: Path, lost: str) -> None:
    first = ring.local("127.0.0.1", 7391)
    line = folder / "local.pairing"
    if lost == "record":
        record(folder).unlink()
    elif lost == "line":
        line.unlink()
    else:
        line.write_text(line.read_text()[:-9])
        with pytest.raises(UserError, match="is damaged; delete it and start the backend again"):
            ring.read_local()
    second = ring.local("127.0.0.1", 7391)
    assert second.secret != first.secret
    assert ring.admits(owner(second.secret))
    assert not ring.admits(owner(first.secret))
    assert ring.read_local() == second


def test_a_line_of_another_key_than_the_record_is_made_anew(ring: KeyRing, folder: Path) -> None:
    line = folder / "local.pairing"
    ring.local("127.0.0.1", 7391)
    old = line.read_bytes()
    ring.revoke(LOCAL)
    new = ring.local("127.0.0.1", 7391)
    line.write_bytes(old)
    line.chmod(0o600)
    third = ring.local("127.0.0.1", 7391)
    assert third.secret not in (new.secret, Pairing.parse(old.decode()).secret)
    assert not ring.admits(owner(Pairing.parse(old.decode()).secret))


def test_a_full_disk_leaves_no_half_written_client(
    ring: KeyRing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    ring.pair("ana")
    before = sorted(folder.iterdir())
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left.*DREAMTIME_HOME"):
        ring.pair("bob")
    with pytest.raises(UserError, match="cannot write"):
        ring.local("127.0.0.1", 7391)
    assert sorted(folder.iterdir()) == before
