"""One inbox: swept, looked at, and its settled files accepted as jobs.

Owns a route's sightings. The sweep is the truth; hints only make a look come sooner. Accepting is one
ledger transaction, so a file is either a job or still a sighting, never both or neither; it must never
open a file for longer than to ask whether somebody still writes it.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import structlog

from renderdrop.intake.refuse import refusal
from renderdrop.intake.settle import Sighting, Verdict, again, first, postpone
from renderdrop.ledger import moves, queries
from renderdrop.ledger.moves import Arrival, Earlier
from renderdrop.ledger.store import Ledger
from renderdrop.model import ids
from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.names import notices, shown
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.share.ignore import Ignore
from renderdrop.share.publish import remove_own
from renderdrop.share.scan import Entry, look, scan
from renderdrop.share.source import open_source

log = structlog.get_logger()

_AT_ONCE: Final = 200
"""Jobs made in one transaction, so that other writes get their turn between."""
_STILL_WRITTEN: Final = "a program still has it open for writing"


class Inbox:
    """The sightings of one route. `settle` in seconds; `leases` where a writer can be recognised."""

    def __init__(self, route: Route, ledger: Ledger, clock: Clock, ignore: Ignore, settle: float, leases: bool) -> None:
        self.route = route
        self.ignore = ignore
        self.settle = settle
        self.swept = False
        self._ledger = ledger
        self._clock = clock
        self._leases = leases
        self._sightings: dict[str, Sighting] = {}
        self._unreadable: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether everything that lies there was dealt with (an empty file waits for its bytes without being work)."""
        return self.swept and all(s.postponed and s.size == 0 for s in self._sightings.values())

    @property
    def waiting(self) -> int:
        """How many files are being watched until they settle."""
        return len(self._sightings)

    async def sweep(self) -> None:
        """Look at the whole inbox: what is new is watched from now on. Raises ShareOffline."""
        found = await asyncio.to_thread(scan, self.route.inbox, self.ignore)
        known = await self._ledger.read(lambda c: queries.known_in_inbox(c, self.route.name))
        present = set()
        for entry in found.entries:
            present.add(entry.path)
            there = known.get(entry.path)
            if there is None or not (there.open or (there.size, there.mtime_ns) == (entry.size, entry.mtime_ns)):
                self._notice(entry)
        for path in [path for path in self._sightings if path not in present]:
            del self._sightings[path]
        for path, reason in found.unreadable:
            if path not in self._unreadable:
                log.warning("folder_unreadable", route=self.route.name, path=path, reason=reason)
        self._unreadable = {path for path, _ in found.unreadable}
        self.swept = True

    async def glance(self, paths: Sequence[str]) -> None:
        """Look at the paths that hints named. Raises ShareOffline."""
        wanted = [path for path in paths if self.ignore.path(path, False) is None]
        if not wanted:
            return
        now = self._clock.monotonic()
        fresh = []
        for path in wanted:
            if path in self._sightings:
                self._sightings[path].due = min(self._sightings[path].due, now + self.settle / 2)
            else:
                fresh.append(path)
        if not fresh:
            return
        entries = await asyncio.to_thread(look, self.route.inbox, fresh)
        known = await self._ledger.read(lambda c: queries.known_paths(c, self.route.name, fresh))
        for path, entry in entries.items():
            there = known.get(path)
            if entry is not None and (
                there is None or not (there.open or (there.size, there.mtime_ns) == (entry.size, entry.mtime_ns))
            ):
                self._notice(entry)

    async def look(self) -> int:
        """Look again at what is due, accept what has settled; returns the number of new jobs. Raises ShareOffline."""
        now = self._clock.monotonic()
        due = [s for s in self._sightings.values() if s.due <= now]
        if not due:
            return 0
        entries = await asyncio.to_thread(look, self.route.inbox, [s.path for s in due])
        now = self._clock.monotonic()
        settled: list[Sighting] = []
        for s in due:
            entry = entries[s.path]
            kind = entry.kind if entry is not None else None
            size, mtime_ns = (entry.size, entry.mtime_ns) if entry is not None else (0, 0)
            verdict = again(s, kind, size, mtime_ns, now, self.settle)
            if verdict is Verdict.GONE:
                self._sightings.pop(s.path, None)
            elif verdict is Verdict.SETTLED:
                settled.append(s)
            elif s.postponed and s.looks == 3:
                log.info("file_empty", route=self.route.name, path=s.path)
        accepted = 0
        for i in range(0, len(settled), _AT_ONCE):
            accepted += await self._accept(settled[i : i + _AT_ONCE])
        return accepted

    def _notice(self, entry: Entry) -> None:
        if entry.path not in self._sightings:
            now = self._clock.monotonic()
            self._sightings[entry.path] = first(
                entry.path, entry.kind, entry.size, entry.mtime_ns, self._clock.text(), now, self.settle
            )

    async def _accept(self, settled: Sequence[Sighting]) -> int:
        refusals = {s.path: refusal(self.route, s.path, s.kind) for s in settled}
        checked = await asyncio.to_thread(self._open_each, [s for s in settled if refusals[s.path] is None])
        arrivals: list[Arrival] = []
        for s in settled:
            trouble = checked.get(s.path)
            if trouble is _STILL_WRITTEN:
                if not s.postponed:
                    log.info("file_still_written", route=self.route.name, path=s.path)
                postpone(s, trouble, self._clock.monotonic(), self.settle)
                continue
            arrivals.append(Arrival(self._new_id(), s.path, s.size, s.mtime_ns, s.seen_at, refusals[s.path] or trouble))
        at = self._clock.text()
        adopted = await self._ledger.write(lambda c: moves.adopt(c, at, self.route, arrivals))
        for arrival in arrivals:
            self._sightings.pop(arrival.path, None)
            if arrival.job_id in adopted:
                bound = log.bind(job=arrival.job_id, route=self.route.name)
                if arrival.refusal is None:
                    bound.info("job_queued", path=arrival.path, size=arrival.size)
                else:
                    bound.warning("job_failed", path=arrival.path, reason=arrival.refusal)
        earlier = [e for former in adopted.values() for e in former]
        if earlier:
            await asyncio.to_thread(self._take_notices_away, earlier)
        return len(adopted)

    def _open_each(self, settled: Sequence[Sighting]) -> dict[str, str | None]:
        """For each path: None = may be taken, _STILL_WRITTEN, or why it can never be."""
        found: dict[str, str | None] = {}
        for s in settled:
            try:
                with open_source(self.route.inbox, s.path) as source:
                    same = (source.size, source.mtime_ns) == (s.size, s.mtime_ns)
                    written = self._leases and source.being_written()
                    found[s.path] = None if same and not written else _STILL_WRITTEN
            except (SourceGone, SourceChanged):
                found[s.path] = _STILL_WRITTEN
            except NotTakeable as fault:
                found[s.path] = fault.sentence
        return found

    def _take_notices_away(self, earlier: Sequence[Earlier]) -> None:
        """The source came back from failed/: what was said of it there no longer holds."""
        try:
            still_there = look(self.route.failed, [e.stored for e in earlier])
            for former in earlier:
                if still_there[former.stored] is None:
                    for notice in notices(former.stored):
                        remove_own(self.route.failed, notice)
        except ShareOffline as fault:
            log.info("notices_left", route=self.route.name, reason=shown(fault.sentence))

    def _new_id(self) -> str:
        return ids.job_id(int(self._clock.now().timestamp() * 1000), random.getrandbits(ids.RANDOM_BITS))
