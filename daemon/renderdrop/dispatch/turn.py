"""Whose turn it is: of the jobs that wait, which go next. Pure.

Owns the order of the queue:

- Jobs of one route and one priority stand in a *line*, the oldest first; of those that were queued at one moment, by
  their ids, which the intake gives out in the order of the files' names.
- The lines of the highest priority that waits go first. With them goes any other whose oldest job has waited long
  enough: it gains a step of priority for every `aging` of waiting, and joins where that brings it level. It never gets
  ahead by it, since a whole batch ages together, and must not shut out what is dropped this minute: so nothing starves,
  and nothing is starved by what is old.
- Where a job can go may be its own (a pin): one that has no room now is passed over, and the line goes on behind it.
- Among lines that are level, routes take turns, and within a route its lines: who has had none for longest is next.
  That is known since the start of the daemon; a start makes all of them equal, which costs a route one turn at most.

It must never look at the ledger: who waits, and for how long, is passed in.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from renderdrop.model.wishes import NO_PIN, Pin

Line = tuple[str, int]
"""A route's jobs of one priority."""
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job, and for how many seconds it has been that. `pin`: what of its own decides where it can go."""

    id: str
    route: str
    priority: int
    waited: float
    pin: Pin = NO_PIN


class Turns:
    """The lines that have had a turn, the last one at the end."""

    def __init__(self) -> None:
        self._lines: dict[Line, None] = {}

    def had(self, line: Line) -> None:
        """It has one now."""
        self._lines.pop(line, None)
        self._lines[line] = None
        if len(self._lines) > _REMEMBERED:  # every ticket may name a priority of its own
            del self._lines[next(iter(self._lines))]

    @property
    def past(self) -> Sequence[Line]:
        """In their order."""
        return tuple(self._lines)


def in_turn(
    waiting: Iterable[Waiting], number: int, *, aging: float, past: Sequence[Line] = (),
    room: Mapping[str, int] | None = None, pinned: Mapping[tuple[str, Pin], int] | None = None,
) -> list[Waiting]:  # fmt: skip
    """The next `number` of those who wait. `aging`: seconds for a step of priority, 0 = none; `past`: lines that have
    had a turn, the last one at the end; `room`: how many a route may have at most, where it may not have any number;
    `pinned`: the same of its jobs with one pin."""
    left, left_of = dict(room or {}), dict(pinned or {})
    lines: dict[Line, deque[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (-job.waited, job.id)):
        if left.get(job.route, 1) > 0 and left_of.get((job.route, job.pin), 1) > 0:
            lines.setdefault((job.route, job.priority), deque()).append(job)
    turns = {line: turn for turn, line in enumerate(past, 1)}
    routes: dict[str, int] = {}
    for (route, _), turn in turns.items():
        routes[route] = max(turn, routes.get(route, 0))
    found: list[Waiting] = []
    while lines and len(found) < number:
        top = max(priority for _, priority in lines)
        heads = {of: jobs[0] for of, jobs in lines.items() if of[1] + _steps(jobs[0], aging) >= top}
        line = min(heads, key=lambda of: (routes.get(of[0], 0), turns.get(of, 0), -heads[of].waited, heads[of].id))
        found.append(one := lines[line].popleft())
        routes[line[0]] = turns[line] = len(past) + len(found)
        left[line[0]] = left.get(line[0], number) - 1
        if (key := (one.route, one.pin)) in left_of:
            left_of[key] -= 1
            if left_of[key] <= 0:
                lines = {of: deque(j for j in jobs if (j.route, j.pin) != key) for of, jobs in lines.items()}
        lines = {of: jobs for of, jobs in lines.items() if jobs and left.get(of[0], 1) > 0}
    return found


def _steps(job: Waiting, aging: float) -> int:
    return int(job.waited / aging) if aging > 0 else 0
