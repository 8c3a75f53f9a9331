"""What the ledger knows that a choice depends on: our tasks on the clusters, what waits, what was learned, who rests.

Owns the reading behind the policy `expected-completion`, for the daemon (`outlook`) and for the command line alike: so
what people are told is what jobs are sent by, whether or not a daemon runs. It remembers nothing and decides nothing.
Every look is bounded, however long queue and ledger are: it costs by clusters, routes and tasks under way, never by
the jobs that wait.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from renderdrop.dispatch.choose import ClusterView, OurTask, Situation
from renderdrop.dispatch.ejection import Ejection, replay
from renderdrop.dispatch.learned import Learned, Run, learn
from renderdrop.ledger import experience, line, seen
from renderdrop.ledger.seen import Status
from renderdrop.model.experience import Ended, Try
from renderdrop.model.route import Route
from renderdrop.model.wishes import Pin

TOLD_EVERY: Final = 60.0
"""Seconds after which the ledger is told the clusters' figures again while there is something to choose, though they
are the same as before. So a status in the ledger may be that much younger than it looks."""
REMEMBERED: Final = 300
"""Runs of each workflow from which is learned, the latest: a new version of it must count."""
ENOUGH: Final = 3
"""Runs of a workflow that were seen at work on a cluster, from which on others teach nothing of it."""
AT_LEAST: Final = 60
"""Ended tasks of each workflow at hand that are looked at, however much of others ran since."""
MOST_QUEUED: Final = 1000
"""Queued jobs of a route that are counted. With more it makes no difference: every cluster is worth them."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Our tasks by cluster, how many jobs wait to be sent by workflow and clusters that they may go to, the runs that
    are not over, and which pins the jobs that wait have, by route."""

    tasks: Mapping[str, tuple[OurTask, ...]]
    queue: Mapping[tuple[str, tuple[str, ...]], int]
    going: tuple[Run, ...]
    pins: Collection[tuple[str, Pin]] = ()

    def within(
        self, found: Situation, workflow: str, learned: Learned, *, age: float, last: str | None, held: float = 0.0
    ) -> Situation:
        """A situation that knows of clusters alone, with all that a choice for a job of this workflow depends on."""
        active = {name: replace(view, tasks=self.tasks.get(name, ())) for name, view in found.active.items()}
        queue = Counter[str]()
        for (name, clusters), number in self.queue.items():
            if not set(clusters).isdisjoint(found.allowed):  # what may not go there is no reason to go there
                queue[name] += number
        queue[workflow] = max(1, queue[workflow])
        return replace(
            found, active=active, workflow=workflow, queue=queue, age=age, learned=learned, last=last, held=held
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything as the ledger has it at one moment. `status`: the clusters, None where none was ever seen; `age`:
    seconds since then; `records`: in seconds since 1970, like `now`; `last`: the cluster that each workflow went to."""

    now: float
    status: Status | None
    age: float
    ours: Ours
    learned: Learned
    records: Ejection
    last: Mapping[str, str]

    def situation(self, allowed: tuple[str, ...], workflow: str) -> Situation:
        """What a daemon would see that chooses for a job of this workflow now. But for how long nothing could be sent,
        which it alone knows: after LONGEST_HOLD it sends all the same."""
        figures = {} if self.status is None else self.status.clusters
        active = {
            name: ClusterView(of.nodes, of.ceiling, len(self.ours.tasks.get(name, ()))) for name, of in figures.items()
        }
        found = Situation(allowed, active, self.records.out(self.now))
        return self.ours.within(found, workflow, self.learned, age=self.age, last=self.last.get(workflow))


def survey(conn: Connection, routes: Collection[Route], sending: Collection[Route], now: datetime) -> Survey:
    """Everything of these routes, of which those in `sending` may send now."""
    status = seen.last_seen(conn)
    age = 0.0
    if status is not None:
        age = max(0.0, (now - datetime.fromisoformat(status.at)).total_seconds() - TOLD_EVERY)
    seconds = now.timestamp()
    ours, tries = look(conn, sending, seconds), experience.tries(conn)
    learned = taught(conn, workflows_of(routes, ours), ours)
    records = replay(tries, experience.ended(conn), seconds, seconds)
    return Survey(seconds, status, age, ours, learned, records, last_of(tries))


def look(conn: Connection, sending: Iterable[Route], now: float) -> Ours:
    """Our tasks, and what waits in the routes that may send. `now`: seconds since 1970."""
    tasks: dict[str, list[OurTask]] = defaultdict(list)
    going = []
    for t in experience.open_tasks(conn):
        since = t.submitted if t.started is None else t.started
        seconds = max(0.0, now - since)
        tasks[t.cluster].append(OurTask(t.workflow, seconds, t.started is not None))
        if t.started is not None:
            going.append(Run(t.workflow, t.cluster, seconds, over=False))
    routes = {route.name: route for route in sending if route.clusters}
    queue: dict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
    waiting = line.waiting(conn, list(routes), MOST_QUEUED)
    for (name, pin), number in waiting.items():
        queue[pin.on(routes[name])] += number
    return Ours({name: tuple(found) for name, found in tasks.items()}, dict(queue), tuple(going), tuple(waiting))


def workflows_of(routes: Iterable[Route], ours: Ours) -> set[str]:
    """Those of the routes, and those that jobs have of their own."""
    return {route.workflow_id for route in routes if route.clusters} | {workflow for workflow, _ in ours.queue}


def taught(conn: Connection, workflows: Collection[str], ours: Ours) -> Learned:
    """What was learned of these workflows, and of all that ran lately."""
    latest = experience.ended(conn)
    number: dict[str, int] = defaultdict(int)
    for task in latest:
        number[task.workflow] += 1
    found: list[Run] = []
    for workflow in sorted(workflows):
        if number[workflow] < AT_LEAST:
            known = {task.job for task in latest if task.workflow == workflow}
            older = experience.ended_of(conn, workflow, limit=AT_LEAST)
            # Among what else they waited is not known here, so they tell nothing of cold starts.
            found += [run._replace(cold=None) for run in runs([t for t in older if t.job not in known])]
    return learn([*_last_ones([*found, *runs(latest)]), *ours.going])


def runs(ended: Collection[Ended]) -> list[Run]:
    """What these tasks teach. One that was sent when none of ours was waiting on its cluster tells how long a cold
    start takes. One that was never seen at work ran for no longer than since it was sent, or since one that was sent
    before it began (first come, first served): too long by what it waited, so it counts only where few were seen."""
    found, waiting_until, at_work = [], dict[str, float](), Counter[tuple[str, str]]()
    for task in sorted((t for t in ended if t.well), key=lambda t: t.submitted):
        turn = max(task.submitted, waiting_until.get(task.cluster, 0.0))
        began = min(turn, task.finished) if task.started is None else max(task.submitted, task.started)
        cold = began - task.submitted if task.started is not None and turn == task.submitted else None
        waiting_until[task.cluster] = max(began, turn)
        run = Run(task.workflow, task.cluster, max(0.01, task.finished - began), cold=cold)
        found.append((task.started is not None, run))
        at_work[task.workflow, task.cluster] += task.started is not None
    return [run for was_seen, run in found if was_seen or at_work[run.workflow, run.cluster] < ENOUGH]


def last_of(tries: Iterable[Try]) -> dict[str, str]:
    """The cluster that each workflow went to last."""
    return {one.workflow: one.cluster for one in tries}


def _last_ones(found: Collection[Run]) -> list[Run]:
    """Of each workflow the last REMEMBERED, in their order."""
    left: dict[str, int] = defaultdict(lambda: REMEMBERED)
    kept = []
    for run in reversed(list(found)):
        left[run.workflow] -= 1
        if left[run.workflow] >= 0:
            kept.append(run)
    return kept[::-1]
