"""A post answers what it is asked, as often as it is asked, and keeps no device for a server that is gone."""

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.guidance import library
from backend.service.cluster import parcels
from backend.service.cluster.post import News, Post, Standing
from backend.service.executor import Advanced, Crashed, Finished, Stopped
from tests.service.cluster.pretending import FAKE, LONG, until


class Listener:
    """Hears a post as the bridge does."""

    def __init__(self, post: Post) -> None:
        self.post, self.heard = post, 0
        self.news: list[News] = []

    def next(self, kind: Any) -> Any:
        """The first of a `kind` that was not asked for before; what came before it is forgotten."""

        def found() -> News | None:
            for number, one in self.post.look(self.heard, 0.5):
                self.heard = number
                self.news.append(one)
            while self.news:
                if isinstance(one := self.news.pop(0), kind):
                    return one
            return None

        return until(found)


def start(post: Post, prompt: str, job: str = "7", attempt: int = 1) -> None:
    post.prepare(job)
    post.settle(job)
    post.start(job, attempt, {"prompt": prompt, "seed": 1})


def test_it_says_who_it_is_and_how_it_stands(post: Post) -> None:
    assert post.introduce()["device"] == "cpu"
    standing = Listener(post).next(Standing)
    builtin = library.builtin()
    assert (builtin.name, builtin.revision) in standing.models


def test_a_task_is_carried_out_and_its_results_lie_in_its_folder(post: Post) -> None:
    start(post, "steps=3 size=1000")
    finished = Listener(post).next(Finished)
    assert {result.path for result in finished.results} >= {Path("out/mesh.glb"), Path("out/report.json")}
    assert {"out/mesh.glb", "out/report.json"} <= set(post.files("7"))
    post.forget("7")
    assert post.files("7") == {}


def test_a_task_starts_once_however_often_it_is_asked_for(post: Post) -> None:
    post.prepare("7")
    for _ in range(3):
        post.settle("7")
    for _ in range(3):
        post.start("7", 1, {"prompt": "steps=3", "seed": 1})
    Listener(post).next(Finished)
    entry = post.files("7")["executions.log"]
    assert (post.piece("7", entry, 0) or b"").count(b"\n") == 1


def test_news_comes_again_until_it_was_heard(post: Post) -> None:
    start(post, "steps=3")
    until(lambda: any(isinstance(news, Finished) for _, news in post.look(0, 0.1)))
    again = post.look(0, 0.0)
    assert again == post.look(0, 0.0)
    assert post.look(again[-1][0], 0.0) == []


def test_of_progress_only_the_latest_waits_for_who_does_not_listen(post: Post) -> None:
    start(post, "steps=2000 preview=1 keep=2000")
    until(lambda: "out/report.json" in post.files("7"))
    until(lambda: any(isinstance(news, Finished) for _, news in post.look(0, 0.0)))
    news = [one for _, one in post.look(0, 0.0)]
    assert len(news) < 10
    assert [one.preview[:4] for one in news if isinstance(one, Advanced)][-1:] == [b"\x89PNG"]


def test_files_come_and_go_in_pieces(post: Post, tmp_path: Path) -> None:
    post.prepare("7")
    post.put("checkpoint.json", 0, b"12")
    post.put("checkpoint.json", 2, b"34")
    assert post.files("7") == {}
    there = post.settle("7")
    assert list(there) == ["checkpoint.json"]
    assert post.piece("7", there["checkpoint.json"], 1) == b"234"


def test_a_task_ends_when_it_is_cancelled_also_before_the_worker_is_warm(post: Post) -> None:
    start(post, "steps=100000 pace=0.01")
    post.cancel("7", 1)
    assert Listener(post).next(Stopped | Finished) == Stopped("7", 1)
    start(post, "steps=100000 pace=0.01", "8")
    listener = Listener(post)
    until(lambda: listener.next(Advanced).step)
    post.cancel("8", 1)
    assert listener.next(Stopped) == Stopped("8", 1)


def test_a_crash_is_told_and_the_next_worker_takes_the_next_task(post: Post) -> None:
    listener = Listener(post)
    start(post, "steps=5 crash=2")
    assert listener.next(Crashed).reason == "SIGKILL"
    start(post, "steps=5", attempt=2)
    assert listener.next(Finished).attempt == 2


def test_a_task_for_a_device_that_is_broken_is_given_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_START", "die")
    post = Post("cpu", FAKE, LONG)
    try:
        start(post, "steps=5")
        assert Listener(post).next(Crashed).reason == "broken"
    finally:
        post.close()


def test_a_post_that_nobody_asks_ends_with_its_worker(home: Path) -> None:
    ended: list[int] = []
    gone = threading.Event()
    post = Post("cpu", FAKE, LONG, deserted=0.0, end=lambda code: (ended.append(code), gone.set()))
    assert gone.wait(60.0)
    assert ended == [1]
    assert [one.name() for one in psutil.Process().children() if "fake_worker" in " ".join(one.cmdline())] == []
    assert post.device == "cpu"


def test_what_a_killed_post_left_is_removed_by_the_next_and_nothing_else(home: Path, post: Post) -> None:
    left = home / "posts" / "post-left"
    left.mkdir()
    (left / "7").mkdir()
    post.prepare("8")
    other = Post("cpu", FAKE, LONG)
    try:
        assert not left.exists()
        post.put("file", 0, b"x")  # this one's is still there
        assert list(post.settle("8")) == ["file"]
    finally:
        other.close()


def test_a_worker_takes_as_many_threads_as_the_owner_of_the_machine_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from backend.service.cluster import post as module

    variables = tmp_path / "environ"
    monkeypatch.setattr(module, "_INITIAL", variables)
    variables.write_bytes(b"HOME=/home/ana\0OMP_NUM_THREADS=3\0")
    assert module._command("backend.service.worker")[0] != "env"
    variables.write_bytes(b"HOME=/home/ana\0")
    assert module._command("backend.service.worker")[:3] == ("env", "-u", "OMP_NUM_THREADS")


def test_pieces_are_no_larger_than_a_message(post: Post) -> None:
    start(post, f"steps=1 size={3 * parcels.PIECE_BYTES}")
    Listener(post).next(Finished)
    entry = post.files("7")["out/mesh.glb"]
    assert len(post.piece("7", entry, 0) or b"") == parcels.PIECE_BYTES
