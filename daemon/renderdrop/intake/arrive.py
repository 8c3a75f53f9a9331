"""What a settled group becomes: a job, a job that waits for partners, or one that fails. Pure.

Owns how long a group is waited for, and which of its files go with the job. The monotonic time is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from renderdrop.intake.bundle import Assembly, Part, Piece, meant, orphaned, overdue, part_of
from renderdrop.intake.gather import Group
from renderdrop.intake.settle import Sighting
from renderdrop.model.arrival import Arrival
from renderdrop.model.job import Role, Source
from renderdrop.model.route import Route
from renderdrop.model.wishes import Wishes

_ORPHAN: Final = 1800.0
"""Seconds that a ticket waits for its file where bundles wait for ever."""


@dataclass(slots=True)
class Case:
    """The pieces of one job to be, and what is known of them."""

    group: Group
    pieces: tuple[Piece, ...]
    files: dict[str, Sighting]
    """What has settled, by path; partners that ended jobs have left there too."""
    assembly: Assembly
    wishes: tuple[Wishes, ...] = (Wishes(),)
    priority: int | None = None
    refusal: str | None = None
    derived_from: str | None = None

    @property
    def own(self) -> list[str]:
        """The paths that are gathered here, without partners that ended jobs have left."""
        return [path for path in self.files if path in self.group.settled]

    @property
    def fed(self) -> bool:
        """Whether there is anything that could be sent: a ticket alone is, where it names all that the job needs."""
        return bool(self.assembly.assigned) or (self.assembly.complete and bool(self.assembly.supplied))


def due(route: Route, case: Case, ticket_wait: float) -> float:
    """When it may be decided (monotonic seconds): what lacks partners at once, so that this is seen; all else when no
    ticket, and no file that it could do without, is to be expected any more."""
    found = case.assembly
    if found.missing and found.trouble is None:
        return 0.0
    if found.ticket is not None and (found.trouble is not None or not (found.lacking or found.supplied)):
        return 0.0
    media = [s.since for path, s in case.files.items() if part_of(route, path) is Part.MEDIA]
    return max(media or [s.since for s in case.files.values()]) + ticket_wait


def patience(route: Route, case: Case) -> float | None:
    """Until when (monotonic seconds) a ticket waits for its file; None: for as long as that file is empty."""
    if case.group.empty:
        return None
    return max(s.since for s in case.files.values()) + (route.bundle_timeout or _ORPHAN)


def late_name(route: Route, case: Case) -> str | None:
    """The path of the file, or the bundle, whose job may have begun without these; None where they bring a required
    input themselves."""
    optional = {given.name for given in route.inputs if given.optional}
    if any(name not in optional for name, _, _ in case.assembly.assigned):
        return None
    if route.bundle == "file":
        return meant(case.assembly.tickets[0]) if case.assembly.tickets else None
    return case.assembly.bundle


def arrival_of(route: Route, case: Case, ids: Sequence[str], now: float, ticket_wait: float) -> Arrival:
    """What the ledger is to adopt; `ids` has one for each of the case's wishes."""
    found, refusal, waiting_for = case.assembly, case.refusal, None
    if refusal is None and not case.fed:
        refusal = orphaned(route, found.tickets[0], ticket_wait)
    elif refusal is None and found.missing:
        if case.group.deadline is not None and now >= case.group.deadline:
            refusal = overdue(route, found, route.bundle_timeout)
        else:
            waiting_for = ", ".join(found.missing)
    whole = refusal is None and waiting_for is None
    return Arrival(
        jobs=tuple(zip(ids, case.wishes, strict=True)) if whole else ((ids[0], Wishes()),),
        sources=_sources(case, refused=refusal is not None),
        seen_at=min(case.files[path].seen_at for path in case.own),
        priority=case.priority if whole else None,
        bundle=found.bundle if case.fed or route.bundle == "folder" else None,
        waiting_for=waiting_for,
        refusal=refusal,
        derived_from=case.derived_from,
    )


def _sources(case: Case, *, refused: bool) -> tuple[Source, ...]:
    """The inputs in their order, then the ticket. What fails takes nothing along that was there before."""
    # A ticket that fails by itself is what was dropped: it is the file that the notices are about.
    as_ticket = Role.TICKET if case.fed or case.assembly.assigned else Role.FILE
    roles = [*case.assembly.assigned, *(("", path, as_ticket) for path in case.assembly.tickets)]
    return tuple(
        Source(name, path, case.files[path].size, case.files[path].mtime_ns, role=role)
        for name, path, role in roles
        if not refused or path in case.group.settled
    )
