"""An ended job that is to run again gets its files back into the inbox, where it then waits like any other.

Owns that one way from done/ or failed/ back. The job is already open and owns its paths in the inbox, so the sweep
leaves the files alone whenever they appear there; those of a job that lacked something are gathered afresh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.intake.refuse import refusal
from renderdrop.intake.untell import take_chain_notice, take_notices, tellers
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import NoPlace
from renderdrop.model.job import Job, Place, Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.names import cut, fold, numbered
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.share.publish import Archived, Like, archive, names_in
from renderdrop.share.scan import look

log = structlog.get_logger()

_NUMBERS: Final = 1000
_NOT_THERE: Final = (
    "its source is not where the job left it, so it cannot run again; drop the file into the inbox instead"
)


async def bring_back(
    route: Route, ledger: Ledger, clock: Clock, disks: Disks, routes: Mapping[str, Route]
) -> int:  # fmt: skip
    """Bring back every file that a retried job of this route waits for; returns how many jobs. `routes` are all by
    name. Raises ShareOffline."""
    ids = [job.id for job in await ledger.read(lambda c: queries.away(c, route.name))]
    for job_id in ids:
        # Asked anew: another job of the same files may have brought them back just now.
        job = await ledger.read(partial(queries.job, job_id=job_id))
        if job is not None and job.state is State.QUEUED:
            back = _Return(route, routes, ledger, clock, disks, job)
            try:
                await back.run()
            except NoPlace as fault:
                # The share is well: the others' files can come back.
                await back.leave(State.FAILED, f"{fault.sentence}; then `retry` brings its source back", [])
    return len(ids)


class _Return:
    """One job's files on their way back."""

    def __init__(
        self, route: Route, routes: Mapping[str, Route], ledger: Ledger, clock: Clock, disks: Disks, job: Job
    ) -> None:  # fmt: skip
        self._route = route
        self._routes = routes
        self._roots = {Place.DONE: route.done, Place.FAILED: route.failed}
        self._ledger = ledger
        self._clock = clock
        self._disks = disks
        self._disk = disks.of(route)
        self._job = job

    @property
    def _away(self) -> list[Source]:
        return [s for s in self._job.sources if s.place in self._roots]

    async def run(self) -> None:
        # Another job of the same files may have brought them back: then all that is left is what was said of this one.
        if not self._away or await self._bring():
            await self._take_back_what_was_said()

    async def _bring(self) -> bool:
        """Move the files; whether they are all where the job can have them."""
        job = self._job
        if not job.paid and job.waiting_for is None:
            for source in self._away:
                reason = refusal(self._route, source.path, "file")
                if source.role is not Role.TICKET and reason is not None:
                    await self.leave(State.FAILED, reason, [])
                    return False
        gone = await self._disk(self._gone)
        if gone and not job.paid:
            await self.leave(State.CANCELLED, _NOT_THERE, gone)
            return False
        await self._number()
        like = await self._disk(Like.of, self._route.inbox)
        for source in self._away:
            outcome, source = await self._move(source, like)
            if outcome != "moved" and not job.paid:
                await self.leave(State.CANCELLED, _NOT_THERE, [source])
                return False
            came = partial(_came, job=job, source=source, outcome=outcome)
            await self._ledger.write(came, point="brought_back")
            self._note(source, Place.INBOX if outcome == "moved" else Place.GONE)
            if outcome == "moved":
                log.info("source_brought_back", job=job.id, route=self._route.name, path=source.path)
        return True

    async def _take_back_what_was_said(self) -> None:
        """The notices in failed/ and at the end of the chain go; the job waits until they have."""
        job = self._job
        for told in {source.told for source in job.sources if source.told is not None}:
            # A rerun has an id of its own: the notices are the earlier job's. No stranger's are taken for ours.
            said_by = await self._disk(tellers, self._route, told)
            ours = await self._ledger.read(partial(queries.of_route, route=self._route.name, ids=said_by))
            await self._disk(take_notices, self._route, told, ours)
        await self._ledger.write(partial(_said_nothing, job=job), point="unsaid")
        if job.base is not None:
            await take_chain_notice(self._disks, self._route, self._routes, job.id, job.folder, job.base)
            at = self._clock.text()
            await self._ledger.write(
                lambda c: moves.change(c, job.id, State.QUEUED, at, base=None), point="chain_unsaid"
            )

    def _gone(self) -> list[Source]:
        """Files that are neither where they were put nor in the inbox, where an interrupted try may have left them."""
        stored = {s.path: look(self._roots[s.place], [s.stored or s.path]).get(s.stored or s.path) for s in self._away}
        here = look(self._route.inbox, list(stored))
        return [s for s in self._away if stored[s.path] is None and here[s.path] is None]

    async def _number(self) -> None:
        """Names that nobody else has taken in the inbox: all of the job's get the same number. Committed before a file
        moves; where some have moved already, their names stand."""
        if len(self._away) < len(self._job.sources):
            return
        for n in range(1, _NUMBERS):
            names, bundle = renamed(self._job, n)
            if not await self._disk(self._is_taken, names, bundle):
                break
        if n > 1:
            await self._rename(names, bundle)

    def _is_taken(self, names: Mapping[str, str], bundle: str | None) -> bool:
        job, inbox = self._job, self._route.inbox
        there = look(inbox, names.values())
        away = {s.path: look(self._roots[s.place], [s.stored or s.path])[s.stored or s.path] for s in self._away}
        arrived = any(there.get(path) is not None and stored is None for path, stored in away.items())
        if job.in_folder and not arrived:
            # What is no folder has its name just as well.
            return look(inbox, [bundle or ""])[bundle or ""] is not None or bool(names_in(inbox, bundle or ""))
        return any(entry is not None for entry in there.values()) and not arrived

    async def _rename(self, names: Mapping[str, str], bundle: str | None) -> None:
        renaming = partial(moves.rename_sources, job=self._job, names=names, bundle=bundle)
        await self._ledger.write(renaming, point="renamed")
        sources = tuple(replace(s, path=names.get(s.path, s.path)) for s in self._job.sources)
        self._job = replace(self._job, sources=sources, bundle=bundle)

    def _note(self, source: Source, place: Place) -> None:
        sources = tuple(replace(s, place=place) if s.path == source.path else s for s in self._job.sources)
        self._job = replace(self._job, sources=sources)

    async def _move(self, source: Source, like: Like) -> tuple[Archived, Source]:
        first = source.path
        for n in range(2, _NUMBERS):
            try:
                root, stored = self._roots[source.place], source.stored or source.path
                return await self._disk(
                    archive, root, stored, self._route.inbox, source.path, source.size, source.mtime_ns, like,
                    size=source.size,
                ), source  # fmt: skip
            except FileExistsError:
                # Somebody was quicker than the look: this one gets a number of its own.
                await self._rename({source.path: numbered(first, n)}, self._job.bundle)
                source = replace(source, path=numbered(first, n))
        return "gone", source

    async def leave(self, end: State, reason: str, gone: Sequence[Source]) -> None:
        """End the job again at once. What came back already is filed like any failed job's."""
        job, at = self._job, self._clock.text()

        def give_up(c: Connection) -> None:
            for source in self._away:
                place = {"place": Place.GONE} if source in gone else {}
                moves.record_source(c, job.id, source.path, filed=True, **place)
            moves.move(c, job.id, State.QUEUED, end, at, reason, error=reason)

        await self._ledger.write(give_up, point="given_up")
        event = "job_failed" if end is State.FAILED else "job_cancelled"
        log.warning(event, job=job.id, route=job.route, reason=reason)


def _came(c: Connection, job: Job, source: Source, outcome: Archived) -> None:
    if outcome == "moved":
        moves.relocate(c, job, source, place=Place.INBOX, stored=None)
    else:
        # Its result only has to be fetched, and for that nobody needs the source. It is not filed before the notices
        # that tell of it are gone too.
        moves.record_source(c, job.id, source.path, place=Place.GONE)


def _said_nothing(c: Connection, job: Job) -> None:
    for source in job.sources:
        moves.record_source(c, job.id, source.path, told=None)


def renamed(job: Job, n: int) -> tuple[dict[str, str], str | None]:
    """The n-th choice of names in the inbox: old path → new path, and the bundle's name. The first is as it was."""
    if n < 2:
        return {s.path: s.path for s in job.sources}, job.bundle
    return {s.path: _renamed(s.path, job.bundle, n) for s in job.sources}, job.bundle and _behind(job.bundle, "", n)


def _renamed(path: str, bundle: str | None, n: int) -> str:
    """A partner's name begins with its bundle's: the number goes there, and what comes behind (a suffix, an extension,
    what lies in a folder) stays, so that they are partners still."""
    if bundle is None or fold(path[: len(bundle)]) != fold(bundle):
        return numbered(path, n)
    head, tail = path[: len(bundle)], path[len(bundle) :]
    own, slash, inside = tail.partition("/")
    return _behind(head, own, n) + slash + inside


def _behind(stem: str, tail: str, n: int) -> str:
    above, slash, name = stem.rpartition("/")
    return above + slash + cut(name, f"-{n}{tail}")
