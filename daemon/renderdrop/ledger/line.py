"""The queued jobs that could go next, of a queue of any length.

Owns the reads behind `dispatch/turn`: a few of each line, found by index, so that a look at 100,000 jobs costs what
a look at ten does. Jobs that are pinned to clusters or a workflow of their own are found by themselves: however many of
them wait for a full cluster, nobody goes through them to those that could be sent. Plain functions of a connection;
none of them writes, and none decides.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from renderdrop.ledger.rows import chunks, pin_of, with_all
from renderdrop.ledger.schema import LAGS, PAID_FOR, PIN, WAITS, jobs, sources, submissions
from renderdrop.model.job import Job, Outcome, Place
from renderdrop.model.wishes import Pin

_LINES: Final = 8
"""Priorities of a route that are looked at, from the highest on. Of what lies below, only the oldest: every ticket may
name a priority of its own, and a look must not go through all of them."""
_PINS: Final = 64
"""Pins of a route that are looked at, the empty one first: as many as tickets name sets of clusters. Jobs with one
more wait until one of these has none left, or no room."""

AWAY: Final = (
    select(sources.c.id)
    .where(sources.c.job_id == jobs.c.id)
    .where(or_(sources.c.place.in_([Place.DONE, Place.FAILED]), sources.c.told.is_not(None)))
    .exists()
)
"""Of a queued job: it waits for a source to be brought back from done/ or failed/, or for the notices there to go."""


class InLine(NamedTuple):
    """A queued job that may be sent. `queued_at`: UTC, ISO 8601."""

    id: str
    route: str
    priority: int
    queued_at: str
    pin: Pin

    @property
    def since(self) -> datetime:
        """When it was queued."""
        return datetime.fromisoformat(self.queued_at)


_FEW: Final = select(jobs.c.id, jobs.c.route, jobs.c.priority, jobs.c.queued_at).where(WAITS, ~AWAY)


def in_line(
    conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int,
    full: Collection[tuple[str, Pin]] = (),
) -> list[InLine]:  # fmt: skip
    """Of each route and pin the first few of each priority, at most `limit` of each, without those in hand; and the
    oldest. None of what has a pin in `full`, which has no room now."""
    found: dict[str, InLine] = {}
    for route in routes:
        pins = ((text, pin) for text, pin in _pins(conn, route) if (route, pin) not in full)
        for text, pin in islice(pins, _PINS):
            pinned = _FEW.where(_of_pin(route, text))
            priorities = _priorities(conn, route, text)
            looks = [pinned.where(jobs.c.priority == priority) for priority in priorities[:_LINES]]
            if len(priorities) > _LINES:
                looks.append(pinned)
            for look in looks:
                found |= {one.id: one for one in _first(conn, look, but, limit, pin)}
    return list(found.values())


def waiting(conn: Connection, routes: Collection[str], most: int) -> dict[tuple[str, Pin], int]:
    """How many jobs of each route and pin wait to be sent, counted to `most` of each; what has none is left out."""
    found = {}
    for route in routes:
        for text, pin in islice(_pins(conn, route), _PINS):
            some = select(jobs.c.id).where(WAITS, _of_pin(route, text)).limit(most).subquery()
            found[route, pin] = int(conn.execute(select(func.count()).select_from(some)).scalar_one())
    return found


def paid_for(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Queued jobs of these routes whose tasks are paid for: they are asked after again, which needs no turn."""
    # By way of what is paid for (`coalesce` keeps the rest from its index), not of all that wait in these routes.
    of_routes = func.coalesce(jobs.c.route, "").in_(routes)
    query = select(jobs).where(PAID_FOR, jobs.c.task_id.is_not(None), of_routes, ~AWAY)
    rows = conn.execute(query.order_by(jobs.c.queued_at).limit(limit + len(but)))
    return with_all(conn, [row for row in rows if row.id not in but][:limit])


def lagging(conn: Connection, *, routes: Collection[str], but: Collection[str]) -> Job | None:
    """The job of these routes whose task lags and was sent first, of those that may be sent once more for it: never
    were, and have lost no answer."""
    lost = select(submissions.c.id).where(submissions.c.job_id == jobs.c.id, submissions.c.outcome == Outcome.UNKNOWN)
    may = (jobs.c.rescued.is_(False), jobs.c.status == "pending", ~lost.exists())
    query = select(jobs).where(LAGS, jobs.c.route.in_(routes), *may)
    rows = conn.execute(query.order_by(jobs.c.submitted_at).limit(1 + len(but)))
    found = with_all(conn, [row for row in rows if row.id not in but][:1])
    return found[0] if found else None


def jobs_of(conn: Connection, ids: Sequence[str]) -> list[Job]:
    """Those jobs with everything that hangs on them, in that order."""
    rows = {row.id: row for chunk in chunks(ids) for row in conn.execute(select(jobs).where(jobs.c.id.in_(chunk)))}
    return with_all(conn, [rows[i] for i in ids if i in rows])


def _pins(conn: Connection, route: str) -> Iterator[tuple[str, Pin]]:
    """The pins of what waits in a route, as the ledger has them and in words: a step in the index for each."""
    first = select(PIN).where(WAITS, jobs.c.route == route).order_by(PIN).limit(1)
    text = conn.execute(first).scalar()
    while text is not None:
        yield text, pin_of(text)
        text = conn.execute(first.where(text < PIN)).scalar()


def _of_pin(route: str, pin: str) -> ColumnElement[bool]:
    return and_(jobs.c.route == route, PIN.is_(pin))


def _priorities(conn: Connection, route: str, pin: str) -> list[int]:
    """The highest priorities that wait in a route with this pin, one more than are looked at."""
    highest = select(func.max(jobs.c.priority)).where(WAITS, _of_pin(route, pin))
    found: list[int] = []
    query = highest
    while len(found) <= _LINES and (priority := conn.execute(query).scalar()) is not None:
        found.append(priority)
        query = highest.where(jobs.c.priority < priority)
    return found


def _first(conn: Connection, query: Select[Any], but: Collection[str], limit: int, pin: Pin) -> list[InLine]:
    rows = conn.execute(query.order_by(jobs.c.queued_at, jobs.c.id).limit(limit + len(but)))
    return [InLine(r.id, r.route, r.priority, r.queued_at, pin) for r in rows if r.id not in but][:limit]
