"""Every write to the ledger: the one guarded move and the few deeds around it.

Owns the rule that a job changes its state in one place only, guarded by the state the caller believes
in, with the history row in the same transaction. No deed here may touch a file or the network: each is
the commit that comes *before* such an act. Times are passed in (`at`, ISO 8601 UTC text).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Update, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from renderdrop.ledger.schema import (
    LAGS,
    history,
    jobs,
    outputs,
    published,
    remarks,
    shares,
    sources,
    spares,
    submissions,
    troubles,
    uploads,
)
from renderdrop.model.job import Job, Outcome, Output, Remark, Source
from renderdrop.model.lifecycle import ENDS, State, may, way

_OVER: Final = ENDS | {State.RENDERED}
"""States in which nothing more is expected of a task."""


def move(
    conn: Connection, job_id: str, frm: State, to: State, at: str, note: str = "", *, of_task: str | None = None,
    **changes: Any,
) -> bool:  # fmt: skip
    """Move a job, if it is still in `frm`; writes the history row. False: somebody else moved it first.

    `changes` are columns of `jobs` set in the same breath; with `of_task`, only while that is still its task. A task
    that it had left behind is followed no more once its results are known or it has ended. Raises ValueError for a move
    that the table forbids.
    """
    if not may(frm, to):
        raise ValueError(f"no job may go from {frm} to {to}")
    # The guard: whoever lost the race changes nothing.
    if conn.execute(_guarded(job_id, frm, of_task).values(state=to, updated=at, **changes)).rowcount != 1:
        return False
    conn.execute(insert(history).values(job_id=job_id, at=at, from_state=frm, to_state=to, note=note))
    if to in _OVER:
        conn.execute(delete(spares).where(spares.c.job_id == job_id))
    return True


def change(
    conn: Connection, job_id: str, state: State, at: str, *, of_task: str | None = None, **changes: Any
) -> bool:  # fmt: skip
    """Set columns of a job that is in `state`, without moving it; with `of_task`, only while that is its task."""
    return conn.execute(_guarded(job_id, state, of_task).values(updated=at, **changes)).rowcount == 1


def _guarded(job_id: str, state: State, of_task: str | None) -> Update:
    guarded = update(jobs).where(jobs.c.id == job_id, jobs.c.state == state)
    return guarded if of_task is None else guarded.where(jobs.c.task_id == of_task)


def is_in(conn: Connection, job_id: str, state: State) -> bool:
    """Whether a job is still in that state: what hangs on it is then written in the same transaction."""
    return conn.execute(select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.state == state)).first() is not None


def begin_submission(
    conn: Connection, job_id: str, at: str, *, cluster: str, note: str, workflow_id: str, version_id: str | None,
    params: Mapping[str, Any], priority: int,
) -> int | None:  # fmt: skip
    """The intent, before the first byte: queued → submitting, with what is about to be asked for.

    Returns the submission's number, or None when the job is not queued any more.
    """
    if not move(
        conn, job_id, State.QUEUED, State.SUBMITTING, at, note, cluster=cluster, workflow_id=workflow_id,
        version_id=version_id, params=dict(params), priority=priority, task_id=None, paid=False, status=None,
        progress=None, node=None, started_at=None, finished_at=None, sent={}, duplicate_of=None, lags_since=None,
    ):  # fmt: skip
        return None
    begun = insert(submissions).values(job_id=job_id, at=at, cluster=cluster).returning(submissions.c.id)
    return int(conn.execute(begun).scalar_one())


def complete_body(conn: Connection, submission: int) -> None:
    """The last byte is about to go: from this commit on, no answer means *unknown*, before it *not sent*."""
    conn.execute(update(submissions).where(submissions.c.id == submission).values(complete=True))


def resume_task(conn: Connection, job_id: str, at: str) -> bool:
    """A queued job whose task was already paid for goes straight back to being asked after; nothing is submitted."""
    note = "its task ended in success before: its result is asked for again, nothing is rendered anew"
    return move(conn, job_id, State.QUEUED, State.SUBMITTING, at, note) and move(
        conn, job_id, State.SUBMITTING, State.SUBMITTED, at, note
    )


def end_submission(
    conn: Connection, submission: int, at: str, outcome: Outcome, detail: str = "", task_id: str | None = None
) -> None:
    """What became of a submission. Recorded even when its job was cancelled meanwhile: a task id is never forgotten."""
    conn.execute(
        update(submissions)
        .where(submissions.c.id == submission)
        .values(answered_at=at, outcome=outcome, detail=detail, task_id=task_id)
    )


def record_source(conn: Connection, job_id: str, path: str, **changes: Any) -> None:
    """Set columns of one source of a job (its hash, where it is about to go, that it is filed)."""
    route = select(jobs.c.route).where(jobs.c.id == job_id).scalar_subquery()
    one = _at_path(route, path).where(func.coalesce(sources.c.job_id, "") == job_id)
    conn.execute(one.values(**changes))


def relocate(conn: Connection, job: Job, source: Source, **changes: Any) -> None:
    """Say where a file lies now (place, stored, path) for every job of its arrival: it is one and the same file."""
    siblings = select(jobs.c.id).where(jobs.c.arrival == job.arrival)
    here = _at_path(job.route, source.path).where(func.coalesce(sources.c.job_id, "").in_(siblings))
    conn.execute(here.where(func.coalesce(sources.c.place, "") == source.place).values(**changes))


def put_away(conn: Connection, job: Job, steps: Sequence[tuple[Source, Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """`relocate` and `record_source` for many of a job's sources, in one go: (source, what every job of the arrival is
    to know of it, what this job alone)."""
    siblings = select(jobs.c.id).where(jobs.c.arrival == job.arrival)
    here = _at_path(job.route, bindparam("at_path")).where(func.coalesce(sources.c.job_id, "").in_(siblings))
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[dict[str, Any]]] = {}
    for source, every, own in steps:
        row = {"at_path": source.path, "at_place": source.place, **{f"new_{c}": v for c, v in {**every, **own}.items()}}
        alike.setdefault((tuple(every), tuple(own)), []).append(row)
    for (shared, alone), rows in alike.items():
        new = {c: bindparam(f"new_{c}", type_=sources.c[c].type) for c in (*shared, *alone)}
        is_there, is_own = sources.c.place == bindparam("at_place"), sources.c.job_id == job.id
        values = {c: case((is_there, new[c]), else_=sources.c[c]) for c in shared}
        values |= {c: case((is_own, new[c]), else_=sources.c[c]) for c in alone}
        conn.execute(here.values(values), rows)


def _at_path(route: Any, path: Any) -> Update:
    """Found by the index of paths and no other (`coalesce` keeps the rest from theirs): a folder bundle may have 10,000
    sources, and going through them for each of them would take the ledger's one writer for a minute."""
    return update(sources).where(sources.c.route == route, sources.c.path == path)


def rename_sources(conn: Connection, job: Job, names: Mapping[str, str], bundle: str | None) -> None:
    """From now on the files' names in the inbox are others (old → new), and their bundle's, because the old ones are
    taken; for every job of the arrival."""
    siblings = select(jobs.c.id).where(jobs.c.arrival == job.arrival)
    for old, new in names.items():
        here = update(sources).where(sources.c.job_id.in_(siblings), sources.c.path == old)
        conn.execute(here.values(path=new))
    conn.execute(update(jobs).where(jobs.c.arrival == job.arrival).values(bundle=bundle))


def share_results(conn: Connection, job_id: str, at: str, earlier: Job, fingerprint: str) -> bool:
    """queued → rendered without a task: an earlier job has rendered the very same, and its results are given again."""
    note = f"the same files with the same parameters as job {earlier.id}: its results are given again, nothing is paid"
    if not move(
        conn, job_id, State.QUEUED, State.RENDERED, at, note, duplicate_of=earlier.id, fingerprint=fingerprint,
        error=None, finished_at=at, cluster=None, task_id=None, status=None, progress=None,
    ):  # fmt: skip
        return False
    set_results(conn, job_id, earlier.outputs, earlier.remarks)
    return True


def set_results(conn: Connection, job_id: str, results: Sequence[Output], notes: Sequence[Remark]) -> None:
    """Replace a job's outputs and remarks by what its task says now."""
    conn.execute(delete(outputs).where(outputs.c.job_id == job_id))
    conn.execute(delete(remarks).where(remarks.c.job_id == job_id))
    for o in results:
        conn.execute(
            insert(outputs).values(job_id=job_id, position=o.position, node_id=o.node_id, title=o.title, url=o.url)
        )
    for r in notes:
        conn.execute(
            insert(remarks).values(
                job_id=job_id, level=r.level, message=r.message, node_id=r.node_id, title=r.title
            )
        )  # fmt: skip


def record_output(conn: Connection, job_id: str, position: int, **changes: Any) -> None:
    """Set columns of one output (its size and hash once it is whole, its name once chosen)."""
    conn.execute(update(outputs).where(outputs.c.job_id == job_id, outputs.c.position == position).values(**changes))


def retry(conn: Connection, job_id: str, frm: State, at: str) -> bool:
    """An ended job starts again, with all its attempts. What the platform was already paid for is kept (`paid`)."""
    moved = move(
        conn, job_id, frm, State.QUEUED, at, "retry", error=None, attempts=0, queued_at=at,
        # A failed job has a base only where the end of its chain was told of it: that is still to be taken back.
        base=jobs.c.base if frm is State.FAILED else None,
        paid=jobs.c.paid & (jobs.c.delivered_at.is_(None)), delivered_at=None, duplicate_of=None, fingerprint=None,
        rescued=False,
    )  # fmt: skip
    if moved:
        conn.execute(update(sources).where(sources.c.job_id == job_id).values(filed=False))
        forget_leaving(conn, job_id)
    return moved


def forget_leaving(conn: Connection, job_id: str) -> None:
    """A person has a job sent anew: where it left a task behind and no second one has come of that, nor may yet, what
    is sent now must not be told as one."""
    later = submissions.alias()
    may_have_come = or_(later.c.outcome.is_(None), later.c.outcome.in_([Outcome.ACCEPTED, Outcome.UNKNOWN]))
    second = select(later.c.id).where(later.c.job_id == job_id, later.c.id > submissions.c.id, may_have_come)
    left = update(submissions).where(submissions.c.job_id == job_id, submissions.c.left_at.is_not(None))
    conn.execute(left.where(~second.correlate(submissions).exists()).values(left_at=None))


def cancel(conn: Connection, job_id: str, frm: State, at: str, note: str) -> bool:
    """End a job by a person's word, by way of `held` where it is already under way."""
    for to in way(frm, State.CANCELLED):
        if not move(conn, job_id, frm, to, at, note, error=note):
            return False
        frm = to
    return True


def remember_upload(conn: Connection, sha256: str, size: int, filename: str, at: str) -> None:
    """The platform keeps a file of this content under this name."""
    row = upsert(uploads).values(sha256=sha256, size=size, filename=filename, at=at)
    conn.execute(row.on_conflict_do_update(index_elements=["sha256"], set_={"filename": filename, "at": at}))


def forget_uploads(conn: Connection, filenames: Sequence[str]) -> None:
    """The platform says that it has these no more."""
    conn.execute(delete(uploads).where(uploads.c.filename.in_(filenames)))


def will_publish(conn: Connection, job_id: str, route: str, key: str) -> None:
    """The intent, before the object is put on the store: it is to be removed when the job needs it no more."""
    conn.execute(insert(published).values(job_id=job_id, route=route, key=key))


def unpublished(conn: Connection, key: str) -> None:
    """The object is gone from the store."""
    conn.execute(delete(published).where(published.c.key == key))


def see_folder(conn: Connection, folder: str, at: str) -> None:
    """Remember that this folder's marker is there."""
    conn.execute(upsert(shares).values(inbox=folder, seen_at=at).on_conflict_do_nothing())


def tell_trouble(conn: Connection, reach: str, subject: str, sentence: str, since: str) -> None:
    """Write down what makes work wait, for the command line."""
    row = upsert(troubles).values(reach=reach, subject=subject, sentence=sentence, since=since)
    conn.execute(row.on_conflict_do_update(index_elements=["reach", "subject"], set_={"sentence": sentence}))


def begin_anew(conn: Connection, at: str) -> None:
    """At a start: strike out what an earlier process has seen and this one must see for itself. That is every trouble;
    and which tasks lag, for that is a reason to pay for a second one, and who knows how long ago it was seen."""
    end_trouble(conn)
    conn.execute(update(jobs).where(LAGS).values(lags_since=None, error=None, updated=at))


def end_trouble(conn: Connection, reach: str | None = None, subject: str | None = None) -> None:
    """Strike out a trouble that is over; all of them where none is named."""
    gone = delete(troubles)
    if reach is not None:
        gone = gone.where(troubles.c.reach == reach, troubles.c.subject == subject)
    conn.execute(gone)
