"""Everything that happens again and again, on one APScheduler.

APScheduler counts in wall-clock time: a clock set back would stall every tick until it has caught up.
So this room also watches the two clocks and, when they part, makes every tick due at once. Set forward, it would
count every tick that was left out (from 1970, where a machine without a battery boots, for hours): `_Every` does not.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from renderdrop.runtime.clock import Clock

log = structlog.get_logger()

_LOOK_EVERY: Final = 1.0
_PARTED: Final = 2.0
"""Seconds by which wall and monotonic clock must part before it counts as a jump and not as slewing."""


class _Every(IntervalTrigger):  # type: ignore[misc]  # a library without types
    """An interval that makes up for nothing: however far the clock was set forward, one tick is due and not each."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        following: datetime | None = super().get_next_fire_time(previous, now)
        return following if following is None else max(following, now)


class Schedule:
    """The daemon's ticks. Actions are short and synchronous (mostly `Pulse.nudge`)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._watch: asyncio.TimerHandle | None = None
        self._parted_by = 0.0

    def every(self, seconds: float, action: Callable[[], Any], name: str) -> None:
        """Call `action` every so many seconds; the same name again replaces the former tick."""

        async def tick() -> None:  # a coroutine, so that APScheduler runs it on the loop and not in a thread
            action()

        self._scheduler.add_job(tick, _Every(seconds=seconds, timezone=UTC), id=name, name=name, replace_existing=True)

    def forget(self, name: str) -> None:
        """End a tick; unknown names are fine."""
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def start(self) -> None:
        """Begin ticking, on the running loop."""
        self._scheduler.start()
        self._parted_by = self._gap()
        self._look()

    def stop(self) -> None:
        """No more ticks."""
        if self._watch is not None:
            self._watch.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _gap(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _look(self) -> None:
        gap = self._gap()
        if abs(gap - self._parted_by) > _PARTED:
            log.warning("clock_jumped", seconds=round(gap - self._parted_by, 1))
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=self._clock.now())
        self._parted_by = gap
        self._watch = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)
