"""What we know of the clusters now: the last status, who rests, and how many tasks of ours are where.

Owns the coarse status look (one for all who ask, never more often than `status_every`) and the memory of
clusters on which things went wrong (`ejection`), which outlives this process: it begins with what the ledger has. It
chooses nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.dispatch.ejection import Ejection, replay
from renderdrop.dispatch.survey import TOLD_EVERY
from renderdrop.ledger import experience, queries, seen
from renderdrop.ledger.seen import Figures, Status
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import Busy, LedgerBroken, PlatformDown, Refused, Temporary
from renderdrop.model.experience import Ended
from renderdrop.platform import clusters
from renderdrop.platform.client import Client
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import PLATFORM

log = structlog.get_logger()

UNKNOWN_CALL: Final = (404, 405)
"""HTTP statuses with which a server says that it has no such call, or no such thing."""
_ASTRAY: Final = "the platform knows none of its own calls (HTTP {}): is platform.base_url right?"
_BLIND_AFTER: Final = 4
"""Failed status looks in a row after which we choose without figures rather than not at all."""
_LOOK_EVERY: Final = 10.0
"""Seconds between two looks at which tasks have ended."""
_CHANGE_EVERY: Final = 30.0
"""Seconds between two writes of the clusters' figures at the least, however they change."""
SEEN: Final = "clusters seen"
"""The name of the work that writes them, which is harmless to leave."""


class Farm:
    """The clusters as last seen. `every`: seconds for which a status is good enough."""

    def __init__(
        self, client: Client, ledger: Ledger, clock: Clock, budget: Budget, tasks: Tasks, every: float
    ) -> None:
        self.every = every
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._budget = budget
        self._tasks = tasks
        self._lock = asyncio.Lock()
        self._mark: int | None = None
        """Up to where the records know the ledger's history; None: they know nothing of it yet."""
        self._looked_at = float("-inf")
        self._ceilings: dict[str, int] = {}
        self._status = Status({}, "")
        self._written: Status | None = None
        self._written_at = float("-inf")
        self._writing = False
        self._at = float("-inf")
        self._failures = 0
        self._seen_at = clock.monotonic()
        self._ejection = Ejection()

    @property
    def fresh(self) -> bool:
        """Whether the last status is still good enough."""
        return self._clock.monotonic() - self._at < self.every

    @property
    def age(self) -> float:
        """Seconds since the clusters were really seen (or since the start)."""
        return self._clock.monotonic() - self._seen_at

    async def refresh(self) -> None:
        """Look now, whatever was seen before.

        Raises PlatformDown, Temporary or Refused.
        """
        await asyncio.sleep(self._budget.reserve(self._clock.monotonic()))
        asked = self._clock.monotonic()
        try:
            found = await clusters.active(self._client, self._clock.now())
        except (Temporary, Refused) as fault:
            self._failures += 1
            if isinstance(fault, Busy):
                now = self._clock.monotonic()
                self._budget.too_many(asked, now)
                self._budget.pause(now, backoff(self._failures, 0.5, fault.retry_after))
            raise
        self._failures = 0
        self._at = self._seen_at = self._clock.monotonic()
        self._ceilings |= {status.name: status.ceiling for status in found if status.ceiling is not None}
        figures = {status.name: Figures(status.nodes, self._ceilings.get(status.name)) for status in found}
        self._status = Status(figures, self._clock.text())
        log.debug("clusters_seen", clusters={s.name: [s.nodes, s.ceiling] for s in found})

    async def probe(self, due: Sequence[str]) -> tuple[bool, dict[str, str]]:
        """Look whether what was in trouble about the platform (of CALLS) is well again: whether there was a status, and
        what is still in trouble, with the reason."""
        try:
            await self.refresh()
        except (PlatformDown, Temporary) as fault:
            return False, dict.fromkeys(due, fault.sentence)
        except Refused as fault:
            # It speaks to us again, and what it says is for others; unless this is no platform at all.
            wrong = _astray(fault)
            return False, {PLATFORM: wrong} if wrong is not None else {}
        return True, {}

    async def astray(self) -> str | None:
        """What is wrong with the address, if not even the status call is known there. May take as long as a call."""
        try:
            await self.refresh()
        except Refused as fault:
            return _astray(fault)
        except (Temporary, PlatformDown):
            pass
        return None

    async def situation(self, allowed: tuple[str, ...]) -> Situation:
        """What a choice among `allowed` depends on. Raises PlatformDown, Temporary or Refused while there is no status.

        A status that cannot be had for long, although the platform answers, does not stop work: every allowed
        cluster is then taken to be active, with unknown figures.
        """
        async with self._lock:
            await self._take_in()
            if not self.fresh:
                try:
                    await self.refresh()
                except PlatformDown:
                    raise
                except (Temporary, Refused) as fault:
                    if self._at == float("-inf") and self._failures < _BLIND_AFTER:
                        raise
                    log.warning("clusters_unknown", reason=fault.sentence)
                    self._at = self._clock.monotonic()
        self._write_down()
        ours: dict[str, int] = {}
        for cluster, _, number in await self._ledger.read(queries.on_clusters):
            ours[cluster] = ours.get(cluster, 0) + number
        return Situation(allowed, self._views(allowed, ours), self._ejection.out(self._clock.monotonic()))

    def _views(self, allowed: tuple[str, ...], ours: dict[str, int]) -> dict[str, ClusterView]:
        if not self._status.clusters and self._failures:
            return {name: ClusterView(0, None, ours.get(name, 0)) for name in allowed}
        return {
            name: ClusterView(of.nodes, of.ceiling, ours.get(name, 0)) for name, of in self._status.clusters.items()
        }

    async def _take_in(self) -> None:
        """Take in how tasks ended since the last look; at the first, all that the ledger has of earlier processes."""
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        read, since = self._ledger.read, self._mark

        def ends(c: Connection) -> tuple[int, list[Ended]]:
            return queries.mark(c), experience.ended(c) if since is None else experience.ended_since(c, since)

        mark, ended = await read(ends)
        if since is None:
            tries, status = await read(experience.tries), await read(seen.last_seen)
            self._ejection = replay(tries, ended, self._clock.now().timestamp(), now)
            for name, of in status.clusters.items() if status is not None else ():
                if of.ceiling is not None:
                    self._ceilings.setdefault(name, of.ceiling)
        else:
            for task in ended:
                self._task_ended(task)
        self._mark = mark

    def _write_down(self) -> None:
        """Have the ledger know what was seen, for the command line. In the background and at most one at a time: on a
        full disk it waits, and no job with it."""
        passed, status = self._clock.monotonic() - self._written_at, self._status
        changed = self._written is None or self._written.clusters != status.clusters
        if (
            self._writing
            or status in (self._written, Status({}, ""))
            or passed < (_CHANGE_EVERY if changed else TOLD_EVERY)
        ):
            return
        self._writing = True
        self._written, self._written_at = status, self._clock.monotonic()
        self._tasks.start(self._write(status), SEEN, self._wrote)

    async def _write(self, status: Status) -> None:
        try:
            await self._ledger.write(lambda c: seen.see(c, status), point="clusters_seen")
        except LedgerBroken:
            pass  # whoever needs the ledger meets it too, and the ledger itself has told

    def _wrote(self, _: BaseException | None) -> None:
        self._writing = False

    def tried(self, cluster: str) -> None:
        """A job is sent to it."""
        self._ejection = self._ejection.tried(cluster, self._clock.monotonic())

    def leave_alone(self, cluster: str) -> None:
        """It refused: others first, for a while."""
        self._told(self._ejection.refused(cluster, self._clock.monotonic()), cluster)

    def accepted(self, cluster: str) -> None:
        """It took a job."""
        self._told(self._ejection.accepted(cluster), cluster)

    def left_behind(self, cluster: str, job: str) -> None:
        """A task has been pending on it for so long that a second one was begun elsewhere: that counts like one that
        failed there, so that not one job after the other has to find out."""
        self._told(self._ejection.failed(cluster, job, self._clock.monotonic()), cluster)

    def _task_ended(self, task: Ended) -> None:
        now, records = self._clock.monotonic(), self._ejection
        self._told(
            records.worked(task.cluster) if task.well else records.failed(task.cluster, task.job, now), task.cluster
        )

    def _told(self, now: Ejection, cluster: str) -> None:
        at, before = self._clock.monotonic(), self._ejection
        self._ejection = now
        if cluster in now.out(at) and cluster not in before.out(at):
            record = now.records[cluster]
            log.warning("cluster_left_alone", cluster=cluster, reason=record.why, seconds=round(record.until - at))


def _astray(fault: Refused) -> str | None:
    """What to tell where the status call, which names nothing that could be missing, is not known; None where it was
    refused for another reason."""
    return _ASTRAY.format(fault.http_status) if fault.http_status in UNKNOWN_CALL else None
