"""Jobs in a store."""

from backend.service.store import Store
from shared.jobs import Generation, new_job_id

ANA, BEN = "a" * 40, "b" * 40
MUG = Generation("a red mug", seed=5)


def submitted(store: Store, owner: str = ANA, request: Generation = MUG) -> int:
    """The number of a new job."""
    return store.submit(owner, [new_job_id()], request, [])[0].number
