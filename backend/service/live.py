"""Where running jobs are: only the latest of each is kept, so that nothing grows when nobody looks."""

from dataclasses import dataclass, replace

from backend.service.executor import Advanced
from shared.jobs import Live
from shared.limits import LIVE_JOBS


@dataclass(frozen=True)
class _Latest:
    """revision: when it changed last. pictured: when its pictures did."""

    owner: str
    id: str
    device: str
    update: Advanced
    revision: int
    pictured: int


class LiveBoard:
    """The latest progress of all running jobs. Revisions count its changes."""

    def __init__(self) -> None:
        self.revision = 0
        self._latest: dict[int, _Latest] = {}

    def show(self, number: int, owner: str, job: str, update: Advanced, device: str) -> None:
        """Replace what is known of the job; a picture stays until there is a newer one."""
        self.revision += 1
        before = self._latest.get(number)
        pictured = self.revision
        if not (update.preview or update.coarse):
            pictured = before.pictured if before else 0
        if before:
            update = replace(
                update, preview=update.preview or before.update.preview, coarse=update.coarse or before.update.coarse
            )
        self._latest[number] = _Latest(owner, job, device, update, self.revision, pictured)

    def newest(self, owner: str) -> int:
        """The revision of the last change to the artist's jobs, or 0."""
        return max((job.revision for job in self._latest.values() if job.owner == owner), default=0)

    def remove(self, number: int) -> None:
        self._latest.pop(number, None)

    def since(self, owner: str, revision: int) -> tuple[tuple[Live, ...], bytes]:
        """What changed of the artist's jobs after `revision`, and the bytes of their pictures.

        A revision from before the server's start counts as none.
        """
        if revision > self.revision:
            revision = 0
        changed = [job for job in self._latest.values() if job.owner == owner and job.revision > revision]
        changed = sorted(changed, key=lambda job: job.revision)[-LIVE_JOBS:]
        running, body = [], b""
        for job in changed:
            update = job.update
            pictures = (update.preview, update.coarse) if job.pictured > revision else (b"", b"")
            body += b"".join(pictures)
            running.append(
                Live(
                    job=job.id,
                    attempt=update.attempt,
                    stage=update.stage,
                    step=update.step,
                    steps=update.steps,
                    t=update.t,
                    eta=update.eta,
                    preview=len(pictures[0]),
                    coarse=len(pictures[1]),
                    device=job.device,
                )
            )
        return tuple(running), body
