"""The board of running jobs."""

from backend.service.executor import Advanced
from backend.service.live import LiveBoard
from shared.jobs import new_job_id
from shared.limits import LIVE_JOBS

ANA, BEN = "a" * 40, "b" * 40
FIRST, SECOND = new_job_id(), new_job_id()


def step(number: int, preview: bytes = b"", coarse: bytes = b"") -> Advanced:
    return Advanced("1", 1, "optimising", number, 60, 500, 9.0, preview, coarse)


def test_the_latest_is_shown_once() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1), "cpu")
    board.show(1, ANA, FIRST, step(2, b"png", b"mesh!"), "cpu")
    running, body = board.since(ANA, 0)
    assert [(job.job, job.step, job.preview, job.coarse) for job in running] == [(FIRST, 2, 3, 5)]
    assert body == b"pngmesh!"
    assert board.since(ANA, board.revision) == ((), b"")


def test_a_picture_is_sent_once_to_who_has_seen_it_and_still_to_who_has_not() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1, b"png"), "cpu")
    seen = board.revision
    board.show(1, ANA, FIRST, step(2), "cpu")
    running, body = board.since(ANA, seen)
    assert (running[0].step, running[0].preview, body) == (2, 0, b"")
    running, body = board.since(ANA, 0)
    assert (running[0].step, running[0].preview, body) == (2, 3, b"png")


def test_a_new_mesh_does_not_lose_the_picture() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1, preview=b"png"), "cpu")
    board.show(1, ANA, FIRST, step(2, coarse=b"mesh"), "cpu")
    assert board.since(ANA, 0)[1] == b"pngmesh"


def test_artists_see_their_own() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1), "cpu")
    board.show(2, BEN, SECOND, step(1), "cpu")
    assert [job.job for job in board.since(BEN, 0)[0]] == [SECOND]
    assert (board.newest(ANA), board.newest(BEN), board.newest("c" * 40)) == (1, 2, 0)


def test_what_has_ended_is_gone() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1), "cpu")
    board.remove(1)
    board.remove(1)
    assert board.since(ANA, 0) == ((), b"")


def test_a_revision_from_before_the_start_counts_as_none() -> None:
    board = LiveBoard()
    board.show(1, ANA, FIRST, step(1), "cpu")
    assert board.since(ANA, 1000)[0] != ()


def test_an_answer_holds_only_so_many_jobs_the_newest() -> None:
    board = LiveBoard()
    ids = [new_job_id() for _ in range(LIVE_JOBS + 2)]
    for number, id in enumerate(ids):
        board.show(number, ANA, id, step(1), "cpu")
    assert [job.job for job in board.since(ANA, 0)[0]] == ids[2:]
