"""One inbox: swept, looked at, and its settled files handed on to become jobs.

Owns a route's sightings. The sweep is the truth; hints only make a look come sooner. What has settled is gathered
with its partners and decided with them; it must never open a file for longer than it takes to read a ticket.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import structlog

from renderdrop.intake.accept import Accept, Decided
from renderdrop.intake.gather import Gather, Group
from renderdrop.intake.reading import STILL_WRITTEN, Own, own_files
from renderdrop.intake.settle import Sighting, Verdict, again, first, postpone
from renderdrop.intake.untell import take_chain_notice, take_notices
from renderdrop.ledger import queries
from renderdrop.ledger.adopt import disband
from renderdrop.ledger.queries import Known
from renderdrop.ledger.store import Ledger
from renderdrop.model.arrival import Earlier
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Place
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.share.ignore import Ignore
from renderdrop.share.publish import names_in, remove
from renderdrop.share.scan import Entry, look, scan

log = structlog.get_logger()

_AT_ONCE: Final = 50
"""Groups decided in one transaction, so that other writes get their turn between."""

_A_TURN: Final = 200
"""Files after which the event loop is left to others: 100,000 in one go would be seconds."""

T = TypeVar("T")


class Inbox:
    """The sightings of one route. `settle` and `ticket_wait` in seconds; `leases` where a writer can be recognised;
    `routes` are all routes by name; `waits`: since when (wall, monotonic) jobs wait for partners, kept from here on."""

    def __init__(
        self, route: Route, ledger: Ledger, clock: Clock, disks: Disks, ignore: Ignore, settle: float, leases: bool,
        ticket_wait: float = 0.0, routes: Mapping[str, Route] | None = None,
        waits: dict[str, tuple[str, float]] | None = None,
    ) -> None:  # fmt: skip
        self.route = route
        self.ignore = ignore
        self.settle = settle
        self.swept = False
        self._ledger = ledger
        self._clock = clock
        self._disks = disks
        self._disk = disks.of(route)
        self._routes = routes or {}
        self._sightings: dict[str, Sighting] = {}
        self._gather = Gather(route)
        self._waits = waits if waits is not None else {}
        self._accept = Accept(route, ledger, clock, self._disk, self._gather, leases, ticket_wait, self._waits)
        self._left: dict[str, tuple[int, int]] = {}
        """Sidecars and notices of ours, with size and mtime_ns: never work."""
        self._unreadable: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether everything that lies there was dealt with. An empty file waits for its bytes, and a bundle for its
        partners, without being work."""
        watched = all(s.postponed and s.size == 0 for s in self._sightings.values())
        return self.swept and watched and self._gather.idle

    @property
    def waiting(self) -> int:
        """How many files are being watched until they settle."""
        return len(self._sightings)

    def use_leases(self, leases: bool) -> None:
        """Whether a writer can be recognised where the inbox lies."""
        self._accept.leases = leases

    async def sweep(self) -> None:
        """Look at the whole inbox: what is new is watched from now on. Raises ShareOffline."""
        found = await self._disk(scan, self.route.inbox, self.ignore)
        known = await self._ledger.read(lambda c: queries.known_in_inbox(c, self.route.name))
        await self._meet(found.entries, known)
        for path, reason in found.unreadable:
            if path not in self._unreadable:
                log.warning("folder_unreadable", route=self.route.name, path=path, reason=reason)
        self._unreadable = {path for path, _ in found.unreadable}
        present = {entry.path for entry in found.entries}
        async for path in _in_turns([*self._sightings, *self._gather.paths]):
            if self._is_gone(path, present):
                self._forget(path)
        self._left = {path: stat for path, stat in self._left.items() if path in present}
        await self._disband(present)
        self.swept = True

    async def glance(self, paths: Sequence[str]) -> None:
        """Look at the paths that hints named. Raises ShareOffline."""
        wanted = [path for path in paths if self.ignore.path(path, False) is None]
        now = self._clock.monotonic()
        fresh = []
        for path in wanted:
            if path in self._sightings:
                self._sightings[path].due = min(self._sightings[path].due, now + self.settle / 2)
            else:
                fresh.append(path)
        if not fresh:
            return
        entries = await self._disk(look, self.route.inbox, fresh)
        for path, entry in entries.items():
            if entry is None and self._gather.settled(path) is not None:
                self._forget(path)
        await self._meet_some([entry for entry in entries.values() if entry is not None])

    async def look(self) -> int:
        """Look again at what is due, decide what has settled; returns the number of new jobs. Raises ShareOffline."""
        await self._look_again()
        groups = self._gather.take(self._clock.monotonic())
        jobs = 0
        for begin in range(0, len(groups), _AT_ONCE):
            try:
                whole = [group for group in groups[begin : begin + _AT_ONCE] if await self._is_whole(group)]
                decided = await self._accept.decide(whole)
            except ShareOffline:
                for group in groups[begin:]:
                    self._gather.again(group)
                raise
            jobs += decided.jobs
            await self._go_on(decided)
        return jobs

    async def _look_again(self) -> None:
        now = self._clock.monotonic()
        due = [s for s in self._sightings.values() if s.due <= now]
        if not due:
            return
        entries = await self._disk(look, self.route.inbox, [s.path for s in due])
        now = self._clock.monotonic()
        settled: list[Sighting] = []
        async for s in _in_turns(due):
            entry = entries[s.path]
            kind = entry.kind if entry is not None else None
            size, mtime_ns = (entry.size, entry.mtime_ns) if entry is not None else (0, 0)
            verdict = again(s, kind, size, mtime_ns, now, self.settle)
            if verdict is Verdict.GONE:
                self._forget(s.path)
            elif verdict is Verdict.SETTLED:
                settled.append(s)
            else:
                self._gather.watch(s.path, empty=bool(s.postponed))
                if s.postponed and s.looks == 3:
                    log.info("file_empty", route=self.route.name, path=s.path)
        ours = await self._disk(own_files, self.route.inbox, settled)
        told = {job_id for own, job_id in ours.values() if own is Own.NOTICE}
        failed = await self._ledger.read(lambda c: queries.of_route(c, self.route.name, told)) if told else told
        async for s in _in_turns(settled):
            del self._sightings[s.path]
            if s.path not in ours:
                self._gather.settle(s)
                continue
            self._left[s.path] = (s.size, s.mtime_ns)
            self._gather.forget(s.path)
            own, job_id = ours[s.path]
            if own is Own.NOTICE and job_id in failed:
                await self._disk(remove, self.route.inbox, s.path, s.size, s.mtime_ns)
                log.info("notice_removed", route=self.route.name, path=s.path)

    async def _meet(self, entries: Iterable[Entry], known: Mapping[str, Known]) -> int:
        """Watch those of the entries that are new or changed; returns how many. `known`: what the ledger says."""
        now, new = self._clock.monotonic(), 0
        async for e in _in_turns(entries):
            there, gathered = known.get(e.path), self._gather.settled(e.path)
            if e.path in self._sightings or self._left.get(e.path) == (e.size, e.mtime_ns):
                continue
            if gathered is not None:
                if (gathered.kind, gathered.size, gathered.mtime_ns) == (e.kind, e.size, e.mtime_ns):
                    continue
            elif there is not None and (there.open or (there.size, there.mtime_ns) == (e.size, e.mtime_ns)):
                continue
            seen = first(e.path, e.kind, e.size, e.mtime_ns, self._clock.text(), now, self.settle)
            self._sightings[e.path] = seen
            self._gather.watch(e.path)
            new += 1
        return new

    async def _meet_some(self, entries: Sequence[Entry]) -> int:
        paths = [entry.path for entry in entries]
        known = await self._ledger.read(lambda c: queries.known_paths(c, self.route.name, paths)) if paths else {}
        return await self._meet(entries, known)

    def _forget(self, path: str) -> None:
        self._sightings.pop(path, None)
        self._gather.forget(path)

    def _is_gone(self, path: str, present: set[str]) -> bool:
        """Of what lies in a folder that cannot be read nothing is known, so it is not gone either."""
        return path not in present and not any(path.startswith(f"{folder}/") for folder in self._unreadable)

    async def _is_whole(self, group: Group) -> bool:
        """Whether a bundle's folder holds nothing but what has settled; else its group comes again."""
        if self.route.bundle != "folder" or not any("/" in path for path in group.settled):
            return True
        found = await self._disk(scan, self.route.inbox, self.ignore, group.key)
        present = {entry.path for entry in found.entries}
        gone = [] if found.unreadable else [path for path in group.settled if path not in present]
        for path in gone:
            self._forget(path)
        if not await self._meet_some(found.entries) and not gone and not found.unreadable:
            return True
        self._gather.again(group, self._clock.monotonic() + self.settle)
        return False

    async def _disband(self, present: set[str]) -> None:
        """Jobs that waited for partners, and whose own files were taken away, wait no more."""
        at, reason = self._clock.text(), "its files were taken out of the inbox before it was complete"
        for job in await self._ledger.read(lambda c: queries.incomplete(c, self.route.name)):
            here = [s.path for s in job.inputs]
            if all(s.place is Place.INBOX for s in job.sources) and all(self._is_gone(p, present) for p in here):
                await self._ledger.write(partial(disband, job_id=job.id, at=at, reason=reason), point="disbanded")
                self._waits.pop(job.id, None)
                log.info("job_cancelled", job=job.id, route=self.route.name, reason=reason)

    async def _go_on(self, decided: Decided) -> None:
        now = self._clock.monotonic()
        for s, why in decided.unready:
            if why is STILL_WRITTEN and not s.postponed:
                log.info("file_still_written", route=self.route.name, path=s.path)
            postpone(s, why, now, self.settle)
            self._sightings[s.path] = s
            self._gather.watch(s.path)
        await self._meet_some(decided.unseen)
        if decided.earlier:
            await self._take_notices_away(decided.earlier)

    async def _take_notices_away(self, earlier: Sequence[Earlier]) -> None:
        """The source came back from failed/: what was said of it there no longer holds."""
        try:
            await self._disk(self._take_from_failed, earlier)
        except ShareOffline as fault:
            log.info("notices_left", route=self.route.name, reason=shown(fault.sentence))
            return
        for former in earlier:
            if former.base is not None:
                folder = former.told.rpartition("/")[0]
                await take_chain_notice(self._disks, self.route, self._routes, former.job_id, folder, former.base)

    def _take_from_failed(self, earlier: Sequence[Earlier]) -> None:
        still_there = look(self.route.failed, [e.stored for e in earlier])
        for former in earlier:
            if still_there[former.stored] is None and not names_in(self.route.failed, former.told):
                take_notices(self.route, former.told, {former.job_id})


async def _in_turns(things: Iterable[T]) -> AsyncIterator[T]:
    """The same things, with a turn on the event loop for others after every so many."""
    for n, thing in enumerate(things, 1):
        yield thing
        if n % _A_TURN == 0:
            await asyncio.sleep(0)
