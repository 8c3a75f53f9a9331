"""When what waits and renders now will be done: one sentence below the table of `jobs`.

Owns what belongs into the estimate (`dispatch/estimate` makes it): the jobs that may be sent now, of routes that are
neither closed nor in trouble, as many as the day's tasks allow; and every task that is with a cluster. What waits for
its hours, for another day or for a person is told beside the jobs, and models are on no cluster of ours.
"""

from typing import TYPE_CHECKING, Final

from renderdrop.cli.waits import OLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from renderdrop.cli.waits import Moment
    from renderdrop.model.route import Route

_MANY: Final = 1_000_000
"""Queued jobs of a route that are counted."""
_LAST: Final = 50
"""Submissions from which is known how long one takes."""


def finish(moment: "Moment") -> str:
    """The sentence, without a full stop; empty where there is nothing to do, or nobody does it now. A route that waits
    for one of its own tasks to end goes on by itself."""
    from renderdrop.dispatch.estimate import Hands, Line, estimate, told

    known = moment.surveyed(lasting=True)
    routes = [route for route in moment.loaded.routes if route.clusters]
    going = [route for route in moment.sending(lasting=True) if route.clusters]
    queued, later = _may_go(moment, going)
    waits = sum(queued.values())
    tasks = [task for found in known.ours.tasks.values() for task in found]
    if known.status is None or (waits and known.age > OLD):
        return ""
    lines = [Line(known.situation(r.clusters, r.workflow_id), queued.get(r.name, 0), r.max_in_flight) for r in routes]
    found = estimate(lines, Hands(moment.loaded.settings.daemon.uploads, _upload(moment.conn)))
    running = sum(task.running for task in tasks)
    text = told(found, waits + len(tasks) - running, running, moment.now, moment.wall)
    return f"{text}; {later} more wait for another day's tasks" if text and later else text


def _upload(conn: "Connection") -> float:
    """Seconds from a choice to the platform's answer, on the mean of the last ones."""
    from renderdrop.dispatch.estimate import UPLOAD
    from renderdrop.ledger import experience
    from renderdrop.model.job import Outcome

    tries = [t for t in experience.tries(conn) if t.outcome is Outcome.ACCEPTED]
    took = [max(0.0, t.answered - t.begun) for t in tries[-_LAST:] if t.answered is not None]
    return sum(took) / len(took) if took else UPLOAD


def _may_go(moment: "Moment", routes: "Sequence[Route]") -> tuple[dict[str, int], int]:
    """How many jobs of each route may go today, and how many more wait."""
    from renderdrop.ledger import experience, quota

    conn, today = moment.conn, moment.wall(moment.now).date().isoformat()
    of_all = moment.loaded.settings.dispatch.max_tasks_per_day
    limited = of_all is not None or any(route.max_tasks_per_day is not None for route in routes)
    spent = quota.spent(conn, today) if limited else None
    left = _MANY if of_all is None else of_all - (spent.used() if spent is not None else 0)
    waiting = experience.queued(conn, [route.name for route in routes], _MANY)
    found: dict[str, int] = {}
    for route in routes:
        may = waiting.get(route.name, 0)
        if route.max_tasks_per_day is not None:
            may = min(may, route.max_tasks_per_day - (spent.used(route.name) if spent is not None else 0))
        found[route.name] = max(0, min(may, left))
        left -= found[route.name]
    return found, sum(waiting.values()) - sum(found.values())
