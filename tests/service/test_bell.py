import select
import threading

from backend.service.bell import Bell


def heard(bell: Bell, seconds: float = 0.0) -> bool:
    return bool(select.select([bell], [], [], seconds)[0])


def test_rings_add_up_to_one_and_are_heard_until_hushed() -> None:
    bell = Bell()
    assert not heard(bell)
    for _ in range(100_000):  # more than a socket holds
        bell.ring()
    assert heard(bell)
    bell.hush()
    assert not heard(bell)
    bell.hush()
    bell.ring()
    assert heard(bell)
    bell.close()


def test_it_wakes_a_thread_that_waits() -> None:
    bell = Bell()
    timer = threading.Timer(0.02, bell.ring)
    timer.start()
    assert heard(bell, 120)
    timer.join()
    bell.close()


def test_ringing_a_closed_bell_does_nothing() -> None:
    bell = Bell()
    bell.close()
    bell.ring()
