"""The hours of the day in which a route's jobs are sent (`submit_between`), and when a day begins. Pure.

Owns: what "22:00-08:00" means on every day of the year. What counts is what a clock on the wall shows: an hour that
the change to summer time leaves out does not come, one that the change back gives twice counts twice. So no rule of
any time zone has to be known here; the wall (a function from an instant to its local time) is passed in, and is asked
at every moment at which something can change. It must never ask the machine for the time or the zone.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

Wall = Callable[[datetime], datetime]
"""What a clock on the wall shows at an instant (both aware)."""

_FORM: Final = re.compile(r"\s*(\d\d?):(\d\d)\s*[-\u2013]\s*(\d\d?):(\d\d)\s*")
_ZONES_CHANGE: Final = (0, 15, 30, 45)
"""Minutes of the hour at which time zones change their offset, and days begin."""
_FURTHEST: Final = timedelta(days=3)
"""Within so long all hours come: a day, one more where an hour is left out, and one to spare."""


@dataclass(frozen=True, slots=True)
class Hours:
    """From `opens` until just before `closes`, in minutes of the day; over midnight where it closes before it opens."""

    opens: int
    closes: int

    def hold(self, at: time) -> bool:
        """Whether they are now, by the clock on the wall."""
        minute = at.hour * 60 + at.minute
        if self.opens < self.closes:
            return self.opens <= minute < self.closes
        return minute >= self.opens or minute < self.closes

    def __str__(self) -> str:
        return f"{_spelled(self.opens)}-{_spelled(self.closes)}"


def hours(text: object) -> Hours:
    """The hours that a text such as "22:00-08:00" names. Raises ValueError with a sentence that shows the form."""
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        raise ValueError(f'{text!r} names no hours; write them like "22:00-08:00"')
    times = [(int(form[i]) * 60 + int(form[i + 1]), int(form[i + 1]), f"{form[i]}:{form[i + 1]}") for i in (1, 3)]
    for last, (minutes, past_the_hour, spelled) in zip((24 * 60 - 1, 24 * 60), times, strict=True):
        if past_the_hour > 59 or minutes > last:
            raise ValueError(f'"{spelled}" is no time of the day here; write hours like "22:00-08:00", up to "24:00"')
    (opens, *_), (closes, *_) = times
    if opens == closes:
        raise ValueError(
            f'"{form[0].strip()}" ends when it begins; write two times that differ, or leave the key out for all day'
        )
    return Hours(opens, closes)


def opening(now: datetime, of: Sequence[Hours], wall: Wall) -> datetime | None:
    """The instant when one of these hours comes; None where one of them is now, or none are named."""

    def holds(local: datetime) -> bool:
        return any(one.hold(local.time()) for one in of)

    return None if not of or holds(wall(now)) else _first(now, wall, holds, [one.opens % 60 for one in of])


def next_day(now: datetime, wall: Wall) -> datetime:
    """The instant when the local day after this one begins."""
    today = wall(now).date()
    return _first(now, wall, lambda local: local.date() > today)


def _first(now: datetime, wall: Wall, holds: Callable[[datetime], bool], also: Sequence[int] = ()) -> datetime:
    """The first instant at which it holds, of those at which it can begin to: when a zone may change, or at the minutes
    of the hour that `also` names."""
    moments = sorted({*_ZONES_CHANGE, *also})
    at = now.astimezone(UTC)
    while True:
        local = wall(at)
        ahead = next((minute for minute in moments if minute > local.minute), 60) - local.minute
        at += timedelta(minutes=ahead, seconds=-local.second, microseconds=-local.microsecond)
        if holds(wall(at)) or at - now > _FURTHEST:
            return at


def spoken(at: datetime, now: datetime, wall: Wall) -> str:
    """An instant to come as people say it: "22:00" within a day, else with its date."""
    return f"{wall(at):%H:%M}" if at - now <= timedelta(days=1) else f"{wall(at):%Y-%m-%d %H:%M}"


def _spelled(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
