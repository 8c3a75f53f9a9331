"""When a dropped file has stopped changing. Pure: stat results and the monotonic time are passed in.

Owns the settle rule of DESIGN 2: size and mtime unchanged for `settle` seconds of *our* clock over at
least three looks. The file's own times are only ever compared with themselves: the clock that wrote them
may be another machine's.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

LOOKS: Final = 3
"""The least number of looks that must agree (DESIGN 2)."""


@dataclass(slots=True)
class Sighting:
    """A path that is being watched until it settles. `since` and `due` are monotonic seconds."""

    path: str
    kind: str
    size: int
    mtime_ns: int
    seen_at: str
    """When it was first noticed, wall clock, for the sidecar."""
    since: float
    due: float
    looks: int = 1
    postponed: str = ""
    """Why it is not taken although it has not changed: still empty, or a writer has it open."""


class Verdict(Enum):
    """What one more look means."""

    WAIT = auto()
    SETTLED = auto()
    GONE = auto()


def first(path: str, kind: str, size: int, mtime_ns: int, seen_at: str, now: float, settle: float) -> Sighting:
    """The first look at a path."""
    return Sighting(path, kind, size, mtime_ns, seen_at, now, now + settle / (LOOKS - 1))


def again(s: Sighting, kind: str | None, size: int, mtime_ns: int, now: float, settle: float) -> Verdict:
    """One more look; updates the sighting, its next due time included. `kind` None: there is nothing any more."""
    if kind is None:
        return Verdict.GONE
    if (kind, size, mtime_ns) != (s.kind, s.size, s.mtime_ns):
        s.kind, s.size, s.mtime_ns, s.since, s.looks, s.postponed = kind, size, mtime_ns, now, 1, ""
    else:
        s.looks += 1
    quiet = now - s.since
    if s.looks >= LOOKS and quiet >= settle:
        if kind != "file" or size > 0:
            return Verdict.SETTLED
        s.postponed = "it is empty"
        s.due = now + max(settle, quiet / 4)  # an empty file is looked at ever more rarely; an event brings it back
    else:
        s.due = now + settle / (LOOKS - 1)
    return Verdict.WAIT


def postpone(s: Sighting, why: str, now: float, settle: float) -> None:
    """It has not changed, but must not be taken yet."""
    s.postponed = why
    s.due = now + settle
