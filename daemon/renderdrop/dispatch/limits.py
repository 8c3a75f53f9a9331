"""What keeps queued jobs from being sent although all is well: a route's hours, a day's tasks, tasks at once, a person.

Owns the one rule, asked three times with the same answer: before jobs are taken up, in the very transaction that
commits an intent (money: never one more, however many uploads and daemons there are), and by the command line, which
tells people until when. What is with the platform is never touched by it, nor what is paid for already.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from renderdrop.ledger import quota
from renderdrop.ledger.quota import Spent
from renderdrop.model.hours import Wall, next_day, opening, spoken
from renderdrop.model.route import Route
from renderdrop.model.wishes import Pin
from renderdrop.runtime.clock import written

if TYPE_CHECKING:
    from renderdrop.settings.keys import Dispatch as DispatchSettings

AGING: Final = 4 * 3600.0
"""Seconds of waiting for a step of priority, where the settings say nothing else."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say of all routes together. `aging`: see `turn`; `a_day`: tasks a day at most, None = any."""

    aging: float = AGING
    a_day: int | None = None

    @classmethod
    def of(cls, given: "DispatchSettings") -> "Limits":
        """As the settings have them."""
        return cls(given.aging, given.max_tasks_per_day)


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing of a route is sent now; the sentence says why, and until when where that is known. `lasts`: longer than
    until one of its tasks ends."""

    sentence: str
    lasts: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """How the routes stand: which are closed, how many jobs the others may have sent now, where not any number, and how
    many all of them together. `spent`: the day's tasks, as far as they were counted for that; `pinned`: what there is
    room for besides, of a route's jobs with one pin."""

    closed: Mapping[str, Closed]
    room: Mapping[str, int]
    room_of_all: int | None
    spent: Spent | None = None
    pinned: Mapping[tuple[str, Pin], int] = field(default_factory=dict)

    def within(self, pinned: Mapping[tuple[str, Pin], int]) -> "Standing":
        """The same, where jobs with these pins have no more room than that."""
        return replace(self, pinned=pinned)


def standing(
    conn: Connection, routes: Collection[Route], limits: Limits, now: datetime, wall: Wall, known: Spent | None = None
) -> Standing:
    """Of each of these routes. Only reads: of a day on which nothing was begun yet nothing is used up. `known`: what an
    earlier look has counted, so that this one need not count it again."""
    paused, spent = quota.paused(conn), known
    if limits.a_day is not None or any(route.max_tasks_per_day is not None for route in routes):
        spent = quota.spent(conn, wall(now).date().isoformat(), known)
    left = None if limits.a_day is None else limits.a_day - (spent.used() if spent is not None else 0)
    closed: dict[str, Closed] = {}
    room: dict[str, int] = {}
    for route in routes:
        if (pause := paused.get(route.name)) is not None:
            closed[route.name] = Closed(by_hand(pause, wall))
        elif (opens := opening(now, route.submit_between, wall)) is not None:
            between = ", ".join(map(str, route.submit_between))
            closed[route.name] = Closed(f"waiting until {spoken(opens, now, wall)} (submit_between {between})")
        elif limits.a_day is not None and left is not None and left <= 0:
            closed[route.name] = Closed(_used_up(limits.a_day, " of all routes", route, now, wall))
        else:
            _count(conn, route, spent, now, wall, closed, room)
    return Standing(closed, room, left, spent)


def closed(
    conn: Connection, route: Route, limits: Limits, now: datetime, wall: Wall, known: Spent | None = None
) -> Closed | None:
    """Whether a route may have no more, in the transaction that is to commit one; writes which day it is. What is
    counted in it must not be kept: the transaction may come to nothing."""
    quota.begin_day(conn, wall(now).date().isoformat(), _midnight(now, wall))
    return standing(conn, [route], limits, now, wall, known).closed.get(route.name)


def by_hand(pause: quota.Pause, wall: Wall) -> str:
    """A person's pause, in words."""
    since = f"{wall(datetime.fromisoformat(pause.since)):%Y-%m-%d %H:%M}"
    return f"paused by hand since {since}" + (f": {pause.reason}" if pause.reason else "")


def _midnight(now: datetime, wall: Wall) -> str:
    """When this day began, as the ledger writes it (where the clock was changed since then, within that change)."""
    local = wall(now)
    return written(local - timedelta(hours=local.hour, minutes=local.minute, seconds=local.second))


def _count(
    conn: Connection, route: Route, spent: Spent | None, now: datetime, wall: Wall, closed: dict[str, Closed],
    room: dict[str, int],
) -> None:  # fmt: skip
    if route.max_tasks_per_day is not None:
        left = route.max_tasks_per_day - (spent.used(route.name) if spent is not None else 0)
        if left <= 0:
            closed[route.name] = Closed(_used_up(route.max_tasks_per_day, "", route, now, wall))
            return
        room[route.name] = left
    if route.max_in_flight is not None:
        left = route.max_in_flight - quota.in_flight(conn, route.name)
        if left <= 0:
            sentence = f"waiting until a task of its route is done (max_in_flight {route.max_in_flight})"
            closed[route.name] = Closed(sentence, lasts=False)
            return
        room[route.name] = min(left, room.get(route.name, left))


def _used_up(tasks: int, of: str, route: Route, now: datetime, wall: Wall) -> str:
    day = next_day(now, wall)
    on = opening(day, route.submit_between, wall) or day
    are = "task{} is" if tasks == 1 else "tasks{} are"
    return f"today's {tasks} {are.format(of)} used up (max_tasks_per_day); goes on at {spoken(on, now, wall)}"
