"""Why the jobs of a route wait although all is well: its hours, its day's tasks, a person's pause, or a better cluster.

Owns the questions, which are the daemon's own (`dispatch/limits`, `dispatch/survey`), asked of the ledger and the
settings as they are now: so the answers are right whether or not the daemon runs.
"""

from typing import TYPE_CHECKING, Final

from renderdrop.cli.paper import hint, line, on_terminal
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from renderdrop.dispatch.survey import Survey
    from renderdrop.model.job import Job
    from renderdrop.model.route import Route
    from renderdrop.settings import Loaded

OLD: Final = 300.0
"""Seconds after which nobody chooses by the clusters' figures any more: no daemon runs, or it has nothing to send."""


def closed_routes(conn: "Connection", loaded: "Loaded", *, lasting: bool = False) -> dict[str, str]:
    """The routes that send nothing now, each with the reason; `lasting`: without those that only wait for one of their
    own tasks to end."""
    from renderdrop.dispatch.limits import Limits, standing
    from renderdrop.runtime.clock import Clock

    clock, given = Clock(), loaded.settings.dispatch
    limits = Limits(given.aging, given.max_tasks_per_day)
    found = standing(conn, loaded.routes, limits, clock.now(), clock.local)
    return {name: why.sentence for name, why in found.closed.items() if why.lasts or not lasting}


def held_routes(conn: "Connection", loaded: "Loaded") -> dict[str, str]:
    """The routes of which nothing is sent now, each with the reason: those that are closed, and those whose jobs had
    better wait for a place on a faster cluster. One look a route, however many jobs wait."""
    found = closed_routes(conn, loaded)
    if loaded.settings.dispatch.policy != "expected-completion":
        return found
    from renderdrop.ledger import experience

    going = [route for route in sending(conn, loaded, found) if route.clusters]
    if not experience.queued(conn, [route.name for route in going], 1):
        return found
    known = surveyed(conn, loaded, found)
    if known.status is None or known.age > OLD:
        return found
    from renderdrop.dispatch.choose import Hold
    from renderdrop.dispatch.expected import expect

    for route in going:
        if (route.workflow_id, route.clusters) in known.ours.queue:
            choice = expect(known.situation(route.clusters, route.workflow_id))
            if isinstance(choice, Hold):
                found[route.name] = choice.reason
    return found


def surveyed(conn: "Connection", loaded: "Loaded", closed: "Mapping[str, str]") -> "Survey":
    """What a choice depends on, as the ledger has it. `closed`: the routes that send nothing now."""
    from renderdrop.dispatch.survey import survey
    from renderdrop.runtime.clock import Clock

    return survey(conn, loaded.routes, sending(conn, loaded, closed), Clock().now())


def sending(conn: "Connection", loaded: "Loaded", closed: "Mapping[str, str]") -> "list[Route]":
    """The routes that may send now: neither closed nor in trouble."""
    from renderdrop.ledger import queries

    present = queries.present_troubles(conn)
    if any(trouble.reach in ("platform", "daemon") for trouble in present):
        return []
    waiting = {*closed, *(trouble.subject for trouble in present)}
    return [route for route in loaded.routes if route.name not in waiting]


def waits(job: "Job", closed: "Mapping[str, str]") -> str | None:
    """What a queued job waits for: "waiting for input_video", "waiting until 22:00"; None where nothing keeps it."""
    if job.state is not State.QUEUED:
        return None
    if job.waiting_for is not None:
        return f"waiting for {job.waiting_for}"
    return None if job.paid else closed.get(job.route)


def paused_by_hand(conn: "Connection") -> dict[str, str]:
    """The routes that a person has paused, in words: "paused by hand since 2026-11-23 08:00: reason"."""
    from renderdrop.dispatch.limits import by_hand
    from renderdrop.ledger import quota
    from renderdrop.runtime.clock import Clock

    return {name: by_hand(pause, Clock().local) for name, pause in quota.paused(conn).items()}


def tell_pauses(paused: "Mapping[str, str]") -> None:
    """One sentence a route; beside the answer where this is piped."""
    for route, since in paused.items():
        text = f"Route {route} is {since.rstrip('.')}. `renderdrop resume {route}` lets it go on."
        if on_terminal():
            line(text, "yellow")
        else:
            hint(text)
