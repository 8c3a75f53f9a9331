"""After the end: sources archived, failures told on the share.

Owns the one rename that takes a source out of the inbox, and the notices in failed/. The job has ended in the
ledger before any of it, and where the source goes is committed before it moves: whatever fails here, the job
is never run again for it, it is only filed later.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import Connection

from renderdrop.delivery.chain import Chain
from renderdrop.delivery.naming import free_to_store, moved_name, moved_names, names_on_the_way, stored_path
from renderdrop.delivery.tidy import tidy
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model import sidecar
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Job, Place, Role, Source
from renderdrop.model.lifecycle import ENDS, State
from renderdrop.model.names import notices
from renderdrop.model.notice import sentence
from renderdrop.model.route import Route, end_of_chain
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.troubles import Troubles
from renderdrop.share.leftovers import clear_folder
from renderdrop.share.marker import Folders, online
from renderdrop.share.publish import Archived, Like, archive, names_in, publish, remove, stage, unstage, write_staged
from renderdrop.share.signs import sign_of_life

log = structlog.get_logger()

_STUCK: Final = 3
_AT_ONCE: Final = 100
"""Sources brought to done/ or failed/ in one trip to the share, and told to the log in one turn on the event loop."""
_IN_ONE_COMMIT: Final = 1_000
"""Sources told to the ledger at once, so that other writes get their turn between those of a great folder."""
_REST: Final = 300.0
"""Seconds between two tries at most: across file systems each compares both files anew."""


class FileAway:
    """Archives the sources of ended jobs."""

    def __init__(self, ledger: Ledger, clock: Clock, troubles: Troubles, hands: Hands, disks: Disks) -> None:
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._hands = hands
        self._on = disks.of
        self._routes: dict[str, Route] = {}
        self._untidy: set[str] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._naming: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One after the other, route by route: a share that hangs holds up no other's names."""
        self._chain = Chain(ledger, clock, disks)
        self.stuck: set[str] = set()
        """Jobs whose sources could not be filed several times in a row: ended, but somebody should look."""
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose sources are archived from now on."""
        self._routes = {route.name: route for route in routes}
        self._untidy = set(self._routes)
        self._chain.set_routes(self._routes)

    async def round(self) -> None:
        """Take up as many ended jobs as there are hands."""
        if self.stopped or not self._hands.free:
            return
        routes = [
            name
            for name, route in self._routes.items()
            if self._troubles.of("share", name) is None and not self._on(route).silent
        ]
        but, free = self._hands.passed_over(), self._hands.free
        jobs = await self._ledger.read(lambda c: queries.to_file(c, routes=routes, but=but, limit=free))
        self._hands.more = len(jobs) == free
        for job in jobs:
            route = self._routes[job.route]
            self._hands.take(
                job.id, self._file(route, job), self._on(route), self._on(end_of_chain(route, self._routes))
            )
        # Last, and whether or not a hand is free: it is short, and no job should wait a round for it.
        for name in self._untidy.intersection(routes):
            if (tidying := f"tidy {name}") not in self._hands.passed_over():
                self._hands.take(tidying, self._tidy(name), self._on(self._routes[name]))

    async def _tidy(self, name: str) -> None:
        route = self._routes[name]
        try:
            await self._on(route)(online, Folders(route.inbox, route.outbox, route.done, route.failed))
            await tidy(route, self._ledger, self._on(route))
            self._untidy.discard(name)
        except ShareOffline:
            pass  # the intake tells of it; the next round tries again

    async def _file(self, route: Route, job: Job) -> None:
        # One after the other where several jobs share their files: each has to know what the one before did with them.
        turn = self._turns.setdefault(job.arrival, asyncio.Lock())
        had_to_wait = turn.locked()
        async with turn:
            now = await self._ledger.read(lambda c: queries.job(c, job.id)) if had_to_wait else job
            if now is not None and now.state in ENDS:
                await self._file_in_turn(route, now)

    async def _file_in_turn(self, route: Route, job: Job) -> None:
        try:
            await self._on(route)(online, Folders(route.inbox, route.outbox, route.done, route.failed))
            like = await self._on(route)(Like.of, route.inbox)
            if job.state is State.DELIVERED:
                await self._archive_all(route, job, like)
            else:
                await self._tell_failure(route, job, like)
            self._hands.forget(job.id)
            self.stuck.discard(job.id)
        except ShareOffline as fault:
            # Perhaps one file's trouble (its permissions, its name) and not the share's: it waits, the others go on.
            failures = self._hands.failed(job.id)
            self._hands.rest(job.id, backoff(failures + 2, self._clock.chance(), cap=_REST))
            if failures >= _STUCK:
                self.stuck.add(job.id)
            if failures == 1:
                log.warning("archive_waits", job=job.id, route=route.name, reason=fault.sentence)
                await self._tell_waiting(job, f"delivered, but its source stays in the inbox: {fault.sentence}")

    async def _tell_waiting(self, job: Job, why: str) -> None:
        """Whoever lists the jobs learns why a source still lies in the inbox. A failed job has a reason of its own."""
        if job.state is State.DELIVERED and job.error != why:
            at = self._clock.text()
            await self._ledger.write(
                lambda c: moves.change(c, job.id, State.DELIVERED, at, error=why), point="archive_waits"
            )

    async def _archive_all(self, route: Route, job: Job, like: Like) -> None:
        others = await self._ledger.read(lambda c: queries.siblings(c, job.arrival))
        # What another job of these files may want for a `retry` is not deleted.
        moved = route.after == "move" or (
            route.after == "delete" and any(other.state is not State.DELIVERED for other in others)
        )
        unfiled = [source for source in job.sources if not source.filed]
        # What does not lie in the inbox, another job of these files has put away.
        ends = [_End(source, source.place) for source in unfiled if source.place is not Place.INBOX]
        here = [source for source in unfiled if source.place is Place.INBOX]
        if moved:
            job, brought = await self._move(route, job, here, Place.DONE, like)
            ends += brought
        elif route.after == "keep":
            ends += [_End(source, Place.INBOX) for source in here]
        else:
            for source in here:
                outcome = await self._on(route)(remove, route.inbox, source.path, source.size, source.mtime_ns)
                ends.append(_End(source, Place.DELETED if outcome == "moved" else Place.GONE, outcome))
        if job.in_folder and route.after != "keep":
            await self._clear(route, job, route.done if moved else None)
        await self._on(route)(unstage, route.outbox, job.id)  # where a crash came right after the delivery
        await self._filed(job, ends)

    async def _tell_failure(self, route: Route, job: Job, like: Like) -> None:
        """The sources to failed/, with two notices beside each (or beside their folder), the sentence for people last.

        Where another job of the same files was delivered, the sources go to done/ with that one; where one has failed
        before, they are in failed/ already. Then the notices alone appear, named after this job's part."""
        others = await self._ledger.read(lambda c: queries.siblings(c, job.arrival))
        stays = any(other.state is State.DELIVERED for other in others)
        staging = await self._on(route)(stage, route.outbox, job.id, like)
        if not stays and _names_are_open(job, others):
            job = await self._choose(route, job, Place.FAILED)
        elif len(others) > 1 and all(source.told is None for source in job.sources):
            job = await self._choose_part(route, job)
        unfiled = [source for source in job.sources if not source.filed]
        here = [] if stays else [source for source in unfiled if source.place is Place.INBOX]
        job, ends = await self._move(route, job, here, Place.FAILED, like)
        ends += [_End(source, source.place) for source in unfiled if stays or source.place is not Place.INBOX]
        # Nothing is said of a file that somebody took away, or put another one in its place.
        gone = {end.source.path for end in ends if end.place is Place.GONE}
        now, told = _by_path(job), dict[str, Source]()
        for source in unfiled:
            notice = now[source.path].told
            if notice is not None and source.path not in gone:
                told.setdefault(notice, source)
        for notice, source in told.items():
            await self._publish_notices(route, job, source, notice, staging, like)
        if job.in_folder and not stays:
            await self._clear(route, job, route.failed)
        await self._on(route)(unstage, route.outbox, job.id)
        await self._chain.tell(route, job)
        await self._filed(job, ends)

    async def _publish_notices(
        self, route: Route, job: Job, source: Source, told: str, staging: Path, like: Like
    ) -> None:  # fmt: skip
        await self._on(route)(_stage_notices, route, job, source, staging, like)
        folder = told.rpartition("/")[0]
        txt, json = notices(told)
        for staged, notice in (("json", json), ("txt", txt)):
            try:
                await self._on(route)(
                    publish, route.failed, staging / staged, folder, os.path.basename(notice), like
                )  # fmt: skip
            except FileExistsError:
                pass  # told before a crash came between

    async def _move(
        self, route: Route, job: Job, left: Sequence[Source], place: Place, like: Like
    ) -> tuple[Job, list["_End"]]:
        """Bring sources to done/ or failed/; the job as it is then, with other names where those were taken."""
        root = route.failed if place is Place.FAILED else route.done
        ends: list[_End] = []
        while left:
            now, some = _by_path(job), left[:_AT_ONCE]
            ways = [(source, now[source.path].stored or source.path) for source in some]
            outcomes = await self._on(route)(
                _archive, route.inbox, root, ways, like, size=max(source.size for source in some)
            )  # fmt: skip
            there: list[Source] = []
            for (source, stored), outcome in zip(ways, outcomes, strict=False):
                end = _End(source, place if outcome == "moved" else Place.GONE, outcome)
                there.append(replace(now[source.path], place=end.place, stored=stored))
                ends.append(end)
            job, left = _with(job, there), left[len(there) :]
            if len(there) < len(some):
                job = await self._choose(route, job, place)
        return job, ends

    async def _choose(self, route: Route, job: Job, place: Place) -> Job:
        """Free names below done/ or failed/, numbered alike, committed before the sources go there, for every job of
        these files; in failed/ this job's notices are named after them. What is already there keeps its name."""
        async with self._naming[route.name]:
            free = await self._free(route, job, place, moved_names(job))
            chosen = await self._on(route)(_named, job, place, free)
            steps = [(s, {"stored": s.stored}, {"told": s.told}) for s in chosen]
            await self._ledger.write(lambda c: moves.put_away(c, job, steps), point="where_to")
        return _with(job, chosen)

    async def _choose_part(self, route: Route, job: Job) -> Job:
        """Free names in failed/ for what is to be said of one of several jobs of these files, committed at once."""
        names = {s.path: f"{moved_name(job, s)}.{job.wishes.label or job.id}" for s in job.inputs}
        async with self._naming[route.name]:
            free = await self._free(route, job, Place.FAILED, list(dict.fromkeys(names.values())))
            below = f"{job.folder}/" if job.folder else ""
            chosen = [replace(s, told=f"{below}{free[names[s.path]]}") for s in job.inputs]

            def commit(c: Connection) -> None:
                for s in chosen:
                    moves.record_source(c, job.id, s.path, told=s.told)

            await self._ledger.write(commit, point="part_name")
        return _with(job, chosen)

    async def _free(self, route: Route, job: Job, place: Place, names: list[str]) -> dict[str, str]:
        root = route.failed if place is Place.FAILED else route.done
        taken = await self._on(route)(names_in, root, job.folder)
        on_the_way = await self._ledger.read(lambda c: queries.reserved_stores(c, route.name, place, job.arrival))
        return dict(
            zip(names, free_to_store(names, [*taken, *names_on_the_way(on_the_way, job.folder)]), strict=True)
        )  # fmt: skip

    async def _clear(self, route: Route, job: Job, root: Path | None) -> None:
        """What is left of a folder bundle's folder: litter goes along, empty folders go."""
        moved = next((s for s in job.sources if s.stored is not None), None)
        target = _whole(job, moved) if moved is not None else job.bundle
        await self._on(route)(clear_folder, route.inbox, job.bundle or "", root, target or "")

    async def _filed(self, job: Job, ends: Sequence["_End"]) -> None:
        now = _by_path(job)
        steps: list[_Step] = []
        for end in ends:
            stored = {"stored": now[end.source.path].stored} if end.place in (Place.DONE, Place.FAILED) else {}
            steps.append((end.source, {"place": end.place, **stored}, {"filed": True}))

        def put_away(c: Connection, some: list[_Step]) -> None:
            # Somebody may want it again by now: then it is on its way back, and not at the end of it.
            ended = moves.is_in(c, job.id, job.state)
            moves.put_away(c, job, some if ended else [(source, every, {}) for source, every, _ in some])

        def filed(c: Connection) -> None:
            put_away(c, steps)
            if job.state is State.DELIVERED and job.error is not None:
                moves.change(c, job.id, State.DELIVERED, job.updated, error=None)

        # What is not told yet when the power goes is found where it is, as if nothing had been told.
        while len(steps) > _IN_ONE_COMMIT:
            some, steps = steps[:_IN_ONE_COMMIT], steps[_IN_ONE_COMMIT:]
            await self._ledger.write(partial(put_away, some=some), point="filed")
        await self._ledger.write(filed, point="filed")
        for n, end in enumerate(ends, 1):
            bound = log.bind(job=job.id, route=job.route, path=end.source.path)
            if end.outcome == "changed":
                bound.info("source_replaced", reason="another file lies in its place by now; it is taken as a new one")
            elif end.outcome == "gone":
                bound.info("source_gone", reason="somebody took it out of the inbox")
            else:
                bound.info("source_filed", place=end.place)
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)


_Step = tuple[Source, Mapping[str, Any], Mapping[str, Any]]
"""A source, what every job of these files is to know of it, and what its own job alone."""


@dataclass(frozen=True, slots=True)
class _End:
    """Where a source, as it was, has come to."""

    source: Source
    place: Place
    outcome: Archived = "moved"


def _archive(
    inbox: Path, root: Path, ways: Sequence[tuple[Source, str]], like: Like
) -> list[Archived]:  # fmt: skip
    """Bring each source to where it is to lie; what became of them, up to the first whose place is taken. In a
    thread."""
    outcomes: list[Archived] = []
    for source, stored in ways:
        try:
            outcomes.append(
                archive(inbox, source.path, root, stored, source.size, source.mtime_ns, like)
            )  # fmt: skip
        except FileExistsError:
            break
        sign_of_life()
    return outcomes


def _named(job: Job, place: Place, free: Mapping[str, str]) -> list[Source]:
    """What of a job still lies in the inbox, with where it is to go and what its notices are named after. In a thread:
    there may be thousands."""
    here = [s for s in job.sources if not s.filed and s.place is Place.INBOX]
    chosen = [replace(s, stored=stored_path(job, s, free[moved_name(job, s)])) for s in here]
    if place is Place.FAILED:
        chosen = [s if s.role is Role.TICKET else replace(s, told=_whole(job, s)) for s in chosen]
    return chosen


def _stage_notices(route: Route, job: Job, source: Source, staging: Path, like: Like) -> None:
    """In a thread: a sidecar may have to tell of thousands of files."""
    write_staged(staging / "json", sidecar.write(job, success=False, model=route.model), like)
    write_staged(staging / "txt", sentence(job, source).encode(), like)


def _by_path(job: Job) -> dict[str, Source]:
    """A job's sources by their paths, as they are by now."""
    return {s.path: s for s in job.sources}


def _with(job: Job, changed: Sequence[Source]) -> Job:
    """The job with these sources in place of what they were."""
    by_path = {s.path: s for s in changed}
    return replace(job, sources=tuple(by_path.get(s.path, s) for s in job.sources))


def _whole(job: Job, source: Source) -> str:
    """What was moved with a source, below done/ or failed/: itself, or its bundle's folder."""
    stored = source.stored or source.path
    inside = len(source.path) - len(job.bundle or "") if job.in_folder else 0
    return stored[: len(stored) - inside]


def _names_are_open(job: Job, others: Sequence[Job]) -> bool:
    """Whether the files still lie in the inbox and no job of theirs has chosen where in failed/ they go."""
    at_home = {s.path for s in job.sources if s.place is Place.INBOX and not s.filed}
    return bool(at_home) and not any(s.told for other in others for s in other.sources if s.path in at_home)
