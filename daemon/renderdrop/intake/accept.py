"""Groups that stand still become jobs: the decision, its reading and its one transaction.

Owns the order: what is known of a group is asked, its files are opened and read, and then one commit makes it a job,
a job that waits for partners, or one that fails with a sentence. A group is a job's or still gathered, never both or
neither. It must never move or change a file.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

import structlog

from renderdrop.intake.arrive import Case, arrival_of, due, late_name, patience
from renderdrop.intake.bundle import Piece, assemble, bundle_of, meant, parted, too_late
from renderdrop.intake.gather import Gather, Group
from renderdrop.intake.reading import Read, Reading
from renderdrop.intake.settle import Sighting
from renderdrop.ledger import queries
from renderdrop.ledger.adopt import adopt
from renderdrop.ledger.store import Ledger
from renderdrop.model import ids
from renderdrop.model.arrival import Adopted, Arrival, Earlier
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disk
from renderdrop.share.scan import Entry, look

log = structlog.get_logger()

_MANY: Final = 500
"""Files of one group that are not gone through on the event loop any more."""
_IN_THE_MAKING: Final = "the job that makes it has not delivered all of it yet"


@dataclass(slots=True)
class Decided:
    """What came of deciding groups."""

    jobs: int = 0
    """New jobs that may go on, those that failed at once among them."""
    unready: list[tuple[Sighting, str]] = field(default_factory=list)
    """Files that must settle again, and why."""
    unseen: list[Entry] = field(default_factory=list)
    """What lies there and was not sighted as it is now."""
    earlier: list[Earlier] = field(default_factory=list)
    """What was said before and no longer holds."""


class Accept:
    """Decides the groups of one inbox. `leases` where a writer can be recognised; `ticket_wait` in seconds; `waits`:
    since when each job waits for partners, on the wall clock as the ledger has it and on the monotonic one."""

    def __init__(
        self, route: Route, ledger: Ledger, clock: Clock, disk: Disk, gather: Gather, leases: bool, ticket_wait: float,
        waits: dict[str, tuple[str, float]],
    ) -> None:  # fmt: skip
        self._route = route
        self._ledger = ledger
        self._clock = clock
        self._gather = gather
        self.leases = leases
        self._disk = disk
        self._ticket_wait = ticket_wait
        self._waits = waits
        self._last_id = 0
        """The time in the ids that were given last, in milliseconds since 1970."""

    async def decide(self, groups: Sequence[Group]) -> Decided:
        """Decide groups that stand still; what cannot be decided yet is gathered on. Raises ShareOffline."""
        decided = Decided()
        cases = await self._due(groups, decided)
        await self._ask_after_late(cases)
        cases = [case for case in cases if not await self._in_the_making(case, decided)]
        reads = await self._disk(self._read, cases)
        cases = [case for case, read in zip(cases, reads, strict=True) if self._heeds(case, read, decided)]
        cases = [case for case in cases if not self._rests(case)]
        now, at = self._clock.monotonic(), self._clock.text()
        new = self._new_ids(sum(len(case.wishes) for case in cases))
        arrivals = [
            arrival_of(self._route, case, tuple(islice(new, len(case.wishes))), now, self._ticket_wait)
            for case in cases
        ]
        if arrivals:
            adopted = await self._ledger.write(lambda c: adopt(c, at, self._route, arrivals), point="adopted")
            for case, arrival, became in zip(cases, arrivals, adopted, strict=True):
                self._conclude(case, arrival, became, decided, at)
        return decided

    async def _due(self, groups: Sequence[Group], decided: Decided) -> list[Case]:
        """The jobs to be of these groups; those whose ticket may still come are put off."""
        kept = await self._kept(groups, decided)
        now = self._clock.monotonic()
        cases: list[Case] = []
        for group in groups:
            if any(self._gather.key(entry.path) == group.key for entry in decided.unseen):
                self._gather.again(group)
                continue
            partners = kept.get(group.key, {})
            files = {**partners, **group.settled}
            pieces = [*group.pieces, *(Piece(s.path, s.kind) for s in partners.values())]
            if len(pieces) > _MANY:
                found, later = await asyncio.to_thread(self._cases, group, pieces, files)
            else:
                found, later = self._cases(group, pieces, files)
            if later > now:
                self._gather.again(group, later)
            else:
                cases += found
        return cases

    def _cases(self, group: Group, pieces: Sequence[Piece], files: dict[str, Sighting]) -> tuple[list[Case], float]:
        """A group's jobs to be, and when they may be decided (monotonic)."""
        found = [case for part in parted(self._route, pieces) if (case := self._case(group, part, files)).own]
        return found, max(due(self._route, case, self._ticket_wait) for case in found)

    def _case(self, group: Group, pieces: tuple[Piece, ...], files: dict[str, Sighting]) -> Case:
        found = assemble(self._route, pieces)
        return Case(group, pieces, {p.path: files[p.path] for p in pieces if not p.empty}, found, refusal=found.trouble)

    async def _kept(self, groups: Sequence[Group], decided: Decided) -> dict[str, dict[str, Sighting]]:
        """Partners that ended jobs have left in the inbox (`after = "keep"`), by group: to a new or changed file they
        belong again, as long as they are what they were."""
        route, found = self._route, dict[str, dict[str, Sighting]]()
        if route.after != "keep":
            return found
        paths = [meant(path) or path for group in groups for path in group.settled]
        names = {"paths": paths} if route.bundle == "file" else {"bundles": {bundle_of(route, p) or p for p in paths}}
        left = await self._ledger.read(lambda c: queries.kept(c, route.name, **names))
        left = {path: stat for path, stat in left.items() if self._gather.settled(path) is None}
        for path, entry in (await self._disk(look, route.inbox, left)).items():
            if entry is None:
                continue
            if (entry.size, entry.mtime_ns) != left[path]:
                decided.unseen.append(entry)
                continue
            s = Sighting(path, entry.kind, entry.size, entry.mtime_ns, self._clock.text(), since=0.0, due=0.0)
            found.setdefault(self._gather.key(path) or "", {})[path] = s
        return found

    async def _ask_after_late(self, cases: Sequence[Case]) -> None:
        """A ticket or an optional file whose job has begun without it must not wait for what will never come."""
        late = {name: case for case in cases if (name := late_name(self._route, case)) is not None}
        if late:
            names = {"paths" if self._route.bundle == "file" else "bundles": list(late)}
            begun = await self._ledger.read(lambda c: queries.begun(c, self._route.name, **names))
            for name, job_id in begun.items():
                late[name].refusal = late[name].refusal or too_late(min(late[name].own), job_id)

    async def _in_the_making(self, case: Case, decided: Decided) -> bool:
        """Whether the job of another route that makes what lies here is still at it; else notes what it came from."""
        if not self._route.fed_by:
            return False
        for path in case.own:
            folder, slash, name = path.rpartition("/")
            ask = partial(queries.maker_of, routes=self._route.fed_by, folder=folder, file=name)
            maker, s = await self._ledger.read(ask), case.files[path]
            if maker is None or not any(o.file == name and o.size in (None, s.size) for o in maker.outputs):
                continue
            if maker.state is State.RENDERED:
                decided.unready.append((s, _IN_THE_MAKING))
                return True
            if maker.state is State.DELIVERED and case.derived_from is None:
                case.derived_from = f"{folder}{slash}{maker.base}.json"
        return False

    def _read(self, cases: Sequence[Case]) -> list[Read | None]:
        """What the files of each case say; nothing is read of what fails anyway. In a thread."""
        reading = Reading(self._route, self.leases, self._gather.batches)
        return [
            reading.read(case.pieces, case.files, case.assembly) if case.refusal is None else None for case in cases
        ]

    def _heeds(self, case: Case, read: Read | None, decided: Decided) -> bool:
        """Takes over what was read; False where a file was not ready for it."""
        if read is None:
            return True
        own = [path for path in read.unready if path in case.group.settled]
        decided.unready += [(case.files[path], read.unready[path]) for path in own]
        decided.unseen += read.unseen
        if read.unready or read.unseen:
            self._gather.again(case.group)
            return False
        case.assembly, case.refusal = read.assembly, read.refusal
        case.wishes, case.priority = read.wishes, read.priority
        if case.assembly.supplied and (later := due(self._route, case, self._ticket_wait)) > self._clock.monotonic():
            self._gather.again(case.group, later)
            return False
        return True

    def _rests(self, case: Case) -> bool:
        """Whether it is a ticket that waits for its file."""
        if case.refusal is not None or case.fed:
            return False
        until = patience(self._route, case)
        if until is not None and until <= self._clock.monotonic():
            return False
        self._gather.again(case.group, until, rests=True)
        return True

    def _conclude(self, case: Case, arrival: Arrival, became: Adopted | None, decided: Decided, at: str) -> None:
        if became is None:
            self._gather.done(case.group, case.own)
            return
        decided.earlier += became.earlier
        bound = log.bind(job=became.jobs[0], route=self._route.name, path=arrival.sources[0].path)
        if arrival.waiting_for is not None:
            self._await(case.group, became, at)
            if case.group.told != arrival.waiting_for:
                case.group.told = arrival.waiting_for
                bound.info("bundle_waits", waiting_for=arrival.waiting_for)
            return
        self._waits.pop(became.jobs[0], None)
        self._gather.done(case.group, case.own)
        decided.jobs += len(became.jobs)
        if arrival.refusal is not None:
            bound.warning("job_failed", reason=arrival.refusal)
            return
        for job_id in became.jobs:
            bound.info("job_queued", job=job_id, size=sum(s.size for s in arrival.sources))

    def _await(self, group: Group, became: Adopted, at: str) -> None:
        """Partners are waited for. How long an earlier run of the daemon has waited, only the wall clock can tell, and
        it is asked once; from then on, and for a job that was made just now (`at`), the monotonic one counts. A job
        that is tried again waits anew."""
        job_id, timeout = became.jobs[0], self._route.bundle_timeout
        since, began = self._waits.get(job_id, ("", 0.0))
        if since != became.since:
            made_now = became.since == at
            waited = 0.0 if made_now else (self._clock.now() - datetime.fromisoformat(became.since)).total_seconds()
            began = self._clock.monotonic() - max(waited, 0.0)  # a clock set back: no time has passed
            self._waits[job_id] = (became.since, began)
        group.deadline = began + timeout if timeout else None
        self._gather.again(group, group.deadline, rests=True)

    def _new_ids(self, number: int) -> Iterator[str]:
        """So many ids, no two alike, each behind the last: a flood of files brings hundreds within a millisecond, and
        jobs that were queued in one go by their ids."""
        self._last_id = max(int(self._clock.now().timestamp() * 1000), self._last_id + 1)
        return (ids.job_id(self._last_id, n) for n in sorted(random.sample(range(2**ids.RANDOM_BITS), number)))
