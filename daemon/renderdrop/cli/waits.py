"""Why the jobs of a route wait although all is well: its hours, its day's tasks, a person's pause, or a better cluster.

Owns the questions, which are the daemon's own (`dispatch/limits`, `dispatch/survey`), asked of the ledger and the
settings as they are now: so the answers are right whether or not the daemon runs.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Final

from renderdrop.cli.paper import hint, line, on_terminal
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from renderdrop.dispatch.limits import Standing
    from renderdrop.dispatch.survey import Survey
    from renderdrop.ledger.queries import Trouble
    from renderdrop.model.job import Job
    from renderdrop.model.route import Route
    from renderdrop.model.wishes import Pin
    from renderdrop.settings import Loaded

OLD: Final = 300.0
"""Seconds after which nobody chooses by the clusters' figures any more: no daemon runs, or it has nothing to send."""


class Moment:
    """What holds routes back now. Whatever several ask for is looked at once, for all of them at the same time."""

    def __init__(self, conn: "Connection", loaded: "Loaded") -> None:
        from renderdrop.runtime.clock import Clock

        self.conn, self.loaded = conn, loaded
        self._surveys: dict[tuple[str, ...], Survey] = {}
        clock = Clock()
        self.now, self.wall = clock.now(), clock.local

    def waits(self, job: "Job") -> str | None:
        """What a queued job waits for: "waiting for input_video", "waiting until 22:00"; None where nothing keeps
        it."""
        if job.state is not State.QUEUED:
            return None
        if job.waiting_for is not None:
            return f"waiting for {job.waiting_for}"
        if job.paid:
            return None
        return self.closed().get(job.route) or self._held.get((job.route, job.wishes.pin))

    def closed(self, *, lasting: bool = False) -> dict[str, str]:
        """The routes that send nothing now, each with the reason; `lasting`: without those that only wait for one of
        their own tasks to end."""
        return {name: why.sentence for name, why in self._standing.closed.items() if why.lasts or not lasting}

    def surveyed(self, *, lasting: bool = False) -> "Survey":
        """What a choice depends on, as the ledger has it; `lasting`: what waits in routes that only wait for one of
        their own tasks to end counts too."""
        from renderdrop.dispatch.survey import survey

        going = self.sending(lasting=lasting)
        names = tuple(route.name for route in going)
        if names not in self._surveys:
            self._surveys[names] = survey(self.conn, self.loaded.routes, going, self.now)
        return self._surveys[names]

    def sending(self, *, lasting: bool = False) -> "list[Route]":
        """The routes that may send now: neither closed nor in trouble. `lasting`: as above."""
        if any(trouble.reach in ("platform", "daemon") for trouble in self.troubles):
            return []
        waiting = {*self.closed(lasting=lasting), *(trouble.subject for trouble in self.troubles)}
        return [route for route in self.loaded.routes if route.name not in waiting]

    @cached_property
    def troubles(self) -> "Sequence[Trouble]":
        """What makes work wait."""
        from renderdrop.ledger import queries

        return queries.present_troubles(self.conn)

    @cached_property
    def _held(self) -> "Mapping[tuple[str, Pin], str]":
        """Of the routes that are not closed, the jobs that had better wait for a place on a faster cluster, or that
        have only clusters of their own which are full or not there: the reason by route and pin. One look for each of
        these, however many jobs wait."""
        from renderdrop.ledger import experience

        going = {route.name: route for route in self.sending() if route.clusters}
        if not experience.queued(self.conn, list(going), 1):
            return {}
        known = self.surveyed()
        if known.status is None or known.age > OLD:
            return {}
        from renderdrop.dispatch.choose import Hold, choose
        from renderdrop.dispatch.expected import expect
        from renderdrop.dispatch.places import absent

        policy = expect if self.loaded.settings.dispatch.policy == "expected-completion" else choose
        found = {}
        for name, pin in known.ours.pins:
            workflow, allowed = pin.on(going[name])
            choice = policy(situation := known.situation(allowed, workflow))
            if isinstance(choice, Hold):
                own = f" (its ticket names only {', '.join(allowed)})" if pin.clusters else ""
                found[name, pin] = choice.reason + own
            elif choice is None and not situation.active.keys().isdisjoint(going[name].clusters):
                found[name, pin] = absent(allowed)
        return found

    @cached_property
    def _standing(self) -> "Standing":
        from renderdrop.dispatch.limits import Limits, standing

        limits = Limits.of(self.loaded.settings.dispatch)
        return standing(self.conn, self.loaded.routes, limits, self.now, self.wall)


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
