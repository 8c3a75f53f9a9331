"""A second task for a job whose first one lags, where its route says `rescue`.

Owns the last look before money is spent twice: there is no call that cancels a task, so a second one is begun only when
the first was pending a moment ago, by the platform's own word and not by what we remember of it. Which tasks lag is
`tracking`'s to say, in the ledger; what a job may leave behind, and how often, is `ledger/spares`; whether there is a
place elsewhere, and whether hours and limits allow it, is asked as for any other job.
"""

import asyncio
from collections.abc import Collection
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.ledger import line, spares
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import Busy, Refused, Temporary
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.platform.client import Client
from renderdrop.platform.kinds import ASK
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.clock import Clock

log = structlog.get_logger()

REST: Final = 30.0
"""Seconds until a job is looked at again that could not have its second task."""
_LONG_AGO: Final = (
    "the daemon has started anew before a second task was sent: whether the first one lags is to be seen again"
)
_FRESH: Final = 60.0
"""Seconds for which a look counts: an upload's turn may have to wait, and a full disk for hours."""


def left_on(job: Job) -> str | None:
    """The cluster to which a second task must not go; None: the job is to have its first one."""
    if job.spare is not None:
        return job.spare.cluster
    return job.cluster if job.state is State.SUBMITTED else None


class Rescue:
    """Jobs that are to have a second task: submitted ones whose task lags, and queued ones that have left theirs behind
    already (their second one has not been accepted yet)."""

    def __init__(self, client: Client, ledger: Ledger, clock: Clock, budget: Budget) -> None:
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._budget = budget
        self._pending: dict[str, float] = {}
        """When the first task of a job was last found pending, until that is used."""

    async def begin_anew(self) -> None:
        """At a start, before anything is sent: jobs that were to have their second task get the first one back, for it
        was an earlier process that found that late, who knows how long ago."""
        for job in await self._ledger.read(spares.not_sent):
            await self.takes_back(job, _LONG_AGO)

    async def next(self, routes: Collection[str], but: Collection[str]) -> Job | None:
        """The next one of these routes whose task lags."""
        return await self._ledger.read(lambda c: line.lagging(c, routes=routes, but=but)) if routes else None

    async def may_begin(self, route: Route, job: Job) -> bool:
        """Whether its first task is pending even now, and its route says `rescue` still. Else a queued job takes it
        back. Raises PlatformDown."""
        if not route.rescue:
            await self.takes_back(job, "its route does not say rescue any more, so no second task is sent")
            return False
        pending = await self._is_pending(job)
        if pending is False:
            await self.takes_back(job, "its first task is not pending any more, so no second one is sent")
        return bool(pending)

    async def takes_back(self, job: Job, reason: str) -> bool:
        """Whether a queued job goes on with the task that it has left behind, for this reason, instead of whatever else
        would become of it."""
        at = self._clock.text()
        if job.spare is None or not await self._ledger.write(
            lambda c: spares.take_back(c, job.id, State.QUEUED, at, reason), point="taken_back"
        ):
            return False
        log.info("task_taken_back", job=job.id, route=job.route, task=job.spare.task_id, reason=reason)
        return True

    async def _is_pending(self, job: Job) -> bool | None:
        """Asked now; None: it cannot be told."""
        task = job.task_id if job.spare is None else job.spare.task_id
        self._pending.pop(job.id, None)
        await asyncio.sleep(self._budget.reserve(self._clock.monotonic()))
        asked = self._clock.monotonic()
        try:
            report = await ASK[job.kind](self._client, task or "", self._clock.now())
        except (Temporary, Refused) as fault:
            if isinstance(fault, Busy):
                now = self._clock.monotonic()
                self._budget.too_many(asked, now)
                self._budget.pause(now, backoff(1, 0.5, fault.retry_after))
            log.info("poll_failed", job=job.id, route=job.route, task=task, reason=shown(fault.sentence))
            return None
        if report.status != "pending":
            return False
        self._pending[job.id] = asked
        return True

    def leave(self, conn: Connection, job: Job, at: str) -> bool:
        """In the transaction that is to commit the intent: leave the first task behind. False: the job must not have a
        second one, because that was seen too long ago, or is not so any more."""
        seen = self._pending.pop(job.id, None)
        if seen is None or self._clock.monotonic() - seen > _FRESH:
            return False
        if job.spare is not None:
            return True  # that was done when its second task was first to be sent
        note = f"{job.error or 'its task lags'}; it is sent once more, and whichever task comes first is used"
        return spares.leave(conn, job.id, job.task_id or "", at, note)
