"""A post as the bridge has it: hear it, and see one task after another through there."""

import asyncio
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from backend.files import is_full
from backend.service.cluster import parcels
from backend.service.cluster.machines import Contact, GoneError, PostError, UnreachableError
from backend.service.cluster.mirror import Mirror
from backend.service.cluster.post import News, Standing
from backend.service.executor import Advanced, Crashed, Failed, Finished, Lost, Stopped, Task, Update

logger = logging.getLogger(__name__)

SILENT_SECONDS = 6.0
"""A post that gives no answer for so long is given up; its task goes on elsewhere."""

MIRROR_SECONDS = 2.0
"""Between two looks for a new checkpoint."""

LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.3


@dataclass
class _Run:
    """A task under way. ended: how, as soon as the post says so. started: whether the post was told of it."""

    task: Task
    ended: "asyncio.Future[Update]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    started: bool = False
    cancelled: bool = False


class Station:
    """See the top of the file. machine: its name. tell: takes what becomes of tasks, and how the device stands.

    present: whether the cluster still counts the machine among its own.
    """

    def __init__(
        self,
        machine: str,
        contact: Contact,
        tell: Callable[[Update | Standing], None],
        present: Callable[[], Awaitable[bool]],
    ) -> None:
        self._machine = machine
        self._contact, self._tell, self._present = contact, tell, present
        self._run: _Run | None = None
        self._fate: GoneError | UnreachableError | PostError | None = None

    async def attend(self) -> None:
        """Hear the post as long as it lives. Raises GoneError, UnreachableError and PostError."""
        try:
            introduced = await self._contact.ask("introduce")  # not before the cluster has a device for it
            ours, theirs = importlib.metadata.version("dreamtime"), introduced["version"]
            if ours != theirs:
                raise PostError(f"it has DreamTime {theirs}, the server {ours}; install the same on both")
            heard = 0
            while True:
                for number, news in await self._ask("look", heard, LOOK_SECONDS):
                    self._hear(news)
                    heard = number
        except (GoneError, UnreachableError, PostError) as error:
            self._fate = error
            if self._run and not self._run.ended.done():
                self._run.ended.set_exception(error)
            raise

    async def carry(self, task: Task) -> None:
        """See a task through, and tell how it ended. Its results are in its folder then."""
        run = self._run = _Run(task)
        whose = task.job, task.attempt
        try:
            update = await self._carried(run)
        except (GoneError, UnreachableError) as error:
            reason = f"{self._machine}: {self._fate or error}"
            # A machine that died is not the task's doing. One that lives and lost its post may have had no memory left.
            died = isinstance(self._fate or error, GoneError) and await self._present()
            update = Crashed(*whose, "killed", reason) if died else Lost(*whose, reason)
        except (PostError, ValueError) as error:  # ValueError: it named a file outside of the task's folder
            await self._abandon(run)
            update = Crashed(*whose, "post", f"{self._machine}: {error}")
        except OSError as error:  # here, on the server's own disk
            logger.exception("job %s", task.job)
            await self._abandon(run)
            update = Failed(*whose, "disk_full" if is_full(error) else "unwritable", _UNWRITABLE)
        finally:
            self._run = None
            if not run.ended.cancel() and not run.ended.cancelled():
                run.ended.exception()  # it is known: whatever was asked of the post failed alike
        self._tell(update)

    async def cancel(self, job: str) -> None:
        """Have the task end, if it is here."""
        run = self._run
        if run is None or run.task.job != job:
            return
        run.cancelled = True
        if run.started:
            await self._abandon(run)

    async def _abandon(self, run: _Run) -> None:
        """Have the post end the task, if it can be asked."""
        with suppress(GoneError, UnreachableError, PostError):  # `carry` meets them, too
            await self._ask("cancel", run.task.job, run.task.attempt)

    async def _carried(self, run: _Run) -> Update:
        task = run.task
        if task.given:
            await asyncio.to_thread(parcels.enclose, task.given, task.folder)
        mirror = Mirror(self._ask, task.job, task.folder)
        await mirror.send()
        if run.cancelled:
            return Stopped(task.job, task.attempt)
        await self._ask("start", task.job, task.attempt, task.request, task.given is not None)
        run.started = True
        if run.cancelled:  # while it was started
            await self._abandon(run)
        while not run.ended.done():
            await asyncio.wait([run.ended], timeout=MIRROR_SECONDS)
            if not run.ended.done():
                await mirror.fetch()
        update = run.ended.result()
        if not isinstance(update, Stopped | Failed):
            await mirror.fetch()  # what the last look may have been too early for
        if isinstance(update, Finished):
            update = replace(update, results=await mirror.results(update.results))
        logger.info("job %s: %d bytes to %s, %d from it", task.job, mirror.sent, self._machine, mirror.fetched)
        with suppress(GoneError, UnreachableError, PostError):  # it has done its duty
            await self._ask("forget", task.job)
        return update

    def _hear(self, news: News) -> None:
        run = self._run
        if isinstance(news, Standing):
            self._tell(news)
        elif run and (news.job, news.attempt) == (run.task.job, run.task.attempt):
            if isinstance(news, Advanced):
                self._tell(news)
            elif not run.ended.done():
                if isinstance(news, Crashed):
                    news = replace(news, sentence=f"{self._machine}: {news.sentence}")
                run.ended.set_result(news)

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """What the post answers, asked again while it cannot be reached."""
        deadline = asyncio.get_running_loop().time() + SILENT_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._contact.ask(method, *arguments)
            except UnreachableError as error:
                if asyncio.get_running_loop().time() + _AGAIN_SECONDS > deadline:
                    raise UnreachableError(f"no answer for {SILENT_SECONDS:.0f} s ({error})") from error
                await asyncio.sleep(_AGAIN_SECONDS)
            except TimeoutError as error:
                raise UnreachableError(f"no answer for {SILENT_SECONDS:.0f} s") from error


_UNWRITABLE = "the backend cannot keep what comes from the machine that has this job"
