"""The queue as dispatch sees it: which routes may send now, and which of their jobs are next.

Owns the looks at the ledger behind `limits` and `turn`, what this process has to remember for them (who had a turn,
what is in hand and not begun), and that a route's closing and opening is told in the log, once each. It begins nothing.
"""

from collections.abc import Collection
from datetime import datetime

import structlog
from sqlalchemy import Connection

from renderdrop.dispatch import limits
from renderdrop.dispatch.limits import Closed, Limits, Standing
from renderdrop.dispatch.turn import Turns, Waiting, in_turn
from renderdrop.ledger import line
from renderdrop.ledger.quota import Spent
from renderdrop.ledger.store import Ledger
from renderdrop.model.job import Job
from renderdrop.model.route import Route
from renderdrop.model.wishes import Pin
from renderdrop.runtime.clock import Clock

log = structlog.get_logger()


class Queue:
    """The jobs that wait to be sent. `limits`: what the settings say of all routes together."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.limits = Limits()
        self._ledger = ledger
        self._clock = clock
        self._turns = Turns()
        self._spent: Spent | None = None
        """The day's tasks as they were last counted, of what was committed by then."""
        self._told: dict[str, str] = {}
        """The routes that are closed, and why, as the log was told."""
        self._ahead: dict[str, tuple[str, Pin]] = {}
        """The route and pin of each job in hand whose intent is not in the ledger yet."""

    async def standing(self, routes: Collection[Route]) -> Standing:
        """How these routes stand now, all that there are."""
        now = self._clock.now()
        found = await self._ledger.read(
            lambda c: limits.standing(c, routes, self.limits, now, self._clock.local, self._spent)
        )
        self._spent = found.spent
        closed = {name: why.sentence for name, why in found.closed.items() if why.lasts}
        for name, sentence in closed.items():
            if self._told.get(name) != sentence:
                log.info("route_closed", route=name, reason=sentence)
        for name in self._told.keys() - closed.keys():
            log.info("route_opened", route=name, was=self._told[name])
        self._told = closed
        return found

    def closed(self, conn: Connection, route: Route, now: datetime) -> Closed | None:
        """Whether a route may have no more, in the transaction that is to commit one: others may have begun something
        since the last look."""
        return limits.closed(conn, route, self.limits, now, self._clock.local, self._spent)

    async def next(
        self, routes: Collection[str], but: Collection[str], number: int, stand: Standing | None = None
    ) -> list[Job]:
        """Whose turn it is, at most so many, without those in `but`. With `stand`, no more than may be sent now."""
        room, pinned = (dict(stand.room), dict(stand.pinned)) if stand is not None else ({}, {})
        for route, pin in self._ahead.values():
            if route in room:
                room[route] -= 1
            if (route, pin) in pinned:
                pinned[route, pin] -= 1
        full = {of for of, most in pinned.items() if most <= 0}
        if stand is not None and stand.room_of_all is not None:
            # Not those of a share that hangs: they would keep the day's last tasks from others.
            ahead = sum(route in routes for route, _ in self._ahead.values())
            number = min(number, stand.room_of_all - ahead)
        if number <= 0:
            return []
        now, aging = self._clock.now(), self.limits.aging

        def look(c: Connection) -> list[Job]:
            in_line = line.in_line(c, routes=routes, but=but, limit=number, full=full)
            waiting = [
                Waiting(j.id, j.route, j.priority, max(0.0, (now - j.since).total_seconds()), j.pin) for j in in_line
            ]
            turns = in_turn(waiting, number, aging=aging, past=self._turns.past, room=room, pinned=pinned)
            return line.jobs_of(c, [job.id for job in turns])

        return await self._ledger.read(look)

    async def paid_for(self, routes: Collection[str], but: Collection[str], number: int) -> list[Job]:
        """Those that are paid for, at most so many: nothing is sent for them, so they need no turn and no hours."""
        return await self._ledger.read(lambda c: line.paid_for(c, routes=routes, but=but, limit=number))

    def took(self, job: Job) -> None:
        """A job is in hand: its line has had its turn."""
        self._turns.had((job.route, job.priority))
        if not job.paid:
            self._ahead[job.id] = job.route, job.wishes.pin

    def began(self, job: Job) -> None:
        """Its intent is in the ledger, or nothing comes of it now."""
        self._ahead.pop(job.id, None)
