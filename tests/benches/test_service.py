"""What the bench of the service prints, on few messages. Nothing here asserts a speed."""

import re

from backend.benches import service


def test_messages_files_and_events_are_measured() -> None:
    rows = dict(service.message_rows(submissions=3, artists=2, jobs_each=2))
    assert re.fullmatch(r"median [\d.]+ ms, longest [\d.]+ ms", rows["SUBMIT to acknowledgement, 3 times"])
    assert re.fullmatch(r"median \d+ MB/s, least \d+", rows["FETCH of 64 MiB, checked and on disk"])
    # Each job waits, runs and is done, and both clients are the same artist, who hears of all jobs.
    events = re.search(r"(\d+) events", rows["events of 4 queued jobs to 2 clients"])
    assert events
    assert int(events[1]) >= 12
