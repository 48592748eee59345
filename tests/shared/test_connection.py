"""Connections to a backend that does what a test says: questions, answers, and what breaks."""

import itertools
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from shared import limits
from shared.client import Client
from shared.connection import Patience
from shared.errors import (
    ConnectionLost,
    Invalid,
    LinkError,
    Malformed,
    NotPaired,
    ProtocolError,
    Stopped,
    Unreachable,
    WrongBackend,
)
from shared.messages import Chunk, Jobs, Refused, encode
from shared.pairing import Pairing
from tests.shared.scripted import DEADLINE, JOB, Backend, state


def test_a_refusal_is_raised(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Refused("invalid", "no", "yes", ("mug",))
    with pytest.raises(Invalid, match="no; yes") as caught:
        client.state(JOB)
    assert caught.value.nearest == ("mug",)


def test_a_message_that_could_not_be_read_is_raised_too(client: Client, backend: Backend) -> None:
    backend.before = [encode(Refused("malformed", "what?", "update"), 0)]
    with pytest.raises(Malformed):
        client.state(JOB)


def test_answers_to_other_questions_are_passed_over(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Jobs((state(),))
    backend.before = [encode(Jobs((state("done"),)), 999), encode(Refused("invalid", "no", ""), 998)]
    assert client.state(JOB) == state()


def test_an_answer_of_another_kind_is_a_protocol_error(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Chunk("ab" * 32, 0, 0)
    with pytest.raises(ProtocolError, match="CHUNK instead of a JOBS"):
        client.state(JOB)


def test_what_is_no_message_is_a_protocol_error(client: Client, backend: Backend) -> None:
    backend.before = [[b"DT\0\4", b"nonsense"]]
    with pytest.raises(ProtocolError):
        client.state(JOB)


# --- links ---


@pytest.mark.usefixtures("impatient")
def test_nobody_there_is_said(backend: Backend) -> None:
    backend.stop()
    with Client(backend.pairing, "0.1.0") as client, pytest.raises(Unreachable, match=f"127.0.0.1:{backend.port}"):
        client.state(JOB)


def test_silence_is_said_and_the_next_question_may_be_answered(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.script = lambda message: None
    monkeypatch.setattr(limits, "REPLY_SECONDS", 0.3)
    with pytest.raises(Unreachable):
        client.state(JOB)
    monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
    backend.script = lambda message: Jobs((state(),))
    assert client.state(JOB) == state()


def test_another_backend_is_told_from_none(backend: Backend) -> None:
    other = Pairing("127.0.0.1", backend.port, z85.decode(zmq.curve_keypair()[0]), backend.pairing.secret)
    with Client(other, "0.1.0") as client, pytest.raises(WrongBackend):
        client.state(JOB)


def test_an_unknown_key_is_told_at_once(backend: Backend) -> None:
    authenticator = ThreadAuthenticator(backend._context)
    authenticator.start()
    authenticator.configure_curve_callback(domain="tests", credentials_provider=_Nobody())
    try:
        with Client(backend.pairing, "0.1.0") as client, pytest.raises(NotPaired):
            client.state(JOB)
    finally:
        authenticator.stop()


class _Nobody:
    def callback(self, domain: str, key: bytes) -> bool:
        return False


def test_a_lost_connection_is_noticed_at_once(client: Client, backend: Backend) -> None:
    backend.script = lambda message: None
    stopper = threading.Thread(target=lambda: (_until(lambda: bool(backend.heard)), backend.stop()))
    stopper.start()
    with pytest.raises(ConnectionLost):
        client.state(JOB)
    stopper.join()


@pytest.mark.usefixtures("impatient")
def test_patience_mends_what_was_lost(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.stop()
    told: list[LinkError] = []

    def hear(error: LinkError, pause: float) -> None:
        told.append(error)
        if len(told) == 2:
            monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
            backend.start()

    backend.script = lambda message: Jobs((state(),))
    with Client(backend.pairing, "0.1.0", Patience(None, hear)) as client:
        assert client.state(JOB) == state()
    assert len(told) >= 2


def test_patience_ends(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.script = lambda message: None
    ticks = itertools.count()
    monkeypatch.setattr("shared.connection.time", SimpleNamespace(monotonic=lambda: next(ticks)))  # a second a look
    monkeypatch.setattr(limits, "REPLY_SECONDS", 10.0)
    told: list[LinkError] = []
    patience = Patience(30.0, lambda error, pause: told.append(error))
    with Client(backend.pairing, "0.1.0", patience) as client, pytest.raises(Unreachable):
        client.state(JOB)
    assert told


@pytest.mark.usefixtures("impatient")
def test_closing_waits_for_nothing(backend: Backend) -> None:
    backend.stop()
    client = Client(backend.pairing, "0.1.0")
    with pytest.raises(LinkError):
        client.state(JOB)
    closing = threading.Thread(target=client.close, daemon=True)
    closing.start()
    closing.join(DEADLINE)
    assert not closing.is_alive()


@pytest.mark.parametrize("patience", [Patience(), Patience(None)])
def test_another_thread_can_end_a_wait(backend: Backend, patience: Patience) -> None:
    backend.script = lambda message: None
    with Client(backend.pairing, "0.1.0", patience) as client:
        stopper = threading.Thread(target=lambda: (_until(lambda: bool(backend.heard)), client.stop()))
        stopper.start()
        with pytest.raises(Stopped):
            client.state(JOB)
        with pytest.raises(Stopped):
            client.state(JOB)
        stopper.join()


@pytest.mark.usefixtures("impatient")
def test_brackets_stand_around_ipv6(backend: Backend) -> None:
    pairing = Pairing("::1", backend.port, backend.pairing.server_key, backend.pairing.secret)
    with Client(pairing, "0.1.0") as client, pytest.raises(Unreachable, match=rf"\[::1\]:{backend.port}"):
        client.state(JOB)


def test_a_connection_that_breaks_in_the_moment_of_sending_is_waited_for(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = zmq.Socket.send_multipart, [True]

    def send_multipart(self: Any, *arguments: Any, **options: Any) -> Any:
        if broken:
            broken.clear()
            raise zmq.Again
        return send(self, *arguments, **options)

    backend.script = lambda message: Jobs((state(),))
    with monkeypatch.context() as patch:
        patch.setattr(zmq.Socket, "send_multipart", send_multipart)
        assert client.state(JOB) == state()
    assert len(backend.heard) == 1


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
