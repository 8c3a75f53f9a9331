"""Every read of the ledger. Plain functions of a connection; none of them writes."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from renderdrop.ledger.line import AWAY
from renderdrop.ledger.rows import chunks, pin_of, with_all
from renderdrop.ledger.schema import PIN, history, jobs, outputs, published, shares, sources, spares, troubles, uploads
from renderdrop.model.job import Job, Place, Step
from renderdrop.model.lifecycle import ENDS, IN_MOTION, OPEN, State
from renderdrop.model.wishes import Pin

_OWNED: Final = (
    select(sources.c.path, sources.c.size, sources.c.mtime_ns, jobs.c.state)
    .join(jobs, jobs.c.id == sources.c.job_id)
    .where(or_(sources.c.place == Place.INBOX, jobs.c.state.in_(OPEN)))
    .where(or_(jobs.c.waiting_for.is_(None), jobs.c.state != State.QUEUED))
    .order_by(sources.c.id)
)
"""The paths of an inbox that are some job's: of an open one, or of an ended one whose source still lies there. Not
those of a job that waits for partners: its files are still looked at like any that came in."""


_ON_THE_WAY: Final = and_(sources.c.filed.is_(False), or_(sources.c.stored.is_not(None), sources.c.told.is_not(None)))
"""Of a source: it is not, or not any more, at the end of its way. These few have an index of their own."""


_SIBLING: Final = jobs.alias()
_OPEN_SIBLING: Final = (
    select(_SIBLING.c.id)
    .where(_SIBLING.c.arrival == jobs.c.arrival, _SIBLING.c.id != jobs.c.id, _SIBLING.c.state.in_(OPEN))
    .correlate(jobs)
    .exists()
)
"""Of an ended job: another one that was made of the same files is not over, so that they stay where they are."""


_LAST_MOVE: Final = (
    select(func.max(history.c.id)).where(history.c.job_id == jobs.c.id).correlate(jobs).scalar_subquery()
)
"""Of a job: its place in the order of all moves. Times of the wall clock do not tell it, once that was set back."""


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
    found = with_all(conn, conn.execute(select(jobs).where(jobs.c.id == job_id)).all())
    return found[0] if found else None


def rendered(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Rendered jobs of these routes, those that were finished first, without those already in hand."""
    done = select(jobs).where(jobs.c.state == State.RENDERED, jobs.c.route.in_(routes))
    return _in_turn(conn, done.order_by(jobs.c.finished_at, jobs.c.id), but, limit)


def submitting(conn: Connection) -> list[Job]:
    """Jobs whose submission was under way: at start-up, those that a crash interrupted."""
    return with_all(conn, conn.execute(select(jobs).where(jobs.c.state == State.SUBMITTING)).all())


class Following(NamedTuple):
    """A job that is with the platform, by its task. `left`: by the one that it has left behind for a second one."""

    id: str
    route: str
    kind: str
    task_id: str
    status: str | None
    progress: float | None
    node: str | None
    workflow_id: str
    cluster: str | None
    submitted_at: str | None
    started_at: str | None
    lags_since: str | None
    left: bool = False


def submitted(conn: Connection) -> list[Following]:
    """Every job that is with the platform."""
    columns = (
        jobs.c.id, jobs.c.route, jobs.c.kind, jobs.c.task_id, jobs.c.status, jobs.c.progress, jobs.c.node,
        jobs.c.workflow_id, jobs.c.cluster, jobs.c.submitted_at, jobs.c.started_at, jobs.c.lags_since,
    )  # fmt: skip
    rows = conn.execute(select(*columns).where(jobs.c.state == State.SUBMITTED).order_by(jobs.c.submitted_at))
    return [Following(*tuple(row)) for row in rows]


def to_file(conn: Connection, *, routes: Collection[str], but: Collection[str], limit: int) -> list[Job]:
    """Ended jobs whose sources still have to be archived (or whose failure has still to be told on the share). Where
    several jobs were made of the same files, not before the last of them has ended."""
    ended = select(jobs).join(sources, sources.c.job_id == jobs.c.id).where(jobs.c.route.in_(routes))
    unfiled = ended.where(sources.c.filed.is_(False), jobs.c.state.in_(ENDS), ~_OPEN_SIBLING).distinct()
    return _in_turn(conn, unfiled.order_by(jobs.c.updated, jobs.c.id), but, limit)


def over(conn: Connection, ids: Sequence[str]) -> list[str]:
    """Those of the given jobs that have ended with nothing left to file. Unknown ids are not among them."""
    unfiled = select(sources.c.id).where(sources.c.job_id == jobs.c.id, sources.c.filed.is_(False)).exists()
    ended = select(jobs.c.id).where(jobs.c.state.in_(ENDS), ~unfiled)
    return [job_id for chunk in chunks(ids) for job_id in conn.execute(ended.where(jobs.c.id.in_(chunk))).scalars()]


def of_route(conn: Connection, route: str, ids: Collection[str]) -> set[str]:
    """Those of the given ids that are jobs of this route."""
    found = select(jobs.c.id).where(jobs.c.route == route)
    return {i for chunk in chunks(list(ids)) for i in conn.execute(found.where(jobs.c.id.in_(chunk))).scalars()}


def listed(
    conn: Connection, *, states: Collection[State] = (), route: str | None = None, limit: int | None = None
) -> list[Job]:
    """Jobs for people, the newest first; no states given = all."""
    query: Select[Any] = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id.desc())
    if states:
        query = query.where(jobs.c.state.in_(states))
    if route is not None:
        query = query.where(jobs.c.route == route)
    return with_all(conn, conn.execute(query if limit is None else query.limit(limit)).all())


def matching(conn: Connection, prefix: str) -> list[str]:
    """Ids that begin with what a person typed (ten at most)."""
    query = select(jobs.c.id).where(jobs.c.id.startswith(prefix.lower(), autoescape=True)).order_by(jobs.c.id)
    return list(conn.execute(query.limit(10)).scalars())


def siblings(conn: Connection, arrival: str) -> list[Job]:
    """All jobs that were made of the same files, in their order."""
    return with_all(conn, conn.execute(select(jobs).where(jobs.c.arrival == arrival).order_by(jobs.c.id)).all())


def incomplete(conn: Connection, route: str) -> list[Job]:
    """Jobs that wait for partners of their files."""
    query = select(jobs).where(
        jobs.c.state == State.QUEUED, _is_of(route), jobs.c.waiting_for.is_not(None)
    )  # fmt: skip
    return with_all(conn, conn.execute(query).all())


def kept(
    conn: Connection, route: str, *, paths: Collection[str] = (), bundles: Collection[str] = ()
) -> dict[str, tuple[int, int]]:  # fmt: skip
    """Files, by path or by their job's bundle, that ended jobs left in the inbox for good (`after = "keep"`), with the
    size and mtime_ns that they are remembered by. Not those that an open job owns."""
    left = (
        select(sources.c.path, sources.c.size, sources.c.mtime_ns)
        .join(jobs, jobs.c.id == sources.c.job_id)
        .where(sources.c.route == route, sources.c.place == Place.INBOX, sources.c.filed.is_(True))
        .where(jobs.c.state.in_(ENDS))
        .order_by(sources.c.id)
    )
    found: dict[str, tuple[int, int]] = {}
    for column, wanted in ((sources.c.path, paths), (jobs.c.bundle, bundles)):
        for chunk in chunks(list(wanted)):
            found |= {r.path: (r.size, r.mtime_ns) for r in conn.execute(left.where(column.in_(chunk)))}
    known = known_paths(conn, route, list(found))
    return {path: stat for path, stat in found.items() if path not in known or not known[path].open}


def begun(
    conn: Connection, route: str, *, paths: Collection[str] = (), bundles: Collection[str] = ()
) -> dict[str, str]:  # fmt: skip
    """The open job, if any, that each of these paths or bundles has become; not those that wait for partners."""
    open_jobs = (
        select(jobs.c.id, jobs.c.bundle, sources.c.path)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(jobs.c.route == route, jobs.c.state.in_(OPEN))
        .where(or_(jobs.c.waiting_for.is_(None), jobs.c.state != State.QUEUED))
        .order_by(jobs.c.id)
    )
    found: dict[str, str] = {}
    for chunk in chunks(list(paths)):
        at_paths = open_jobs.where(sources.c.route == route, sources.c.path.in_(chunk))
        found |= {r.path: r.id for r in conn.execute(at_paths)}
    for chunk in chunks(list(bundles)):
        found |= {r.bundle: r.id for r in conn.execute(open_jobs.where(jobs.c.bundle.in_(chunk)))}
    return found


def maker_of(conn: Connection, routes: Collection[str], folder: str, file: str) -> Job | None:
    """The last job of these routes that gave an output of this name in this folder of the outbox."""
    query = (
        select(jobs)
        .join(outputs, outputs.c.job_id == jobs.c.id)
        .where(outputs.c.file == file, jobs.c.route.in_(routes), jobs.c.base.is_not(None))
        .order_by(_LAST_MOVE.desc())
    )
    return next((job for job in with_all(conn, conn.execute(query).all()) if job.folder == folder), None)


def same_work(conn: Connection, fingerprint: str, but: str) -> list[Job]:
    """Jobs that were asked for the very same and were delivered or are not over, the oldest first."""
    alive = [*OPEN, State.DELIVERED]
    query = select(jobs).where(
        jobs.c.fingerprint == fingerprint, jobs.c.id != but, jobs.c.duplicate_of.is_(None), jobs.c.state.in_(alive)
    )
    return with_all(conn, conn.execute(query.order_by(jobs.c.id)).all())


def upload_of(conn: Connection, sha256: str) -> str | None:
    """The name under which the platform keeps a file of this content."""
    return conn.execute(select(uploads.c.filename).where(uploads.c.sha256 == sha256)).scalar()


def uploaded_size(conn: Connection, size: int) -> bool:
    """Whether the platform keeps any file of that size: only then is it worth the reading to know a file's hash."""
    return conn.execute(select(uploads.c.sha256).where(uploads.c.size == size).limit(1)).first() is not None


def to_unpublish(conn: Connection) -> list[tuple[str, str]]:
    """(route, key) of objects on a store whose job is not with the platform any more (or not again yet)."""
    busy = [State.SUBMITTING, State.SUBMITTED, State.HELD]  # a silent task may still want to look
    query = select(published.c.route, published.c.key).join(jobs, jobs.c.id == published.c.job_id)
    return [(r.route, r.key) for r in conn.execute(query.where(jobs.c.state.not_in(busy)).order_by(published.c.id))]


def counts(conn: Connection) -> dict[State, int]:
    """How many jobs are in each state."""
    rows = conn.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {State(state): n for state, n in rows}


class Unfinished(NamedTuple):
    """A job that is not over. `waits`: for partners of its files, which this process cannot bring about; `unsent`: it
    is queued, and something has to be submitted for it; `pin`: what of its own decides where it can go."""

    id: str
    route: str
    state: State
    waits: bool
    unsent: bool
    pin: Pin


def unfinished(conn: Connection) -> list[Unfinished]:
    """Jobs that the daemon still has to carry on, ended ones whose sources are not filed among them; held ones are not:
    they wait for a person, and so do the sources that they share with ended ones."""
    left_behind = select(spares.c.id).where(spares.c.job_id == jobs.c.id).exists()
    sent = or_(jobs.c.paid, left_behind).label("sent")
    columns = (jobs.c.id, jobs.c.route, jobs.c.state, jobs.c.waiting_for, sent, PIN.label("pin"))
    in_motion = select(*columns).where(jobs.c.state.in_(IN_MOTION))
    unfiled = (
        select(*columns)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(sources.c.filed.is_(False), jobs.c.state.in_(ENDS), ~_OPEN_SIBLING)
        .distinct()
    )
    return [
        Unfinished(r.id, r.route, state, queued and r.waiting_for is not None, queued and not r.sent, pin_of(r.pin))
        for query in (in_motion, unfiled)
        for r in conn.execute(query)
        for state in [State(r.state)]
        for queued in [state is State.QUEUED]
    ]


def mark(conn: Connection) -> int:
    """Where the history stands now, for `ended_since`: the ledger's own order, which no clock can turn back."""
    return int(conn.execute(select(func.coalesce(func.max(history.c.id), 0))).scalar_one())


def ended_since(conn: Connection, mark: int) -> dict[State, int]:
    """How many jobs have ended, or were held, since that mark."""
    moved = select(history.c.job_id).where(history.c.id > mark)
    query = select(jobs.c.state, func.count()).where(jobs.c.id.in_(moved)).group_by(jobs.c.state)
    return {State(state): n for state, n in conn.execute(query) if State(state) in ENDS | {State.HELD}}


def on_clusters(conn: Connection) -> list[tuple[str, str, int]]:
    """(cluster, the platform's status word or "", number) of our tasks that are with the platform now, those that jobs
    have left behind among them."""
    query = (
        select(jobs.c.cluster, func.coalesce(jobs.c.status, ""), func.count())
        .where(jobs.c.state.in_([State.SUBMITTING, State.SUBMITTED]), jobs.c.cluster != "")
        .group_by(jobs.c.cluster, jobs.c.status)
    )
    found = Counter({(cluster, status): n for cluster, status, n in conn.execute(query)})
    for cluster, started in conn.execute(select(spares.c.cluster, spares.c.started_at)):
        found[cluster, "pending" if started is None else "running"] += 1
    return [(cluster, status, n) for (cluster, status), n in found.items()]


def known_in_inbox(conn: Connection, route: str) -> dict[str, Known]:
    """Every path of an inbox that is some job's: of an open job, or of an ended one whose source still lies there."""
    return _known(conn, _OWNED.where(sources.c.route == route))


def known_paths(conn: Connection, route: str, paths: Sequence[str]) -> dict[str, Known]:
    """The same for these paths alone."""
    known: dict[str, Known] = {}
    for chunk in chunks(paths):
        known |= _known(conn, _OWNED.where(sources.c.route == route, sources.c.path.in_(chunk)))
    return known


def away(conn: Connection, route: str) -> list[Job]:
    """Queued jobs whose sources, or their notices, still lie in done/ or failed/: an operator wants them again."""
    on_the_way = select(sources.c.job_id).where(sources.c.route == route, _ON_THE_WAY)
    query = select(jobs).where(jobs.c.id.in_(on_the_way), func.coalesce(jobs.c.state, "") == State.QUEUED, AWAY)
    return with_all(conn, conn.execute(query).all())


def at_path(conn: Connection, route: str, path: str) -> list[Job]:
    """The jobs that a path of an inbox has fed, the newest first."""
    query = (
        select(jobs)
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(sources.c.route == route, sources.c.path == path)
        .order_by(sources.c.id.desc())
    )
    return with_all(conn, conn.execute(query).all())


def reserved_bases(conn: Connection, route: str, folder: str, but: str) -> list[str]:
    """Base names that other jobs have chosen in this outbox folder and not published yet."""
    query = (
        select(jobs.c.base, func.coalesce(jobs.c.bundle, func.min(sources.c.path)).label("path"))
        .join(sources, sources.c.job_id == jobs.c.id)
        .where(_is_of(route), jobs.c.state == State.RENDERED, jobs.c.base.is_not(None), jobs.c.id != but)
        .group_by(jobs.c.id)
    )
    return [base for base, path in conn.execute(query) if os.fsdecode(path).rpartition("/")[0] == folder]


def reserved_stores(conn: Connection, route: str, place: Place, but: str) -> list[str]:
    """Paths below done/ or failed/ that sources of other arrivals are on their way to, or their notices are."""
    states = [State.FAILED, State.CANCELLED] if place is Place.FAILED else [State.RENDERED, State.DELIVERED]
    query = (
        select(sources.c.stored, sources.c.told)
        .join(jobs, jobs.c.id == sources.c.job_id)
        .where(sources.c.route == route, _ON_THE_WAY, jobs.c.state.in_(states), jobs.c.arrival != but)
    )
    return [path for row in conn.execute(query) for path in row if path is not None]


def steps(conn: Connection, job_id: str) -> list[Step]:
    """A job's history, the oldest first."""
    rows = conn.execute(select(history).where(history.c.job_id == job_id).order_by(history.c.id))
    return [Step(r.at, State(r.from_state) if r.from_state else None, State(r.to_state), r.note) for r in rows]


def seen_folders(conn: Connection) -> frozenset[Path]:
    """Folders of routes, each route's four, whose marker was once there."""
    return frozenset(Path(folder) for folder in conn.execute(select(shares.c.inbox)).scalars())


def present_troubles(conn: Connection) -> list[Trouble]:
    """What makes work wait now."""
    return [Trouble(*row) for row in conn.execute(select(troubles).order_by(troubles.c.since))]


def _is_of(route: str) -> ColumnElement[bool]:
    """Of a job, where its state is the better way to find it: a route's jobs of all times are many."""
    return func.coalesce(jobs.c.route, "") == route


def _in_turn(conn: Connection, query: Select[Any], but: Collection[str], limit: int) -> list[Job]:
    rows = conn.execute(query.limit(limit + len(but)))
    return with_all(conn, [row for row in rows if row.id not in but][:limit])


def _known(conn: Connection, query: Select[Any]) -> dict[str, Known]:
    known: dict[str, Known] = {}
    for path, size, mtime_ns, state in conn.execute(query):
        is_open = State(state) in OPEN
        if is_open or path not in known or not known[path].open:
            known[path] = Known(size, mtime_ns, is_open)
    return known
