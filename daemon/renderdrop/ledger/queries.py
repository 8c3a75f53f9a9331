"""Every read of the ledger. Plain functions of a connection; none of them writes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from renderdrop.ledger.schema import history, jobs, outputs, remarks, shares, sources, submissions, troubles
from renderdrop.model.job import Job, Level, Outcome, Output, Place, Remark, Source, Step, Submission, Times
from renderdrop.model.lifecycle import ENDS, IN_MOTION, OPEN, State

_CHUNK = 500
"""Ids in one IN list: SQLite allows 32,766 variables, small lists plan better."""


_OWNED: Final = (
    select(sources.c.path, sources.c.size, sources.c.mtime_ns, jobs.c.state)
    .join(jobs, jobs.c.id == sources.c.job_id)
    .where(or_(sources.c.place == Place.INBOX, jobs.c.state.in_(OPEN)))
    .order_by(sources.c.id)
)
"""The paths of an inbox that are some job's: of an open one, or of an ended one whose source still lies there."""


_AWAY: Final = (
    select(sources.c.id).where(sources.c.job_id == jobs.c.id, sources.c.place.in_([Place.DONE, Place.FAILED])).exists()
)
"""Of a queued job: it waits for a source to be brought back from done/ or failed/."""


class Known(NamedTuple):
    """What the ledger knows of a path in an inbox."""

    size: int
    mtime_ns: int
    open: bool


class Trouble(NamedTuple):
    """Something that makes work wait: `reach` is platform, share or route."""

    reach: str
    subject: str
    sentence: str
    since: str


def job(conn: Connection, job_id: str) -> Job | None:
    """One job with everything that hangs on it."""
    found = _with_all(conn, conn.execute(select(jobs).where(jobs.c.id == job_id)).all())
    return found[0] if found else None


def waiting(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Queued jobs of these routes, the most urgent first, without those already in hand."""
    queued = select(jobs).where(jobs.c.state == State.QUEUED, jobs.c.route.in_(routes), ~_AWAY)
    return _in_turn(conn, queued.order_by(jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id), but, limit)


def rendered(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Rendered jobs of these routes, those that were finished first, without those already in hand."""
    done = select(jobs).where(jobs.c.state == State.RENDERED, jobs.c.route.in_(routes))
    return _in_turn(conn, done.order_by(jobs.c.finished_at, jobs.c.id), but, limit)


def submitting(conn: Connection) -> list[Job]:
    """Jobs whose submission was under way: at start-up, those that a crash interrupted."""
    return _with_all(conn, conn.execute(select(jobs).where(jobs.c.state == State.SUBMITTING)).all())


def submitted(conn: Connection) -> list[tuple[str, str, str, str | None, float | None, str | None]]:
    """(job, route, task, status, progress, node) of every job that is with the platform."""
    columns = (jobs.c.id, jobs.c.route, jobs.c.task_id, jobs.c.status, jobs.c.progress, jobs.c.node)
    rows = conn.execute(select(*columns).where(jobs.c.state == State.SUBMITTED).order_by(jobs.c.submitted_at))
    return [(r.id, r.route, r.task_id, r.status, r.progress, r.node) for r in rows]


def to_file(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Ended jobs whose sources still have to be archived (or whose failure has still to be told on the share)."""
    ended = select(jobs).join(sources, sources.c.job_id == jobs.c.id).where(jobs.c.route.in_(routes))
    unfiled = ended.where(sources.c.filed.is_(False), jobs.c.state.in_(ENDS)).distinct()
    return _in_turn(conn, unfiled.order_by(jobs.c.updated, jobs.c.id), but, limit)


def over(conn: Connection, ids: Sequence[str]) -> list[str]:
    """Those of the given jobs that have ended with nothing left to file. Unknown ids are not among them."""
    unfiled = select(sources.c.id).where(sources.c.job_id == jobs.c.id, sources.c.filed.is_(False)).exists()
    ended = select(jobs.c.id).where(jobs.c.state.in_(ENDS), ~unfiled)
    return [job_id for chunk in _chunks(ids) for job_id in conn.execute(ended.where(jobs.c.id.in_(chunk))).scalars()]


def listed(
    conn: Connection, *, states: Collection[State] = (), route: str | None = None, limit: int | None = None
) -> list[Job]:
    """Jobs for people, the newest first; no states given = all."""
    query: Select[Any] = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id.desc())
    if states:
        query = query.where(jobs.c.state.in_(states))
    if route is not None:
        query = query.where(jobs.c.route == route)
    return _with_all(conn, conn.execute(query if limit is None else query.limit(limit)).all())


def matching(conn: Connection, prefix: str) -> list[str]:
    """Ids that begin with what a person typed (ten at most)."""
    query = select(jobs.c.id).where(jobs.c.id.startswith(prefix.lower(), autoescape=True)).order_by(jobs.c.id)
    return list(conn.execute(query.limit(10)).scalars())


def counts(conn: Connection) -> dict[State, int]:
    """How many jobs are in each state."""
    rows = conn.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {State(state): n for state, n in rows}


def unfinished(conn: Connection) -> list[tuple[str, str, State]]:
    """(job, route, state) of jobs that the daemon still has to carry on, ended ones whose sources are not filed among
    them; held ones are not: they wait for a person."""
    query = (
        select(jobs.c.id, jobs.c.route, jobs.c.state)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(or_(jobs.c.state.in_(IN_MOTION), and_(jobs.c.state.in_(ENDS), sources.c.filed.is_(False))))
        .distinct()
    )
    return [(job_id, route, State(state)) for job_id, route, state in conn.execute(query)]


def ended_since(conn: Connection, at: str) -> dict[State, int]:
    """How many jobs have ended, or were held, since then."""
    query = select(jobs.c.state, func.count()).where(jobs.c.updated >= at).group_by(jobs.c.state)
    return {State(state): n for state, n in conn.execute(query) if State(state) in ENDS | {State.HELD}}


def on_clusters(conn: Connection) -> list[tuple[str, str, int]]:
    """(cluster, the platform's status word or "", number) of our tasks that are with the platform now."""
    query = (
        select(jobs.c.cluster, func.coalesce(jobs.c.status, ""), func.count())
        .where(jobs.c.state.in_([State.SUBMITTING, State.SUBMITTED]), jobs.c.cluster.is_not(None))
        .group_by(jobs.c.cluster, jobs.c.status)
    )
    return [(cluster, status, n) for cluster, status, n in conn.execute(query)]


def known_in_inbox(conn: Connection, route: str) -> dict[str, Known]:
    """Every path of an inbox that is some job's: of an open job, or of an ended one whose source still lies there."""
    return _known(conn, _OWNED.where(sources.c.route == route))


def known_paths(conn: Connection, route: str, paths: Sequence[str]) -> dict[str, Known]:
    """The same for these paths alone."""
    known: dict[str, Known] = {}
    for chunk in _chunks(paths):
        known |= _known(conn, _OWNED.where(sources.c.route == route, sources.c.path.in_(chunk)))
    return known


def away(conn: Connection, route: str) -> list[Job]:
    """Queued jobs whose sources still lie in done/ or failed/: an operator wants them again."""
    query = select(jobs).where(jobs.c.state == State.QUEUED, jobs.c.route == route, _AWAY)
    return _with_all(conn, conn.execute(query).all())


def at_path(conn: Connection, route: str, path: str) -> list[Job]:
    """The jobs that a path of an inbox has fed, the newest first."""
    query = (
        select(jobs)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(sources.c.route == route, sources.c.path == path)
        .order_by(sources.c.id.desc())
    )
    return _with_all(conn, conn.execute(query).all())


def reserved_bases(conn: Connection, route: str, folder: str, but: str) -> list[str]:
    """Base names that other jobs have chosen in this outbox folder and not published yet."""
    query = (
        select(jobs.c.base, sources.c.path)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(jobs.c.route == route, jobs.c.state == State.RENDERED, jobs.c.base.is_not(None), jobs.c.id != but)
    )
    return [base for base, path in conn.execute(query) if path.rpartition("/")[0] == folder]


def reserved_stores(conn: Connection, route: str, place: Place, but: str) -> list[str]:
    """Paths below done/ or failed/ that other jobs' sources are on their way to."""
    states = [State.FAILED, State.CANCELLED] if place is Place.FAILED else [State.RENDERED, State.DELIVERED]
    query = (
        select(sources.c.stored)
        .join(jobs, jobs.c.id == sources.c.job_id)
        .where(sources.c.route == route, sources.c.filed.is_(False), sources.c.stored.is_not(None))
        .where(jobs.c.state.in_(states), jobs.c.id != but)
    )
    return list(conn.execute(query).scalars())


def steps(conn: Connection, job_id: str) -> list[Step]:
    """A job's history, the oldest first."""
    rows = conn.execute(select(history).where(history.c.job_id == job_id).order_by(history.c.id))
    return [Step(r.at, State(r.from_state) if r.from_state else None, State(r.to_state), r.note) for r in rows]


def seen_inboxes(conn: Connection) -> frozenset[Path]:
    """Inboxes whose marker was once there."""
    return frozenset(Path(inbox) for inbox in conn.execute(select(shares.c.inbox)).scalars())


def present_troubles(conn: Connection) -> list[Trouble]:
    """What makes work wait now."""
    return [Trouble(*row) for row in conn.execute(select(troubles).order_by(troubles.c.since))]


def _in_turn(conn: Connection, query: Select[Any], but: Collection[str], limit: int) -> list[Job]:
    rows = conn.execute(query.limit(limit + len(but)))
    return _with_all(conn, [row for row in rows if row.id not in but][:limit])


def _known(conn: Connection, query: Select[Any]) -> dict[str, Known]:
    known: dict[str, Known] = {}
    for path, size, mtime_ns, state in conn.execute(query):
        is_open = State(state) in OPEN
        if is_open or path not in known or not known[path].open:
            known[path] = Known(size, mtime_ns, is_open)
    return known


def _with_all(conn: Connection, rows: Sequence[Row[Any]]) -> list[Job]:
    """Jobs out of rows of `jobs`, in their order, with what hangs on them in four queries a chunk."""
    ids = [row.id for row in rows]
    by_job: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for table, make in ((sources, _source), (outputs, _output), (remarks, _remark), (submissions, _submission)):
        for chunk in _chunks(ids):
            query = select(table).where(table.c.job_id.in_(chunk)).order_by(table.c.id)
            for row in conn.execute(query):
                by_job[row.job_id][table.name].append(make(row))
    return [_job(row, by_job[row.id]) for row in rows]


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def _job(r: Row[Any], parts: dict[str, list[Any]]) -> Job:
    return Job(
        id=r.id, route=r.route, kind=r.kind, state=State(r.state), priority=r.priority, attempts=r.attempts,
        workflow_id=r.workflow_id, version_id=r.version_id, params=r.params, cluster=r.cluster, task_id=r.task_id,
        paid=r.paid, status=r.status, progress=r.progress, node=r.node, error=r.error, base=r.base,
        created=r.created, updated=r.updated,
        times=Times(r.seen_at, r.queued_at, r.submitted_at, r.started_at, r.finished_at, r.delivered_at),
        sources=tuple(parts["sources"]), outputs=tuple(sorted(parts["outputs"], key=lambda o: o.position)),
        remarks=tuple(parts["remarks"]), submissions=tuple(parts["submissions"]),
    )  # fmt: skip


def _source(r: Row[Any]) -> Source:
    return Source(r.input, r.path, r.size, r.mtime_ns, r.sha256, Place(r.place), r.stored, r.filed)


def _output(r: Row[Any]) -> Output:
    return Output(r.position, r.node_id, r.title, r.url, r.file, r.size, r.sha256, r.media_type, r.fetched)


def _remark(r: Row[Any]) -> Remark:
    return Remark(Level(r.level), r.message, r.node_id, r.title)


def _submission(r: Row[Any]) -> Submission:
    outcome = Outcome(r.outcome) if r.outcome else None
    return Submission(r.id, r.at, r.cluster, r.task_id, outcome, r.detail, r.complete)
