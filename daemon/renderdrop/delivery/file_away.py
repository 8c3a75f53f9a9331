"""After the end: sources archived, failures told on the share.

Owns the one rename that takes a source out of the inbox, and the notices in failed/. The job has ended in the
ledger before any of it, and where the source goes is committed before it moves: whatever fails here, the job
is never run again for it, it is only filed later.
"""

import asyncio
import os
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.delivery.naming import free_to_store
from renderdrop.delivery.tidy import tidy
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model import sidecar
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Job, Place, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.names import notices, shown
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.troubles import Troubles
from renderdrop.share.marker import Folders, online
from renderdrop.share.publish import Archived, Like, archive, names_in, publish, remove, stage, unstage, write_staged

log = structlog.get_logger()

_STUCK: Final = 3


class FileAway:
    """Archives the sources of ended jobs."""

    def __init__(self, ledger: Ledger, clock: Clock, troubles: Troubles, hands: Hands) -> None:
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._hands = hands
        self._routes: dict[str, Route] = {}
        self._untidy: set[str] = set()
        self._naming = asyncio.Lock()
        self.stuck: set[str] = set()
        """Jobs whose sources could not be filed several times in a row: ended, but somebody should look."""
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose sources are archived from now on."""
        self._routes = {route.name: route for route in routes}
        self._untidy = set(self._routes)

    async def round(self) -> None:
        """Take up as many ended jobs as there are hands."""
        if self.stopped or not self._hands.free:
            return
        routes = [name for name in self._routes if self._troubles.of("share", name) is None]
        for name in self._untidy.intersection(routes):
            await self._tidy(name)
        but, free = self._hands.passed_over(), self._hands.free
        jobs = await self._ledger.read(lambda c: queries.to_file(c, routes=routes, but=but, limit=free))
        self._hands.more = len(jobs) == free
        for job in jobs:
            self._hands.take(job.id, self._file(self._routes[job.route], job))

    async def _tidy(self, name: str) -> None:
        route = self._routes[name]
        try:
            await asyncio.to_thread(online, Folders(route.inbox, route.outbox, route.done, route.failed))
            await tidy(route, self._ledger)
            self._untidy.discard(name)
        except ShareOffline:
            pass  # the intake tells of it; the next round tries again

    async def _file(self, route: Route, job: Job) -> None:
        try:
            await asyncio.to_thread(online, Folders(route.inbox, route.outbox, route.done, route.failed))
            like = await asyncio.to_thread(Like.of, route.inbox)
            for source in job.sources:
                if not source.filed:
                    if job.state is State.DELIVERED:
                        await self._archive(route, job, source, like)
                    else:
                        await self._tell_failure(route, job, source, like)
            self._hands.forget(job.id)
            self.stuck.discard(job.id)
        except ShareOffline as fault:
            # Perhaps one file's trouble (its permissions, its name) and not the share's: it waits, the others go on.
            failures = self._hands.failed(job.id)
            self._hands.rest(job.id, backoff(failures + 2, self._clock.chance()))
            if failures >= _STUCK:
                self.stuck.add(job.id)
            if failures == 1:
                log.warning("archive_waits", job=job.id, route=route.name, reason=fault.sentence)

    async def _archive(self, route: Route, job: Job, source: Source, like: Like) -> None:
        if route.after == "keep":
            await self._filed(job, source, Place.INBOX)
            return
        if route.after == "delete":
            outcome = await asyncio.to_thread(remove, route.inbox, source.path, source.size, source.mtime_ns)
            await self._filed(job, source, Place.DELETED if outcome == "moved" else Place.GONE, outcome)
            return
        stored = source.stored or source.path
        while True:
            try:
                outcome = await asyncio.to_thread(
                    archive, route.inbox, source.path, route.done, stored, source.size, source.mtime_ns, like
                )
                break
            except FileExistsError:
                stored = await self._choose(route, job, source, Place.DONE)
        await self._filed(job, source, Place.DONE if outcome == "moved" else Place.GONE, outcome, stored)

    async def _tell_failure(self, route: Route, job: Job, source: Source, like: Like) -> None:
        """The source to failed/, with its two notices beside it. Both are ready before the source moves, so that
        the three appear together, the sentence for people last."""
        if source.place is not Place.INBOX:
            await self._filed(job, source, source.place)  # it never came back from where an earlier run had put it
            return
        staging = await asyncio.to_thread(stage, route.outbox, job.id, like)
        await asyncio.to_thread(write_staged, staging / "json", sidecar.write(job, success=False), like)
        await asyncio.to_thread(write_staged, staging / "txt", sentence(job, source).encode(), like)
        stored = source.stored or await self._choose(route, job, source, Place.FAILED)
        while True:
            try:
                outcome = await asyncio.to_thread(
                    archive, route.inbox, source.path, route.failed, stored, source.size, source.mtime_ns, like
                )
                break
            except FileExistsError:
                stored = await self._choose(route, job, source, Place.FAILED)
        if outcome == "moved":
            folder = stored.rpartition("/")[0]
            txt, json = notices(stored)
            for staged, notice in (("json", json), ("txt", txt)):
                try:
                    await asyncio.to_thread(
                        publish, route.failed, staging / staged, folder, os.path.basename(notice), like
                    )  # fmt: skip
                except FileExistsError:
                    pass  # told before a crash came between
        await self._filed(job, source, Place.FAILED if outcome == "moved" else Place.GONE, outcome, stored)
        await asyncio.to_thread(unstage, route.outbox, job.id)

    async def _choose(self, route: Route, job: Job, source: Source, place: Place) -> str:
        """A free path below done/ or failed/, committed before the source goes there."""
        folder, slash, name = source.path.rpartition("/")
        root = route.failed if place is Place.FAILED else route.done
        async with self._naming:
            taken = await asyncio.to_thread(names_in, root, folder)
            reserved = await self._ledger.read(lambda c: queries.reserved_stores(c, route.name, place, job.id))
            taken += [path.rpartition("/")[2] for path in reserved if path.rpartition("/")[0] == folder]
            stored = folder + slash + free_to_store(name, taken)
            await self._ledger.write(lambda c: moves.record_source(c, job.id, source.path, stored=stored))
        return stored

    async def _filed(
        self, job: Job, source: Source, place: Place, outcome: Archived = "moved", stored: str | None = None
    ) -> None:
        def filed(c: Connection) -> None:
            where = {"stored": stored} if place in (Place.DONE, Place.FAILED) and stored is not None else {}
            moves.record_source(c, job.id, source.path, place=place, filed=True, **where)

        await self._ledger.write(filed)
        bound = log.bind(job=job.id, route=job.route, path=source.path)
        if outcome == "changed":
            bound.info("source_replaced", reason="another file lies in its place by now; it is taken as a new one")
        elif outcome == "gone":
            bound.info("source_gone", reason="somebody took it out of the inbox")
        else:
            bound.info("source_filed", place=place)


def sentence(job: Job, source: Source) -> str:
    """The notice for whoever dropped the file: what happened, what to do, the job."""
    name = shown(source.path.rpartition("/")[2])
    what = "was cancelled" if job.state is State.CANCELLED else "could not be rendered"
    reason = (job.error or "no reason is known").rstrip(".")
    if job.paid:
        do = f"The render itself is done and paid for: `renderdrop retry {job.id}` fetches it without paying again."
    else:
        do = "When that is put right, move the file back into the inbox: that is a fresh try."
    return f"{name} {what}: {reason}.\n{do}\nJob {job.id}, route {job.route}.\n"
