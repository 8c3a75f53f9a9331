"""An ended job that is to run again gets its source back into the inbox, where it then waits like any other.

Owns that one way from done/ or failed/ back. The job is already open and owns its path in the inbox, so
the sweep leaves the file alone whenever it appears there.
"""

import asyncio
from dataclasses import replace
from functools import partial

import structlog
from sqlalchemy import Connection

from renderdrop.intake.refuse import refusal
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.job import Job, Place, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.names import notices, numbered
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.share.publish import Archived, Like, archive, remove_own

log = structlog.get_logger()


async def bring_back(route: Route, ledger: Ledger, clock: Clock) -> int:
    """Bring back every source that a retried job of this route waits for; returns how many. Raises ShareOffline."""
    jobs = await ledger.read(lambda c: queries.away(c, route.name))
    for job in jobs:
        for source in job.sources:
            if source.place in (Place.DONE, Place.FAILED):
                await _one(route, ledger, clock, job, source)
    return len(jobs)


async def _one(route: Route, ledger: Ledger, clock: Clock, job: Job, source: Source) -> None:
    if not job.paid and (reason := refusal(route, source.path, "file")):
        await _leave(ledger, clock, job, source, State.FAILED, source.place, reason)
        return
    roots = {Place.DONE: route.done, Place.FAILED: route.failed}
    outcome: Archived = "gone"
    path = source.path
    if source.place in roots and source.stored is not None:
        root, stored = roots[source.place], source.stored
        for n in range(1, 1000):
            if n > 1:
                await ledger.write(partial(moves.rename_source, job_id=job.id, old=path, new=numbered(source.path, n)))
                path = numbered(source.path, n)
            try:
                outcome = await asyncio.to_thread(
                    archive, root, stored, route.inbox, path, source.size, source.mtime_ns, Like.of(route.inbox)
                )
                break
            except FileExistsError:
                continue
        if source.place is Place.FAILED and outcome == "moved":
            for notice in notices(stored):
                await asyncio.to_thread(remove_own, root, notice)
    if outcome == "moved":
        await ledger.write(lambda c: moves.record_source(c, job.id, path, place=Place.INBOX, stored=None))
        log.info("source_brought_back", job=job.id, route=route.name, path=path)
        return
    if job.paid:
        # Its result only has to be fetched, and for that nobody needs the source.
        await ledger.write(lambda c: moves.record_source(c, job.id, path, place=Place.GONE, filed=True))
        return
    reason = "its source is not where the job left it, so it cannot run again; drop the file into the inbox instead"
    await _leave(ledger, clock, job, replace(source, path=path), State.CANCELLED, Place.GONE, reason)


async def _leave(
    ledger: Ledger, clock: Clock, job: Job, source: Source, end: State, place: Place, reason: str
) -> None:  # fmt: skip
    """The job ends again at once, and nothing is moved."""
    at = clock.text()

    def give_up(c: Connection) -> None:
        moves.record_source(c, job.id, source.path, place=place, filed=True)
        moves.move(c, job.id, State.QUEUED, end, at, reason, error=reason)

    await ledger.write(give_up)
    log.warning("job_failed" if end is State.FAILED else "job_cancelled", job=job.id, route=job.route, reason=reason)
