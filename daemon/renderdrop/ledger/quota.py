"""What has been sent: today, and what is in flight; and the routes that a person has paused.

Owns what a day is to the ledger. A day's tasks are the submissions since it began that cost something or may have:
accepted, unanswered, or still open. Its beginning is a place in the ledger's own order and no time, so that a clock
that is set wrong gives no money away twice: a day that the clock shows once more goes on where it was, one that is
earlier than the last one shown (a clock set back) draws on what that one has left, and only a later one that was never
shown begins at zero. When one begins, days that lie ahead of it are forgotten: the clock that showed them was ahead.

Whoever asks again and again keeps what was counted (`Spent`), and only what came since then is counted anew: ids grow,
no submission is ever deleted, and what became of one that was answered is settled again by nobody but a start.

Plain functions of a connection. Those that write say so; they run in the transaction that commits an intent.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from renderdrop.ledger.schema import IN_FLIGHT, days, jobs, pauses, spares, submissions
from renderdrop.model.job import Outcome

_COSTS: Final = (Outcome.ACCEPTED, Outcome.UNKNOWN)
_OF_JOBS: Final = submissions.join(jobs, jobs.c.id == submissions.c.job_id)
_LAST: Final = select(func.coalesce(func.max(submissions.c.id), 0))


class Pause(NamedTuple):
    """A route that a person has paused. `since`: UTC, ISO 8601; `reason` in that person's words, "" = none given."""

    route: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What is used up of a day, counted as far as the submission `upto`: `answered` by route, and `open`, the route of
    each that has no answer yet. `after`: where the day began. Only what is committed may be kept."""

    after: int
    upto: int
    answered: Mapping[str, int]
    open: Mapping[int, str]

    def used(self, route: str | None = None) -> int:
        """By one route or by all."""
        if route is None:
            return sum(self.answered.values()) + len(self.open)
        return self.answered.get(route, 0) + sum(one == route for one in self.open.values())


def paused(conn: Connection) -> dict[str, Pause]:
    """The routes that are paused by hand."""
    return {row.route: Pause(row.route, row.since, row.reason) for row in conn.execute(select(pauses))}


def pause(conn: Connection, route: str, at: str, reason: str | None) -> bool:
    """Write that a route is paused; what was paused stays so since then, and keeps its reason where None is given.
    Returns whether it was not."""
    was = route in paused(conn)
    row = upsert(pauses).values(route=route, since=at, reason=reason or "")
    if reason is None:
        conn.execute(row.on_conflict_do_nothing())
    else:
        conn.execute(row.on_conflict_do_update(index_elements=["route"], set_={"reason": reason}))
    return not was


def resume(conn: Connection, route: str) -> bool:
    """Write that a route is not paused any more. Returns whether it was."""
    return conn.execute(delete(pauses).where(pauses.c.route == route)).rowcount == 1


def in_flight(conn: Connection, route: str) -> int:
    """How many tasks a route has with the platform, those among them that are only about to be, and those that jobs
    have left behind."""
    number = _number(conn, select(func.count()).select_from(jobs).where(IN_FLIGHT, jobs.c.route == route))
    # From the few that were left behind to their jobs, not from all that the route ever had.
    of_route = select(jobs.c.route).where(jobs.c.id == spares.c.job_id).scalar_subquery() == route
    return number + _number(conn, select(func.count()).select_from(spares).where(of_route))


def spent(conn: Connection, today: str, known: Spent | None = None) -> Spent | None:
    """What is used up of today's tasks; None where nothing was begun yet on this day. With `known`, an earlier answer,
    only what came or was answered since then is looked at."""
    last = conn.execute(select(days).order_by(days.c.id.desc()).limit(1)).first()
    if last is None or last.day != today:
        return None
    if known is None or known.after != last.after:
        known = Spent(last.after, last.after, {}, {})
    new = submissions.c.id > known.upto
    upto = max(known.upto, _number(conn, _LAST))
    # From today's submissions to their jobs, not from all that their routes ever had.
    costly = select(jobs.c.route, func.count()).select_from(_OF_JOBS).where(new, submissions.c.outcome.in_(_COSTS))
    answered = Counter(known.answered)
    for route, number in conn.execute(costly.group_by(jobs.c.route)):
        answered[route] += number
    unanswered = select(submissions.c.id, jobs.c.route).select_from(_OF_JOBS)
    still = {row.id: row.route for row in conn.execute(unanswered.where(new, submissions.c.outcome.is_(None)))}
    was_open = select(submissions.c.id, submissions.c.outcome).where(submissions.c.id.in_(known.open))
    for number, outcome in conn.execute(was_open) if known.open else ():
        if outcome is None:
            still[number] = known.open[number]
        elif outcome in _COSTS:
            answered[known.open[number]] += 1
    return Spent(last.after, upto, answered, still)


def used(conn: Connection, today: str, route: str | None = None) -> int | None:
    """How many of today's tasks are used up, of one route or of all; None where nothing was begun yet on this day."""
    found = spent(conn, today)
    return None if found is None else found.used(route)


def begin_day(conn: Connection, today: str, midnight: str) -> None:
    """Write that it is this day now (ISO 8601, by the wall); `midnight`: when it began, UTC, for a ledger that knows of
    no day yet. Nothing is written while the day stays the same."""
    last = conn.execute(select(days).order_by(days.c.id.desc()).limit(1)).first()
    if last is not None and last.day == today:
        return
    known = conn.execute(select(days.c.after).where(days.c.day == today)).scalar()
    if last is None:
        after = _number(conn, _LAST.where(submissions.c.at < midnight))
    elif known is not None:
        after = known
    elif today < last.day:
        after = last.after
    else:
        after = _number(conn, _LAST)
        conn.execute(delete(days).where(days.c.day > today))
    conn.execute(delete(days).where(days.c.day == today))
    # A number of its own for each: the order in which the clock has shown them.
    number = _number(conn, select(func.coalesce(func.max(days.c.id), 0))) + 1
    conn.execute(insert(days).values(id=number, day=today, after=after))


def _number(conn: Connection, query: Select[Any]) -> int:
    return int(conn.execute(query).scalar_one())
