"""Real sockets: each way in which ZeroMQ would let a stranger in, and the proof that the self-test notices it."""

import contextlib
import runpy
import socket as sockets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from backend.errors import UserError
from backend.service import auth
from backend.service.addresses import endpoint, for_others, from_here, is_loopback, numeric
from backend.service.auth import Gate, bound, owner_of, port_of, self_test
from backend.service.keys import KeyRing
from shared import limits

PATIENCE = 120.0
"""Seconds after which something that is waited for will not come."""

ENOUGH = 3.0
"""Seconds for all that does come in a self-test, where one thing does not."""

SILENCE_MILLISECONDS = 40
HANDSHAKE = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

Keys = tuple[bytes, bytes]


class Rig:
    """A context with a gate, and clients of every kind that connect to its router."""

    def __init__(self, folder: Path) -> None:
        self.ring = KeyRing(folder)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.gate = Gate(self.context, self.ring)
        self.stack = contextlib.ExitStack()
        self.stack.callback(self.context.destroy, 0)

    def open(self, host: str = "127.0.0.1") -> zmq.Socket[bytes]:
        self.stack.enter_context(self.gate)
        return self.bind(host)

    def bind(self, host: str = "127.0.0.1") -> zmq.Socket[bytes]:
        self.router = bound(self.context, self.gate, host, 0)
        self.stack.callback(self.router.close)
        return self.router

    def client(self, keys: Keys | None, server: bytes | None = None, host: str = "127.0.0.1") -> zmq.Socket[bytes]:
        client = self.context.socket(zmq.DEALER)
        client.linger = 0
        client.ipv6 = ":" in host
        if keys:
            client.curve_publickey, client.curve_secretkey = keys
            client.curve_serverkey = server or self.ring.server[0]
        monitor = client.get_monitor_socket(HANDSHAKE)
        self.stack.callback(client.close)
        self.stack.callback(monitor.close)
        self.stack.callback(client.disable_monitor)
        client.connect(endpoint(host, port_of(self.router)))
        return client

    def paired(self, name: str = "ana") -> Keys:
        secret = z85.encode(self.ring.pair(name))
        return zmq.curve_public(secret), secret


def outcome(client: zmq.Socket[bytes]) -> zmq.Event:
    """How the client's handshake ended."""
    monitor = client.get_monitor_socket()
    assert monitor.poll(PATIENCE * 1000)
    return zmq.Event(zmq.utils.monitor.recv_monitor_message(monitor)["event"])


def received(router: zmq.Socket[bytes]) -> list[zmq.Frame]:
    assert router.poll(PATIENCE * 1000)
    return router.recv_multipart(copy=False)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "keys")
    with made.stack:
        yield made


def test_a_paired_client_is_let_in_and_its_messages_bear_its_key(rig: Rig) -> None:
    router = rig.open()
    keys = rig.paired()
    client = rig.client(keys)
    client.send_multipart([b"one", b"two"])
    frames = received(router)
    assert [frame.bytes for frame in frames[1:]] == [b"one", b"two"]
    assert owner_of(frames) == keys[0].decode()
    assert rig.gate.admits(owner_of(frames))
    router.send_multipart([frames[0].bytes, b"answer"])
    assert client.poll(PATIENCE * 1000)
    assert client.recv() == b"answer"
    assert outcome(client) == zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_keys_hold_over_a_restart(rig: Rig, tmp_path: Path) -> None:
    keys, server = rig.paired(), rig.ring.server[0]
    again = Rig(tmp_path / "keys")
    with again.stack:
        again.open()
        assert outcome(again.client(keys, server)) == zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_strangers_are_refused(rig: Rig) -> None:
    router = rig.open()
    keys = rig.paired()
    strangers = {
        "no key": (rig.client(None), {zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL}),
        "unknown key": (rig.client(zmq.curve_keypair()), {zmq.EVENT_HANDSHAKE_FAILED_AUTH}),
        "wrong server key": (
            rig.client(keys, zmq.curve_keypair()[0]),
            {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL},
        ),
        "the server's own public key with another secret": (
            rig.client((rig.ring.server[0], zmq.curve_keypair()[1])),
            {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL},
        ),
        "a paired client's public key with another secret": (
            rig.client((keys[0], zmq.curve_keypair()[1])),
            {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL},
        ),
    }
    for client, _ in strangers.values():
        client.send(b"hello")
    for name, (client, expected) in strangers.items():
        assert outcome(client) in expected, name
    assert not router.poll(SILENCE_MILLISECONDS)


def test_a_revoked_key_is_refused(rig: Rig) -> None:
    router = rig.open()
    keys = rig.paired()
    rig.ring.revoke("ana")
    client = rig.client(keys)
    client.send(b"hello")
    assert outcome(client) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert not router.poll(SILENCE_MILLISECONDS)


def test_a_client_that_is_connected_when_its_key_is_revoked_is_not_admitted_any_more(rig: Rig, tmp_path: Path) -> None:
    router = rig.open()
    client = rig.client(rig.paired())
    client.send(b"before")
    before = received(router)
    assert rig.gate.admits(owner_of(before))
    KeyRing(tmp_path / "keys").revoke("ana")  # as another process would
    deadline = time.monotonic() + PATIENCE
    while rig.gate.admits(owner_of(before)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # The connection stands, so the message still comes, and must be refused by its owner.
    client.send(b"after")
    after = received(router)
    assert after[-1].bytes == b"after"
    assert owner_of(after) == owner_of(before)
    assert not rig.gate.admits(owner_of(after))


def test_without_a_running_gate_nobody_comes_in(rig: Rig) -> None:
    keys = rig.paired()
    router = rig.bind()  # the authenticator was never started
    client = rig.client(keys)
    client.send(b"hello")
    assert outcome(client) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert not router.poll(SILENCE_MILLISECONDS)


def test_a_key_ring_that_cannot_be_read_lets_nobody_in(rig: Rig, tmp_path: Path) -> None:
    rig.open()
    keys = rig.paired()
    rig.ring.server  # noqa: B018  # read while it can be
    (tmp_path / "keys").rename(tmp_path / "elsewhere")
    rig.ring._look_after = 0.0
    assert outcome(rig.client(keys)) == zmq.EVENT_HANDSHAKE_FAILED_AUTH


def test_a_message_that_no_key_vouches_for_has_no_owner(rig: Rig) -> None:
    router = rig.context.socket(zmq.ROUTER)
    router.linger = 0
    rig.stack.callback(router.close)
    rig.router = router
    router.bind("tcp://127.0.0.1:0")
    rig.client(None).send(b"hello")
    frames = received(router)
    assert owner_of(frames) == ""
    assert not rig.gate.admits("")


def test_one_client_cannot_take_anothers_place(rig: Rig) -> None:
    router = rig.open()
    ana, bob = rig.paired("ana"), rig.paired("bob")
    clients = []
    for keys in (ana, bob):
        client = rig.context.socket(zmq.DEALER)
        client.linger = 0
        client.routing_id = b"same"
        client.curve_publickey, client.curve_secretkey = keys
        client.curve_serverkey = rig.ring.server[0]
        rig.stack.callback(client.close)
        client.connect(endpoint("127.0.0.1", port_of(router)))
        client.send(keys[0])
        clients.append(client)
        if keys == ana:
            frames = received(router)
    assert owner_of(frames) == ana[0].decode()
    assert not router.poll(SILENCE_MILLISECONDS)
    router.send_multipart([b"same", b"for ana"])
    assert clients[0].poll(PATIENCE * 1000)
    assert not clients[1].poll(0)


def test_the_socket_has_the_options_that_the_design_asks_for(rig: Rig) -> None:
    router = rig.open()
    assert {
        "server": router.get(zmq.CURVE_SERVER),
        "domain": router.get(zmq.ZAP_DOMAIN),
        "enforced": router.get(zmq.ZAP_ENFORCE_DOMAIN),
        "linger": router.get(zmq.LINGER),
        "largest frame": router.get(zmq.MAXMSGSIZE),
        "queues": (router.get(zmq.SNDHWM), router.get(zmq.RCVHWM)),
        "handshake": router.get(zmq.HANDSHAKE_IVL),
        "heartbeats": router.get(zmq.HEARTBEAT_IVL),
        "keep-alive": (router.get(zmq.TCP_KEEPALIVE), router.get(zmq.TCP_KEEPALIVE_IDLE)),
    } == {
        "server": 1,
        "domain": b"dreamtime",
        "enforced": 1,
        "linger": 0,
        "largest frame": limits.FRAME_BYTES,
        "queues": (limits.QUEUED_MESSAGES, limits.QUEUED_MESSAGES),
        "handshake": 1000 * limits.HANDSHAKE_SECONDS,
        "heartbeats": 0,
        "keep-alive": (1, limits.KEEPALIVE_SECONDS),
    }
    with pytest.raises(zmq.ZMQError) as caught:  # ROUTER_MANDATORY
        router.send_multipart([b"nobody", b"hello"])
    assert caught.value.errno == zmq.EHOSTUNREACH


@pytest.mark.parametrize(("spare", "arrives"), [(1000, True), (0, False)])
def test_a_frame_over_the_limit_closes_the_connection(rig: Rig, spare: int, arrives: bool) -> None:
    router = rig.open()
    client = rig.client(rig.paired())
    client.send(bytes(limits.FRAME_BYTES - spare))
    if arrives:
        assert len(received(router)[-1].bytes) == limits.FRAME_BYTES - spare
    else:
        assert outcome(client) == zmq.EVENT_HANDSHAKE_SUCCEEDED
        client.send(b"small")  # whatever comes after the large one comes over a new connection
        assert received(router)[-1].bytes == b"small"


def test_a_port_that_is_taken_is_refused(rig: Rig) -> None:
    port = port_of(rig.open())
    with pytest.raises(UserError, match=f"port {port} is taken, .*; stop it or serve with --port"):
        bound(rig.context, rig.gate, "127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_refused(rig: Rig, port: int) -> None:
    with pytest.raises(UserError, match="is no port; give one from 1 to 65535"):
        bound(rig.context, rig.gate, "127.0.0.1", port)


def test_an_address_of_another_machine_is_refused(rig: Rig) -> None:
    rig.paired()
    with pytest.raises(UserError, match=r"203\.0\.113\.9 is not an address of this machine; serve on 127\.0\.0\.1"):
        bound(rig.context, rig.gate, "203.0.113.9", 0)


def test_an_address_that_is_none_is_refused(rig: Rig) -> None:
    with pytest.raises(UserError, match="is no address; serve on"):
        bound(rig.context, rig.gate, "999.0.0.1:", 0)


def test_other_errors_of_binding_name_the_port(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(socket: zmq.Socket[bytes], address: str) -> None:
        raise zmq.ZMQError(13, "Permission denied")

    monkeypatch.setattr(zmq.Socket, "bind", refuse)
    with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1 port 80 \(Permission denied\)"):
        bound(rig.context, rig.gate, "127.0.0.1", 80)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "10.0.0.1"])  # noqa: S104
def test_others_can_reach_it_only_if_a_client_is_paired(rig: Rig, host: str) -> None:
    rig.ring.local("127.0.0.1", 7391)  # this machine's own user does not count
    with pytest.raises(UserError, match="no client is paired; run dreamtime pair NAME first"):
        bound(rig.context, rig.gate, host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "*", "::1", "::"])  # noqa: S104
def test_the_self_test_passes_on_every_kind_of_address(rig: Rig, host: str) -> None:
    rig.paired()
    router = rig.open(host)
    assert self_test(router, rig.gate) == []
    assert not router.poll(SILENCE_MILLISECONDS)
    assert rig.gate._temporary == frozenset()
    loopback = "::1" if ":" in host else "127.0.0.1"
    client = rig.client(rig.paired("bob"), host=loopback)
    client.send(b"hello")
    assert received(router)[-1].bytes == b"hello"


def test_messages_that_come_during_the_self_test_are_handed_on(rig: Rig) -> None:
    router = rig.open()
    keys = rig.paired()
    client = rig.client(keys)
    client.send_multipart([b"early", b"bird"])
    assert router.poll(PATIENCE * 1000)
    (frames,) = self_test(router, rig.gate)
    assert [frame.bytes for frame in frames[1:]] == [b"early", b"bird"]
    assert owner_of(frames) == keys[0].decode()


def test_the_key_of_the_self_test_is_worthless_afterwards(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    keypair = zmq.curve_keypair
    monkeypatch.setattr(zmq, "curve_keypair", lambda: made.append(keypair()) or made[-1])
    router = rig.open()
    self_test(router, rig.gate)
    assert len(made) == 3  # the server's, the stranger's and the friend's
    for keys in made[1:]:
        client = rig.client(keys)
        client.send(b"hello")
        assert outcome(client) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert not router.poll(SILENCE_MILLISECONDS)


def configured_without(option: str) -> Callable[[zmq.Socket[bytes], Keys], None]:
    """The router's configuration with one thing undone."""
    configure = auth._configure

    def undo(router: zmq.Socket[bytes], keys: Keys) -> None:
        configure(router, keys)
        if option == "domain":
            router.zap_domain = b"other"
        elif option == "wildcard domain":
            router.zap_domain = b"*"
        elif option == "enforcement":
            router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 0)
        else:
            router.curve_server = False

    return undo


def check_fails(rig: Rig, says: str) -> None:
    with pytest.raises(UserError, match=rf"self-test of the locks failed \({says}.*so nothing is served"):
        self_test(rig.router, rig.gate)
    assert rig.gate._temporary == frozenset()


def test_the_self_test_notices_that_curve_is_off(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_configure", configured_without("curve"))
    rig.open()
    check_fails(rig, "")


def test_the_self_test_notices_that_enforcement_and_authenticator_are_off(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_configure", configured_without("enforcement"))
    rig.bind()
    check_fails(rig, "a client with an unknown key met HANDSHAKE_SUCCEEDED|a stranger's message came in")


def test_the_self_test_notices_that_the_authenticator_is_off(rig: Rig) -> None:
    rig.bind()  # with enforcement: nobody comes in, and so not the friend
    check_fails(rig, "(a client with an unknown key|a paired client) met HANDSHAKE_FAILED_NO_DETAIL")


def test_the_self_test_notices_that_the_authenticators_thread_died(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_SELF_TEST_SECONDS", ENOUGH)
    rig.open()
    rig.gate._authenticator.pipe.send(b"TERMINATE")
    rig.gate._authenticator.thread.join(PATIENCE)
    # The thread's socket is closed with it or a little later: until then nobody hears of a client that waits for it,
    # and after that both are turned away, the paired one perhaps first.
    check_fails(rig, "(nothing was heard of a|(a client with an unknown key|a paired client) met HANDSHAKE_FAILED)")


@pytest.mark.parametrize("domain", ["domain", "wildcard domain"])
def test_the_self_test_notices_another_domain(rig: Rig, monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    monkeypatch.setattr(auth, "_configure", configured_without(domain))
    rig.open()
    check_fails(rig, "")


def test_the_self_test_notices_that_any_key_is_let_in(rig: Rig) -> None:
    rig.gate._authenticator.configure_curve(domain="dreamtime", location=zmq.auth.CURVE_ALLOW_ANY)
    rig.open()
    check_fails(rig, "a client with an unknown key met HANDSHAKE_SUCCEEDED|a stranger's message came in")


def test_the_self_test_notices_a_strangers_message_whatever_its_handshake_seemed_to_be(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth._SelfTest, "_take_event", lambda test, events: test._awaited.pop(events))
    monkeypatch.setattr(rig.gate, "callback", lambda domain, key: key.decode() not in rig.gate._temporary)
    rig.open()
    check_fails(rig, "a stranger's message came in")


def test_the_self_test_notices_that_nobody_is_let_in(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.gate, "callback", lambda domain, key: False)
    rig.open()
    check_fails(rig, "a paired client met HANDSHAKE_FAILED_AUTH")


def test_the_self_test_notices_names_that_do_not_belong_to_the_key(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadAuthenticator, "curve_user_id", lambda authenticator, key: "somebody")
    rig.open()
    check_fails(rig, "a message came in under another's name")


def test_the_self_test_notices_a_message_that_does_not_come(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth._SelfTest, "_take_message", lambda test, router: None)
    monkeypatch.setattr(auth, "_SELF_TEST_SECONDS", ENOUGH)
    router = rig.open()
    # The message waits, so the router stays readable: time must run out by the clock and not by silence.
    with pytest.raises(UserError, match="nothing was heard of the message of a paired client"):
        self_test(router, rig.gate)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("*", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_addresses() -> None:
    assert numeric("*") == "0.0.0.0"  # noqa: S104
    assert numeric("localhost") == "127.0.0.1"
    assert numeric("::1") == "::1"
    assert from_here("10.0.0.1") == "10.0.0.1"
    assert endpoint("::1", 5) == "tcp://[::1]:5"


def test_a_machine_without_network_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(probe: sockets.socket, address: tuple[str, int]) -> None:
        raise OSError(101, "Network is unreachable")

    assert for_others()
    monkeypatch.setattr(sockets.socket, "connect", refuse)
    monkeypatch.setattr(sockets, "gethostname", lambda: "studio-3")
    assert for_others() == "studio-3"


STRANGERS = Path(__file__).parent.parent / "faults" / "strangers.py"


def test_tries_of_strangers_of_all_kinds_reach_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(STRANGERS), "--tries", "50"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *kinds, last = done.stdout.splitlines()
    assert len(kinds) == 7
    assert all("50 tries, 0 reached" in line for line in kinds)
    assert "a good client was served after each kind" in last


def test_raw_connections_that_speak_without_locks_would_reach_a_socket_without_locks(rig: Rig) -> None:
    strangers = runpy.run_path(str(STRANGERS))
    open_router = rig.context.socket(zmq.ROUTER)
    rig.stack.callback(open_router.close)
    open_router.bind("tcp://127.0.0.1:0")
    locked = rig.open()
    for router in (open_router, locked):
        for pieces in strangers["PLAINLY"]:
            with sockets.create_connection(("127.0.0.1", port_of(router)), PATIENCE) as raw:
                strangers["send"](raw, pieces)
                assert strangers["hung_up"](raw)
            if router is open_router:
                assert [frame.bytes for frame in received(router)[1:]] == [b"DT\0\2", b"{}"]
    assert not locked.poll(SILENCE_MILLISECONDS)


def test_tries_of_strangers_that_reach_something_are_counted() -> None:
    program = f"""
import runpy, sys
from backend.service.auth import Gate
Gate.admits = lambda gate, owner: True
sys.argv = ["strangers", "--tries", "10"]
runpy.run_path({str(STRANGERS)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 1, done.stderr
    for kind in ("unknown key", "revoked key"):
        assert f"{kind}: 10 tries, 10 reached" in done.stdout
    for kind in ("no CURVE", "wrong server key", "raw TCP noise"):
        assert f"{kind}: 10 tries, 0 reached" in done.stdout
