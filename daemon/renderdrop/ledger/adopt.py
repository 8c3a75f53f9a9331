"""How settled files become jobs: the one transaction that makes them the ledger's.

Owns that a file feeds one job at a time (a matrix's jobs share theirs), that a job which waited for partners is the one
they complete, and which former notices no longer hold. It must never touch a file: each of these is the commit that
comes before.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, bindparam, delete, insert, select, update

from renderdrop.ledger.moves import move
from renderdrop.ledger.rows import chunks
from renderdrop.ledger.schema import history, jobs, sources
from renderdrop.model.arrival import Adopted, Arrival, Earlier
from renderdrop.model.job import Job, Place, Source
from renderdrop.model.lifecycle import OPEN, State
from renderdrop.model.route import Route
from renderdrop.model.wishes import Wishes, params_of


def adopt(conn: Connection, at: str, route: Route, arrivals: Sequence[Arrival]) -> list[Adopted | None]:
    """Make jobs of settled files; an answer for each arrival, None where it was passed over.

    Passed over are files that an open job owns, or that ended jobs left in place with their very size and mtime. A job
    that waited for partners of these files, or was to be looked at again, is the one that they now complete.
    """
    known = _before(conn, route.name, [source.path for arrival in arrivals for source in arrival.sources])
    new = _New(conn, at)
    adopted: list[Adopted | None] = []
    for arrival in arrivals:
        paths = [source.path for source in arrival.sources]
        before = [row for path in paths for row in known.get(path, ())]
        if not new.paths.isdisjoint(paths) or any(row.id in new.renewed for row in before):
            new.insert()  # what was read is of no use any more to those that share files, or a job that waited for them
            before = [row for rows in _before(conn, route.name, paths).values() for row in rows]
        adopted.append(_adopt(new, route, arrival, sorted(before, key=lambda row: int(row.source_id))))
    new.insert()
    return adopted


class _New:
    """Rows that are to be inserted together: a night's batch pays for each statement once and not once a file."""

    def __init__(self, conn: Connection, at: str) -> None:
        self.conn, self.at = conn, at
        self.paths: set[str] = set()
        """Of the files that have become a job's in this transaction."""
        self.renewed: set[str] = set()
        """Jobs that had waited for partners."""
        self.refused: dict[str, str] = {}
        """Jobs that fail at once, and why."""
        self._rows: dict[Table, list[dict[str, Any]]] = {jobs: [], sources: [], history: []}

    def add(self, table: Table, *rows: dict[str, Any]) -> None:
        """Rows of `jobs`, `sources` or `history`, each with the same columns as all others of its table."""
        self._rows[table] += rows

    def insert(self) -> None:
        """To the ledger with them."""
        for table, rows in self._rows.items():
            if rows:
                self.conn.execute(insert(table), rows)
                rows.clear()
        for job_id, why in self.refused.items():
            move(self.conn, job_id, State.QUEUED, State.FAILED, self.at, why, error=why)
        self.refused.clear()


_BEFORE: Final = (
    select(
        jobs.c.id, jobs.c.state, jobs.c.waiting_for, jobs.c.queued_at, jobs.c.base, sources.c.id.label("source_id"),
        sources.c.path, sources.c.size, sources.c.mtime_ns, sources.c.place, sources.c.stored, sources.c.told,
    )
    .join(jobs, jobs.c.id == sources.c.job_id)
    .where(sources.c.route == bindparam("of_route"), sources.c.path.in_(bindparam("at_paths", expanding=True)))
)  # fmt: skip
"""Made once: SQLAlchemy takes longer to put it together than SQLite to answer it."""


def _before(conn: Connection, route: str, paths: Sequence[str]) -> dict[str, list[Row[*tuple[Any, ...]]]]:
    """What the ledger knows of these paths: a row for each time that one of them was a job's."""
    found: dict[str, list[Row[*tuple[Any, ...]]]] = {}
    for chunk in chunks(list(dict.fromkeys(paths))):
        for row in conn.execute(_BEFORE, {"of_route": route, "at_paths": chunk}):
            found.setdefault(row.path, []).append(row)
    return found


def _adopt(new: _New, route: Route, arrival: Arrival, before: Sequence[Row[*tuple[Any, ...]]]) -> Adopted | None:
    at, by_path = new.at, {source.path: source for source in arrival.sources}
    waiting = {b.id: b.queued_at for b in before if b.state == State.QUEUED and b.waiting_for is not None}
    kept = {
        b.path
        for b in before
        if b.place == Place.INBOX and State(b.state) not in OPEN
        and (b.size, b.mtime_ns) == (by_path[b.path].size, by_path[b.path].mtime_ns)
    }  # fmt: skip
    if kept == by_path.keys() or any(State(b.state) in OPEN and b.id not in waiting for b in before):
        return None
    first = next(iter(waiting), None)
    for other in waiting.keys() - {first}:
        disband(new.conn, other, at, "its files belong to another job now")
    ids = (first or arrival.job_id, *(job_id for job_id, _ in arrival.jobs[1:]))
    for job_id, (_, wishes) in zip(ids, arrival.jobs, strict=True):
        if job_id == first:
            _renew_job(new.conn, at, route, arrival, job_id)
        else:
            _add_job(new, route, arrival, job_id, wishes, ids[0])
    new.paths |= by_path.keys()
    new.renewed |= waiting.keys()
    if arrival.refusal is not None:
        new.refused |= dict.fromkeys(ids, arrival.refusal)
    earlier = [Earlier(b.id, b.stored, b.told, b.base) for b in before if b.place == Place.FAILED and b.told]
    return Adopted(ids, waiting.get(ids[0], at), tuple(earlier))


def _columns(route: Route, arrival: Arrival, wishes: Wishes) -> dict[str, Any]:
    again = "its files to be looked at again" if arrival.refusal is not None else None
    return {
        "priority": route.priority if arrival.priority is None else arrival.priority,
        "workflow_id": wishes.workflow_id or route.workflow_id, "version_id": wishes.version_id or route.version_id,
        "params": params_of(route, wishes)[0], "wishes": wishes.as_json(), "bundle": arrival.bundle,
        # A file that was refused for its ticket or its partners must not be sent by a mere `retry`.
        "waiting_for": arrival.waiting_for or again, "derived_from": arrival.derived_from,
    }  # fmt: skip


def _add_job(new: _New, route: Route, arrival: Arrival, job_id: str, wishes: Wishes, first: str) -> None:
    row = {
        "id": job_id, "route": route.name, "kind": route.kind, "state": State.QUEUED, "arrival": first,
        "created": new.at, "updated": new.at, "seen_at": arrival.seen_at, "queued_at": new.at,
        **_columns(route, arrival, wishes),
    }  # fmt: skip
    new.add(jobs, row)
    new.add(sources, *_source_rows(job_id, route.name, arrival.sources))
    new.add(history, {"job_id": job_id, "at": new.at, "from_state": None, "to_state": State.QUEUED, "note": "settled"})


def _renew_job(conn: Connection, at: str, route: Route, arrival: Arrival, job_id: str) -> None:
    """A job that waited has its files now: all of them, or one more."""
    conn.execute(
        update(jobs).where(jobs.c.id == job_id).values(updated=at, **_columns(route, arrival, arrival.jobs[0][1]))
    )
    conn.execute(delete(sources).where(sources.c.job_id == job_id))
    _insert_sources(conn, job_id, route.name, arrival.sources)


def _insert_sources(conn: Connection, job_id: str, route: str, files: Sequence[Source]) -> None:
    if files:
        conn.execute(insert(sources), _source_rows(job_id, route, files))


def _source_rows(job_id: str, route: str, files: Sequence[Source]) -> list[dict[str, Any]]:
    return [
        {
            "job_id": job_id, "route": route, "input": f.input, "path": f.path, "size": f.size,
            "mtime_ns": f.mtime_ns, "sha256": f.sha256, "place": f.place, "stored": f.stored, "role": f.role,
            "told": f.told,
        }
        for f in files
    ]  # fmt: skip


def disband(conn: Connection, job_id: str, at: str, reason: str) -> bool:
    """End a job that has not been sent because its files are not what they were; whatever lies there is looked at
    afresh and may become a new job."""
    if not move(conn, job_id, State.QUEUED, State.CANCELLED, at, reason, error=reason):
        return False
    release_sources(conn, job_id)
    return True


def release_sources(conn: Connection, job_id: str) -> None:
    """A job's sources are nobody's from now on; files that still lie in the inbox are sighted again."""
    conn.execute(
        update(sources)
        .where(sources.c.job_id == job_id, sources.c.filed.is_(False))
        .values(place=Place.GONE, filed=True)
    )


def insert_rerun(conn: Connection, at: str, job: Job) -> None:
    """Insert a job that repeats another one (`rerun`), with its sources where they were found."""
    conn.execute(
        insert(jobs).values(
            id=job.id, route=job.route, kind=job.kind, state=State.QUEUED, arrival=job.arrival, priority=job.priority,
            workflow_id=job.workflow_id, version_id=job.version_id, params=dict(job.params),
            wishes=job.wishes.as_json(), bundle=job.bundle, derived_from=job.derived_from, created=at, updated=at,
            seen_at=at, queued_at=at,
        )
    )  # fmt: skip
    _insert_sources(conn, job.id, job.route, job.sources)
    conn.execute(insert(history).values(job_id=job.id, at=at, from_state=None, to_state=State.QUEUED, note="rerun"))
