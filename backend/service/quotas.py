"""How fast one artist may ask: a bucket of requests that fills up again, per key."""

from dataclasses import dataclass

from shared.limits import REQUEST_BURST, REQUESTS_PER_SECOND


@dataclass
class _Bucket:
    left: float
    at: float


class Quotas:
    """One bucket per artist; there are as many as paired keys. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def allow(self, owner: str, now: float) -> bool:
        """Whether one more request is within bounds; it counts if it is."""
        bucket = self._buckets.setdefault(owner, _Bucket(REQUEST_BURST, now))
        bucket.left = min(REQUEST_BURST, bucket.left + (now - bucket.at) * REQUESTS_PER_SECOND)
        bucket.at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True
