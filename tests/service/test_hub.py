"""The hub: what clients are answered, without sockets."""

import hashlib
import sqlite3
import struct
from dataclasses import dataclass
from typing import Any

import pytest

from backend.errors import UserError
from backend.prior.lexicon import UnknownObjectError
from backend.service.dispatch import Dispatcher
from backend.service.executor import Advanced, Finished
from backend.service.hub import Hub, Reply
from backend.service.store import Store
from shared.errors import ProtocolError, VersionError
from shared.inputs import Start
from shared.jobs import Generation, new_job_id
from shared.limits import LISTED_JOBS, LIVE_SECONDS, POLLS_PER_ARTIST, REQUEST_BURST
from shared.messages import (
    Acknowledge,
    Cancel,
    Chunk,
    Delete,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
    Welcome,
    encode,
)
from shared.offer import Offer

ANA, BEN = "a" * 40, "b" * 40
MUG = Generation("a red mug")
OFFER = Offer((), (), (), ())
WORDS = {"ab" * 32: b"0123456789"}


def check(request: Generation) -> list[str]:
    if "griffin" in request.prompt:
        raise UnknownObjectError(request.prompt, ("lion", "eagle"))
    if "unicorn" in request.prompt:
        raise UserError("the model knows no unicorn; try a mug")
    return ["shiny has no effect"] if "shiny" in request.prompt else []


@dataclass
class Desk:
    """Asks the hub as a client would."""

    hub: Hub
    now: float = 0.0

    def post(self, message: Message, peer: bytes = b"peer", owner: str = ANA, number: int = 1) -> list[Reply]:
        return self.hub.handle(peer, owner, number, message, self.now)

    def ask(self, message: Message, owner: str = ANA) -> Any:
        (reply,) = self.post(message, owner=owner)
        assert (reply.peer, reply.number) == (b"peer", 1)
        encode(reply.message, 1)
        return reply.message

    def tick(self, now: float | None = None) -> list[Reply]:
        self.now = self.now if now is None else now
        return self.hub.tick(self.now)

    def submit(self, owner: str = ANA) -> str:
        id = new_job_id()
        assert isinstance(self.ask(Submit((id,), MUG), owner), Jobs)
        return id


@pytest.fixture
def revoked() -> set[str]:
    return set()


@pytest.fixture
def desk(store: Store, scripted: Any, clock: Any, revoked: set[str]) -> Desk:
    dispatcher = Dispatcher(store, scripted, lambda owner: owner not in revoked)
    return Desk(Hub(store, dispatcher, lambda: OFFER, check, WORDS.get, clock, "0.1.0"))


def test_hello_is_answered_with_all_that_a_client_needs(desk: Desk, clock: Any) -> None:
    welcome = desk.ask(Hello("0.1.0"))
    assert isinstance(welcome, Welcome)
    assert (welcome.boot, welcome.clock, welcome.offer) == (desk.hub.boot, clock.now, OFFER)
    assert welcome.devices == ("cpu: idle",)


def test_a_job_from_submission_to_deletion(desk: Desk, scripted: Any, result_of: Any) -> None:
    id = desk.submit()
    assert desk.ask(GetState(id)).jobs[0].state == "queued"
    desk.tick()
    assert desk.ask(GetState(id)).jobs[0].state == "running"
    result = result_of(b"0123456789")
    scripted.updates = [Finished(scripted.started[0].job, 1, (result,), {})]
    desk.tick()
    assert [job.id for job in desk.ask(GetList()).jobs] == [id]
    assert desk.ask(Fetch(result.sha256, 2, 5)) == Chunk(result.sha256, 2, 10, b"23456")
    assert desk.ask(Fetch(result.sha256, 8, 5)) == Chunk(result.sha256, 8, 10, b"89")
    assert desk.ask(Acknowledge(id)).jobs[0].acknowledged
    assert desk.ask(Delete(id)).jobs[0].state == "deleted"
    assert desk.ask(Fetch(result.sha256, 0, 5)).code == "unknown_asset"
    assert desk.ask(GetList()).jobs == ()


def test_a_job_begins_from_what_was_uploaded_before(desk: Desk, scripted: Any) -> None:
    content = struct.pack("<4sIII", b"DTM1", 3, 1, 0) + bytes(48)
    start = Start("mesh", hashlib.sha256(content).hexdigest(), "Suzanne")
    asked = Submit((new_job_id(),), Generation("a red mug", start=start, paint_only=True))
    assert desk.ask(asked).code == "unknown_input"
    assert desk.ask(Upload("mesh", start.sha256, 64, 0)) == Held(start.sha256, 0)
    assert desk.ask(Upload("mesh", start.sha256, 64, 0, content[:40])) == Held(start.sha256, 40)
    assert desk.ask(asked).code == "unknown_input"
    assert desk.ask(Upload("mesh", start.sha256, 64, 40, content[40:])) == Held(start.sha256, 64)
    assert desk.ask(asked, BEN).code == "unknown_input"
    assert desk.ask(asked).jobs[0].request.start == start
    assert desk.ask(asked).jobs[0].state == "queued", "asked again, it is there"
    desk.tick()
    (task,) = scripted.started
    assert task.given
    assert task.given.read_bytes() == content


def test_a_job_whose_input_vanished_fails_with_a_remedy(desk: Desk, store: Store, scripted: Any) -> None:
    content = struct.pack("<4sIII", b"DTM1", 3, 1, 0) + bytes(48)
    start = Start("mesh", hashlib.sha256(content).hexdigest(), "Suzanne")
    desk.ask(Upload("mesh", start.sha256, 64, 0, content))
    id = new_job_id()
    desk.ask(Submit((id,), Generation("a red mug", start=start)))
    store._database.execute("DELETE FROM inputs")
    desk.tick()
    reason = desk.ask(GetState(id)).jobs[0].reason
    assert (reason.code, reason.remedy) == ("input_gone", "generate it again, which sends it again")
    assert scripted.started == []


def test_warnings_come_with_the_job_and_refusals_with_a_remedy(desk: Desk) -> None:
    assert desk.ask(Submit((new_job_id(),), Generation("a shiny mug"))).jobs[0].warnings == ("shiny has no effect",)
    assert desk.ask(Submit((new_job_id(),), Generation("a unicorn"))) == Refused(
        "invalid", "the model knows no unicorn", "try a mug"
    )


def test_an_unknown_object_is_refused_with_the_nearest_in_a_sentence_and_by_themselves(desk: Desk) -> None:
    refused = desk.ask(Submit((new_job_id(),), Generation("a griffin")))
    assert refused == Refused(
        "invalid", 'the model knows no object in "a griffin"', "try one of: lion, eagle", ("lion", "eagle")
    )


def test_anybody_may_fetch_the_words_of_models(desk: Desk) -> None:
    for owner in (ANA, BEN):
        assert desk.ask(Fetch("ab" * 32, 2, 5), owner) == Chunk("ab" * 32, 2, 10, b"23456")
    assert desk.ask(Fetch("ab" * 32, 8, 5)) == Chunk("ab" * 32, 8, 10, b"89")
    assert desk.ask(Fetch("cd" * 32, 0, 5)).code == "unknown_asset"


def test_an_artist_does_not_see_anothers(desk: Desk) -> None:
    id = desk.submit()
    for message in (GetState(id), Cancel(id), Acknowledge(id), Delete(id)):
        assert desk.ask(message, BEN).code == "unknown_job"
    assert desk.ask(GetList(), BEN).jobs == ()
    assert desk.ask(GetEvents(0, 0, 0.0), BEN).events == ()


def test_cancelling_reaches_the_worker_once_it_runs(desk: Desk, scripted: Any) -> None:
    running, waiting = desk.submit(), desk.submit()
    desk.tick()
    assert desk.ask(Cancel(waiting)).jobs[0].state == "cancelled"
    assert scripted.cancelled == []
    assert desk.ask(Cancel(running)).jobs[0].state == "cancelling"
    assert scripted.cancelled == [scripted.started[0].job]
    assert desk.ask(Delete(running)).code == "not_finished"


def test_an_answer_is_no_request(desk: Desk) -> None:
    assert desk.ask(Jobs(())).code == "malformed"


def test_long_lists_come_in_pages(desk: Desk) -> None:
    ids = [desk.submit() for _ in range(LISTED_JOBS + 2)]
    first = desk.ask(GetList())
    rest = desk.ask(GetList(first.jobs[-1].number))
    assert (first.more, rest.more) == (True, False)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == ids[::-1]


def test_a_page_of_long_prompts_fits_its_message(desk: Desk) -> None:
    long = Generation("a red mug " + "\U0001f600" * 290, "\U0001f600" * 300)
    for _ in range(40):
        desk.ask(Submit((new_job_id(),), long))
    page = desk.ask(GetList())  # ask() encodes it
    assert page.more
    assert len(page.jobs) > 10


# --- news ---


def test_there_is_news_at_once_if_there_was_some(desk: Desk) -> None:
    id = desk.submit()
    news = desk.ask(GetEvents(0, 0, 10.0))
    assert isinstance(news, News)
    assert [(event.job, event.state) for event in news.events] == [(id, "queued")]
    assert news.cursor == news.events[-1].seq


def test_who_waits_hears_of_a_change_in_the_next_tick(desk: Desk) -> None:
    assert desk.post(GetEvents(None, 0, 10.0)) == []
    desk.submit()
    (reply,) = desk.tick()
    assert isinstance(reply.message, News)
    assert [event.state for event in reply.message.events] == ["queued", "running"]
    assert desk.tick() == []


def test_others_go_on_waiting(desk: Desk) -> None:
    desk.post(GetEvents(None, 0, 10.0), b"ben", BEN)
    desk.submit()
    assert desk.tick() == []
    assert desk.hub.due() == 10.0


def test_without_news_the_answer_comes_when_it_is_due(desk: Desk) -> None:
    desk.submit()
    desk.tick()
    cursor = desk.ask(GetEvents(0, 0, 0.0)).cursor
    assert desk.post(GetEvents(cursor, 0, 7.0), number=9) == []
    assert desk.tick(6.9) == []
    (reply,) = desk.tick(7.0)
    assert reply.number == 9
    assert isinstance(reply.message, News)
    assert (reply.message.events, reply.message.cursor) == ((), cursor)
    assert desk.hub.due() is None


def test_progress_comes_a_few_times_a_second(desk: Desk, scripted: Any) -> None:
    id = desk.submit()
    desk.tick()
    cursor = desk.ask(GetEvents(0, 0, 0.0)).cursor
    desk.post(GetEvents(cursor, 0, 10.0))
    scripted.updates = [Advanced(scripted.started[0].job, 1, "optimising", 1, 7, 9, None, b"png")]
    assert desk.tick(LIVE_SECONDS / 2) == []
    assert desk.hub.due() == LIVE_SECONDS
    (reply,) = desk.tick(LIVE_SECONDS)
    assert isinstance(reply.message, News)
    assert reply.message.pictures() == {id: (b"png", b"")}
    desk.post(GetEvents(cursor, reply.message.live, 10.0))
    assert desk.tick(5.0) == []


def test_one_connection_waits_once(desk: Desk) -> None:
    assert desk.post(GetEvents(None, 0, 10.0), number=1) == []
    (reply,) = desk.post(GetEvents(None, 0, 10.0), number=2)
    assert reply.number == 1


def test_waiting_connections_have_a_limit(desk: Desk) -> None:
    for index in range(POLLS_PER_ARTIST):
        assert desk.post(GetEvents(None, 0, 10.0), b"peer%d" % index) == []
    (reply,) = desk.post(GetEvents(None, 0, 10.0), b"one more")
    assert isinstance(reply.message, Refused)
    assert reply.message.code == "too_much"
    assert desk.post(GetEvents(None, 0, 10.0), b"ben", BEN) == []
    desk.hub.gone(b"peer0")
    assert desk.post(GetEvents(None, 0, 10.0), b"one more") == []


def test_who_is_revoked_while_waiting_hears_nothing_more(desk: Desk, revoked: set[str]) -> None:
    assert desk.post(GetEvents(None, 0, 10.0)) == []
    desk.submit()
    revoked.add(ANA)
    assert desk.tick() == []
    revoked.clear()
    assert desk.tick(11.0) == []


def test_a_cursor_from_a_newer_disk_is_put_right(desk: Desk) -> None:
    desk.submit()
    news = desk.ask(GetEvents(1000, 0, 0.0))
    assert news.cursor == 1


# --- trouble ---


def test_too_many_requests_are_refused(desk: Desk) -> None:
    answers = [desk.ask(GetList()) for _ in range(REQUEST_BURST + 1)]
    assert [type(answer) for answer in answers[:-1]] == [Jobs] * REQUEST_BURST
    assert answers[-1].code == "too_much"
    assert desk.hub.misread(b"peer", ANA, ProtocolError("no message"), 0.0) == []
    desk.now = 60.0
    assert isinstance(desk.ask(GetList()), Jobs)


@pytest.mark.parametrize(
    ("error", "code"), [(ProtocolError("no message"), "malformed"), (VersionError(2, 1), "version")]
)
def test_what_cannot_be_read_is_answered(desk: Desk, error: ProtocolError, code: str) -> None:
    ((peer, number, message),) = desk.hub.misread(b"peer", ANA, error, 0.0)
    assert (peer, number) == (b"peer", 0)
    assert isinstance(message, Refused)
    assert message.code == code


def test_a_disk_that_fails_is_said(desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(owner: str, id: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    id = desk.submit()
    monkeypatch.setattr(store.jobs, "state", fail)
    assert desk.ask(GetState(id)).code == "storage"


def test_a_result_that_is_gone_from_the_disk_is_said(desk: Desk, scripted: Any, result_of: Any, store: Store) -> None:
    desk.submit()
    desk.tick()
    result = result_of()
    scripted.updates = [Finished(scripted.started[0].job, 1, (result,), {})]
    desk.tick()
    path, _ = store.results.find(ANA, result.sha256) or (None, 0)
    assert path
    path.unlink()
    assert desk.ask(Fetch(result.sha256, 0, 5)).code == "storage"
