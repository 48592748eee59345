"""Jobs as both sides know them."""

from shared.jobs import new_job_id
from shared.messages import GetState


def test_new_ids_are_ids() -> None:
    assert new_job_id() != new_job_id()
    GetState(new_job_id())
