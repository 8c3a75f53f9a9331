"""When what waits and renders now will be done: one sentence below the table of `jobs`.

Owns what belongs into the estimate (`dispatch/estimate` makes it): the jobs that may be sent now, of routes that are
neither closed nor in trouble, as many as the day's tasks allow; and every task that is with a cluster. What waits for
its hours, for another day or for a person is told beside the jobs, and models are on no cluster of ours.
"""

from typing import TYPE_CHECKING, Final

from renderdrop.cli.waits import OLD, sending, surveyed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from renderdrop.model.hours import Wall
    from renderdrop.model.route import Route
    from renderdrop.settings import Loaded

_MANY: Final = 1_000_000
"""Queued jobs of a route that are counted."""
_LAST: Final = 50
"""Submissions from which is known how long one takes."""


def finish(conn: "Connection", loaded: "Loaded", closed: "Mapping[str, str]") -> str:
    """The sentence, without a full stop; empty where there is nothing to do, or nobody does it now. `closed`: the
    routes that send nothing for long (`waits.closed_routes`)."""
    from renderdrop.dispatch.estimate import Hands, Line, estimate, told
    from renderdrop.runtime.clock import Clock

    clock = Clock()
    known = surveyed(conn, loaded, closed)
    routes = [route for route in loaded.routes if route.clusters]
    going = [route for route in sending(conn, loaded, closed) if route.clusters]
    queued, later = _may_go(conn, loaded, going, clock.now(), clock.local)
    waits = sum(queued.values())
    tasks = [task for found in known.ours.tasks.values() for task in found]
    if known.status is None or (waits and known.age > OLD):
        return ""
    lines = [Line(known.situation(r.clusters, r.workflow_id), queued.get(r.name, 0), r.max_in_flight) for r in routes]
    found = estimate(lines, Hands(loaded.settings.daemon.uploads, _upload(conn)))
    running = sum(task.running for task in tasks)
    text = told(found, waits + len(tasks) - running, running, clock.now(), clock.local)
    return f"{text}; {later} more wait for another day's tasks" if text and later else text


def _upload(conn: "Connection") -> float:
    """Seconds from a choice to the platform's answer, on the mean of the last ones."""
    from renderdrop.dispatch.estimate import UPLOAD
    from renderdrop.ledger import experience
    from renderdrop.model.job import Outcome

    tries = [t for t in experience.tries(conn) if t.outcome is Outcome.ACCEPTED]
    took = [max(0.0, t.answered - t.begun) for t in tries[-_LAST:] if t.answered is not None]
    return sum(took) / len(took) if took else UPLOAD


def _may_go(
    conn: "Connection", loaded: "Loaded", routes: "Sequence[Route]", now: "datetime", wall: "Wall"
) -> tuple[dict[str, int], int]:
    """How many jobs of each route may go today, and how many more wait."""
    from renderdrop.ledger import experience, quota

    today, of_all = wall(now).date().isoformat(), loaded.settings.dispatch.max_tasks_per_day
    left = _MANY if of_all is None else of_all - (quota.used(conn, today) or 0)
    waiting = experience.queued(conn, [route.name for route in routes], _MANY)
    found: dict[str, int] = {}
    for route in routes:
        may = waiting.get(route.name, 0)
        if route.max_tasks_per_day is not None:
            may = min(may, route.max_tasks_per_day - (quota.used(conn, today, route.name) or 0))
        found[route.name] = max(0, min(may, left))
        left -= found[route.name]
    return found, sum(waiting.values()) - sum(found.values())
