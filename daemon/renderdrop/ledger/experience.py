"""What the ledger knows of earlier and present tasks, for choosing clusters. Reads only; nothing is reckoned here.

Every query is found by an index and bounded, however long the ledger is: they are asked every few seconds.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, func, select

from renderdrop.ledger.schema import ENDED_TASKS, IN_FLIGHT, WAITS, history, jobs, spares, submissions
from renderdrop.model.experience import Ended, Try
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State

_LATEST: Final = select(submissions.c.id).order_by(submissions.c.id.desc())
_LOOKED_AT: Final = 300
"""Submissions among which the last choices are looked for: what goes to no cluster was not chosen."""
_ENDED: Final = select(
    jobs.c.id, jobs.c.workflow_id, jobs.c.cluster, jobs.c.paid, jobs.c.submitted_at, jobs.c.started_at,
    jobs.c.finished_at,
).where(ENDED_TASKS, jobs.c.cluster.is_not(None), jobs.c.submitted_at.is_not(None))  # fmt: skip
_ON_CLUSTERS: Final = _ENDED.where(jobs.c.cluster != "")


class Open(NamedTuple):
    """A task of ours that is with the platform, or about to be. `submitted`, `started`: seconds since 1970; `started`
    is None until it is seen at work."""

    job: str
    workflow: str
    cluster: str
    submitted: float
    started: float | None


class Chosen(NamedTuple):
    """A cluster that was chosen for a job. `at`: UTC, ISO 8601; `reason`: as the job's history has it."""

    at: str
    job: str
    route: str
    cluster: str
    reason: str


def ended(conn: Connection, *, limit: int = 1000, placed: bool = True) -> list[Ended]:
    """The latest tasks that ended, the first to end first: those on clusters, or all of them. Models have none."""
    query = _ON_CLUSTERS if placed else _ENDED
    return _told(conn, query.order_by(jobs.c.finished_at.desc()).limit(limit))


def ended_of(conn: Connection, workflow: str, *, limit: int) -> list[Ended]:
    """The same of one workflow."""
    query = _ON_CLUSTERS.where(jobs.c.workflow_id == workflow)
    return _told(conn, query.order_by(jobs.c.finished_at.desc()).limit(limit))


def ended_since(conn: Connection, mark: int, *, limit: int = 1000) -> list[Ended]:
    """The same of those that ended since that mark (`queries.mark`): no clock that is set back hides one."""
    moved = history.c.id > mark, history.c.to_state.in_([State.RENDERED, State.FAILED])
    its_end = (history.c.job_id == jobs.c.id) & (history.c.at == jobs.c.finished_at)
    return _told(conn, _ON_CLUSTERS.join(history, its_end).where(*moved).order_by(history.c.id.desc()).limit(limit))


def _told(conn: Connection, query: Select[Any]) -> list[Ended]:
    """The rows of a query that has the latest first, those last."""
    found = []
    for r in conn.execute(query):
        finished = _seconds(r.finished_at)
        started = None if r.started_at in (None, r.finished_at) else _seconds(r.started_at)
        times = _seconds(r.submitted_at), started, finished
        found.append(Ended(r.id, r.workflow_id, r.cluster, r.paid, *times))
    return found[::-1]


def open_tasks(conn: Connection) -> list[Open]:
    """Every task of ours that is with a cluster, those that are just being sent, and those that jobs have left behind,
    among them."""
    query = select(
        jobs.c.id, jobs.c.workflow_id, jobs.c.cluster, jobs.c.state, jobs.c.status, jobs.c.submitted_at,
        jobs.c.started_at, jobs.c.updated,
    ).where(IN_FLIGHT, jobs.c.cluster != "")  # fmt: skip
    found = []
    for r in conn.execute(query):
        # What is being sent was last sent, if ever, at another time.
        submitted = r.updated if r.state == State.SUBMITTING or r.submitted_at is None else r.submitted_at
        started = _seconds(r.started_at or r.updated) if r.status == "running" else None
        found.append(Open(r.id, r.workflow_id, r.cluster, _seconds(submitted), started))
    for r in conn.execute(select(spares)):
        started = _seconds(r.started_at) if r.started_at is not None else None
        submitted = r.kept["submitted_at"] or r.at
        found.append(Open(r.job_id, r.kept["workflow_id"], r.cluster, _seconds(submitted), started))
    return found


def queued(conn: Connection, routes: Collection[str], most: int) -> dict[str, int]:
    """How many jobs of each route wait to be sent, counted to `most` of each; routes without any are left out."""
    found = {}
    for route in routes:
        some = select(jobs.c.id).where(WAITS, jobs.c.route == route).limit(most).subquery()
        if number := conn.execute(select(func.count()).select_from(some)).scalar_one():
            found[route] = int(number)
    return found


def tries(conn: Connection, *, limit: int = 300) -> list[Try]:
    """The latest submissions to clusters, the first first."""
    query = (
        select(
            submissions.c.job_id, jobs.c.workflow_id, submissions.c.cluster, submissions.c.outcome, submissions.c.at,
            submissions.c.answered_at, submissions.c.detail, submissions.c.left_at,
        )
        .join(jobs, jobs.c.id == submissions.c.job_id)
        .where(submissions.c.id.in_(_LATEST.limit(limit)), submissions.c.cluster != "")
        .order_by(submissions.c.id)
    )  # fmt: skip
    return [
        Try(
            r.job_id, r.workflow_id, r.cluster, Outcome(r.outcome) if r.outcome else None, _seconds(r.at),
            _seconds(r.answered_at) if r.answered_at else None, r.detail, _seconds(r.left_at) if r.left_at else None,
        )
        for r in conn.execute(query)
    ]  # fmt: skip


def choices(conn: Connection, limit: int) -> list[Chosen]:
    """The last choices of a cluster, the newest first."""
    of_submission = (history.c.job_id == submissions.c.job_id) & (history.c.at == submissions.c.at)
    query = (
        select(submissions.c.at, submissions.c.job_id, jobs.c.route, submissions.c.cluster, history.c.note)
        .join(jobs, jobs.c.id == submissions.c.job_id)
        .join(history, of_submission & (history.c.to_state == State.SUBMITTING))
        .where(submissions.c.id.in_(_LATEST.limit(_LOOKED_AT)), submissions.c.cluster != "")
        .order_by(submissions.c.id.desc())
        .limit(limit)
    )
    return [Chosen(*row) for row in conn.execute(query)]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
