"""Background work that is never forgotten: every task is kept, and its death is told.

Owns the tasks' lives. An exception that nobody foresaw ends that piece of work, not the daemon: it is
logged with its traceback, and whoever started the work is told so that the job is tried again later.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

log = structlog.get_logger()


class Tasks:
    """The daemon's running tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(
        self, work: Coroutine[Any, Any, None], name: str, ended: Callable[[BaseException | None], None] | None = None
    ) -> asyncio.Task[None]:
        """Run `work` in the background. `ended` is called when it is over, with what it died of, if it did."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                log.error("unforeseen_error", work=name, exc_info=error)
            if ended is not None:
                ended(error)

        task.add_done_callback(over)
        return task

    def abandon(self, prefix: str) -> None:
        """Cancel at once what is harmless to leave: tasks whose name begins with `prefix`."""
        for task in self._running:
            if task.get_name().startswith(prefix):
                task.cancel()

    async def stop(self, grace: float) -> int:
        """Wait up to `grace` seconds for everything to end by itself, then cancel; returns how many were cancelled."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)
        late = {task for task in self._running if not task.done()}
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return len(late)


class Threads(ThreadPoolExecutor):
    """Threads for whose end nobody waits: a server that does not answer must not hold up the daemon's."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
