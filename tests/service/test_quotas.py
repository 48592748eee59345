"""Quotas."""

from backend.service.quotas import Quotas
from shared.limits import REQUEST_BURST, REQUESTS_PER_SECOND


def test_a_burst_is_let_through_and_not_one_more() -> None:
    quotas = Quotas()
    assert all(quotas.allow("ana", 5.0) for _ in range(REQUEST_BURST))
    assert not quotas.allow("ana", 5.0)
    assert quotas.allow("ben", 5.0)


def test_the_bucket_fills_up_again_but_not_over() -> None:
    quotas = Quotas()
    while quotas.allow("ana", 0.0):
        pass
    assert sum(quotas.allow("ana", 0.5) for _ in range(REQUEST_BURST)) == REQUESTS_PER_SECOND // 2
    assert sum(quotas.allow("ana", 1e6) for _ in range(2 * REQUEST_BURST)) == REQUEST_BURST
